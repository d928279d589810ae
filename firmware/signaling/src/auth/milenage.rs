//! Milenage, TS 35.206: the functions f1 to f5* that a user's card and his home network
//! share, over AES-128.

use aws_lc_rs::cipher::{AES_128, EncryptingKey, UnboundCipherKey};
use zeroize::Zeroizing;

/// 128 bits.
pub(super) type Block = [u8; 16];

/// The functions under one user's keys.
pub(super) struct Milenage {
    key: EncryptingKey,
    opc: Zeroizing<Block>,
}

/// What f2 to f5 make of a RAND.
pub(super) struct Vector {
    pub(super) res: Zeroizing<[u8; 8]>,
    pub(super) ck: Zeroizing<Block>,
    pub(super) ik: Zeroizing<Block>,
    pub(super) ak: [u8; 6],
}

impl Milenage {
    pub(super) fn new(k: &Block, opc: &Block) -> Self {
        Milenage {
            key: aes(k),
            opc: Zeroizing::new(*opc),
        }
    }

    /// f1 and f1*: MAC-A and MAC-S.
    pub(super) fn macs(&self, rand: &Block, sqn: &[u8; 6], amf: [u8; 2]) -> ([u8; 8], [u8; 8]) {
        let mut input = [0; 16];
        for half in [0, 8] {
            input[half..half + 6].copy_from_slice(sqn);
            input[half + 6..half + 8].copy_from_slice(&amf);
        }
        let temp = self.temp(rand);
        let rotated = rotate(&xor(&input, &self.opc), 8);
        let out = xor(&encrypt(&self.key, &xor(&temp, &rotated)), &self.opc);
        let mut macs = ([0; 8], [0; 8]);
        macs.0.copy_from_slice(&out[..8]);
        macs.1.copy_from_slice(&out[8..]);
        macs
    }

    /// f2, f3, f4 and f5.
    pub(super) fn vector(&self, rand: &Block) -> Vector {
        let out2 = self.out(rand, 0, 1);
        let mut res = Zeroizing::new([0; 8]);
        res.copy_from_slice(&out2[8..]);
        let mut ak = [0; 6];
        ak.copy_from_slice(&out2[..6]);
        Vector {
            res,
            ck: self.out(rand, 4, 2),
            ik: self.out(rand, 8, 4),
            ak,
        }
    }

    /// f5*.
    pub(super) fn resynchronisation_ak(&self, rand: &Block) -> [u8; 6] {
        let mut ak = [0; 6];
        ak.copy_from_slice(&self.out(rand, 12, 8)[..6]);
        ak
    }

    fn temp(&self, rand: &Block) -> Zeroizing<Block> {
        encrypt(&self.key, &xor(rand, &self.opc))
    }

    /// OUT2 to OUT5 of TS 35.206 §4.1: `r` in bytes, `c` the last byte of the constant.
    fn out(&self, rand: &Block, r: usize, c: u8) -> Zeroizing<Block> {
        let mut input = rotate(&xor(&self.temp(rand), &self.opc), r);
        input[15] ^= c;
        xor(&encrypt(&self.key, &input), &self.opc)
    }
}

/// OPc of an operator's OP, TS 35.206 §4.1.
pub(super) fn opc(k: &Block, op: &Block) -> Zeroizing<Block> {
    xor(&encrypt(&aes(k), op), op)
}

fn aes(k: &Block) -> EncryptingKey {
    UnboundCipherKey::new(&AES_128, k)
        .and_then(EncryptingKey::ecb)
        .expect("AES-128 takes any 16 bytes")
}

fn encrypt(key: &EncryptingKey, block: &Block) -> Zeroizing<Block> {
    let mut block = Zeroizing::new(*block);
    key.encrypt(block.as_mut_slice())
        .expect("one whole block is encrypted");
    block
}

fn xor(a: &Block, b: &Block) -> Zeroizing<Block> {
    let mut sum = Zeroizing::new(*a);
    for (byte, other) in sum.iter_mut().zip(b) {
        *byte ^= other;
    }
    sum
}

