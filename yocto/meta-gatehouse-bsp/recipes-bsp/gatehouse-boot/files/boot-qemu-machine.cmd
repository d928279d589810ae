# The QEMU machine: where its disk and its console are.
setenv gatehouse_disk "virtio 0"
setenv gatehouse_console ttyAMA0
