//! The offers and answers of both legs of a call, RFC 3264: what each side was told,
//! what it said, and what media is to do about it.
//!
//! One description may be open on each leg; [`couple`](super::couple) knows which leg
//! waits for which.

use std::collections::BTreeMap;

use iq::{Configure, Flow, Leg, PayloadFormat, Reserved, SessionId};
use serde::{Deserialize, Serialize};

use super::early_media::Fork;
use super::hold::{self, Directions};
use super::leg::{Final, Sdp};
use super::reason;
use crate::message::StatusCode;
use crate::sdp::{
    self, AccessDescription, AccessSide, Agreed, Audio, Changes, CodecPolicy, Description,
    Direction, Format, ImsDescription, ImsSide, Part, PreconditionUse, SdpError,
};

/// Both SDP sessions of a call.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Negotiation {
    /// The operator's, and so not kept with a call.
    #[serde(skip)]
    policy: CodecPolicy,
    preconditions: PreconditionUse,
    access: AccessSide,
    ims: ImsSide,
    directions: Directions,
    reserved: Option<Reserved>,
    /// Offers of the peers that wait for the box's answer.
    #[serde(skip)]
    access_offer: Option<AccessDescription>,
    #[serde(skip)]
    ims_offer: Option<ImsDescription>,
    /// The called side as it was when it was invited: each fork answers anew.
    #[serde(skip)]
    invited: Option<End>,
    /// Forks of the called side that have answered and are not the one in force.
    #[serde(skip)]
    forks: BTreeMap<Fork, End>,
    /// The fork in force.
    #[serde(skip)]
    heard: Option<Fork>,
}

/// The box's end of the SDP session with one dialog of a leg.
#[derive(Clone, Debug)]
pub(super) struct End {
    side: Side,
    wish: hold::Side,
}

#[derive(Clone, Debug)]
enum Side {
    Access(Box<AccessSide>),
    Ims(Box<ImsSide>),
}

impl Negotiation {
    /// Nothing said yet; the random numbers name the SDP sessions.
    #[must_use]
    pub(super) fn new(
        policy: CodecPolicy,
        random: [u64; 2],
        preconditions: PreconditionUse,
    ) -> Self {
        Negotiation {
            policy,
            access: AccessSide::new(random[0]),
            ims: ImsSide::new(random[1]).with_preconditions(preconditions),
            preconditions,
            directions: Directions::default(),
            reserved: None,
            access_offer: None,
            ims_offer: None,
            invited: None,
            forks: BTreeMap::new(),
            heard: None,
        }
    }

    /// A kept one under the operator's present settings.
    #[must_use]
    pub(super) fn with_policy(self, policy: CodecPolicy) -> Self {
        Negotiation { policy, ..self }
    }

    /// Whether a kept one can be gone on with.
    #[must_use]
    pub(super) fn is_sound(&self) -> bool {
        let has_transports = self.reserved.as_ref().is_some_and(|it| !it.ims.is_empty());
        has_transports && self.access.is_sound() && self.ims.is_sound()
    }

    /// The box's transports are known, or changed.
    pub(super) fn reserved(&mut self, reserved: Reserved) {
        self.reserved = Some(reserved);
    }

    /// Who wishes to send and to receive; kept to go back to it.
    #[must_use]
    pub(super) fn directions(&self) -> Directions {
        self.directions
    }

    /// A peer offers.
    ///
    /// # Errors
    ///
    /// The final response that says why it cannot be.
    pub(super) fn offered(&mut self, leg: Leg, offer: &Sdp) -> Result<Changes, Final> {
        let description = sdp::parse(&offer.0).map_err(refusal)?;
        let (changes, direction) = match leg {
            Leg::Access => {
                let offer = AccessDescription::read(&description, Part::Offer).map_err(refusal)?;
                let changes = self.access.changes(&offer);
                let direction = offer.audio.direction;
                self.access_offer = Some(offer);
                (changes, direction)
            }
            Leg::Ims => {
                let offer = ImsDescription::read(&description, Part::Offer).map_err(refusal)?;
                let changes = self.ims.changes(&offer);
                let direction = offer.audio.direction;
                self.ims_offer = Some(offer);
                (changes, direction)
            }
        };
        self.directions.offered(leg, flow(direction.reversed()));
        Ok(changes)
    }

