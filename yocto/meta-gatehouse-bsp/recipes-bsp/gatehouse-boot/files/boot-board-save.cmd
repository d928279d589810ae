# A board: U-Boot writes the variables, always over the copy that does not hold.
setenv env_save saveenv
if test "${gatehouse_save}" = yes; then run env_save; fi
