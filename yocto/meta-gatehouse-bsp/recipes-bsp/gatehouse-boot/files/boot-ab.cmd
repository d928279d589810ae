# Which slot is booted. Every machine's boot script contains this block; it touches variables only,
# what comes before it has read them and what comes after it writes them if gatehouse_save says so.
#
# In:  BOOT_ORDER, BOOT_A_LEFT, BOOT_B_LEFT   RAUC's: slots, best first, and the starts each has left
#      GATEHOUSE_TRIAL   the slot on trial after an update; only its starts are counted, so that
#                        switching the power off and on never changes slots
#      GATEHOUSE_ONCE    a slot to start this one time
#      GATEHOUSE_RESET   "factory": what the box keeps is to be deleted at this start
# Out: gatehouse_slot    A or B
#      gatehouse_args    what the kernel's command line says of all this
#      gatehouse_save    yes, if a variable has changed
setenv gatehouse_slot
setenv gatehouse_save no
test -n "${BOOT_ORDER}" || setenv BOOT_ORDER "A B"
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3

if test -n "${GATEHOUSE_ONCE}"; then
    if test "${GATEHOUSE_ONCE}" = A; then setenv gatehouse_slot A; fi
    if test "${GATEHOUSE_ONCE}" = B; then setenv gatehouse_slot B; fi
    setenv GATEHOUSE_ONCE
    setenv gatehouse_save yes
fi

for slot in "${BOOT_ORDER}"; do
    if test -n "${gatehouse_slot}"; then
        true
    elif test "${slot}" = A; then
        if test ${BOOT_A_LEFT} -gt 0; then setenv gatehouse_slot A; fi
    elif test "${slot}" = B; then
        if test ${BOOT_B_LEFT} -gt 0; then setenv gatehouse_slot B; fi
    fi
done

# Neither has a start left: the box is not to stay dark. The one that is not on trial has run before.
if test -z "${gatehouse_slot}"; then
    echo "Gatehouse: no slot has a start left, all are given again"
    setenv BOOT_A_LEFT 3
    setenv BOOT_B_LEFT 3
    setenv gatehouse_slot A
    if test "${GATEHOUSE_TRIAL}" = A; then setenv gatehouse_slot B; fi
    setenv gatehouse_save yes
fi

setenv gatehouse_args "rauc.slot=${gatehouse_slot}"

# An update gives its slot two starts (boot-attempts-primary in RAUC's system.conf).
if test "${GATEHOUSE_TRIAL}" = "${gatehouse_slot}"; then
    setenv gatehouse_left ${BOOT_A_LEFT}
    if test "${gatehouse_slot}" = B; then setenv gatehouse_left ${BOOT_B_LEFT}; fi
    if test ${gatehouse_left} -gt 0; then setexpr gatehouse_left ${gatehouse_left} - 1; fi
    if test ${gatehouse_left} -gt 0; then
        setenv gatehouse_args "${gatehouse_args} gatehouse.attempt=1"
    else
        setenv gatehouse_args "${gatehouse_args} gatehouse.attempt=2"
    fi
    if test "${gatehouse_slot}" = A; then setenv BOOT_A_LEFT ${gatehouse_left}; fi
    if test "${gatehouse_slot}" = B; then setenv BOOT_B_LEFT ${gatehouse_left}; fi
    setenv gatehouse_save yes
fi

if test -n "${GATEHOUSE_RESET}"; then
    setenv gatehouse_args "${gatehouse_args} gatehouse.reset=${GATEHOUSE_RESET}"
    setenv GATEHOUSE_RESET
    setenv gatehouse_save yes
fi
