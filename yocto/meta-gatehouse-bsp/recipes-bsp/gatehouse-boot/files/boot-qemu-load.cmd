# QEMU: Debian's U-Boot keeps its own environment in a flash that Linux cannot reach, so this script
# reads ours from the partition ubootenv, in the format of U-Boot's redundant environment, that
# libubootenv knows too (fw_env.config): two copies of 0x4000 bytes, at 0 and at 0x10000, each
#   u32 little endian  CRC-32 of the data
#   u8                 counts up with each writing: of two good copies the later one holds
#   data               name=value, zero, ... , zero
setenv env_first 0x43e00000
setenv env_second 0x43e10000
part start virtio 0 1 env_first_block
setexpr env_second_block ${env_first_block} + 0x80
virtio read ${env_first} ${env_first_block} 0x20
virtio read ${env_second} ${env_second_block} 0x20

# crc32 writes big endian; the copies hold little endian.
setenv env_sum 'setexpr env_data ${env_at} + 5; crc32 ${env_data} 0x3ffb 0x43e20000; setexpr.b byte *0x43e20000; mw.b 0x43e20013 ${byte}; setexpr.b byte *0x43e20001; mw.b 0x43e20012 ${byte}; setexpr.b byte *0x43e20002; mw.b 0x43e20011 ${byte}; setexpr.b byte *0x43e20003; mw.b 0x43e20010 ${byte}'

setenv env_current none
setenv env_at ${env_first}
run env_sum
if cmp.b 0x43e20010 ${env_first} 4; then setenv env_current first; fi
setexpr.b env_count *0x43e00004
setenv env_at ${env_second}
run env_sum
if cmp.b 0x43e20010 ${env_second} 4; then
    setexpr.b env_other *0x43e10004
    if test ${env_current} = none; then
        setenv env_current second
    elif test ${env_count} = ff -a ${env_other} = 0; then
        setenv env_current second
    elif test ${env_count} = 0 -a ${env_other} = ff; then
        setenv env_current first
    elif test 0x${env_other} -gt 0x${env_count}; then
        setenv env_current second
    fi
fi
if test ${env_current} = second; then setenv env_count ${env_other}; fi
if test ${env_current} = none; then
    echo "Gatehouse: no copy of the environment is good, starting with defaults"
    setenv env_count 0
fi
if test ${env_current} = first; then
    env import -b 0x43e00005 0x3ffb BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT GATEHOUSE_TRIAL GATEHOUSE_ONCE GATEHOUSE_RESET
elif test ${env_current} = second; then
    env import -b 0x43e10005 0x3ffb BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT GATEHOUSE_TRIAL GATEHOUSE_ONCE GATEHOUSE_RESET
fi