    /// Goes back to what was wished before an offer that came to nothing.
    pub(super) fn forget_offer(&mut self, leg: Leg, before: Directions) {
        match leg {
            Leg::Access => self.access_offer = None,
            Leg::Ims => self.ims_offer = None,
        }
        self.directions = before;
    }

    /// Whether the IMS side has said that its segment is not ready yet, and that nobody
    /// shall be alerted before it is (RFC 3312 §6).
    #[must_use]
    pub(super) fn awaits_resources(&self) -> bool {
        let open = self.ims_offer.as_ref();
        let peer = open.or_else(|| self.ims.peer());
        let preconditions = peer.and_then(|peer| peer.audio.preconditions);
        self.preconditions == PreconditionUse::Answered
            && preconditions.is_some_and(|preconditions| !preconditions.are_met())
    }

    /// Whether a peer's offer waits for the box's answer.
    #[must_use]
    pub(super) fn has_offer_of(&self, leg: Leg) -> bool {
        match leg {
            Leg::Access => self.access_offer.is_some(),
            Leg::Ims => self.ims_offer.is_some(),
        }
    }

    /// Writes the box's offer on a leg.
    ///
    /// # Errors
    ///
    /// When the box has no transport, or the sides have no codec in common.
    pub(super) fn offer(&mut self, leg: Leg) -> Result<Sdp, Final> {
        let reserved = self.reserved.as_ref().ok_or_else(internal)?;
        let audio = Audio {
            formats: self.formats_to_offer(leg),
            direction: direction(self.directions.offer(leg)),
        };
        if !audio.formats.iter().copied().any(is_codec) {
            return Err(refusal(SdpError::NoCommonCodec));
        }
        let bytes = match leg {
            Leg::Access => self.access.offer(&audio, &reserved.access),
            Leg::Ims => {
                let address = *reserved.ims.first().ok_or_else(internal)?;
                self.ims.offer(&audio, address)
            }
        };
        Ok(Sdp(bytes))
    }

    /// Writes the box's first offer to the called side, which each fork of the call will
    /// answer for itself.
    ///
    /// # Errors
    ///
    /// When the box has no transport, or the sides have no codec in common.
    pub(super) fn invite(&mut self, leg: Leg) -> Result<Sdp, Final> {
        let offer = self.offer(leg)?;
        self.invited = Some(self.end(leg));
        Ok(offer)
    }

    /// Forgets the box's offer on a leg, which was turned down.
    pub(super) fn offer_rejected(&mut self, leg: Leg) {
        match leg {
            Leg::Access => self.access.abandon_offer(),
            Leg::Ims => self.ims.abandon_offer(),
        }
    }

    /// Takes a peer's answer to the box's offer.
    ///
    /// # Errors
    ///
    /// When it does not fit the offer.
    pub(super) fn answered(&mut self, leg: Leg, answer: &Sdp) -> Result<(), Final> {
        let description = sdp::parse(&answer.0).map_err(refusal)?;
        self.take_answer(leg, &description).map_err(refusal)
    }

    /// Takes the answer of one fork of the called side. The first of a fork counts
    /// (RFC 3261 §13.2.1); it is in force once the fork is [heard](Negotiation::hear).
    ///
    /// # Errors
    ///
    /// When it does not fit the offer.
    pub(super) fn fork_answered(
        &mut self,
        leg: Leg,
        fork: Fork,
        answer: &Sdp,
    ) -> Result<(), Final> {
        if self.heard == Some(fork) || self.forks.contains_key(&fork) {
            return Ok(());
        }
        let description = sdp::parse(&answer.0).map_err(refusal)?;
        let invited = self.invited.clone().ok_or_else(internal)?;
        let in_force = self.replace(invited);
        let verdict = self.take_answer(leg, &description);
        let end = self.replace(in_force);
        verdict.map_err(refusal)?;
        self.forks.insert(fork, end);
        Ok(())
    }

    /// Puts a fork's answer in force. No if it has not answered.
    pub(super) fn hear(&mut self, fork: Fork) -> bool {
        if self.heard == Some(fork) {
            return true;
        }
        let Some(end) = self.forks.remove(&fork) else {
            return false;
        };
        let before = self.replace(end);
        if let Some(heard) = self.heard.replace(fork) {
            self.forks.insert(heard, before);
        }
        true
    }

