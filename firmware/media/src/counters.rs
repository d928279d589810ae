//! What this plane counts: one documented field a line, read by the shell.

use serde::{Deserialize, Serialize};

use crate::Discard;

iq::counters! {
    /// Figures of one worker since its start.
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct Counters {
        /// RTP packets passed from one leg to the other.
        pub forwarded: u64,
        /// Key presses heard in telephone-event packets (RFC 4733).
        pub dtmf_received: u64,
        /// Key presses played as telephone-event packets.
        pub dtmf_sent: u64,
        /// Compound RTCP packets heard and taken apart.
        pub rtcp_received: u64,
        /// Compound RTCP packets of our own.
        pub rtcp_sent: u64,
        /// Gauge: sessions held now.
        pub sessions: u64,
        /// Connectivity checks answered.
        pub checks_answered: u64,
        /// DTLS handshakes that gave keys to a verified browser.
        pub handshakes_established: u64,
        /// DTLS associations that broke, or took too long.
        pub handshakes_failed: u64,
        /// Browsers whose certificate was not the one that signalling promised.
        pub fingerprint_mismatches: u64,
        /// DTLS associations that the browser closed.
        pub closed_by_browser: u64,
        /// Browsers that were reported lost because their connectivity checks stopped, or
        /// never came.
        pub consents_lost: u64,
        /// Packets thrown away, by reason.
        pub discarded: Discarded,
    }
}

impl Counters {
    /// Counts a packet that was thrown away.
    pub fn discard(&mut self, reason: Discard) {
        *self.discarded.field_mut(reason) += 1;
    }
}

iq::counters! {
    /// Packets thrown away, one field for each [`Discard`].
    #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(default)]
    pub struct Discarded {
        /// Not STUN, DTLS, RTP or RTCP.
        pub unknown_protocol: u64,
        /// Malformed packet.
        pub malformed: u64,
        /// No session on this port.
        pub no_session: u64,
        /// Source not validated by ICE.
        pub unvalidated_source: u64,
        /// Not the agreed source address.
        pub wrong_source: u64,
        /// Connectivity check does not verify.
        pub bad_check: u64,
        /// Over the handshake budget.
        pub over_budget: u64,
        /// No DTLS association.
        pub no_association: u64,
        /// No verified SRTP keys.
        pub no_keys: u64,
        /// SRTP authentication failed.
        pub bad_tag: u64,
        /// Replayed.
        pub replayed: u64,
        /// Too many sources.
        pub too_many_sources: u64,
        /// Payload type not negotiated.
        pub unknown_payload: u64,
        /// Direction is closed.
        pub not_flowing: u64,
        /// Nowhere to send.
        pub no_destination: u64,
        /// Duplicate packet.
        pub duplicate: u64,
        /// Stray packet of another source.
        pub stray_source: u64,
        /// Replaced by a key press.
        pub replaced_by_dtmf: u64,
        /// SRTP keys are used up.
        pub keys_used_up: u64,
        /// Too many packets a second.
        pub over_rate: u64,
        /// RTCP is off.
        pub rtcp_off: u64,
    }
}

impl iq::Countable for Discarded {
    /// It has figures of its own.
    fn figure(&self) -> Option<u64> {
        None
    }
}

impl Discarded {
    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        Discard::ALL.iter().map(|&reason| self.of(reason)).sum()
    }

    /// The figure of one reason.
    #[must_use]
    pub fn of(&self, reason: Discard) -> u64 {
        match reason {
            Discard::UnknownProtocol => self.unknown_protocol,
            Discard::Malformed => self.malformed,
            Discard::NoSession => self.no_session,
            Discard::UnvalidatedSource => self.unvalidated_source,
            Discard::WrongSource => self.wrong_source,
            Discard::BadCheck => self.bad_check,
            Discard::OverBudget => self.over_budget,
            Discard::NoAssociation => self.no_association,
            Discard::NoKeys => self.no_keys,
            Discard::BadTag => self.bad_tag,
            Discard::Replayed => self.replayed,
            Discard::TooManySources => self.too_many_sources,
            Discard::UnknownPayload => self.unknown_payload,
            Discard::NotFlowing => self.not_flowing,
            Discard::NoDestination => self.no_destination,
            Discard::Duplicate => self.duplicate,
            Discard::StraySource => self.stray_source,
            Discard::ReplacedByDtmf => self.replaced_by_dtmf,
            Discard::KeysUsedUp => self.keys_used_up,
            Discard::OverRate => self.over_rate,
            Discard::RtcpOff => self.rtcp_off,
        }
    }

    fn field_mut(&mut self, reason: Discard) -> &mut u64 {
        match reason {
            Discard::UnknownProtocol => &mut self.unknown_protocol,
            Discard::Malformed => &mut self.malformed,
            Discard::NoSession => &mut self.no_session,
            Discard::UnvalidatedSource => &mut self.unvalidated_source,
            Discard::WrongSource => &mut self.wrong_source,
            Discard::BadCheck => &mut self.bad_check,
            Discard::OverBudget => &mut self.over_budget,
            Discard::NoAssociation => &mut self.no_association,
            Discard::NoKeys => &mut self.no_keys,
            Discard::BadTag => &mut self.bad_tag,
            Discard::Replayed => &mut self.replayed,
            Discard::TooManySources => &mut self.too_many_sources,
            Discard::UnknownPayload => &mut self.unknown_payload,
            Discard::NotFlowing => &mut self.not_flowing,
            Discard::NoDestination => &mut self.no_destination,
            Discard::Duplicate => &mut self.duplicate,
            Discard::StraySource => &mut self.stray_source,
            Discard::ReplacedByDtmf => &mut self.replaced_by_dtmf,
            Discard::KeysUsedUp => &mut self.keys_used_up,
            Discard::OverRate => &mut self.over_rate,
            Discard::RtcpOff => &mut self.rtcp_off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_under_its_own_name() {
        let mut counters = Counters::default();
        for (times, &reason) in Discard::ALL.iter().enumerate() {
            for _ in 0..times {
                counters.discard(reason);
            }
        }
        for (times, &reason) in Discard::ALL.iter().enumerate() {
            assert_eq!(counters.discarded.of(reason), times as u64);
        }
        let reasons = Discard::ALL.len() as u64;
        assert_eq!(counters.discarded.total(), reasons * (reasons - 1) / 2);
    }
}
