//! The box's end of an SDP session, as far as it is the same on both legs: what
//! offer/answer obliges it to remember. RFC 3264, RFC 3261 §14.

use serde::{Deserialize, Serialize};

use super::codecs::{self, Format};
use super::error::SdpError;
use super::interwork::{Agreed, Audio, Changes, answer_direction};
use super::model::Direction;
use super::slot::{self, SlotLine};
use super::write::Origin;

/// The box's end of the SDP session of one dialog: [`AccessSide`](super::AccessSide)
/// or [`ImsSide`](super::ImsSide), told apart by the description that the `Peer`
/// writes, the `Words` that only this leg's descriptions have, and what the box
/// keeps of its `Own` there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Side<Peer, Words, Own> {
    pub(super) origin: Origin,
    pub(super) own: Own,
    slots: Vec<SlotLine>,
    carried: Option<usize>,
    /// The offer of ours that waits for its answer.
    #[serde(skip, default = "Option::default")]
    pending: Option<Written<Words>>,
    local: Option<Written<Words>>,
    peer: Option<Peer>,
    agreed: Option<Agreed>,
}

/// The audio of a description that the box wrote.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Written<Words> {
    pub(super) position: usize,
    pub(super) slots: Vec<SlotLine>,
    pub(super) formats: Vec<Format>,
    pub(super) direction: Direction,
    pub(super) words: Words,
}

/// A description of a peer's, read for what the box carries.
pub trait PeerDescription {
    /// Every media line, by position.
    fn lines(&self) -> &[SlotLine];
    /// The position of the audio line that is carried.
    fn position(&self) -> usize;
    /// The formats of that line that the box knows, in the peer's order.
    fn formats(&self) -> &[Format];
    /// The peer's direction.
    fn direction(&self) -> Direction;
    /// How this differs from the description in force.
    fn changes(&self, in_force: &Self) -> Changes;
}

impl<Peer: PeerDescription, Words: Clone, Own> Side<Peer, Words, Own> {
    /// Starts an SDP session; the random number names it.
    #[must_use]
    pub fn new(random: u64) -> Self
    where
        Own: Default,
    {
        Side {
            origin: Origin::new(random),
            own: Own::default(),
            slots: Vec::new(),
            carried: None,
            pending: None,
            local: None,
            peer: None,
            agreed: None,
        }
    }

    /// Forgets an offer that was refused; what was agreed before stands.
    /// RFC 3261 §14.1.
    pub fn abandon_offer(&mut self) {
        self.pending = None;
    }

    /// Whether a side that was written down and read back names lines that it has.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let has = |position: usize| position < self.slots.len();
        let local = self.local.as_ref();
        self.carried.is_none_or(has) && local.is_none_or(|local| has(local.position))
    }

    /// Whether an offer of ours waits for its answer.
    #[must_use]
    pub fn has_open_offer(&self) -> bool {
        self.pending.is_some()
    }

    /// What is agreed, if anything is yet.
    #[must_use]
    pub fn agreed(&self) -> Option<&Agreed> {
        self.agreed.as_ref()
    }

    /// The peer's description that is in force.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// What the box said of itself last: the way to write the same again, for a
    /// session refresh, an answer to an ICE restart, or an answer to a re-INVITE
    /// that concerns nobody else.
    #[must_use]
    pub fn current(&self) -> Option<Audio> {
        self.local.as_ref().map(|local| Audio {
            formats: local.formats.iter().map(|format| format.format).collect(),
            direction: local.direction,
        })
    }

    /// What a new offer of the peer changes. Its formats count as changed only when
    /// the codec in use, or the events, are no longer among them.
    #[must_use]
    pub fn changes(&self, offer: &Peer) -> Changes {
        let (Some(in_force), Some(agreed)) = (&self.peer, &self.agreed) else {
            return Changes::everything();
        };
        Changes {
            formats: !agreed.is_still_in(offer.formats()),
            ..offer.changes(in_force)
        }
    }

    /// An offer: numbers once bound to a format stay bound (RFC 3264 §8.3.2), and
    /// every media line keeps its position. `new_line` makes the line if there is
    /// none to offer audio on.
    pub(super) fn offered(
        &self,
        audio: &Audio,
        new_line: impl FnOnce(&[SlotLine]) -> SlotLine,
        words: Words,
    ) -> Written<Words> {
        let mut slots = self.slots.clone();
        let new_line = new_line(&slots);
        let position = slot::place_for_audio(&mut slots, self.carried, new_line);
        let bound = self.local.as_ref().map(|local| local.formats.as_slice());
        Written {
            position,
            slots,
            formats: codecs::numbered(&audio.formats, bound.unwrap_or_default()),
            direction: audio.direction,
            words,
        }
    }

    /// Remembers an offer that was written, until its answer comes.
    pub(super) fn open(&mut self, offer: Written<Words>) {
        self.pending = Some(offer);
    }

    /// Takes the peer's answer to the offer that is open.
    ///
    /// # Errors
    ///
    /// When there is no such offer, or the answer does not fit it; the offer stays
    /// open.
    pub(super) fn close(&mut self, answer: Peer) -> Result<(), SdpError> {
        let Some(offer) = &self.pending else {
            return Err(SdpError::AnswerMismatch("no offer is open"));
        };
        if answer.lines().len() != offer.slots.len() {
            return Err(SdpError::AnswerMismatch("another number of media lines"));
        }
        if answer.position() != offer.position {
            return Err(SdpError::AnswerMismatch("audio on another media line"));
        }
        let agreed = offer.agreed_with(&answer, answer.formats())?;
        if let Some(offer) = self.pending.take() {
            self.settle(offer, answer, agreed);
        }
        Ok(())
    }

    /// An answer to a peer's offer: of its audio line the formats that `audio`
    /// names, under the offer's numbers.
    ///
    /// # Errors
    ///
    /// [`SdpError::NoCommonCodec`] when the offer has no codec that `audio` names.
    pub(super) fn answered(
        &self,
        offer: &Peer,
        audio: &Audio,
        words: Words,
    ) -> Result<(Written<Words>, Agreed), SdpError> {
        let written = Written {
            position: offer.position(),
            slots: offer.lines().to_vec(),
            formats: codecs::numbered_as(offer.formats(), &audio.formats),
            direction: answer_direction(offer.direction(), audio.direction),
            words,
        };
        let agreed = written.agreed_with(offer, &written.formats)?;
        Ok((written, agreed))
    }

    /// Puts both halves of a negotiation in force.
    pub(super) fn settle(&mut self, local: Written<Words>, peer: Peer, agreed: Agreed) {
        self.slots = local.slots.clone();
        self.carried = Some(local.position);
        self.local = Some(local);
        self.peer = Some(peer);
        self.agreed = Some(agreed);
    }
}

impl<Words> Written<Words> {
    fn agreed_with<Peer: PeerDescription>(
        &self,
        peer: &Peer,
        answer: &[Format],
    ) -> Result<Agreed, SdpError> {
        let agreed = Agreed::new(
            (&self.formats, self.direction),
            (peer.formats(), peer.direction()),
            answer,
        );
        if agreed.has_codec() {
            Ok(agreed)
        } else {
            Err(SdpError::NoCommonCodec)
        }
    }
}
