//! Who may be referred to, and dialogs that are named across the box: REFER (RFC 3515) and
//! Replaces (RFC 3891). Each side knows a call by identifiers of its own leg.

use iq::{Leg, SessionId};

use crate::Signaling;
use crate::calls::dialled;
use crate::message::headers::Replaces;
use crate::message::{HeaderName, NameAddr, Request, SipUri, Uri};
use crate::registration::{Binding, BindingId};
use crate::rejection::Rejection;
use crate::transaction::{Peer, ServerTransactionId};

impl Signaling {
    /// Rewrites Refer-To as the other side knows the target, and the dialog that it may
    /// replace. A browser may refer to whom it may call.
    pub(crate) fn translate_referral(
        &mut self,
        peer: &Peer,
        binding: BindingId,
        refer: &mut Request,
    ) -> Result<(), Rejection> {
        let malformed = || Rejection::Malformed(HeaderName::ReferTo);
        let binding = self.registrations.get(binding).ok_or(Rejection::NoDialog)?;
        let target = refer.headers.refer_to()?.ok_or_else(malformed)?.0;
        let sip = target.uri.as_sip();
        let method = sip.and_then(|uri| uri.param("method"));
        if method.is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
            return Err(malformed());
        }
        if !matches!(target.uri, Uri::Sip(_) | Uri::Tel(_)) {
            return Err(Rejection::UnsupportedScheme);
        }
        let replaces = sip.and_then(|uri| uri.header("Replaces"));
        let replaces = match replaces.as_deref().map(parse_replaces) {
            Some(None) => return Err(malformed()),
            Some(Some(replaces)) => Some(replaces),
            None => None,
        };
        let uri = match (peer, replaces) {
            (Peer::Flow(_), None) => {
                let uri = dialled(&target.uri)?;
                self.link.may_call(binding, &uri)?;
                uri
            }
            (Peer::Flow(_), Some(replaces)) => {
                let (call, _) = self
                    .own_call(peer, Leg::Access, &replaces)
                    .ok_or(Rejection::NoDialog)?;
                let (replaces, uri) = self
                    .sessions
                    .far_end(call, Leg::Ims)
                    .ok_or(Rejection::NoDialog)?;
                replacing(&uri, &replaces)?
            }
            (Peer::Ims { .. }, None) => self.shown(&target.uri, binding),
            (Peer::Ims { .. }, Some(replaces)) => {
                // A dialog of this browser's is named as the browser knows it; any other
                // goes back to the core as it came.
                let own = self.own_call(peer, Leg::Ims, &replaces);
                let own = own.and_then(|(call, _)| self.sessions.far_end(call, Leg::Access));
                let replaces = own.map_or(replaces, |(replaces, _)| replaces);
                replacing(&self.shown(&target.uri, binding), &replaces)?
            }
        };
        let refer_to = NameAddr::new(uri).to_string();
        refer.headers.replace(HeaderName::ReferTo, refer_to);
        self.link.counters.referrals += 1;
        Ok(())
    }

    /// An INVITE with Replaces. None if nobody here has such a dialog.
    pub(crate) fn take_replacement(
        &mut self,
        peer: &Peer,
        leg: Leg,
        transaction: ServerTransactionId,
        invite: &Request,
    ) -> Option<Result<(), Rejection>> {
        let replaces = match invite.headers.replaces() {
            Ok(replaces) => replaces?,
            Err(error) => return Some(Err(error.into())),
        };
        let (call, _) = self.own_call(peer, leg, &replaces)?;
        if replaces.is_early_only() {
            return Some(Err(Rejection::AlreadyAnswered)); // RFC 3891 §3.
        }
        let (link, registrations) = (&mut self.link, &self.registrations);
        let verdict =
            self.sessions
                .replace(call, leg, transaction, invite.clone(), link, registrations);
        Some(verdict.map_err(|status| match status {
            crate::message::StatusCode::CALL_OR_TRANSACTION_DOES_NOT_EXIST => Rejection::NoDialog,
            _ => Rejection::InProgress,
        }))
    }

    /// A call of the user behind this peer.
    fn own_call(
        &self,
        peer: &Peer,
        leg: Leg,
        replaces: &Replaces,
    ) -> Option<(SessionId, BindingId)> {
        let found = self.sessions.find_replaced(leg, replaces)?;
        let binding: Option<&Binding> = self.registrations.get(found.1);
        self.is_own(peer, binding).then_some(found)
    }
}

fn parse_replaces(text: &str) -> Option<Replaces> {
    use crate::message::headers::Typed as _;
    let replaces = Replaces::parse(text)?;
    (replaces.to_tag().is_some() && replaces.from_tag().is_some()).then_some(replaces)
}

/// A target with the dialog that a call to it takes the place of.
fn replacing(uri: &Uri, replaces: &Replaces) -> Result<Uri, Rejection> {
    let sip: &SipUri = uri.as_sip().ok_or(Rejection::UnsupportedScheme)?;
    Ok(sip.with_header("Replaces", &replaces.to_string()).into())
}
