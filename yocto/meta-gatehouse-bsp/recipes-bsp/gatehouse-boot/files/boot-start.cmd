# Starts the kernel of the slot, with the slot's own initrd. A slot that cannot be loaded has no
# start left, and the other one is tried.
setenv gatehouse_part 3
if test "${gatehouse_slot}" = B; then setenv gatehouse_part 4; fi
echo "Gatehouse: starting slot ${gatehouse_slot} (${gatehouse_args})"
setenv bootargs "console=${gatehouse_console} ${gatehouse_args} ro panic=10 oops=panic loglevel=4 systemd.show_status=no"
# Boards keep their device tree in the slot; QEMU hands one over.
if test -n "${gatehouse_tree}"; then
    setenv fdt_addr ${fdt_addr_r}
    ext4load ${gatehouse_disk}:${gatehouse_part} ${fdt_addr} ${gatehouse_tree}
fi
if ext4load ${gatehouse_disk}:${gatehouse_part} ${kernel_addr_r} /boot/Image; then
    if ext4load ${gatehouse_disk}:${gatehouse_part} ${ramdisk_addr_r} /boot/initrd; then
        booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr}
    fi
fi
echo "Gatehouse: slot ${gatehouse_slot} does not start"
if test "${gatehouse_slot}" = A; then setenv BOOT_A_LEFT 0; else setenv BOOT_B_LEFT 0; fi
run env_save
reset
