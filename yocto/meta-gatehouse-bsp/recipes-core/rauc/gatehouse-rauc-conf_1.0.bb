SUMMARY = "What RAUC is told of the slots, and whose updates it takes"
DESCRIPTION = "RAUC's system.conf for the two slots, and the certificates of those who may sign updates."
SECTION = "base"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

inherit gatehouse_files

INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

# Certificates of those whose signatures a box believes; from outside, as the keys are.
RAUC_KEYRING_FILE ??= ""

python () {
    if not d.getVar("RAUC_KEYRING_FILE"):
        raise bb.parse.SkipRecipe("RAUC_KEYRING_FILE is not set: whose updates the box takes is said from outside")
}

do_install() {
    gatehouse_files_install
    install -d ${D}${datadir}/gatehouse
    install -m 0644 ${RAUC_KEYRING_FILE} ${D}${datadir}/gatehouse/update-keyring.pem
}
do_install[file-checksums] += "${RAUC_KEYRING_FILE}:True"

FILES:${PN} += "${datadir}/gatehouse/update-keyring.pem"
RPROVIDES:${PN} += "virtual-rauc-conf"
