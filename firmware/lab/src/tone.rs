//! What a telephone plays: a pure tone, sample by sample.

use std::f64::consts::TAU;

/// Samples in a second.
pub(crate) const SAMPLE_RATE: u32 = 8000;

/// A tone that goes on for ever.
#[derive(Clone, Debug)]
pub(crate) struct Tone {
    /// One second of it, after which it repeats for any whole number of hertz.
    second: Vec<i16>,
    at: usize,
}

impl Tone {
    pub(crate) fn new(hertz: u32) -> Self {
        let sample = |n: u32| {
            let turns = f64::from(n * hertz % SAMPLE_RATE) / f64::from(SAMPLE_RATE);
            // Rounded, so that the last bits of a platform's sine do not show.
            (f64::from(AMPLITUDE) * (TAU * turns).sin()).round() as i16
        };
        Tone {
            second: (0..SAMPLE_RATE).map(sample).collect(),
            at: 0,
        }
    }

    pub(crate) fn next_sample(&mut self) -> i16 {
        let sample = self.second[self.at];
        self.at = (self.at + 1) % self.second.len();
        sample
    }
}

/// About 12 dB below the loudest that G.711 can say.
const AMPLITUDE: i16 = 8000;
