SUMMARY = "The box's image: a slot, and the disk as it leaves the factory"
DESCRIPTION = "The root of a slot with kernel, initrd and verity tree, and a disk with both slots, identity and data."
LICENSE = "MIT"

inherit gatehouse_image

IMAGE_INSTALL = "packagegroup-gatehouse"
