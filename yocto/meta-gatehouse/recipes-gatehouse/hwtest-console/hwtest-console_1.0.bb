SUMMARY = "Root shell for the tests"
DESCRIPTION = "A root shell on a serial port of its own. Never part of a production image: only kas/opt/debug.yml asks for it."
SECTION = "console/utils"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

inherit gatehouse_files

# On a board the port is the serial console.
GATEHOUSE_LISTS:append:gatehouse-board = " files-board.list"
GATEHOUSE_TTY = "${@(d.getVar('GATEHOUSE_CONSOLE') or '').partition(',')[0]}"
GATEHOUSE_NAMES += "GATEHOUSE_TTY"
PACKAGE_ARCH = "${MACHINE_ARCH}"

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
