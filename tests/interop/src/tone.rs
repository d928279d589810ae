//! Tones: written as files for telephones to play, found again in what was received.

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// Samples a second on the IMS side.
pub const RATE: u32 = 8000;

/// Writes a WAV file with one tone.
pub fn write(path: &Path, frequency: f64, seconds: u32) -> anyhow::Result<()> {
    let samples = (0..RATE * seconds).map(|n| {
        let phase = TAU * frequency * f64::from(n) / f64::from(RATE);
        #[allow(clippy::cast_possible_truncation)]
        let sample = (phase.sin() * 12_000.0) as i16;
        sample
    });
    let length = RATE * seconds * 2;
    let mut file = Vec::with_capacity(44 + length as usize);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(36 + length).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16u32.to_le_bytes());
    file.extend_from_slice(&[1, 0, 1, 0]);
    file.extend_from_slice(&RATE.to_le_bytes());
    file.extend_from_slice(&(RATE * 2).to_le_bytes());
    file.extend_from_slice(&[2, 0, 16, 0]);
    file.extend_from_slice(b"data");
    file.extend_from_slice(&length.to_le_bytes());
    file.extend(samples.flat_map(i16::to_le_bytes));
    fs::write(path, file).with_context(|| format!("could not write {}", path.display()))
}

/// The samples of a WAV file that may still be growing.
pub fn read(path: &Path) -> Vec<i16> {
    let file = fs::read(path).unwrap_or_default();
    file.get(44..)
        .unwrap_or_default()
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

/// How much of the samples' energy lies at one frequency, from 0 to 1. Goertzel's algorithm.
pub fn share(samples: &[i16], frequency: f64) -> f64 {
    let total: f64 = samples
        .iter()
        .map(|&sample| f64::from(sample).powi(2))
        .sum();
    // Silence, with a little noise of the codec, has no tone.
    #[allow(clippy::cast_precision_loss)]
    let count = samples.len() as f64;
    if total < count * 50.0 * 50.0 {
        return 0.0;
    }
    let step = TAU * frequency / f64::from(RATE);
    let factor = 2.0 * step.cos();
    let (mut last, mut before) = (0.0, 0.0);
    for &sample in samples {
        (last, before) = (f64::from(sample) + factor * last - before, last);
    }
    let power = last * last + before * before - factor * last * before;
    2.0 * power / (count * total)
}

/// The strongest of the frequencies the tests use, and its share.
pub fn strongest(samples: &[i16]) -> (f64, f64) {
    (20..=340)
        .map(|n| f64::from(n) * 10.0)
        .map(|frequency| (frequency, share(samples, frequency)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or_default()
}

/// Writes a file of A-law bytes with one tone, for sipp to stream.
pub fn write_a_law(path: &Path, frequency: f64, seconds: u32) -> anyhow::Result<()> {
    let bytes: Vec<u8> = (0..RATE * seconds)
        .map(|n| {
            let wanted = (TAU * frequency * f64::from(n) / f64::from(RATE)).sin() * 12_000.0;
            (0..=255u8).min_by(|&a, &b| {
                let distance = |byte| (f64::from(from_a_law(byte)) - wanted).abs();
                distance(a).total_cmp(&distance(b))
            })
        })
        .map(|byte| byte.expect("there are 256 bytes to choose from"))
        .collect();
    fs::write(path, bytes).with_context(|| format!("could not write {}", path.display()))
}

/// One A-law byte as a sample. ITU-T G.711.
pub fn from_a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let mantissa = i16::from(byte & 0x0f) << 4;
    let magnitude = match (byte & 0x70) >> 4 {
        0 => mantissa + 8,
        exponent => (mantissa + 0x108) << (exponent - 1),
    };
    if byte & 0x80 == 0 {
        -magnitude
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_is_found_at_its_frequency_and_nowhere_else() {
        let samples: Vec<i16> = (0..4000)
            .map(|n| (TAU * 600.0 * f64::from(n) / f64::from(RATE)).sin() * 8000.0)
            .map(|sample| sample as i16)
            .collect();

        assert!(share(&samples, 600.0) > 0.95);
        assert!(share(&samples, 900.0) < 0.05);
        assert_eq!(strongest(&samples).0, 600.0);
    }

    #[test]
    fn silence_has_no_tone() {
        assert_eq!(share(&[3; 4000], 600.0), 0.0);
    }
}
