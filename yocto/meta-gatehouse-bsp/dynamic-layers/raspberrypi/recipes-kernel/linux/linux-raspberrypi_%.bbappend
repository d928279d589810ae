require recipes-kernel/linux/gatehouse-linux.inc
