SUMMARY = "WebRTC-to-IMS gateway"
DESCRIPTION = "The one program of the box: signalling, media, front panel and updates, each its own service and its own user."
SECTION = "net"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://${GATEHOUSE_TREE}/LICENSE-MIT;md5=2566c67bb0f24be29e6e9b22367c2f8e \
                    file://${GATEHOUSE_TREE}/LICENSE-APACHE;md5=22a53954e4e0ec258dfce4391e905dac"

inherit cargo gatehouse_files useradd

require gatehouse-source.inc
require gatehouse-crates.inc

# One binary of the workspace; tests and tools stay where they are.
CARGO_BUILD_FLAGS += "--package gatehouse --bin gatehouse"

# The symbols go to the -dbg package.
S = "${UNPACKDIR}/gatehouse"

do_install() {
    install -d ${D}${bindir}
    install -m 0755 ${B}/target/${CARGO_TARGET_SUBDIR}/gatehouse ${D}${bindir}/gatehouse
    gatehouse_files_install
}

RDEPENDS:${PN} += "ca-certificates gatehouse-web"
