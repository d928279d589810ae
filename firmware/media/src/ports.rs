//! The shell's store of IMS port pairs, as the relays see it.

use iq::ImsAddress;

/// A port pair's place in the shell's store: a small number, counted from 0, that is
/// given out again after its release. Relays are found by it as by an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairId(pub u32);

/// One pair that was set aside for a media line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its place.
    pub pair: PairId,
    /// What the IMS side's description says of it.
    pub address: ImsAddress,
}

/// Gives and takes IMS port pairs.
pub trait Ports {
    /// Sets aside one pair per media line, or none at all when there are too few.
    fn reserve(&mut self, lines: u8) -> Option<Vec<Line>>;

    /// Takes a pair back. Outputs of the same command may still name it: a last RTCP
    /// packet that is lost if the shell has closed the socket by then.
    fn release(&mut self, pair: PairId);
}
