//! A small HSS: Diameter Cx (TS 29.228, TS 29.229) for I- and S-CSCF. Every user has SIP Digest;
//! those whose name begins with `isim` have AKA instead.

mod aka;
mod diameter;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use anyhow::Context;
use diameter::*;
use md5::{Digest, Md5};

pub use aka::{key, operator_key};

use crate::network;

/// The domain of all users.
pub const DOMAIN: &str = "ims.test";

/// The password of a user.
pub fn password(user: &str) -> String {
    format!("{user}-secret")
}

/// The running HSS, as the cases ask it.
#[derive(Clone, Debug, Default)]
pub struct Hss(Arc<Mutex<Records>>);

#[derive(Debug, Default)]
struct Records {
    /// Whether a user is registered at the S-CSCF.
    registered: BTreeMap<String, bool>,
    /// The last sequence number used for a user, TS 33.102 §6.3.
    sequences: BTreeMap<String, u64>,
    /// What the CSCFs asked: the command's name and whom it was about.
    requests: Vec<(&'static str, String)>,
}

impl Hss {
    /// Answers on port 3868 until the process ends.
    pub fn start() -> anyhow::Result<Self> {
        let listener =
            TcpListener::bind((network::HSS, 3868)).context("port 3868 of the lab is taken")?;
        let hss = Self::default();
        let theirs = hss.clone();
        thread::spawn(move || {
            for peer in listener.incoming().flatten() {
                let hss = theirs.clone();
                thread::spawn(move || hss.serve(peer));
            }
        });
        Ok(hss)
    }

    /// What was asked about a user so far, in order: `UAR`, `LIR`, `MAR` or `SAR`.
    pub fn asked_about(&self, user: &str) -> Vec<&'static str> {
        let records = self.records();
        let about = records.requests.iter().filter(|(_, name)| name == user);
        about.map(|(command, _)| *command).collect()
    }

    /// How many Cx requests there were.
    pub fn request_count(&self) -> usize {
        self.records().requests.len()
    }

    /// Whether the S-CSCF has said that a user is registered.
    pub fn is_registered(&self, user: &str) -> bool {
        self.records()
            .registered
            .get(user)
            .copied()
            .unwrap_or_default()
    }

    /// One connection of a CSCF, until it closes or breaks the framing.
    fn serve(&self, mut peer: TcpStream) -> Option<()> {
        loop {
            let mut header = [0; 20];
            peer.read_exact(&mut header).ok()?;
            let length = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
            let mut body = vec![0; length.checked_sub(20)?];
            peer.read_exact(&mut body).ok()?;
            if header[4] & FLAG_REQUEST == 0 {
                continue;
            }
            let command = u32::from_be_bytes([0, header[5], header[6], header[7]]);
            let avps = self.answer(command, &read_avps(&body));
            let mut message = Vec::with_capacity(20 + avps.len());
            let length = u32::try_from(20 + avps.len()).ok()?.to_be_bytes();
            message.extend_from_slice(&[1, length[1], length[2], length[3]]);
            message.push(header[4] & !FLAG_REQUEST);
            message.extend_from_slice(&header[5..20]);
            message.extend_from_slice(&avps);
            peer.write_all(&message).ok()?;
        }
    }

