require recipes-kernel/linux/gatehouse-linux.inc

# This recipe merges what is named here and no fragments of SRC_URI.
EXTRA_KBUILD_DEFCONFIG:append:gatehouse-ls1046a = " ${UNPACKDIR}/gatehouse.cfg ${UNPACKDIR}/gatehouse-ls1046a.cfg"