    /// The fork whose answer is in force.
    #[must_use]
    pub(super) fn heard(&self) -> Option<Fork> {
        self.heard
    }

    /// Begins an SDP session anew on a leg, for a dialog that takes another's place; gives
    /// what there was.
    pub(super) fn renew(&mut self, leg: Leg, random: u64) -> End {
        let side = match leg {
            Leg::Access => Side::Access(Box::new(AccessSide::new(random))),
            Leg::Ims => Side::Ims(Box::new(ImsSide::new(random))),
        };
        let wish = hold::Side::default();
        self.replace(End { side, wish })
    }

    /// Goes back to what [`Negotiation::renew`] gave.
    pub(super) fn put_back(&mut self, end: End) {
        match &end.side {
            Side::Access(_) => self.access_offer = None,
            Side::Ims(_) => self.ims_offer = None,
        }
        self.replace(end);
    }

    /// A fork has won the call: the others are of no interest any more.
    pub(super) fn forget_forks(&mut self) {
        self.forks.clear();
        self.invited = None;
    }

    fn end(&self, leg: Leg) -> End {
        let side = match leg {
            Leg::Access => Side::Access(Box::new(self.access.clone())),
            Leg::Ims => Side::Ims(Box::new(self.ims.clone())),
        };
        let wish = *self.directions.side(leg);
        End { side, wish }
    }

    fn replace(&mut self, end: End) -> End {
        let (leg, side) = match end.side {
            Side::Access(side) => {
                let before = std::mem::replace(&mut self.access, *side);
                (Leg::Access, Side::Access(Box::new(before)))
            }
            Side::Ims(side) => {
                let before = std::mem::replace(&mut self.ims, *side);
                (Leg::Ims, Side::Ims(Box::new(before)))
            }
        };
        let wish = self.directions.replace(leg, end.wish);
        End { side, wish }
    }

    fn take_answer(&mut self, leg: Leg, description: &Description) -> Result<(), SdpError> {
        let agreed = match leg {
            Leg::Access => {
                let answer = AccessDescription::read(description, Part::Answer)?;
                self.access.handle_answer(answer)?;
                self.access.agreed()
            }
            Leg::Ims => {
                let answer = ImsDescription::read(description, Part::Answer)?;
                self.ims.handle_answer(answer)?;
                self.ims.agreed()
            }
        };
        if let Some(agreed) = agreed {
            let (said, heard) = (flow(agreed.local), flow(agreed.remote.reversed()));
            self.directions.answered(leg, said, heard);
        }
        Ok(())
    }

    /// Writes the box's answer to a peer's offer.
    ///
    /// # Errors
    ///
    /// When there is no offer, no transport, or no codec in common.
    pub(super) fn answer(&mut self, leg: Leg) -> Result<Sdp, Final> {
        let reserved = self.reserved.as_ref().ok_or_else(internal)?;
        let direction = direction(self.directions.answer(leg));
        let bytes = match leg {
            Leg::Access => {
                let offer = self.access_offer.take().ok_or_else(internal)?;
                let formats = self.formats_to_answer(leg, &offer.audio.formats);
                let audio = Audio { formats, direction };
                self.access.answer(&offer, &audio, &reserved.access)
            }
            Leg::Ims => {
                let address = *reserved.ims.first().ok_or_else(internal)?;
                let offer = self.ims_offer.take().ok_or_else(internal)?;
                // Telephones expect one codec in an answer.
                let formats = sdp::single(&self.formats_to_answer(leg, &offer.audio.formats));
                let audio = Audio { formats, direction };
                self.ims.answer(&offer, &audio, address)
            }
        };
        let bytes = bytes.map_err(refusal)?;
        self.directions.settle(leg);
        Ok(Sdp(bytes))
    }

    /// Whether what is agreed on a leg no longer fits what is known of the other one.
    #[must_use]
    pub(super) fn is_stale(&self, leg: Leg) -> bool {
        let Some(agreed) = self.agreed(leg) else {
            return false;
        };
        if self.directions.is_stale(leg) {
            return true;
        }
        let in_use = names(agreed);
        match self.formats_of_peer(leg.other()) {
            Some(other) => !in_use
                .iter()
                .any(|format| is_codec(*format) && other.contains(format)),
            None => false,
        }
    }

