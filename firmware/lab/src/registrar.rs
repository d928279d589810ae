//! P-CSCF, I-CSCF and S-CSCF in one, as far as registration goes: Digest with MD5
//! (RFC 2617, TS 33.203 Annex N), bindings (RFC 3261 §10.3), Service-Route
//! (RFC 3608), P-Associated-URI (RFC 7315).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};
use signaling::message::headers::{Contact, Digest, WwwAuthenticate};
use signaling::message::{HeaderName, Request, StatusCode, Uri};

use crate::sip::{Bench, Hop};

/// Someone who may register.
#[derive(Clone, Debug)]
pub struct User {
    /// The name of the address of record and of the private identity.
    pub name: String,
    /// Its password.
    pub password: String,
    /// Its telephone number, with `+`.
    pub number: String,
}

/// Accounts and their bindings.
#[derive(Debug)]
pub(crate) struct Registrar {
    accounts: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    user: User,
    bindings: Vec<Binding>,
    /// Challenges that were not answered yet.
    nonces: VecDeque<(String, Instant)>,
}

#[derive(Clone, Debug)]
struct Binding {
    contact: Uri,
    hop: Hop,
    until: Instant,
}

/// Whether a REGISTER proves who sent it.
enum Proof {
    Right,
    Wrong,
    /// Right, but for a challenge that is too old or was used.
    Stale,
    Missing,
}

impl Registrar {
    pub(crate) fn new(users: Vec<User>) -> Self {
        let account = |user| Account {
            user,
            bindings: Vec::new(),
            nonces: VecDeque::new(),
        };
        Registrar {
            accounts: users.into_iter().map(account).collect(),
        }
    }

    /// The user who registered from this address: one address and port is one user,
    /// TS 24.229 §5.2.6.3.
    pub(crate) fn user_at(&self, source: SocketAddr, now: Instant) -> Option<&User> {
        self.accounts
            .iter()
            .find(|account| {
                let mut bindings = account.bindings.iter();
                bindings.any(|binding| binding.hop.address == source && binding.until > now)
            })
            .map(|account| &account.user)
    }

    /// Whether there is such a user, by name or number.
    pub(crate) fn user(&self, dialled: &str) -> Option<&User> {
        self.accounts
            .iter()
            .map(|account| &account.user)
            .find(|user| user.name == dialled || user.number == dialled)
    }

    /// Where a user is reached: his latest binding.
    pub(crate) fn contact(&self, name: &str, now: Instant) -> Option<(Uri, Hop)> {
        let account = self
            .accounts
            .iter()
            .find(|account| account.user.name == name)?;
        let mut live = account
            .bindings
            .iter()
            .filter(|binding| binding.until > now);
        let binding = live.next_back()?;
        Some((binding.contact.clone(), binding.hop))
    }

    pub(crate) fn handle_register(&mut self, hop: Hop, request: &Request, bench: &mut Bench<'_>) {
        let domain = bench.domain.to_owned();
        let name = request.headers.to().ok().and_then(|to| {
            let uri = to.uri.as_sip()?;
            (uri.host_text().eq_ignore_ascii_case(&domain)).then(|| uri.unescaped_user())?
        });
        let account = name.and_then(|name| {
            let mut accounts = self.accounts.iter_mut();
            accounts.find(|account| account.user.name == name)
        });
        // TS 24.229 §5.3.1.2: the HSS does not know the user.
        let Some(account) = account else {
            return bench.refuse(hop, request, StatusCode::FORBIDDEN);
        };
        match account.proof(request, &domain, bench.now) {
            Proof::Right => account.register(hop, request, bench),
            Proof::Wrong => bench.refuse(hop, request, StatusCode::FORBIDDEN),
            Proof::Missing => account.challenge(hop, request, false, bench),
            Proof::Stale => account.challenge(hop, request, true, bench),
        }
    }
}

impl Account {
    fn challenge(&mut self, hop: Hop, request: &Request, is_stale: bool, bench: &mut Bench<'_>) {
        let nonce = format!("{}{}", bench.token(), bench.token());
        if self.nonces.len() == MAX_NONCES {
            self.nonces.pop_front();
        }
        self.nonces
            .push_back((nonce.clone(), bench.now + NONCE_TIME));
        let mut digest = Digest::new("Digest");
        digest.set_quoted("realm", bench.domain);
        digest.set_quoted("nonce", &nonce);
        digest.set("algorithm", "MD5");
        digest.set_quoted("qop", "auth");
        if is_stale {
            digest.set("stale", "TRUE");
        }
        let response = bench
            .response(request, StatusCode::UNAUTHORIZED)
            .with_typed(&WwwAuthenticate(digest));
        bench.send(hop, response);
    }

