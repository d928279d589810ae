SUMMARY = "Initrd of a slot"
DESCRIPTION = "The init, busybox and dmsetup; the kernel has everything else built in."
LICENSE = "MIT"

PACKAGE_INSTALL = "gatehouse-init ${VIRTUAL-RUNTIME_base-utils} base-passwd"

IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
IMAGE_NAME_SUFFIX = ""
IMAGE_FSTYPES = "cpio.gz"

inherit core-image

IMAGE_ROOTFS_SIZE = "8192"
IMAGE_ROOTFS_EXTRA_SPACE = "0"
INITRAMFS_MAXSIZE = "32768"

# It lives in the slot and is verified with nothing yet, so it has nothing of a system.
BAD_RECOMMENDATIONS += "busybox-syslog busybox-udhcpc"
