require recipes-bsp/u-boot/gatehouse-u-boot.inc
