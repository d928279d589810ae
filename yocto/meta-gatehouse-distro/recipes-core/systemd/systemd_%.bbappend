# /etc/systemd/network is a link to the site's own settings (gatehouse-system), and no folder.
do_install:append:gatehouse-distro() {
    if [ -d ${D}${sysconfdir}/systemd/network ]; then
        rmdir ${D}${sysconfdir}/systemd/network
    fi
}
