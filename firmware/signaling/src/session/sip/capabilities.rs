//! What the box can do on a leg, and what it lets a peer demand there: Allow, Supported
//! and Require, RFC 3261 §20.5, §20.32 and §20.37.

use iq::Leg;

use crate::config::{PreconditionPolicy, ServiceConfig};
use crate::message::{HeaderName, Headers, StatusCode};
use crate::sdp::PreconditionUse;
use crate::session::leg::Final;

/// What the box can do on one leg.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capabilities {
    leg: Leg,
    preconditions: PreconditionPolicy,
    takes_refer: bool,
}

impl Capabilities {
    /// As the user's network has it.
    pub(super) fn of(leg: Leg, services: &ServiceConfig) -> Self {
        Capabilities {
            leg,
            // A browser refers its own calls; who may refer a browser is the operator's choice.
            takes_refer: leg == Leg::Access || services.refer_from_ims,
            preconditions: match leg {
                Leg::Access => PreconditionPolicy::None,
                Leg::Ims => services.preconditions,
            },
        }
    }

    /// Says so in a message. No reliable provisional responses are asked of a browser: its
    /// connection loses nothing.
    pub(super) fn write(&self, headers: &mut Headers) {
        headers.push(HeaderName::Allow, self.allow());
        headers.push(
            HeaderName::Supported,
            match (self.leg, self.preconditions) {
                (Leg::Access, _) => "timer, replaces",
                (Leg::Ims, PreconditionPolicy::Offer) => {
                    "100rel, timer, replaces, 199, precondition"
                }
                (Leg::Ims, _) => "100rel, timer, replaces, 199",
            },
        );
    }

    /// The methods that are taken inside a call.
    pub(super) fn allow(&self) -> &'static str {
        if self.takes_refer {
            "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, INFO, OPTIONS, NOTIFY, MESSAGE, REFER"
        } else {
            "INVITE, ACK, BYE, CANCEL, PRACK, UPDATE, INFO, OPTIONS, NOTIFY, MESSAGE"
        }
    }

    /// Whether the peer may refer the other side to somebody.
    pub(super) fn takes_refer(&self) -> bool {
        self.takes_refer
    }

    /// Every extension that is demanded must be known, RFC 3261 §8.2.2.3.
    pub(super) fn check(&self, headers: &Headers) -> Result<(), Final> {
        let required = headers
            .require()
            .map_err(|_| Final::new(StatusCode::BAD_REQUEST))?;
        let unknown: Vec<String> = required
            .iter()
            .filter(|tag| !self.knows(tag.0.as_str()))
            .map(ToString::to_string)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let mut refusal = Final::new(StatusCode::BAD_EXTENSION);
        refusal
            .headers
            .push(HeaderName::Unsupported, unknown.join(", "));
        Err(refusal)
    }

    fn knows(&self, tag: &str) -> bool {
        let is_precondition = tag.eq_ignore_ascii_case(PRECONDITION);
        (is_precondition && self.preconditions != PreconditionPolicy::None)
            || EXTENSIONS
                .iter()
                .any(|known| tag.eq_ignore_ascii_case(known))
    }

    /// What the box's own INVITE does about preconditions.
    pub(super) fn precondition_use(&self) -> PreconditionUse {
        match self.preconditions {
            PreconditionPolicy::Offer => PreconditionUse::Offered,
            PreconditionPolicy::None | PreconditionPolicy::Answer => PreconditionUse::Ignored,
        }
    }

    /// Whether the peer's INVITE speaks of preconditions and the box answers to them.
    pub(super) fn uses_preconditions(&self, invite: &Headers) -> bool {
        self.preconditions != PreconditionPolicy::None
            && [HeaderName::Require, HeaderName::Supported]
                .iter()
                .any(|name| invite.lists_token(name, PRECONDITION))
    }
}

/// The option tag, RFC 3312 §11.
pub(super) const PRECONDITION: &str = "precondition";

/// What a peer may demand on either leg.
const EXTENSIONS: [&str; 4] = ["100rel", "timer", "replaces", "norefersub"];
