//! The way between two registered users: a stateless proxy that stays on the path,
//! RFC 3261 §16.11. Transactions are those of the two ends.

use signaling::message::headers::MaxForwards;
use signaling::message::{HeaderName, Method, Request, Response, StatusCode};

use crate::sip::{Bench, Hop, hop_of, hop_of_via};

/// Takes off what was routed to us: every Route on top that names the lab.
pub(crate) fn take_own_routes(request: &mut Request, bench: &Bench<'_>) {
    loop {
        let top = request
            .headers
            .routes()
            .ok()
            .and_then(|routes| routes.into_iter().next());
        match top {
            Some(route) if bench.is_us(&route.uri) => {
                request.headers.remove_first_item(&HeaderName::Route);
            }
            Some(_) | None => return,
        }
    }
}

/// Sends a request on, to `hop` or to where its Route or Request-URI says.
pub(crate) fn forward(from: Hop, mut request: Request, hop: Option<Hop>, bench: &mut Bench<'_>) {
    let route = request
        .headers
        .routes()
        .ok()
        .and_then(|routes| routes.into_iter().next());
    let next = route.map_or_else(
        || hop.or_else(|| hop_of(&request.uri)),
        |route| hop_of(&route.uri),
    );
    let Some(next) = next else {
        return answer(from, &request, StatusCode::NOT_FOUND, bench);
    };
    let hops_left = match request.headers.max_forwards() {
        Ok(Some(MaxForwards(0))) => {
            return answer(from, &request, StatusCode::TOO_MANY_HOPS, bench);
        }
        Ok(Some(MaxForwards(left))) => left - 1,
        Ok(None) | Err(_) => DEFAULT_HOPS,
    };
    request.headers.set(&MaxForwards(hops_left));
    let branch = branch_for(&request);
    if matches!(
        request.method,
        Method::Invite | Method::Subscribe | Method::Refer
    ) {
        let route = bench.own_uri("proxy").with_flag("lr");
        request
            .headers
            .prepend(HeaderName::RecordRoute, format!("<{route}>"));
    }
    let via = bench.via(next.transport, &branch);
    request.headers.prepend(HeaderName::Via, via.to_string());
    bench.send(next, request);
}

/// Sends a response back along the Via below ours.
pub(crate) fn return_response(mut response: Response, bench: &mut Bench<'_>) {
    response.headers.remove_first_item(&HeaderName::Via);
    if let Some(hop) = response.headers.via().ok().and_then(|via| hop_of_via(&via)) {
        bench.send(hop, response);
    }
}

fn answer(from: Hop, request: &Request, status: StatusCode, bench: &mut Bench<'_>) {
    if request.method != Method::Ack {
        bench.refuse(from, request, status);
    }
}

/// The same for every copy of a request, for its CANCEL and for the ACK of its
/// refusal, RFC 3261 §16.11: made of what those share.
fn branch_for(request: &Request) -> String {
    let mut hash = FNV_OFFSET;
    let via = request.headers.via().map(|via| via.to_string());
    let number = request.headers.cseq().map_or(0, |cseq| cseq.number);
    let text = format!("{}|{number}", via.unwrap_or_default());
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
    format!("lab{hash:016x}")
}

/// The 64-bit FNV-1a hash.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// RFC 3261 §8.1.1.6.
const DEFAULT_HOPS: u8 = 70;
