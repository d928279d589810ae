//! AKA in Digest, RFC 3310, as a terminal on Gm does it: TS 33.203 §6.1 and TS 33.102 §6.3,
//! with the functions of Milenage. AKAv2 (RFC 4169) is left out.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use zeroize::Zeroizing;

use super::milenage::{Block, Milenage, opc};

/// A soft ISIM: the keys that a user shares with his home network, and which challenges it
/// has seen.
#[derive(Clone, PartialEq, Eq)]
pub struct Isim {
    k: Zeroizing<Block>,
    opc: Zeroizing<Block>,
    seen: Seen,
}

/// The sequence numbers that were accepted, TS 33.102 Annex C.2: an array, so that vectors
/// that a network uses out of their order are good too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// For each IND, the least SEQ that is still good.
    least: [u64; INDICES],
    /// The highest SQN that was accepted: SQN_MS.
    highest: u64,
}

/// A challenge's nonce taken apart, RFC 3310 §3.2: RAND, AUTN, and server data that is
/// nobody's but the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    rand: Block,
    autn: Block,
}

/// What an ISIM makes of a challenge.
pub enum Outcome {
    /// The network is ours, and so are we.
    Proven {
        /// The password, as raw bytes.
        res: Zeroizing<[u8; 8]>,
        /// Keys for IPsec.
        keys: AkaKeys,
    },
    /// The sequence number is used up: here is what tells the network ours.
    OutOfStep {
        /// SQN_MS, hidden by AK, and MAC-S: TS 33.102 §6.3.3.
        auts: [u8; 14],
    },
    /// The MAC is wrong: whoever sent this does not know our key.
    ForeignNetwork,
}

/// CK and IK of one authentication. `Debug` hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct AkaKeys {
    /// The cipher key.
    pub ck: Zeroizing<[u8; 16]>,
    /// The integrity key.
    pub ik: Zeroizing<[u8; 16]>,
}

impl Isim {
    /// From K and OPc, unused.
    #[must_use]
    pub fn new(k: Zeroizing<[u8; 16]>, opc: Zeroizing<[u8; 16]>) -> Self {
        let seen = Seen::default();
        Isim { k, opc, seen }
    }

    /// From K and the operator's OP, unused.
    #[must_use]
    pub fn with_op(k: Zeroizing<[u8; 16]>, op: &Zeroizing<[u8; 16]>) -> Self {
        let opc = opc(&k, op);
        Isim::new(k, opc)
    }

    /// Answers a challenge. If it counted on, [`Isim::seen`] must be kept before the answer
    /// is used: a network may take a repeated one for an attack.
    pub fn authenticate(&mut self, challenge: &Challenge) -> Outcome {
        let Challenge { rand, autn } = challenge;
        let milenage = Milenage::new(&self.k, &self.opc);
        let vector = milenage.vector(rand);
        let sqn: [u8; 6] = std::array::from_fn(|at| autn[at] ^ vector.ak[at]);
        let amf = [autn[6], autn[7]];
        let (mac, _) = milenage.macs(rand, &sqn, amf);
        if verify_slices_are_equal(&mac, &autn[8..]).is_err() {
            return Outcome::ForeignNetwork;
        }
        if !self.seen.accept(number(sqn)) {
            let auts = self.resynchronise(&milenage, rand);
            return Outcome::OutOfStep { auts };
        }
        Outcome::Proven {
            res: vector.res,
            keys: AkaKeys {
                ck: vector.ck,
                ik: vector.ik,
            },
        }
    }

    fn resynchronise(&self, milenage: &Milenage, rand: &Block) -> [u8; 14] {
        let [_, _, sqn @ ..] = self.seen.highest.to_be_bytes();
        // TS 33.102 §6.3.3: a dummy AMF of zeros, so that it need not be sent.
        let (_, mac) = milenage.macs(rand, &sqn, [0; 2]);
        let ak = milenage.resynchronisation_ak(rand);
        let mut auts = [0; 14];
        for at in 0..6 {
            auts[at] = sqn[at] ^ ak[at];
        }
        auts[6..].copy_from_slice(&mac);
        auts
    }

    /// Which challenges it has seen.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The keys and what was seen, to be kept: K, OPc, SQN_MS, then SEQ for each IND.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BYTES));
        bytes.extend_from_slice(&self.k[..]);
        bytes.extend_from_slice(&self.opc[..]);
        bytes.extend_from_slice(&self.seen.highest.to_be_bytes());
        for least in self.seen.least {
            bytes.extend_from_slice(&least.to_be_bytes());
        }
        bytes
    }

    /// Reads what [`Isim::to_bytes`] wrote.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != BYTES {
            return None;
        }
        let (keys, seen) = bytes.split_at(32);
        let block = |at: usize| Zeroizing::new(std::array::from_fn(|byte| keys[at + byte]));
        let mut isim = Isim::new(block(0), block(16));
        let mut numbers = seen.as_chunks().0.iter().map(|n| u64::from_be_bytes(*n));
        isim.seen.highest = numbers.next()?;
        for least in &mut isim.seen.least {
            *least = numbers.next()?;
        }
        Some(isim)
    }
}

impl Seen {
    /// TS 33.102 §C.2.2: good if its SEQ is higher than the last one of its IND, and not so
    /// high that the counter would be used up.
    fn accept(&mut self, sqn: u64) -> bool {
        let (seq, index) = (sqn / INDEX_RANGE, (sqn % INDEX_RANGE) as usize);
        let is_first = *self == Seen::default();
        let is_near = is_first || seq.saturating_sub(self.highest / INDEX_RANGE) <= LEAP;
        if seq < self.least[index] || !is_near {
            return false;
        }
        self.least[index] = seq + 1;
        self.highest = self.highest.max(sqn);
        true
    }
}

impl Challenge {
    /// Takes a nonce apart. `None` if it is not base64 or too short.
    #[must_use]
    pub fn parse(nonce: &str) -> Option<Self> {
        // Some cores leave the padding away.
        let bytes = STANDARD_NO_PAD.decode(nonce.trim_end_matches('=')).ok()?;
        let (rand, rest) = bytes.split_first_chunk()?;
        let (autn, _) = rest.split_first_chunk()?;
        Some(Challenge {
            rand: *rand,
            autn: *autn,
        })
    }
}

fn number(sqn: [u8; 6]) -> u64 {
    sqn.into_iter()
        .fold(0, |number, byte| number << 8 | u64::from(byte))
}

pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

impl fmt::Debug for Isim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Isim <private>")
    }
}

impl fmt::Debug for AkaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AkaKeys <private>")
    }
}

/// IND has five bits, TS 33.102 §C.3.2.
const INDEX_RANGE: u64 = 32;
const INDICES: usize = 32;

/// How far SEQ may leap: delta of TS 33.102 §C.2.1 and §C.3.2.
const LEAP: u64 = 1 << 28;

/// What [`Isim::to_bytes`] writes.
const BYTES: usize = 16 + 16 + 8 + 8 * INDICES;

#[cfg(test)]
pub(crate) mod tests;
