//! AES counter mode and HMAC-SHA1 straight on aws-lc: its safe interface re-keys the HMAC
//! on every packet. All `unsafe` of this crate is here.
#![allow(unsafe_code)]

use aws_lc_sys::{
    AES_KEY, AES_ctr128_encrypt, AES_set_encrypt_key, OPENSSL_cleanse, SHA_CTX, SHA1_Final,
    SHA1_Init, SHA1_Transform, SHA1_Update,
};

/// An expanded AES encryption key.
pub(super) struct Aes(AES_KEY);

impl Aes {
    /// Expands a key of 16 or 32 octets.
    pub(super) fn new(key: &[u8]) -> Self {
        assert!(matches!(key.len(), 16 | 32), "an AES key of a profile");
        let mut expanded = AES_KEY {
            rd_key: [0; 60],
            rounds: 0,
        };
        // SAFETY: `key` is readable for `8 * key.len()` bits, and `expanded` is a valid,
        // exclusively borrowed AES_KEY, whose plain integers may hold anything.
        let result =
            unsafe { AES_set_encrypt_key(key.as_ptr(), 8 * key.len() as u32, &mut expanded) };
        assert_eq!(result, 0, "aws-lc takes keys of 128 and 256 bits");
        Aes(expanded)
    }

    /// Encrypts or decrypts in place, beginning with this counter block.
    #[inline]
    pub(super) fn counter_mode(&self, mut counter: [u8; 16], text: &mut [u8]) {
        let mut rest = [0; 16];
        let mut rest_used = 0;
        let (at, length) = (text.as_mut_ptr(), text.len());
        // SAFETY: in and out are the same `length` octets, borrowed exclusively here, and
        // counter mode reads each octet before it writes it; the key was set in `new`; counter and
        // rest are 16 octets each, and `rest_used` is below 16.
        unsafe {
            AES_ctr128_encrypt(
                at,
                at,
                length,
                &self.0,
                counter.as_mut_ptr(),
                rest.as_mut_ptr(),
                &mut rest_used,
            );
        }
    }
}

impl Drop for Aes {
    fn drop(&mut self) {
        cleanse(&mut self.0.rd_key);
    }
}

/// The two SHA-1 states that a key leaves behind when its padded block has been hashed.
pub(super) struct HmacSha1 {
    inner: SHA_CTX,
    outer: SHA_CTX,
}

impl HmacSha1 {
    /// Hashes both padded blocks of a key. RFC 2104 §4.
    pub(super) fn new(key: &[u8; 20]) -> Self {
        let state = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (octet, key) in block.iter_mut().zip(key) {
                *octet ^= key;
            }
            let mut context = EMPTY;
            // SAFETY: `context` is a valid, exclusively borrowed SHA_CTX, which the first
            // call initialises; the second reads exactly `block`.
            unsafe {
                SHA1_Init(&mut context);
                SHA1_Update(&mut context, block.as_ptr().cast(), BLOCK);
            }
            context
        };
        HmacSha1 {
            inner: state(0x36),
            outer: state(0x5c),
        }
    }

    /// HMAC over `message` followed by `trailer`.
    #[inline]
    pub(super) fn authenticate(&self, message: &[u8], trailer: &[u8; 4]) -> [u8; DIGEST] {
        let mut context = self.inner;
        // The outer message is always one block: the inner digest, and SHA-1's own padding.
        let mut block = [0; BLOCK];
        block[DIGEST] = 0x80;
        block[BLOCK - 2..].copy_from_slice(&(8 * (BLOCK + DIGEST) as u16).to_be_bytes());
        let mut outer = self.outer;
        // SAFETY: both contexts are copies of states that `new` initialised, borrowed
        // exclusively; the two updates read exactly the slices given; the digest's 20 octets
        // fit in `block`, whose 64 are what the transform reads.
        unsafe {
            SHA1_Update(&mut context, message.as_ptr().cast(), message.len());
            SHA1_Update(&mut context, trailer.as_ptr().cast(), trailer.len());
            SHA1_Final(block.as_mut_ptr(), &mut context);
            SHA1_Transform(&mut outer, block.as_ptr());
        }
        let mut digest = [0; DIGEST];
        for (octets, word) in digest.chunks_exact_mut(4).zip(outer.h) {
            octets.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }
}

impl Drop for HmacSha1 {
    fn drop(&mut self) {
        cleanse(&mut self.inner.h);
        cleanse(&mut self.outer.h);
    }
}

/// Overwrites key material in a way that the compiler does not leave out.
fn cleanse(secret: &mut [u32]) {
    // SAFETY: writes zeroes over exactly the exclusively borrowed integers.
    unsafe { OPENSSL_cleanse(secret.as_mut_ptr().cast(), size_of_val(secret)) }
}

const EMPTY: SHA_CTX = SHA_CTX {
    h: [0; 5],
    Nl: 0,
    Nh: 0,
    data: [0; BLOCK],
    num: 0,
};
const BLOCK: usize = 64;
const DIGEST: usize = 20;
