SUMMARY = "The box's system around Gatehouse"
DESCRIPTION = "Mounts, journal, network, device rules, and what is switched off: no login, no swap, nothing that writes to the read-only root."
SECTION = "base"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

inherit gatehouse_files useradd

INHIBIT_DEFAULT_DEPS = "1"
do_configure[noexec] = "1"
do_compile[noexec] = "1"
