//! What every test run does: all examples, and some thousands of broken copies of them,
//! the same ones each time. It needs no sanitizer and finds what lies near.

use std::panic::catch_unwind;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::targets::{TARGETS, Target, home};

/// How many examples and broken copies went through, and how many did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// One for each example, and one for the broken copies of each target.
    pub passed: u64,
    /// Likewise.
    pub failed: u64,
}

/// Tastes every target.
#[must_use]
pub fn taste() -> Tally {
    let mut total = Tally::default();
    for target in TARGETS {
        let (tally, broken) = taste_one(target);
        println!(
            "{:20}{:>5} examples, {broken} broken copies, {} failed",
            target.name,
            target.examples().len(),
            tally.failed
        );
        total.passed += tally.passed;
        total.failed += tally.failed;
    }
    total
}

fn taste_one(target: &Target) -> (Tally, u64) {
    let mut tally = Tally::default();
    let mut examples: Vec<_> = target
        .examples()
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect();
    for example in &examples {
        tally.count(survives(target, example));
    }
    examples.push(Vec::new());
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let mut broken = 0;
    let mut is_sound = true;
    while is_sound && broken < COPIES {
        let copy = break_one(&examples, &mut rng);
        is_sound = survives(target, &copy);
        broken += 1;
    }
    tally.count(is_sound);
    (tally, broken)
}

impl Tally {
    fn count(&mut self, is_good: bool) {
        if is_good {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// Runs the target; what makes it panic is kept in `findings`.
fn survives(target: &Target, bytes: &[u8]) -> bool {
    let survived = catch_unwind(|| (target.run)(bytes)).is_ok();
    if !survived {
        let folder = home().join("findings");
        let file = folder.join(format!("{}-{:016x}", target.name, hash(bytes)));
        let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, bytes));
        match kept {
            Ok(()) => println!("{} fails on {}", target.name, file.display()),
            Err(error) => println!("{} fails, and {}: {error}", target.name, file.display()),
        }
    }
    survived
}

/// A copy of an example with a few things done to it.
fn break_one(examples: &[Vec<u8>], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut bytes = examples[below(rng, examples.len())].clone();
    for _ in 0..=below(rng, 4) {
        let at = below(rng, bytes.len() + 1);
        let end = (at + below(rng, 16)).min(bytes.len());
        match below(rng, 6) {
            0 => bytes[at..end]
                .iter_mut()
                .for_each(|byte| *byte ^= 1 << (end % 8)),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let odd = ODD[below(rng, ODD.len())];
                bytes.splice(at..at, odd.iter().copied());
            }
            4 => {
                let copy = bytes[at..end].repeat(1 + below(rng, 40));
                bytes.splice(at..at, copy);
            }
            _ => {
                let other = &examples[below(rng, examples.len())];
                let from = below(rng, other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

fn below(rng: &mut ChaCha20Rng, limit: usize) -> usize {
    rng.next_u32() as usize % limit
}

/// The 64-bit FNV-1a hash.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What parsers stumble over.
const ODD: [&[u8]; 16] = [
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\n",
    b"\"",
    b"\\",
    b"<",
    b">",
    b",",
    b";",
    b"%",
    b"[::1",
    b"99999999999999999999",
    b"-1",
    b"\0",
    b"\xff\xff\xff\xff",
];

/// How many broken copies each target gets; a few seconds' worth for the slowest.
const COPIES: u64 = 20_000;

/// The broken copies are the same in every run.
const SEED: u64 = 1;
