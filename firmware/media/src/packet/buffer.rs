//! The slot that holds one datagram from the receive call to the send call.

/// One datagram in a fixed slot, with room before it for a longer header and room
/// behind it for an authentication tag, so that it is edited where it lies.
#[derive(Clone)]
pub struct PacketBuffer {
    slot: [u8; SLOT],
    start: usize,
    len: usize,
}

impl PacketBuffer {
    /// An empty slot.
    #[must_use]
    pub const fn new() -> Self {
        PacketBuffer {
            slot: [0; SLOT],
            start: HEAD_ROOM,
            len: 0,
        }
    }

    /// Where the next datagram is received; tell its length by
    /// [`PacketBuffer::set_received`].
    pub fn space_mut(&mut self) -> &mut [u8] {
        &mut self.slot[HEAD_ROOM..HEAD_ROOM + MAX_DATAGRAM]
    }

    /// Says how much of [`PacketBuffer::space_mut`] was filled.
    pub fn set_received(&mut self, len: usize) {
        self.start = HEAD_ROOM;
        self.len = len.min(MAX_DATAGRAM);
    }

    /// Replaces what the slot holds; what is longer than a slot takes is cut.
    pub fn fill(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(MAX_DATAGRAM);
        self.space_mut()[..len].copy_from_slice(&bytes[..len]);
        self.set_received(len);
    }

    /// The datagram.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.slot[self.start..self.start + self.len]
    }

    /// The datagram, to be edited.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.slot[self.start..self.start + self.len]
    }

    /// Octets held.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is held.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The datagram and the free room behind it, for what grows in place. The caller
    /// says the new length by [`PacketBuffer::set_len`].
    pub fn with_tail_mut(&mut self) -> &mut [u8] {
        &mut self.slot[self.start..]
    }

    /// Cuts or grows the datagram at its end; never beyond the slot.
    pub fn set_len(&mut self, len: usize) {
        self.len = len.min(SLOT - self.start);
    }

    /// Moves the beginning of the datagram forward, dropping its first octets.
    pub fn drop_front(&mut self, octets: usize) {
        let octets = octets.min(self.len);
        self.start += octets;
        self.len -= octets;
    }

    /// Moves the beginning of the datagram back into the head room; false, and
    /// nothing done, when there is not that much.
    #[must_use]
    pub fn grow_front(&mut self, octets: usize) -> bool {
        if octets > self.start {
            return false;
        }
        self.start -= octets;
        self.len += octets;
        true
    }
}

impl Default for PacketBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for PacketBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PacketBuffer({} octets)", self.len)
    }
}

/// Octets of a slot.
const SLOT: usize = 2048;
/// Room before a received datagram.
const HEAD_ROOM: usize = 64;
/// The longest datagram that is taken; what is left of the slot is room for a tag.
pub const MAX_DATAGRAM: usize = SLOT - HEAD_ROOM - TAIL_ROOM;
/// Room behind a received datagram: an SRTCP index and the longest tag, twice over.
const TAIL_ROOM: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_cut_and_grown_at_both_ends_in_place() {
        let mut packet = PacketBuffer::new();
        packet.fill(b"0123456789");

        packet.drop_front(4);
        assert_eq!(packet.bytes(), b"456789");
        assert!(packet.grow_front(2));
        assert_eq!(packet.bytes(), b"23456789");
        packet.set_len(3);
        assert_eq!(packet.bytes(), b"234");
        assert!(!packet.grow_front(1000));
    }

    #[test]
    fn no_length_reaches_beyond_the_slot() {
        let mut packet = PacketBuffer::new();
        packet.fill(&[7; 4000]);
        assert_eq!(packet.len(), MAX_DATAGRAM);
        packet.set_len(usize::MAX);
        assert_eq!(packet.len(), SLOT - HEAD_ROOM);
        packet.drop_front(usize::MAX);
        assert!(packet.is_empty());
    }
}