/// To the left, by whole bytes.
fn rotate(block: &Block, bytes: usize) -> Zeroizing<Block> {
    let mut rotated = Zeroizing::new(*block);
    rotated.rotate_left(bytes);
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        let hex = hex.replace(' ', "");
        assert_eq!(hex.len(), 2 * N);
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    /// K, RAND, SQN, AMF, OP; OPc, f1, f1*, f2, f5, f3, f4, f5*: TS 35.208 §4.3.
    const SETS: [[&str; 13]; 6] = [
        [
            "465b5ce8b199b49faa5f0a2ee238a6bc",
            "23553cbe9637a89d218ae64dae47bf35",
            "ff9bb4d0b607",
            "b9b9",
            "cdc202d5123e20f62b6d676ac72cb318",
            "cd63cb71954a9f4e48a5994e37a02baf",
            "4a9ffac354dfafb3",
            "01cfaf9ec4e871e9",
            "a54211d5e3ba50bf",
            "aa689c648370",
            "b40ba9a3c58b2a05bbf0d987b21bf8cb",
            "f769bcd751044604127672711c6d3441",
            "451e8beca43b",
        ],
        [
            "0396eb317b6d1c36f19c1c84cd6ffd16",
            "c00d603103dcee52c4478119494202e8",
            "fd8eef40df7d",
            "af17",
            "ff53bade17df5d4e793073ce9d7579fa",
            "53c15671c60a4b731c55b4a441c0bde2",
            "5df5b31807e258b0",
            "a8c016e51ef4a343",
            "d3a628ed988620f0",
            "c47783995f72",
            "58c433ff7a7082acd424220f2b67c556",
            "21a8c1f929702adb3e738488b9f5c5da",
            "30f1197061c1",
        ],
        [
            "fec86ba6eb707ed08905757b1bb44b8f",
            "9f7c8d021accf4db213ccff0c7f71a6a",
            "9d0277595ffc",
            "725c",
            "dbc59adcb6f9a0ef735477b7fadf8374",
            "1006020f0a478bf6b699f15c062e42b3",
            "9cabc3e99baf7281",
            "95814ba2b3044324",
            "8011c48c0c214ed2",
            "33484dc2136b",
            "5dbdbb2954e8f3cde665b046179a5098",
            "59a92d3b476a0443487055cf88b2307b",
            "deacdd848cc6",
        ],
        [
            "9e5944aea94b81165c82fbf9f32db751",
            "ce83dbc54ac0274a157c17f80d017bd6",
            "0b604a81eca8",
            "9e09",
            "223014c5806694c007ca1eeef57f004f",
            "a64a507ae1a2a98bb88eb4210135dc87",
            "74a58220cba84c49",
            "ac2cc74a96871837",
            "f365cd683cd92e96",
            "f0b9c08ad02e",
            "e203edb3971574f5a94b0d61b816345d",
            "0c4524adeac041c4dd830d20854fc46b",
            "6085a86c6f63",
        ],
        [
            "4ab1deb05ca6ceb051fc98e77d026a84",
            "74b0cd6031a1c8339b2b6ce2b8c4a186",
            "e880a1b580b6",
            "9f07",
            "2d16c5cd1fdf6b22383584e3bef2a8d8",
            "dcf07cbd51855290b92a07a9891e523e",
            "49e785dd12626ef2",
            "9e85790336bb3fa2",
            "5860fc1bce351e7e",
            "31e11a609118",
            "7657766b373d1c2138f307e3de9242f9",
            "1c42e960d89b8fa99f2744e0708ccb53",
            "fe2555e54aa9",
        ],
        [
            "6c38a116ac280c454f59332ee35c8c4f",
            "ee6466bc96202c5a557abbeff8babf63",
            "414b98222181",
            "4464",
            "1ba00a1a7c6700ac8c3ff3e96ad08725",
            "3803ef5363b947c6aaa225e58fae3934",
            "078adfb488241a57",
            "80246b8d0186bcf1",
            "16c8233f05a0ac28",
            "45b0f69ab06c",
            "3f8c7587fe8e4b233af676aede30ba3b",
            "a7466cc1e6b2a1337d49d3b66e95d7b4",
            "1f53cd2b1113",
        ],
    ];

    #[test]
    fn the_test_sets_of_ts_35_208_come_out_as_printed_there() {
        for set in SETS {
            let [k, rand, sqn, amf, op, opc_out, f1, f1s, f2, f5, f3, f4, f5s] = set;
            let (k, rand) = (bytes(k), bytes(rand));
            let opc = opc(&k, &bytes(op));
            assert_eq!(*opc, bytes(opc_out));
            let milenage = Milenage::new(&k, &opc);
            let macs = milenage.macs(&rand, &bytes(sqn), bytes(amf));
            assert_eq!(macs, (bytes(f1), bytes(f1s)));
            let vector = milenage.vector(&rand);
            assert_eq!(*vector.res, bytes(f2));
            assert_eq!(vector.ak, bytes(f5));
            assert_eq!(*vector.ck, bytes(f3));
            assert_eq!(*vector.ik, bytes(f4));
            assert_eq!(milenage.resynchronisation_ak(&rand), bytes(f5s));
        }
    }
}
