SUMMARY = "Boot script of the two slots, and where its variables lie"
DESCRIPTION = "boot.scr for the partition boot, put together from the parts for this kind of machine, the first content of the partition ubootenv, and fw_env.config."
SECTION = "bootloaders"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

DEPENDS = "u-boot-tools-native"

SRC_URI = "${@' '.join('file://' + part for part in d.getVar('GATEHOUSE_BOOT_SCRIPT').split())}"

inherit gatehouse_files deploy

GATEHOUSE_LISTS:append:gatehouse-qemuarm64 = " files-qemuarm64.list"

B = "${WORKDIR}/build"

INHIBIT_DEFAULT_DEPS = "1"
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"

# Where the two copies of the boot loader's variables begin, and how long one is (fw_env.config).
GATEHOUSE_ENV_SIZE = "0x4000"
GATEHOUSE_ENV_SECOND = "0x10000"

# The script is its parts in order; the names in them stand for what the machine says. The second
# slot is empty at first.
do_compile() {
    : > ${B}/boot.cmd
    for part in ${GATEHOUSE_BOOT_SCRIPT}; do
        sed -e 's|@GATEHOUSE_DISK@|${GATEHOUSE_DISK}|' -e 's|@GATEHOUSE_CONSOLE@|${GATEHOUSE_CONSOLE}|' \
            ${UNPACKDIR}/$part >> ${B}/boot.cmd
    done
    mkimage -A arm64 -T script -C none -d ${B}/boot.cmd ${B}/boot.scr
    printf 'BOOT_ORDER=A B\nBOOT_A_LEFT=3\nBOOT_B_LEFT=0\n' > ${B}/ubootenv.txt
    mkenvimage -r -s ${GATEHOUSE_ENV_SIZE} -o ${B}/ubootenv.copy ${B}/ubootenv.txt
    cp ${B}/ubootenv.copy ${B}/ubootenv.img
    dd if=${B}/ubootenv.copy of=${B}/ubootenv.img bs=$(printf %d ${GATEHOUSE_ENV_SECOND}) seek=1
}

do_compile[cleandirs] = "${B}"

do_deploy() {
    install -m 0644 ${B}/boot.scr ${B}/ubootenv.img ${DEPLOYDIR}/
}
addtask deploy after do_compile before do_build

RPROVIDES:${PN} += "u-boot-default-env"
