//! Digest challenges on their way to a browser: what is taken out of them, and the one
//! that comes twice (RFC 7616 §3.3, RFC 3261 §22.4).

use std::collections::BTreeMap;

use crate::id::FlowId;
use crate::message::headers::{Digest, Typed, WwwAuthenticate};
use crate::message::{HeaderName, Headers};

/// What each connection was last challenged with for one registration.
#[derive(Debug, Default)]
pub(super) struct Challenges {
    last: BTreeMap<FlowId, Challenged>,
}

#[derive(Debug)]
struct Challenged {
    nonce: String,
    /// The client was told once already to try again.
    was_repeated: bool,
}

impl Challenges {
    /// Learns which challenge goes to a connection, in answer to a request that carried
    /// `answered` as its nonce; says whether it must be marked stale.
    ///
    /// Kamailio's S-CSCF (ims_auth) sends a challenge before it has stored it: a client
    /// that answers within a millisecond is challenged again, with a new nonce and without
    /// `stale=true`, and JsSIP and SIP.js take that for a wrong password. So the first
    /// repetition of a challenge that the browser did answer is marked stale, and they try
    /// once more. A wrong password costs one more round that way.
    pub(super) fn handle_challenge(
        &mut self,
        flow: FlowId,
        answered: Option<&str>,
        challenge: &Digest,
    ) -> bool {
        let nonce = challenge.get("nonce").unwrap_or_default();
        let is_stale = challenge
            .get("stale")
            .is_some_and(|stale| stale.eq_ignore_ascii_case("true"));
        let before = self.last.get(&flow);
        let answers_last = before.is_some_and(|last| Some(last.nonce.as_str()) == answered);
        let was_repeated = answers_last && before.is_some_and(|last| last.was_repeated);
        let is_repeated = answers_last && !was_repeated && !is_stale;
        if self.last.len() >= CONNECTIONS && !self.last.contains_key(&flow) {
            self.last.pop_first();
        }
        self.last.insert(
            flow,
            Challenged {
                nonce,
                was_repeated: was_repeated || is_repeated,
            },
        );
        is_repeated
    }

    /// Whether this connection was challenged with this nonce.
    pub(super) fn was_challenged(&self, flow: FlowId, nonce: Option<&str>) -> bool {
        let last = self.last.get(&flow).map(|last| last.nonce.as_str());
        last.is_some() && last == nonce
    }

    /// The core is content: the next challenge begins anew.
    pub(super) fn clear(&mut self) {
        self.last.clear();
    }
}

/// The first Digest challenge of a 401 or 407.
pub(super) fn first_digest(headers: &Headers) -> Option<Digest> {
    let www = headers.www_authenticate().map(|challenge| challenge.0);
    let proxy = headers.proxy_authenticate().map(|challenge| challenge.0);
    www.chain(proxy).find(Digest::is_digest)
}

/// Marks every challenge stale, which tells a client that its password was right.
pub(super) fn mark_stale(headers: &Headers) -> Headers {
    let mut marked = Headers::new();
    for header in headers {
        let is_challenge = matches!(
            header.name(),
            HeaderName::WwwAuthenticate | HeaderName::ProxyAuthenticate
        );
        match header
            .text()
            .and_then(WwwAuthenticate::parse)
            .filter(|_| is_challenge)
        {
            Some(WwwAuthenticate(mut digest)) => {
                digest.set("stale", "true");
                marked.push(header.name().clone(), digest.to_string());
            }
            None => marked.push_header(header.clone()),
        }
    }
    marked
}

/// How many connections may try for one registration at a time.
const CONNECTIONS: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn challenge(nonce: &str) -> Digest {
        WwwAuthenticate::parse(&format!(r#"Digest realm="ims.test", nonce="{nonce}""#))
            .unwrap()
            .0
    }

    #[test]
    fn a_challenge_that_comes_twice_in_a_row_is_marked_stale_once() {
        let mut challenges = Challenges::default();
        let flow = FlowId(1);
        assert!(!challenges.handle_challenge(flow, None, &challenge("a")));
        assert!(challenges.handle_challenge(flow, Some("a"), &challenge("b")));
        assert!(!challenges.handle_challenge(flow, Some("b"), &challenge("c")));
    }

    #[test]
    fn a_challenge_to_other_credentials_is_left_alone() {
        let mut challenges = Challenges::default();
        let flow = FlowId(1);
        assert!(!challenges.handle_challenge(flow, None, &challenge("a")));
        assert!(!challenges.handle_challenge(flow, Some("old"), &challenge("b")));
        assert!(!challenges.handle_challenge(FlowId(2), Some("b"), &challenge("c")));
    }

    #[test]
    fn a_challenge_proves_something_only_on_its_own_connection() {
        let mut challenges = Challenges::default();
        challenges.handle_challenge(FlowId(1), None, &challenge("a"));
        assert!(challenges.was_challenged(FlowId(1), Some("a")));
        assert!(!challenges.was_challenged(FlowId(2), Some("a")));
        assert!(!challenges.was_challenged(FlowId(2), None));
    }
}
