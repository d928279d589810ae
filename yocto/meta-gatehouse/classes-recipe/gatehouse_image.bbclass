# The root of a slot, and checks of it when it is finished: an image that breaks a promise of the
# box is not built.

inherit core-image gatehouse_slot

IMAGE_FEATURES += "read-only-rootfs"
IMAGE_LINGUAS = ""
IMAGE_FSTYPES = "slot wic.zst wic.bmap"

# What wic writes to slot A.
GATEHOUSE_SLOT_IMAGE = "${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.slot"

# The initrd lies in the slot, beside the kernel that it belongs to.
do_rootfs[depends] += "gatehouse-initrd:do_image_complete"

# Where the boot script finds what it starts: /boot/Image, /boot/initrd, /boot/board.dtb.
gatehouse_boot_files() {
    boot=${IMAGE_ROOTFS}/boot
    install -m 0644 ${DEPLOY_DIR_IMAGE}/gatehouse-initrd-${MACHINE}.cpio.gz $boot/initrd
    image=$(readlink -f $boot/Image)
    rm -f $boot/Image
    mv $image $boot/Image
    if [ -n "${GATEHOUSE_DTB}" ]; then
        install -m 0644 ${DEPLOY_DIR_IMAGE}/${GATEHOUSE_DTB} $boot/board.dtb
    fi
}

# Packages of others have said their word on these; ours is the last one.
gatehouse_last_word() {
    etc=${IMAGE_ROOTFS}${sysconfdir}
    ln -sfn /run/systemd/resolve/resolv.conf $etc/resolv.conf
    echo gatehouse > $etc/hostname
    : > $etc/machine-id
    : > $etc/.updated
    rm -rf $etc/systemd/system/getty.target.wants
    rm -f $etc/fstab $etc/motd $etc/issue $etc/issue.net
    sed -i 's,:[^:]*$,:${sbindir}/nologin,' $etc/passwd
    find ${IMAGE_ROOTFS} -xdev -type f -perm /6000 -exec chmod ug-s {} +
}

# nooelint: oelint.vars.pathhardcode.sbindir,oelint.vars.pathhardcode.sysconfdir - places in the finished root
def gatehouse_faults(root, login_allowed):
    """What a finished root has that the box promises not to have."""
    import os
    import stat
    faults = []
    def text(path):
        path = os.path.join(root, path)
        return open(path).read() if os.path.exists(path) else ""
    if not login_allowed:
        for line in text("etc/passwd").splitlines():
            if line.rpartition(":")[2] not in ("/sbin/nologin", "/usr/sbin/nologin", "/bin/false"):
                faults.append("a login shell: " + line)
        for line in text("etc/shadow").splitlines():
            if line.split(":")[1:2] == [""]:
                faults.append("no password is needed: " + line.split(":")[0])
        for path in ("usr/sbin/sshd", "usr/sbin/dropbear", "usr/lib/systemd/system/hwtest-console.service"):
            if os.path.lexists(os.path.join(root, path)):
                faults.append("a way in: /" + path)
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path)
            shown = "/" + os.path.relpath(path, root)
            if stat.S_ISREG(mode.st_mode) and mode.st_mode & 0o6000:
                faults.append("changes its user: " + shown)
            if stat.S_ISREG(mode.st_mode) and mode.st_mode & 0o002:
                faults.append("anybody may write: " + shown)
            if name.endswith((".key", ".key.pem")):
                faults.append("a private key: " + shown)
    for path in ("boot/Image", "boot/initrd", "etc/rauc/system.conf", "etc/fw_env.config",
                 "usr/bin/gatehouse", "usr/share/gatehouse/update-keyring.pem", "usr/share/gatehouse/web/index.html"):
        if not os.path.isfile(os.path.join(root, path)):
            faults.append("is missing: /" + path)
    if "format=plain" in text("etc/rauc/system.conf") or "bundle-formats=-plain" not in text("etc/rauc/system.conf"):
        faults.append("plain bundles are not refused: /etc/rauc/system.conf")
    return faults

# Set by kas/opt/debug.yml and by nothing else.
GATEHOUSE_DEBUG ?= "0"

python gatehouse_check_root() {
    faults = gatehouse_faults(d.getVar("IMAGE_ROOTFS"), bb.utils.to_boolean(d.getVar("GATEHOUSE_DEBUG")))
    if faults:
        bb.fatal("the image breaks promises of the box:\n  " + "\n  ".join(faults))
}

ROOTFS_POSTPROCESS_COMMAND:append = " gatehouse_boot_files gatehouse_last_word"
IMAGE_PREPROCESS_COMMAND:append = " gatehouse_check_root"