    /// A nonce is good for one request, as in the cores that the lab stands for.
    fn proof(&mut self, request: &Request, realm: &str, now: Instant) -> Proof {
        let Some(digest) = request
            .headers
            .authorization()
            .map(|header| header.0)
            .next()
        else {
            return Proof::Missing;
        };
        let get = |name: &str| digest.get(name).unwrap_or_default();
        // TS 24.229 §5.1.1.2.3: the first REGISTER may carry an empty answer.
        if get("response").is_empty() || get("nonce").is_empty() {
            return Proof::Missing;
        }
        let username = get("username");
        let is_ours =
            username == self.user.name || username == format!("{}@{realm}", self.user.name);
        let expected = answer(
            &digest,
            &username,
            &self.user.password,
            request.method.as_str(),
        );
        if !is_ours || get("realm") != realm || !get("response").eq_ignore_ascii_case(&expected) {
            return Proof::Wrong;
        }
        let nonce = get("nonce");
        let Some(at) = self.nonces.iter().position(|(known, _)| *known == nonce) else {
            return Proof::Stale;
        };
        match self.nonces.remove(at) {
            Some((_, until)) if until > now => Proof::Right,
            Some(_) | None => Proof::Stale,
        }
    }

    fn register(&mut self, hop: Hop, request: &Request, bench: &mut Bench<'_>) {
        let now = bench.now;
        self.bindings.retain(|binding| binding.until > now);
        let asked = request
            .headers
            .expires()
            .ok()
            .flatten()
            .map(|expires| expires.0);
        let Ok(contacts) = request.headers.contacts() else {
            return bench.refuse(hop, request, StatusCode::BAD_REQUEST);
        };
        for contact in &contacts {
            let seconds = contact.expires().or(asked).unwrap_or(LONGEST).min(LONGEST);
            if (1..SHORTEST).contains(&seconds) {
                let response = bench
                    .response(request, StatusCode::INTERVAL_TOO_BRIEF)
                    .with(HeaderName::MinExpires, SHORTEST);
                bench.send(hop, response);
                return;
            }
            self.bind(contact, hop, seconds, now);
        }
        let response = self.accept(request, bench);
        bench.send(hop, response);
    }

    fn bind(&mut self, contact: &Contact, hop: Hop, seconds: u32, now: Instant) {
        let Some(address) = contact.address() else {
            self.bindings.clear();
            return;
        };
        self.bindings
            .retain(|binding| !binding.contact.is_equivalent(&address.uri));
        if seconds > 0 {
            if self.bindings.len() == MAX_BINDINGS {
                self.bindings.remove(0);
            }
            self.bindings.push(Binding {
                contact: address.uri.clone(),
                hop,
                until: now + Duration::from_secs(seconds.into()),
            });
        }
    }

    fn accept(&self, request: &Request, bench: &mut Bench<'_>) -> signaling::message::Response {
        let mut response = bench.response(request, StatusCode::OK);
        response.headers.copy(&request.headers, &HeaderName::Path);
        for binding in &self.bindings {
            let left = binding.until.duration_since(bench.now).as_secs();
            let contact = format!("<{}>;expires={left}", binding.contact);
            response.headers.push(HeaderName::Contact, contact);
        }
        let route = bench.own_uri("orig").with_flag("lr");
        response
            .headers
            .push(HeaderName::ServiceRoute, format!("<{route}>"));
        let identities = self.user.identities(bench);
        response
            .headers
            .push(HeaderName::PAssociatedUri, identities);
        response
    }
}

impl User {
    /// Both public identities, as one header with a comma.
    pub(crate) fn identities(&self, bench: &Bench<'_>) -> String {
        let public = bench.public_uri(&self.name);
        format!("<{public}>, <tel:{}>", self.number)
    }
}

/// What answers a challenge: RFC 2617 §3.2.2, with and without qop. The digest holds
/// realm, nonce, uri and, with qop, nc and cnonce.
#[must_use]
pub fn answer(digest: &Digest, username: &str, password: &str, method: &str) -> String {
    let get = |name: &str| digest.get(name).unwrap_or_default();
    let ha1 = md5_hex(&format!("{username}:{}:{password}", get("realm")));
    let ha2 = md5_hex(&format!("{method}:{}", get("uri")));
    let nonce = get("nonce");
    match digest.get("qop") {
        Some(qop) => md5_hex(&format!(
            "{ha1}:{nonce}:{}:{}:{qop}:{ha2}",
            get("nc"),
            get("cnonce")
        )),
        None => md5_hex(&format!("{ha1}:{nonce}:{ha2}")),
    }
}

fn md5_hex(text: &str) -> String {
    let mut hex = String::with_capacity(32);
    for byte in Md5::digest(text.as_bytes()) {
        write!(hex, "{byte:02x}").expect("writing to memory cannot fail");
    }
    hex
}

/// Seconds that a binding lasts at most and at least.
const LONGEST: u32 = 600;
const SHORTEST: u32 = 10;

/// Bindings of one user.
const MAX_BINDINGS: usize = 8;

/// Open challenges of one user, and how long each may be answered.
const MAX_NONCES: usize = 16;
const NONCE_TIME: Duration = Duration::from_secs(240);

#[cfg(test)]
mod tests {
    use super::*;
    use signaling::message::headers::{Authorization, Typed};

    #[test]
    fn the_example_of_rfc_2617_is_answered_as_printed_there() {
        let digest = Authorization::parse(
            "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
             nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, \
             nc=00000001, cnonce=\"0a4f113b\"",
        )
        .unwrap();
        assert_eq!(
            answer(&digest.0, "Mufasa", "Circle Of Life", "GET"),
            "6629fae49393a05397450978507c4ef1"
        );
    }
}
