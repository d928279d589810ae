//! RTP sequence numbers extended beyond 16 bits, and what to think of a jump. RFC 3550 §A.1.

/// How far one source has come.
pub(crate) struct Sequence {
    highest: u64,
    /// What would follow a packet that was far off.
    resumes_at: Option<u16>,
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Near the highest number so far: its own, extended.
    Running(u64),
    /// Far off. It tells nothing before its successor has come.
    Astray,
    /// The second packet in a row of a sequence that began anew.
    Restarted,
}

impl Sequence {
    /// Begins with the first packet of a source.
    pub(crate) fn new(first: u16) -> Self {
        Sequence {
            highest: FIRST_CYCLE + u64::from(first),
            resumes_at: None,
        }
    }

    /// The highest number so far; [`FIRST_CYCLE`] above zero.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// Finds the place of the next packet to arrive.
    pub(crate) fn place(&mut self, sequence: u16) -> Place {
        let step = sequence.wrapping_sub(self.highest as u16) as i16;
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            let restarted = self.resumes_at == Some(sequence);
            self.resumes_at = Some(sequence.wrapping_add(1));
            return if restarted {
                Place::Restarted
            } else {
                Place::Astray
            };
        }
        let index = self.highest.saturating_add_signed(i64::from(step));
        self.highest = self.highest.max(index);
        self.resumes_at = None;
        Place::Running(index)
    }
}

/// Numbers start one cycle up, so that a packet from before the first has one too.
pub(crate) const FIRST_CYCLE: u64 = 1 << 16;
/// A jump ahead that still is loss. RFC 3550 §A.1.
const MAX_DROPOUT: i16 = 3000;
/// A jump back that still is reordering. RFC 3550 §A.1.
const MAX_MISORDER: i16 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_on_over_the_wrap_and_back() {
        let mut sequence = Sequence::new(65_534);
        let base = FIRST_CYCLE + 65_534;
        assert_eq!(sequence.place(2), Place::Running(base + 4));
        assert_eq!(sequence.place(65_535), Place::Running(base + 1));
        assert_eq!(sequence.highest(), base + 4);
    }

    #[test]
    fn two_in_a_row_far_off_are_a_new_beginning_and_one_is_not() {
        let mut sequence = Sequence::new(5);
        assert_eq!(sequence.place(20_000), Place::Astray);
        assert_eq!(sequence.place(6), Place::Running(FIRST_CYCLE + 6));
        assert_eq!(sequence.place(20_001), Place::Astray);
        assert_eq!(sequence.place(20_002), Place::Restarted);
    }
}
