//! The box's own requests and what goes into its responses. RFC 3261 §8.1.1 and §13.

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::capabilities::Capabilities;
use crate::message::headers::{CSeq, Supported, Unsupported};
use crate::message::{HeaderName, Headers, Method, NameAddr, Request, Uri};
use crate::sdp;
use crate::session::leg::Sdp;

/// Whom a call goes to, and in whose name.
#[derive(Clone, Debug)]
pub struct Target {
    /// The Request-URI.
    pub uri: Uri,
    /// Who calls, without a tag.
    pub from: NameAddr,
    /// Who is called.
    pub to: NameAddr,
    /// The way there, topmost first; empty towards a browser.
    pub routes: Vec<NameAddr>,
    /// What only this INVITE carries, such as P-Preferred-Identity.
    pub headers: Headers,
}

/// The box's end of a dialog to be.
pub(super) struct Identity {
    pub(super) capabilities: Capabilities,
    pub(super) call_id: String,
    pub(super) local_tag: String,
    pub(super) contact: NameAddr,
}

/// An INVITE without a description.
pub(super) fn invite(target: &Target, identity: &Identity, carried: &Headers) -> Request {
    let from = target.from.clone().with_tag(&identity.local_tag);
    let mut request = Request::new(Method::Invite, target.uri.clone());
    let headers = &mut request.headers;
    for route in &target.routes {
        headers.push(HeaderName::Route, route.to_string());
    }
    headers.push(HeaderName::From, from.to_string());
    headers.push(HeaderName::To, target.to.to_string());
    headers.push(HeaderName::CallId, identity.call_id.as_str());
    headers.push(HeaderName::CSeq, format!("{FIRST_CSEQ} INVITE"));
    headers.push(HeaderName::Contact, identity.contact.to_string());
    identity.capabilities.write(headers);
    for header in target.headers.iter().chain(carried.iter()) {
        headers.push_header(header.clone());
    }
    request
}

/// Puts a description in.
pub(super) fn set_body(headers: &mut Headers, body: &mut Bytes, description: Sdp) {
    headers.replace(HeaderName::ContentType, "application/sdp");
    *body = description.0;
}

/// The description in a message, alone or in a multipart.
pub(super) fn description(headers: &Headers, body: &Bytes) -> Option<Sdp> {
    if body.is_empty() {
        return None;
    }
    let content_type = headers.text(&HeaderName::ContentType)?;
    let found = sdp::session_description(content_type, body)?;
    Some(Sdp(body.slice_ref(found)))
}

/// Whether a message holds something that nobody here can read although it must be
/// read, RFC 3261 §8.2.3.
pub(super) fn has_foreign_body(headers: &Headers, body: &Bytes) -> bool {
    let is_optional = headers
        .text(&HeaderName::ContentDisposition)
        .is_some_and(|disposition| disposition.contains("handling=optional"));
    !body.is_empty() && !is_optional && description(headers, body).is_none()
}

/// Takes extensions out that a peer does not know, RFC 3261 §8.1.3.5.
pub(super) fn drop_extensions(headers: &mut Headers, unknown: &[Unsupported]) {
    for name in [HeaderName::Require, HeaderName::Supported] {
        let Ok(tags) = headers.typed_list::<Supported>() else {
            continue;
        };
        if name == HeaderName::Require {
            headers.remove(&name);
            continue;
        }
        let kept: Vec<String> = tags
            .iter()
            .filter(|tag| !unknown.iter().any(|unknown| unknown.0 == tag.0))
            .map(ToString::to_string)
            .collect();
        headers.replace(name, kept.join(", "));
    }
}

/// The sequence number of a request of the box's own.
pub(super) fn cseq(request: &Request) -> u32 {
    request
        .headers
        .cseq()
        .map_or(FIRST_CSEQ, |cseq| cseq.number)
}

/// The next sequence number, for a request that is sent again in another form.
pub(super) fn increment_cseq(headers: &mut Headers) {
    if let Ok(CSeq { number, method }) = headers.cseq() {
        headers.replace(HeaderName::CSeq, format!("{} {method}", number + 1));
    }
}

/// A Call-ID that says nothing about the host, RFC 3261 §8.1.1.4.
pub(super) fn call_id(rng: &mut ChaCha20Rng) -> String {
    token(rng)
}

/// 64 random bits in letters that every header can hold; a tag needs 32
/// (RFC 3261 §19.3).
pub(super) fn token(rng: &mut ChaCha20Rng) -> String {
    format!("{:016x}", rng.next_u64())
}

/// Any number below 2**31 will do, RFC 3261 §8.1.1.5.
const FIRST_CSEQ: u32 = 1;