    /// What flows between the box and a side.
    #[must_use]
    pub(super) fn agreed_flow(&self, leg: Leg) -> Flow {
        self.agreed(leg).map_or(Flow::NONE, Agreed::flow)
    }

    /// What media is to do; nothing before it has set transports aside.
    #[must_use]
    pub(super) fn configure(&self, session: SessionId) -> Option<Configure> {
        self.reserved.as_ref()?;
        let offered = self.access_offer.as_ref();
        Some(Configure {
            session,
            access: self
                .access
                .remote()
                .cloned()
                .or_else(|| offered.map(|offer| self.access.remote_of(offer))),
            lines: sdp::lines(&self.access, &self.ims),
        })
    }

    /// The codec that both legs speak.
    #[must_use]
    pub(super) fn codec(&self) -> Option<PayloadFormat> {
        let lines = sdp::lines(&self.access, &self.ims);
        let payloads = lines.first().map(|line| line.payloads.as_slice());
        payloads
            .unwrap_or_default()
            .iter()
            .map(|payload| payload.format)
            .find(|format| is_codec(*format))
    }

    /// What a leg is offered: what it uses already, as far as the other side can go on
    /// with it; else all that the other side can do; all there is if nothing is known.
    fn formats_to_offer(&self, leg: Leg) -> Vec<PayloadFormat> {
        let Some(other) = self.formats_of_peer(leg.other()) else {
            return self.policy.everything();
        };
        let mut kept = self.agreed(leg).map(names).unwrap_or_default();
        kept.retain(|format| other.contains(format));
        if kept.iter().copied().any(is_codec) {
            return kept;
        }
        let mut formats = self.policy.everything();
        formats.retain(|format| other.contains(format));
        formats
    }

    /// What an offer is answered with: of it, what the other side agreed on, in that
    /// order; the operator's order if the other side has not agreed on anything yet.
    fn formats_to_answer(&self, leg: Leg, offered: &[Format]) -> Vec<PayloadFormat> {
        match self.agreed(leg.other()).map(names) {
            Some(mut formats) => {
                formats.retain(|name| offered.iter().any(|format| format.format == *name));
                formats
            }
            None => self.policy.of(offered),
        }
    }

    /// What a peer can do: its open offer says it, else what was agreed with it.
    fn formats_of_peer(&self, leg: Leg) -> Option<Vec<PayloadFormat>> {
        let offered = match leg {
            Leg::Access => self.access_offer.as_ref().map(|offer| &offer.audio.formats),
            Leg::Ims => self.ims_offer.as_ref().map(|offer| &offer.audio.formats),
        };
        match offered {
            Some(formats) => Some(formats.iter().map(|format| format.format).collect()),
            None => self.agreed(leg).map(names),
        }
    }

    fn agreed(&self, leg: Leg) -> Option<&Agreed> {
        match leg {
            Leg::Access => self.access.agreed(),
            Leg::Ims => self.ims.agreed(),
        }
    }
}

fn names(agreed: &Agreed) -> Vec<PayloadFormat> {
    agreed.formats.iter().map(|format| format.format).collect()
}

fn is_codec(format: PayloadFormat) -> bool {
    format != PayloadFormat::TelephoneEvent
}

/// A direction of the box's own as a flow.
fn flow(direction: Direction) -> Flow {
    Flow {
        send: direction.sends(),
        receive: direction.receives(),
    }
}

fn direction(flow: Flow) -> Direction {
    Direction::new(flow.send, flow.receive)
}

/// A description that cannot be taken, as a final response with a Warning.
fn refusal(error: SdpError) -> Final {
    let status = StatusCode::new(error.status_code()).expect("a status code from 400 to 488");
    let mut refusal = Final::new(status);
    reason::warn(
        &mut refusal.headers,
        error.warning_code(),
        &error.to_string(),
    );
    refusal
}

fn internal() -> Final {
    Final::new(StatusCode::SERVER_INTERNAL_ERROR)
}