    fn answer(&self, command: u32, request: &[Avp<'_>]) -> Vec<u8> {
        let mut avps = Avps::default();
        if let Some(session) = find(request, SESSION_ID) {
            avps.base(SESSION_ID, session);
        }
        match command {
            CAPABILITIES_EXCHANGE => {
                avps.origin().base_number(RESULT_CODE, SUCCESS);
                let mut address = vec![0, 1];
                address.extend_from_slice(&network::HSS.octets());
                avps.base(HOST_IP_ADDRESS, &address);
                avps.base_number(VENDOR_ID, 0)
                    .base(PRODUCT_NAME, b"lab HSS");
                avps.base_number(SUPPORTED_VENDOR_ID, VENDOR_3GPP);
                avps.application();
            }
            DEVICE_WATCHDOG | DISCONNECT_PEER => {
                avps.origin().base_number(RESULT_CODE, SUCCESS);
            }
            _ => {
                avps.application()
                    .base_number(AUTH_SESSION_STATE, 1)
                    .origin();
                self.cx_answer(command, request, &mut avps);
            }
        }
        avps.0
    }

    fn cx_answer(&self, command: u32, request: &[Avp<'_>], avps: &mut Avps) {
        let public = text(find(request, PUBLIC_IDENTITY));
        let Some(name) = user_of(&public) else {
            avps.experimental(ERROR_USER_UNKNOWN);
            return;
        };
        let private = format!("{name}@{DOMAIN}");
        let mut records = self.records();
        if let Some(short) = short_name(command) {
            records.requests.push((short, name.to_owned()));
        }
        // A LIR, and a SAR for somebody unregistered, is about a public identity alone.
        let asked = find(request, USER_NAME).map(|data| text(Some(data)));
        if asked.is_some_and(|asked| asked != private) {
            avps.experimental(ERROR_IDENTITIES_DONT_MATCH);
            return;
        }
        match command {
            USER_AUTHORIZATION => {
                let known = records.registered.get(name).copied().unwrap_or_default();
                avps.experimental(if known {
                    SUBSEQUENT_REGISTRATION
                } else {
                    FIRST_REGISTRATION
                });
                avps.cx(SERVER_NAME, SERVER.as_bytes());
            }
            LOCATION_INFO => {
                avps.base_number(RESULT_CODE, SUCCESS)
                    .cx(SERVER_NAME, SERVER.as_bytes());
            }
            MULTIMEDIA_AUTH => {
                avps.base(USER_NAME, private.as_bytes())
                    .cx(PUBLIC_IDENTITY, public.as_bytes());
                let item = if name.starts_with("isim") {
                    aka_item(name, records.next_sequence(name))
                } else {
                    digest_item(&private, name)
                };
                avps.cx_number(SIP_NUMBER_AUTH_ITEMS, 1)
                    .cx(SIP_AUTH_DATA_ITEM, &item.0)
                    .base_number(RESULT_CODE, SUCCESS);
            }
            SERVER_ASSIGNMENT => {
                let kind =
                    find(request, SERVER_ASSIGNMENT_TYPE).and_then(|data| data.last().copied());
                records
                    .registered
                    .insert(name.to_owned(), matches!(kind, Some(1 | 2)));
                avps.base(USER_NAME, private.as_bytes())
                    .base_number(RESULT_CODE, SUCCESS);
                avps.cx(USER_DATA, subscription(&private, name).as_bytes());
            }
            _ => {
                avps.base_number(RESULT_CODE, COMMAND_UNSUPPORTED);
            }
        }
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Records {
    fn next_sequence(&mut self, user: &str) -> u64 {
        let sequence = self.sequences.entry(user.to_owned()).or_default();
        // The last five bits are an index, TS 33.102 annex C: the counter is above them.
        *sequence += 1 << 5;
        *sequence
    }
}

/// TS 29.228 table 6.3.4 for SIP Digest.
fn digest_item(private: &str, user: &str) -> Avps {
    let mut digest = Avps::default();
    digest
        .base(DIGEST_REALM, DOMAIN.as_bytes())
        .base(DIGEST_ALGORITHM, b"MD5")
        .base(DIGEST_QOP, b"auth")
        .base(DIGEST_HA1, ha1(private, &password(user)).as_bytes());
    let mut item = Avps::default();
    item.cx_number(SIP_ITEM_NUMBER, 1)
        .cx(SIP_AUTHENTICATION_SCHEME, b"SIP Digest")
        .cx(SIP_DIGEST_AUTHENTICATE, &digest.0);
    item
}

/// TS 29.228 table 6.3.4 for AKA.
fn aka_item(user: &str, sequence: u64) -> Avps {
    let vector = aka::vector(user, sequence);
    let mut item = Avps::default();
    item.cx_number(SIP_ITEM_NUMBER, 1)
        .cx(SIP_AUTHENTICATION_SCHEME, b"Digest-AKAv1-MD5")
        .cx(SIP_AUTHENTICATE, &vector.challenge)
        .cx(SIP_AUTHORIZATION, &vector.expected)
        .cx(CONFIDENTIALITY_KEY, &vector.confidentiality_key)
        .cx(INTEGRITY_KEY, &vector.integrity_key);
    item
}

/// The user of a public identity; everybody of the domain but `nobody` has a subscription.
fn user_of(public: &str) -> Option<&str> {
    let (name, domain) = public.strip_prefix("sip:")?.split_once('@')?;
    let name = name.strip_suffix(".work").unwrap_or(name);
    (domain == DOMAIN && name != "nobody").then_some(name)
}

/// The user's profile, TS 29.228 annex E: two identities that are registered together.
fn subscription(private: &str, name: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><IMSSubscription><PrivateID>{private}</PrivateID><ServiceProfile>\
         <PublicIdentity><Identity>sip:{name}@{DOMAIN}</Identity></PublicIdentity>\
         <PublicIdentity><Identity>sip:{name}.work@{DOMAIN}</Identity></PublicIdentity>\
         </ServiceProfile></IMSSubscription>"
    )
}

/// RFC 2617 §3.2.2.2.
fn ha1(private: &str, password: &str) -> String {
    let hash = Md5::digest(format!("{private}:{DOMAIN}:{password}"));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The S-CSCF all users are assigned to.
const SERVER: &str = "sip:scscf.ims.test:6060";
