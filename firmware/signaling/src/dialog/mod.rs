//! Dialogs, RFC 3261 §12: what two user agents remember of each other from one
//! request to the next. Beside [`Dialog`] are the rules of its life: reliable
//! provisional responses ([`rel100`], RFC 3262), the answer that is repeated until it
//! is acknowledged ([`answer`], RFC 3261 §13.3.1.4), and session timers
//! ([`session_timer`], RFC 4028).
//!
//! An INVITE that forks makes several dialogs: one value for each To tag.

use serde::{Deserialize, Serialize};

use crate::message::headers::{CSeq, CallId, MaxForwards, Route};
use crate::message::{
    HeaderError, HeaderName, Headers, Method, NameAddr, Request, Response, StatusCode, Uri,
};

pub mod answer;
pub mod rel100;
pub mod session_timer;

#[cfg(test)]
mod tests;

/// One end's view of a dialog. `Debug` hides who takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialog {
    id: DialogId,
    state: State,
    /// Ourselves, with our tag.
    local: NameAddr,
    /// The other end, with its tag.
    remote: NameAddr,
    local_cseq: u32,
    /// None before the first request of the other end.
    remote_cseq: Option<u32>,
    /// In the order in which our requests pass them.
    route_set: Vec<Uri>,
    remote_target: Uri,
    /// Methods that the other end said it takes; none if it never said.
    remote_allows: Option<Vec<Method>>,
}

/// Names a dialog, RFC 3261 §12.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DialogId {
    /// Call-ID.
    pub call_id: CallId,
    /// Our tag.
    pub local_tag: String,
    /// The tag of the other end; empty for one that is older than RFC 3261.
    pub remote_tag: String,
}

impl DialogId {
    /// The dialog of a request that came: To is ours. None if To has no tag, as such
    /// a request starts something new.
    #[must_use]
    pub fn of_request(request: &Request) -> Option<Self> {
        let to = request.headers.to().ok()?;
        let from = request.headers.from().ok()?;
        Some(DialogId {
            call_id: request.headers.call_id().ok()?,
            local_tag: to.tag()?.to_owned(),
            remote_tag: from.tag().unwrap_or_default().to_owned(),
        })
    }

    /// The dialog of a response to our request: From is ours. None if To has no tag.
    #[must_use]
    pub fn of_response(response: &Response) -> Option<Self> {
        let to = response.headers.to().ok()?;
        let from = response.headers.from().ok()?;
        Some(DialogId {
            call_id: response.headers.call_id().ok()?,
            local_tag: from.tag()?.to_owned(),
            remote_tag: to.tag()?.to_owned(),
        })
    }
}

/// How far a dialog is, RFC 3261 §12.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// Made by a provisional response.
    Early,
    /// Made or confirmed by a 2xx.
    Confirmed,
}

/// Why a message does not make a dialog, or does not fit into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialogError {
    /// The peer left something out or broke its grammar.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// CSeq is not higher than that of the last request, RFC 3261 §12.2.2.
    #[error("CSeq out of order")]
    OutOfOrder,
}

impl DialogError {
    /// The answer to a request with this fault.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            DialogError::Header(_) => StatusCode::BAD_REQUEST,
            DialogError::OutOfOrder => StatusCode::SERVER_INTERNAL_ERROR,
        }
    }
}

impl Dialog {
    /// The dialog that a response to our request makes, RFC 3261 §12.1.2. It is early
    /// unless the response is a 2xx.
    ///
    /// # Errors
    /// If the response has no tag in To, or no Contact where it must have one.
    pub fn from_response(request: &Request, response: &Response) -> Result<Self, DialogError> {
        let local = request.headers.from()?;
        let remote = response.headers.to()?;
        let tag = |address: &NameAddr, name| match address.tag() {
            Some(tag) => Ok(tag.to_owned()),
            None => Err(HeaderError::Malformed(name)),
        };
        let id = DialogId {
            call_id: request.headers.call_id()?,
            local_tag: tag(&local, HeaderName::From)?,
            remote_tag: tag(&remote, HeaderName::To)?,
        };
        // RFC 3261 §12.1.1 wants a Contact in what makes a dialog; some gateways leave
        // it out of an 18x, and where the INVITE went is then as good a guess as any.
        let remote_target = match contact(&response.headers)? {
            Some(target) => target,
            None if response.is_provisional() => request.uri.clone(),
            None => return Err(HeaderError::Missing(HeaderName::Contact).into()),
        };
        Ok(Dialog {
            id,
            state: State::of(response),
            local,
            remote,
            local_cseq: request.headers.cseq()?.number,
            remote_cseq: None,
            route_set: reversed_route_set(&response.headers)?,
            remote_target,
            remote_allows: allowed(&response.headers),
        })
    }

