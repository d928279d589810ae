//! The way to either side of a registration, and what a request outside a dialog looks like
//! there: what calls, messages and subscriptions have in common.

use iq::Leg;

use crate::identity::is_anonymous;
use crate::link::{Link, Owner};
use crate::message::{
    HeaderName, Headers, Host, Method, NameAddr, Request, Response, SipUri, StatusCode,
};
use crate::registration::Binding;
use crate::rejection::relayed_to_access;
use crate::session::Target;
use crate::transaction::{ClientTransactionId, ServerTransactionId};
use crate::visited::Visited;

/// Sends a request to one side; in the core with what a P-CSCF says there, if the box is
/// one. `None` if it cannot be reached.
pub(crate) fn send(
    link: &mut Link,
    binding: &Binding,
    owner: Owner,
    leg: Leg,
    mut request: Request,
    visited: Option<&Visited>,
) -> Option<ClientTransactionId> {
    if !request.headers.has(&HeaderName::MaxForwards) {
        request.headers.push(HeaderName::MaxForwards, MAX_FORWARDS);
    }
    match leg {
        Leg::Access => {
            let flow = binding.flow()?;
            Some(link.send_to_flow(owner, flow, request))
        }
        Leg::Ims => {
            let path = binding.ims_path(&link.config)?;
            if let Some(visited) = visited {
                visited.dress_request(&request.method, &mut request.headers);
                return Some(link.send_by_route(owner, &path, request));
            }
            // Inside a dialog a request goes where the route set leads.
            let is_in_dialog = request.headers.to().is_ok_and(|to| to.tag().is_some());
            let path = match is_in_dialog && !binding.is_secured() {
                true => {
                    let hop = link.reach.follow(binding.tenant(), path.hop(), &request);
                    path.to(hop)
                }
                false => path,
            };
            Some(link.send_to_ims(owner, &path, request))
        }
    }
}

/// The box's own Contact on a leg.
pub(crate) fn contact(
    link: &Link,
    binding: Option<&Binding>,
    leg: Leg,
    is_anonymous: bool,
) -> NameAddr {
    let ims = binding.and_then(|binding| binding.ims_name(is_anonymous, &link.config));
    match (leg, ims) {
        (Leg::Ims, Some(uri)) => NameAddr::new(uri),
        // RFC 7118 §5.2; on the IMS side only when nothing can be sent there any more.
        (Leg::Access | Leg::Ims, _) => {
            let host = Host::parse(link.config.access_host.as_str());
            let host = host.expect("a host name is a host");
            NameAddr::new(SipUri::new(&host, None).with_param("transport", "ws"))
        }
    }
}

/// A request of one side as the first of something new on the other: its own From tag,
/// Call-ID and CSeq, what may cross of its headers, those of `own` as they are, its body.
pub(crate) fn renewed(
    link: &mut Link,
    binding: &Binding,
    towards: Leg,
    target: &Target,
    request: &Request,
    own: &[HeaderName],
) -> Request {
    let mut sent = Request::new(request.method.clone(), target.uri.clone());
    let headers = &mut sent.headers;
    for route in &target.routes {
        headers.push(HeaderName::Route, route.to_string());
    }
    if let Ok(Some(hops)) = request.headers.max_forwards() {
        headers.push(HeaderName::MaxForwards, u32::from(hops.0.saturating_sub(1)));
    }
    let from = target.from.clone().with_tag(&link.token());
    headers.push(HeaderName::From, from.to_string());
    headers.push(HeaderName::To, target.to.to_string());
    headers.push(HeaderName::CallId, link.token());
    headers.push(HeaderName::CSeq, format!("1 {}", request.method));
    if request.method == Method::Subscribe {
        let is_anonymous = is_anonymous(&target.from.uri);
        let contact = contact(link, Some(binding), towards, is_anonymous).to_string();
        headers.push(HeaderName::Contact, contact);
    }
    for header in &target.headers {
        headers.push_header(header.clone());
    }
    copy_crossing(link, binding, towards, &request.headers, own, headers);
    sent.body = request.body.clone();
    sent
}

/// Adds what may cross of a message's headers, and those of `own` as they are.
pub(crate) fn copy_crossing(
    link: &Link,
    binding: &Binding,
    towards: Leg,
    from: &Headers,
    own: &[HeaderName],
    to: &mut Headers,
) {
    for header in &link.policies.carry(binding.tenant(), from, towards) {
        to.push_header(header.clone());
    }
    for name in own {
        to.copy(from, name);
    }
}

/// A final answer of one side as the other side is told.
pub(crate) fn answer(request: &Request, status: StatusCode, towards: Leg) -> Response {
    let mapped = match towards {
        _ if status.is_success() => status,
        Leg::Access => relayed_to_access(status),
        Leg::Ims => relayed_to_ims(status),
    };
    Response::to_request(request, mapped)
}

/// Sends an answer to one side, in the core with what a P-CSCF says there.
pub(crate) fn respond(
    link: &mut Link,
    transaction: ServerTransactionId,
    towards: Leg,
    mut answer: Response,
    visited: Option<&Visited>,
) {
    if let Some(visited) = visited.filter(|_| towards == Leg::Ims) {
        visited.dress_response(&mut answer);
    }
    link.respond(transaction, answer);
}

/// The core cannot be asked for a password, nor redirected, and what is wrong with one
/// browser is not wrong with the box.
fn relayed_to_ims(status: StatusCode) -> StatusCode {
    match status.code() {
        300..=399 | 401 | 407 | 408 | 430 | 503 | 504 => StatusCode::TEMPORARILY_UNAVAILABLE,
        500..=599 => StatusCode::SERVER_INTERNAL_ERROR,
        _ => status,
    }
}

/// RFC 3261 §8.1.1.6.
const MAX_FORWARDS: u32 = 70;
