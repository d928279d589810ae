# A board: where its disk and its console are, and its device tree, which lies in the slot.
setenv gatehouse_disk "@GATEHOUSE_DISK@"
setenv gatehouse_console @GATEHOUSE_CONSOLE@
setenv gatehouse_tree /boot/board.dtb
