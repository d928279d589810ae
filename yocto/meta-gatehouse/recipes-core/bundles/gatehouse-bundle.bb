SUMMARY = "Signed update of a Gatehouse box"
DESCRIPTION = "RAUC bundle (verity, adaptive) of the slot image, signed with a key that comes from outside."
LICENSE = "MIT"

inherit bundle

RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_COMPATIBLE = "${GATEHOUSE_COMPATIBLE}"
RAUC_BUNDLE_VERSION = "${GATEHOUSE_VERSION}"
RAUC_BUNDLE_DESCRIPTION = "Gatehouse ${GATEHOUSE_VERSION}"

# The same input gives the same manifest.
RAUC_BUNDLE_BUILD = "${@d.getVar('SOURCE_DATE_EPOCH') or '0'}"

RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "gatehouse-image"
RAUC_SLOT_rootfs[fstype] = "slot"
RAUC_SLOT_rootfs[rename] = "slot.img"
RAUC_SLOT_rootfs[adaptive] = "block-hash-index"

# Blocks of 128 KiB, so that an adaptive update reads few of them twice.
BUNDLE_ARGS += "--mksquashfs-args='-comp zstd -Xcompression-level 19 -b 128k'"

# Keys come from outside: RAUC_KEY_FILE and RAUC_CERT_FILE are files or PKCS#11 addresses.
python () {
    if d.getVar("RAUC_BUNDLE_FORMAT") == "plain":
        bb.fatal("a plain bundle is refused by every box")
    for key in ("RAUC_KEY_FILE", "RAUC_CERT_FILE"):
        if not d.getVar(key):
            raise bb.parse.SkipRecipe(key + " is not set: who signs updates is said from outside")
}
