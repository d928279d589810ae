//! What makes two messages belong to one transaction, RFC 3261 §17.1.3 and §17.2.3.

use std::collections::BTreeMap;

use super::Peer;
use crate::id::{EndpointId, FlowId};
use crate::message::headers::Via;
use crate::message::{HeaderName, Headers, Method, Request, Response};

/// Where a transaction lives: nobody can touch it from another flow or endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scope {
    Flow(FlowId),
    Endpoint(EndpointId),
}

impl Scope {
    /// `homes` says of endpoints that belong to another one which that is.
    pub(super) fn of(peer: &Peer, homes: &BTreeMap<EndpointId, EndpointId>) -> Self {
        match peer {
            Peer::Flow(flow) => Scope::Flow(*flow),
            Peer::Ims { endpoint, .. } => Scope::Endpoint(*homes.get(endpoint).unwrap_or(endpoint)),
        }
    }
}

/// Names a client transaction on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClientKey {
    scope: Scope,
    branch: Box<str>,
    method: Method,
}

impl ClientKey {
    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    pub(super) fn of_request(scope: Scope, request: &Request) -> Option<Self> {
        let via = request.headers.via().ok()?;
        Some(ClientKey {
            scope,
            branch: via.branch()?.into(),
            method: request.method.clone(),
        })
    }

    pub(super) fn of_response(scope: Scope, response: &Response) -> Option<Self> {
        let via = response.headers.via().ok()?;
        Some(ClientKey {
            scope,
            branch: via.branch()?.into(),
            method: response.headers.cseq().ok()?.method,
        })
    }
}

/// Names a server transaction on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ServerKey {
    scope: Scope,
    /// The branch; for peers older than RFC 3261, what they have instead.
    branch: Box<str>,
    sent_by: Box<str>,
    method: Method,
}

impl ServerKey {
    pub(super) fn scope(&self) -> Scope {
        self.scope
    }

    /// The transaction of a request; of an ACK, that of its INVITE.
    pub(super) fn of(scope: Scope, request: &Request, via: &Via) -> Self {
        let method = match request.method {
            Method::Ack => Method::Invite,
            ref method => method.clone(),
        };
        let branch = if via.has_magic_cookie() {
            via.branch().unwrap_or_default().into()
        } else {
            old_branch(request, via).into()
        };
        let port = via.port.map(|port| format!(":{port}")).unwrap_or_default();
        ServerKey {
            scope,
            branch,
            sent_by: format!("{}{port}", via.host).into(),
            method,
        }
    }

    /// The INVITE that a CANCEL with this key is about, RFC 3261 §9.2.
    pub(super) fn invite(&self) -> Self {
        ServerKey {
            method: Method::Invite,
            ..self.clone()
        }
    }
}

/// RFC 3261 §17.2.3 without a magic cookie: Request-URI, From tag, Call-ID, number of
/// CSeq and topmost Via. The To tag is left out, as an ACK has another than its INVITE.
fn old_branch(request: &Request, via: &Via) -> String {
    let value = |headers: &Headers, name| {
        let text = headers.text(name).unwrap_or_default();
        text.to_owned()
    };
    let from = request.headers.from().ok();
    format!(
        "{} {} {} {} {}",
        request.uri,
        from.as_ref().and_then(|from| from.tag()).unwrap_or(""),
        value(&request.headers, &HeaderName::CallId),
        request.headers.cseq().map_or(0, |cseq| cseq.number),
        via.branch().unwrap_or_default(),
    )
}
