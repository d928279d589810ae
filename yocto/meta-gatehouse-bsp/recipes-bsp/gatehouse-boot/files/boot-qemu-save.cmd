# QEMU: writes the variables over the copy that does not hold, so that a cut during the writing
# leaves the one that does.
setenv env_save 'setexpr env_next ${env_count} + 1; if test ${env_next} = 100; then setenv env_next 0; fi; setenv env_at ${env_first}; setenv env_block ${env_first_block}; if test ${env_current} = first; then setenv env_at ${env_second}; setenv env_block ${env_second_block}; fi; mw.b ${env_at} 0 0x4000; setexpr env_data ${env_at} + 5; env export -b -s 0x3ffb ${env_data} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT GATEHOUSE_TRIAL GATEHOUSE_ONCE GATEHOUSE_RESET; setexpr env_flags ${env_at} + 4; mw.b ${env_flags} ${env_next}; run env_sum; cp.b 0x43e20010 ${env_at} 4; virtio write ${env_at} ${env_block} 0x20'
if test "${gatehouse_save}" = yes; then run env_save; fi