    /// The dialog that our answer to a request makes, RFC 3261 §12.1.1: early until
    /// [`Dialog::confirm`].
    ///
    /// # Errors
    /// If the request has no Contact, or its Record-Route breaks the grammar.
    pub fn from_request(request: &Request, local_tag: &str) -> Result<Self, DialogError> {
        let remote = request.headers.from()?;
        let local = request.headers.to()?.with_tag(local_tag);
        let target = contact(&request.headers)?;
        let routes = request.headers.record_routes()?;
        Ok(Dialog {
            id: DialogId {
                call_id: request.headers.call_id()?,
                local_tag: local_tag.to_owned(),
                remote_tag: remote.tag().unwrap_or_default().to_owned(),
            },
            state: State::Early,
            local,
            remote,
            local_cseq: 0,
            remote_cseq: Some(request.headers.cseq()?.number),
            route_set: routes.into_iter().map(|route| route.uri).collect(),
            remote_target: target.ok_or(HeaderError::Missing(HeaderName::Contact))?,
            remote_allows: allowed(&request.headers),
        })
    }

    /// What names it.
    #[must_use]
    pub fn id(&self) -> &DialogId {
        &self.id
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Ourselves, with our tag.
    #[must_use]
    pub fn local(&self) -> &NameAddr {
        &self.local
    }

    /// The other end, with its tag.
    #[must_use]
    pub fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// Where the other end wants its requests.
    #[must_use]
    pub fn remote_target(&self) -> &Uri {
        &self.remote_target
    }

    /// The URI whose host the next request is sent to, RFC 3261 §8.1.2.
    #[must_use]
    pub fn next_hop(&self) -> &Uri {
        self.route_set.first().unwrap_or(&self.remote_target)
    }

    /// Whether the other end said that it takes this method; false if it never said.
    #[must_use]
    pub fn remote_allows(&self, method: &Method) -> bool {
        let allows = self.remote_allows.as_ref();
        allows.is_some_and(|allows| allows.contains(method))
    }

    /// Our 2xx has been sent.
    pub fn confirm(&mut self) {
        self.state = State::Confirmed;
    }

    /// Takes a response to a request of this dialog, or a further one to the request
    /// that made it: a 2xx confirms, and whatever may refresh the target does so (RFC
    /// 3261 §12.2.1.2).
    ///
    /// # Errors
    /// If its Contact or Record-Route breaks the grammar; nothing has changed then.
    pub fn handle_response(&mut self, response: &Response) -> Result<(), DialogError> {
        let refreshes = refreshes_target(&response.headers.cseq()?.method);
        if !refreshes || !(response.is_provisional() || response.is_success()) {
            return Ok(());
        }
        let target = contact(&response.headers)?;
        if self.state == State::Early && response.is_success() {
            // RFC 3261 §13.2.2.4: the 2xx has the last word about the route set.
            self.route_set = reversed_route_set(&response.headers)?;
            self.state = State::Confirmed;
        }
        if let Some(target) = target {
            self.remote_target = target;
        }
        if let Some(allowed) = allowed(&response.headers) {
            self.remote_allows = Some(allowed);
        }
        Ok(())
    }

    /// Takes a request that came within the dialog: checks its order and lets it
    /// refresh the target, RFC 3261 §12.2.2. ACK and CANCEL have the CSeq of their
    /// INVITE and are not for here.
    ///
    /// # Errors
    /// If it is out of order, or its Contact breaks the grammar; see
    /// [`DialogError::status`].
    pub fn handle_request(&mut self, request: &Request) -> Result<(), DialogError> {
        if matches!(request.method, Method::Ack | Method::Cancel) {
            return Ok(());
        }
        let number = request.headers.cseq()?.number;
        if self.remote_cseq.is_some_and(|last| number <= last) {
            return Err(DialogError::OutOfOrder);
        }
        self.remote_cseq = Some(number);
        if refreshes_target(&request.method) {
            if let Some(target) = contact(&request.headers)? {
                self.remote_target = target;
            }
            if let Some(allowed) = allowed(&request.headers) {
                self.remote_allows = Some(allowed);
            }
        }
        Ok(())
    }

    /// The next request of ours, RFC 3261 §12.2.1.1; whole but for Via and Contact.
    /// Not for ACK and CANCEL.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.request_numbered(method, self.local_cseq)
    }

