SUMMARY = "First program of the box: opens the verified root"
DESCRIPTION = "The one init of the initrd, the same for boards and for QEMU: finds the slot, opens it by dm-verity, does a factory reset that was asked for, hands over."
SECTION = "base"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

SRC_URI = "file://init"
S = "${UNPACKDIR}"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    install -m 0755 ${UNPACKDIR}/init ${D}/init
    install -d ${D}/sysroot
}

FILES:${PN} += "/init /sysroot"
RDEPENDS:${PN} = "busybox libdevmapper"
