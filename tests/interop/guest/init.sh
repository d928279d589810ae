#!/bin/sh
# The first process of the guest: a kernel with ESP and AF_ALG over the host's own files.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export @ENVIRONMENT@
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmpfs /run
mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm
modules=/usr/lib/uml/modules/$(uname -r)/kernel
# In this order; without drbg the associations fail with "unable to initialize cryptographic operations".
for module in crypto/hmac crypto/cbc crypto/ctr crypto/sha512_generic crypto/sha3_generic \
	crypto/jitterentropy_rng crypto/drbg crypto/authenc crypto/seqiv crypto/echainiv \
	net/xfrm/xfrm_algo net/xfrm/xfrm_user net/ipv4/esp4 drivers/net/veth \
	lib/crc-ccitt net/ipv6/ipv6 \
	crypto/gf128mul crypto/ghash-generic crypto/gcm \
	crypto/af_alg crypto/algif_hash crypto/algif_skcipher crypto/algif_aead; do
	insmod $modules/$module.ko || echo "guest: no $module"
done
cd @FOLDER@
@COMMAND@
echo "guest: ended with $?"
sync
echo o > /proc/sysrq-trigger
sleep 10
