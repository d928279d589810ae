SUMMARY = "Everything on a Gatehouse box"
DESCRIPTION = "The program, its page, the system around them, the updater and what these need."

inherit packagegroup

PACKAGE_ARCH = "${MACHINE_ARCH}"

# e2fsprogs: the initrd makes the data partition anew. The kernel lies in the slot.
RDEPENDS:${PN} += "\
    ${MACHINE_ESSENTIAL_EXTRA_RDEPENDS} \
    ${VIRTUAL-RUNTIME_base-utils} \
    base-files \
    base-passwd \
    dbus \
    e2fsprogs-e2fsck \
    e2fsprogs-mke2fs \
    gatehouse \
    gatehouse-boot \
    gatehouse-rauc-conf \
    gatehouse-system \
    gatehouse-web \
    iproute2 \
    kernel-image \
    kernel-modules \
    libubootenv-bin \
    netbase \
    rauc \
    rauc-service \
    systemd \
    util-linux-mount \
"