    /// Leaves sequence numbers out that may be in use already, RFC 3261 §12.2.2.
    pub fn skip(&mut self, numbers: u32) {
        self.local_cseq = self.local_cseq.saturating_add(numbers);
    }

    /// The ACK of a 2xx to our INVITE with this CSeq, RFC 3261 §13.2.2.4; whole but for
    /// Via.
    #[must_use]
    pub fn ack(&self, invite_cseq: u32) -> Request {
        self.request_numbered(Method::Ack, invite_cseq)
    }

    /// An answer to a request of the other end, with our tag; whole but for Contact.
    #[must_use]
    pub fn response(&self, request: &Request, status: StatusCode) -> Response {
        Response::to_request(request, status).with_to_tag(&self.id.local_tag)
    }

    fn request_numbered(&self, method: Method, number: u32) -> Request {
        let (uri, routes) = self.addressing();
        let mut request = Request::new(method.clone(), uri);
        for route in routes {
            request.headers.push_typed(&Route(NameAddr::new(route)));
        }
        request.headers.push_typed(&MaxForwards(MAX_FORWARDS));
        let from = self.local.to_string();
        request.headers.push(HeaderName::From, from);
        request
            .headers
            .push(HeaderName::To, self.remote.to_string());
        request.headers.push_typed(&self.id.call_id);
        request.with_typed(&CSeq { number, method })
    }

    /// Request-URI and Route. A strict router at the front takes the place of the
    /// target, which then comes last, RFC 3261 §12.2.1.1.
    fn addressing(&self) -> (Uri, Vec<Uri>) {
        match self.route_set.split_first() {
            Some((Uri::Sip(first), rest)) if !first.is_loose_router() => {
                let uri = first.without_param("method").without_headers();
                let target = std::iter::once(&self.remote_target);
                (Uri::Sip(uri), rest.iter().chain(target).cloned().collect())
            }
            _ => (self.remote_target.clone(), self.route_set.clone()),
        }
    }
}

impl State {
    fn of(response: &Response) -> Self {
        if response.is_success() {
            State::Confirmed
        } else {
            State::Early
        }
    }
}

/// RFC 3261 §12.2, RFC 3311 §5.1 and RFC 6665 §4.4.1.
fn refreshes_target(method: &Method) -> bool {
    matches!(
        method,
        Method::Invite | Method::Update | Method::Subscribe | Method::Notify | Method::Refer
    )
}

/// The one Contact, as a Request-URI can hold it.
fn contact(headers: &Headers) -> Result<Option<Uri>, HeaderError> {
    let contacts = headers.contacts()?;
    let uri = contacts.first().and_then(|contact| contact.address());
    Ok(uri.map(|address| match &address.uri {
        Uri::Sip(uri) if uri.headers().is_some() => Uri::Sip(uri.without_headers()),
        uri => uri.clone(),
    }))
}

fn reversed_route_set(headers: &Headers) -> Result<Vec<Uri>, HeaderError> {
    let routes = headers.record_routes()?;
    Ok(routes.into_iter().rev().map(|route| route.uri).collect())
}

/// What Allow says; none if it is missing or cannot be read.
fn allowed(headers: &Headers) -> Option<Vec<Method>> {
    headers.has(&HeaderName::Allow).then_some(())?;
    let allowed = headers.allow().ok()?;
    Some(allowed.into_iter().map(|allow| allow.0).collect())
}

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u8 = 70;
