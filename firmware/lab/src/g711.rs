//! G.711: the two ways in which a telephone writes a sample in eight bits.

/// A-law to linear, ITU-T G.711 table 1; the linear value has 16 bits.
#[must_use]
pub fn alaw_to_linear(code: u8) -> i16 {
    let code = code ^ EVEN_BITS;
    let segment = (code & 0x70) >> 4;
    let step = i16::from(code & 0x0f) << 4;
    let magnitude = match segment {
        0 => step + 8,
        _ => (step + 0x108) << (segment - 1),
    };
    if code & SIGN == 0 {
        -magnitude
    } else {
        magnitude
    }
}

/// Linear to A-law.
#[must_use]
pub fn linear_to_alaw(sample: i16) -> u8 {
    // In thirteen bits; negative numbers count from -1.
    let (sign, magnitude) = match sample >> 3 {
        positive @ 0.. => (SIGN, positive),
        negative => (0, -negative - 1),
    };
    let bits = 16 - magnitude.leading_zeros();
    let segment = bits.saturating_sub(5);
    let step = magnitude >> segment.max(1);
    let code = u8::try_from((segment << 4) | (step as u32 & 0x0f)).expect("seven bits");
    (code | sign) ^ EVEN_BITS
}

/// Mu-law to linear, ITU-T G.711 table 2; the linear value has 16 bits.
#[must_use]
pub fn mulaw_to_linear(code: u8) -> i16 {
    let code = !code;
    let segment = (code & 0x70) >> 4;
    let magnitude = (((i16::from(code & 0x0f) << 3) + BIAS) << segment) - BIAS;
    if code & SIGN == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// Linear to mu-law.
#[must_use]
pub fn linear_to_mulaw(sample: i16) -> u8 {
    let sign = if sample < 0 { SIGN } else { 0 };
    let magnitude = i16::try_from(sample.unsigned_abs().min(CLIP)).expect("clipped") + BIAS;
    let segment = 8 - magnitude.leading_zeros();
    let step = magnitude >> (segment + 3);
    let code = u8::try_from((segment << 4) | (step as u32 & 0x0f)).expect("seven bits");
    !(code | sign)
}

/// A-law inverts every other bit on the line.
const EVEN_BITS: u8 = 0x55;

/// The bit of the sign in both laws.
const SIGN: u8 = 0x80;

/// What mu-law adds so that every segment begins at a power of two.
const BIAS: i16 = 0x84;

/// The largest magnitude that still fits after the bias.
const CLIP: u16 = 32_635;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_recommendation_says() {
        let alaw: Vec<i16> = (0..16).map(alaw_to_linear).collect();
        assert_eq!(
            alaw,
            [
                -5504, -5248, -6016, -5760, -4480, -4224, -4992, -4736, -7552, -7296, -8064, -7808,
                -6528, -6272, -7040, -6784
            ]
        );
        let mulaw: Vec<i16> = (0..16).map(mulaw_to_linear).collect();
        assert_eq!(
            mulaw,
            [
                -32124, -31100, -30076, -29052, -28028, -27004, -25980, -24956, -23932, -22908,
                -21884, -20860, -19836, -18812, -17788, -16764
            ]
        );
        assert_eq!(
            [0x2a, 0x55, 0xaa, 0xd5].map(alaw_to_linear),
            [-32256, -8, 32256, 8]
        );
        assert_eq!(
            [0x7f, 0x80, 0xfe, 0xff].map(mulaw_to_linear),
            [0, 32124, 8, 0]
        );
    }

    #[test]
    fn every_code_survives_the_way_to_linear_and_back() {
        for code in 0..=255 {
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code);
            // Mu-law has two zeros.
            let again = if code == 0x7f { 0xff } else { code };
            assert_eq!(linear_to_mulaw(mulaw_to_linear(code)), again);
        }
    }

    #[test]
    fn every_sample_is_written_as_a_code_no_further_away_than_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            let off = |heard: i16| (i32::from(heard) - i32::from(sample)).abs();
            let half_step = i32::from(sample.unsigned_abs()) / 32 + 8;
            assert!(off(alaw_to_linear(linear_to_alaw(sample))) <= half_step.max(512));
            assert!(off(mulaw_to_linear(linear_to_mulaw(sample))) <= half_step.max(645));
        }
    }
}
