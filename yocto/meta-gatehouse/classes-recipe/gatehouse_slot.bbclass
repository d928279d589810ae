# The image type "slot": ext4 | one block of text | verity tree, as the initrd's init opens it.
# `cargo xtask image` makes the same for QEMU (tests/xtask/src/image/slot.rs); yocto/tests compares
# the two.

# The same for each build, so that equal files give an equal hash.
GATEHOUSE_SLOT_ID = "67617465-686f-7573-652d-726f6f740000"
GATEHOUSE_SLOT_SALT = "676174656861757365676174656861757365676174656861757365676174650a"

# The index of adaptive updates and the verity tree want whole blocks.
IMAGE_ROOTFS_ALIGNMENT = "4"
EXTRA_IMAGECMD:ext4 = "-q -b 4096 -m 0 -U ${GATEHOUSE_SLOT_ID} -L gatehouse \
    -E hash_seed=${GATEHOUSE_SLOT_ID},nodiscard \
    -O ^has_journal,^resize_inode,^metadata_csum_seed,^orphan_file"

IMAGE_TYPES += "slot"
IMAGE_TYPEDEP:slot = "ext4"
IMAGE_TYPEDEP:wic = "slot"
do_image_slot[depends] += "cryptsetup-native:do_populate_sysroot"

IMAGE_CMD:slot () {
    slot=${IMGDEPLOYDIR}/${IMAGE_NAME}.slot
    cp ${IMGDEPLOYDIR}/${IMAGE_NAME}.ext4 $slot
    bytes=$(stat -c %s $slot)
    blocks=$(expr $bytes / 4096)
    [ $(expr $blocks \* 4096) -eq $bytes ] || bbfatal "the file system is not whole blocks of 4 KiB"
    root=$(veritysetup format --hash=sha256 --data-block-size=4096 --hash-block-size=4096 \
        --data-blocks=$blocks --hash-offset=$(expr \( $blocks + 1 \) \* 4096) \
        --salt=${GATEHOUSE_SLOT_SALT} --uuid=${GATEHOUSE_SLOT_ID} $slot $slot | sed -n 's/^Root hash:[[:space:]]*//p')
    [ -n "$root" ] || bbfatal "veritysetup said no root hash"
    printf 'gatehouse-verity 1\nroot %s\nsalt %s\nblocks %s\n' $root ${GATEHOUSE_SLOT_SALT} $blocks |
        dd of=$slot bs=4096 seek=$blocks conv=notrunc
    if [ $(stat -c %s $slot) -gt $(expr ${GATEHOUSE_SLOT_SIZE} \* 1048576) ]; then
        bbfatal "the slot's image is larger than its partition of ${GATEHOUSE_SLOT_SIZE} MiB"
    fi
}
