require recipes-kernel/linux/gatehouse-linux.inc

KMACHINE:gatehouse-qemuarm64 = "qemuarm64"
COMPATIBLE_MACHINE:gatehouse-qemuarm64 = "gatehouse-qemuarm64"
