//! One REGISTER on its way through the box.

use std::net::IpAddr;
use std::time::Instant;

use crate::id::FlowId;
use crate::message::Request;
use crate::reach::Hop;
use crate::transaction::{ClientTransactionId, ServerTransactionId};

use super::asked::Asked;
use super::on_behalf::Proving;
use super::security::Offer;

/// A REGISTER that has no final answer yet.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) origin: Origin,
    pub(super) asked: Asked,
    pub(super) sent: Option<Sent>,
    /// Where it was sent before, in vain.
    pub(super) tried: Vec<Hop>,
    /// Whether the interval was raised once already (423).
    pub(super) is_raised: bool,
    /// Whether it was begun anew without the associations that stood.
    pub(super) is_anew: bool,
    /// What its last challenge says of security.
    pub(super) offer: Option<Offer>,
    /// How far the box is with proving it, if that is the box's to do.
    pub(super) proving: Proving,
    /// When the endpoint, the name service or the core has taken too long.
    pub(super) give_up_at: Instant,
    /// It waits for its turn until then.
    pub(super) not_before: Option<Instant>,
}

/// Whose wish it is.
#[derive(Debug)]
pub(super) enum Origin {
    /// A browser's.
    Browser {
        flow: FlowId,
        /// The address that the connection comes from.
        source: Option<IpAddr>,
        transaction: ServerTransactionId,
        request: Box<Request>,
    },
    /// The box's own: it keeps a user registered.
    Refresh,
    /// The box's own: the browser is away and will not come back.
    Farewell,
}

/// A REGISTER that the core has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) transaction: ClientTransactionId,
    pub(super) to: Hop,
}

impl Attempt {
    /// When it wants to be woken.
    pub(super) fn deadline(&self) -> Instant {
        self.not_before.unwrap_or(self.give_up_at)
    }

    /// Where a browser's credentials came from, if it sent any.
    pub(super) fn credentials_from(&self) -> Option<(FlowId, IpAddr)> {
        match self.origin {
            Origin::Browser {
                flow,
                source: Some(source),
                ..
            } if self.asked.nonce.is_some() => Some((flow, source)),
            Origin::Browser { .. } | Origin::Refresh | Origin::Farewell => None,
        }
    }

    /// The connection that waits for the answer.
    pub(super) fn flow(&self) -> Option<FlowId> {
        match self.origin {
            Origin::Browser { flow, .. } => Some(flow),
            Origin::Refresh | Origin::Farewell => None,
        }
    }
}
