SUMMARY = "The box's image: a slot, and the disk as it leaves the factory"
LICENSE = "MIT"

inherit gatehouse-image

IMAGE_INSTALL = "packagegroup-gatehouse"
