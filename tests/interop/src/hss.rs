//! A small HSS: Diameter Cx (TS 29.228, TS 29.229) for I- and S-CSCF, SIP Digest for every user.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::Context;
use md5::{Digest, Md5};

use crate::network;

/// The domain of all users.
pub const DOMAIN: &str = "ims.test";

/// The password of a user.
pub fn password(user: &str) -> String {
    format!("{user}-secret")
}

/// Which public identity is registered at which S-CSCF.
type Registered = Arc<Mutex<BTreeMap<String, bool>>>;

/// Answers on port 3868 until the process ends.
pub fn start() -> anyhow::Result<()> {
    let listener =
        TcpListener::bind((network::HSS, 3868)).context("port 3868 of the lab is taken")?;
    let registered = Registered::default();
    thread::spawn(move || {
        for peer in listener.incoming().flatten() {
            let registered = registered.clone();
            thread::spawn(move || serve(peer, &registered));
        }
    });
    Ok(())
}

/// One connection of a CSCF, until it closes or breaks the framing.
fn serve(mut peer: TcpStream, registered: &Registered) -> Option<()> {
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
        let avps = answer(command, &read_avps(&body), registered)?;
        let mut message = Vec::with_capacity(20 + avps.len());
        let length = u32::try_from(20 + avps.len()).ok()?.to_be_bytes();
        message.extend_from_slice(&[1, length[1], length[2], length[3]]);
        message.push(header[4] & !FLAG_REQUEST);
        message.extend_from_slice(&header[5..20]);
        message.extend_from_slice(&avps);
        peer.write_all(&message).ok()?;
    }
}

fn answer(command: u32, request: &[Avp<'_>], registered: &Registered) -> Option<Vec<u8>> {
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
            cx_answer(command, request, registered, &mut avps);
        }
    }
    Some(avps.0)
}

fn cx_answer(command: u32, request: &[Avp<'_>], registered: &Registered, avps: &mut Avps) {
    let public = text(find(request, PUBLIC_IDENTITY));
    let Some(name) = user_of(&public) else {
        avps.experimental(ERROR_USER_UNKNOWN);
        return;
    };
    let private = format!("{name}@{DOMAIN}");
    let mut registered = registered
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    match command {
        USER_AUTHORIZATION => {
            if text(find(request, USER_NAME)) != private {
                avps.experimental(ERROR_IDENTITIES_DONT_MATCH);
                return;
            }
            let known = registered.get(name).copied().unwrap_or_default();
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
            avps.cx_number(SIP_NUMBER_AUTH_ITEMS, 1);
            let mut digest = Avps::default();
            digest.base(DIGEST_REALM, DOMAIN.as_bytes());
            digest
                .base(DIGEST_ALGORITHM, b"MD5")
                .base(DIGEST_QOP, b"auth");
            digest.base(DIGEST_HA1, ha1(&private, &password(name)).as_bytes());
            let mut item = Avps::default();
            item.cx_number(SIP_ITEM_NUMBER, 1)
                .cx(SIP_AUTHENTICATION_SCHEME, b"SIP Digest");
            item.cx(SIP_DIGEST_AUTHENTICATE, &digest.0);
            avps.cx(SIP_AUTH_DATA_ITEM, &item.0)
                .base_number(RESULT_CODE, SUCCESS);
        }
        SERVER_ASSIGNMENT => {
            let kind = find(request, SERVER_ASSIGNMENT_TYPE).and_then(|data| data.last().copied());
            registered.insert(name.to_owned(), matches!(kind, Some(1 | 2)));
            avps.base(USER_NAME, private.as_bytes())
                .base_number(RESULT_CODE, SUCCESS);
            avps.cx(USER_DATA, subscription(&private, name).as_bytes());
        }
        _ => {
            avps.base_number(RESULT_CODE, COMMAND_UNSUPPORTED);
        }
    }
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

/// One attribute-value pair of a request.
struct Avp<'a> {
    code: u32,
    data: &'a [u8],
}

fn read_avps(mut bytes: &[u8]) -> Vec<Avp<'_>> {
    let mut avps = Vec::new();
    while let [c0, c1, c2, c3, flags, l0, l1, l2, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *l0, *l1, *l2]) as usize;
        let head = if flags & FLAG_VENDOR == 0 { 8 } else { 12 };
        let Some(data) = rest.get(head - 8..length.saturating_sub(8)) else {
            break;
        };
        avps.push(Avp {
            code: u32::from_be_bytes([*c0, *c1, *c2, *c3]),
            data,
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    avps
}

fn find<'a>(avps: &[Avp<'a>], code: u32) -> Option<&'a [u8]> {
    avps.iter().find(|avp| avp.code == code).map(|avp| avp.data)
}

fn text(data: Option<&[u8]>) -> String {
    String::from_utf8_lossy(data.unwrap_or_default()).into_owned()
}

/// Attribute-value pairs being written, RFC 6733 §4.1.
#[derive(Default)]
struct Avps(Vec<u8>);

impl Avps {
    fn base(&mut self, code: u32, data: &[u8]) -> &mut Self {
        self.write(code, None, data)
    }

    fn base_number(&mut self, code: u32, value: u32) -> &mut Self {
        self.base(code, &value.to_be_bytes())
    }

    fn cx(&mut self, code: u32, data: &[u8]) -> &mut Self {
        self.write(code, Some(VENDOR_3GPP), data)
    }

    fn cx_number(&mut self, code: u32, value: u32) -> &mut Self {
        self.cx(code, &value.to_be_bytes())
    }

    fn origin(&mut self) -> &mut Self {
        self.base(ORIGIN_HOST, b"hss.ims.test")
            .base(ORIGIN_REALM, DOMAIN.as_bytes())
    }

    fn application(&mut self) -> &mut Self {
        let mut inner = Self::default();
        inner
            .base_number(VENDOR_ID, VENDOR_3GPP)
            .base_number(AUTH_APPLICATION_ID, CX);
        self.base(VENDOR_SPECIFIC_APPLICATION_ID, &inner.0)
    }

    fn experimental(&mut self, code: u32) -> &mut Self {
        let mut inner = Self::default();
        inner
            .base_number(VENDOR_ID, VENDOR_3GPP)
            .base_number(EXPERIMENTAL_RESULT_CODE, code);
        self.base(EXPERIMENTAL_RESULT, &inner.0)
    }

    fn write(&mut self, code: u32, vendor: Option<u32>, data: &[u8]) -> &mut Self {
        let head = if vendor.is_some() { 12 } else { 8 };
        let length = u32::try_from(head + data.len())
            .expect("our values are short")
            .to_be_bytes();
        self.0.extend_from_slice(&code.to_be_bytes());
        self.0
            .push(FLAG_MANDATORY | if vendor.is_some() { FLAG_VENDOR } else { 0 });
        self.0.extend_from_slice(&length[1..]);
        if let Some(vendor) = vendor {
            self.0.extend_from_slice(&vendor.to_be_bytes());
        }
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// The S-CSCF all users are assigned to.
const SERVER: &str = "sip:scscf.ims.test:6060";

const FLAG_REQUEST: u8 = 0x80;
const FLAG_VENDOR: u8 = 0x80;
const FLAG_MANDATORY: u8 = 0x40;
const VENDOR_3GPP: u32 = 10415;
const CX: u32 = 16_777_216;

// Commands, RFC 6733 §3.1 and TS 29.229 §6.1.
const CAPABILITIES_EXCHANGE: u32 = 257;
const DEVICE_WATCHDOG: u32 = 280;
const DISCONNECT_PEER: u32 = 282;
const USER_AUTHORIZATION: u32 = 300;
const SERVER_ASSIGNMENT: u32 = 301;
const LOCATION_INFO: u32 = 302;
const MULTIMEDIA_AUTH: u32 = 303;

// Results, RFC 6733 §7.1 and TS 29.229 §6.2.
const SUCCESS: u32 = 2001;
const FIRST_REGISTRATION: u32 = 2001;
const SUBSEQUENT_REGISTRATION: u32 = 2002;
const COMMAND_UNSUPPORTED: u32 = 3001;
const ERROR_USER_UNKNOWN: u32 = 5001;
const ERROR_IDENTITIES_DONT_MATCH: u32 = 5002;

// Attributes, RFC 6733 §4.5, RFC 4740 §9 and TS 29.229 §6.3.
const USER_NAME: u32 = 1;
const DIGEST_REALM: u32 = 104;
const DIGEST_QOP: u32 = 110;
const DIGEST_ALGORITHM: u32 = 111;
const DIGEST_HA1: u32 = 121;
const HOST_IP_ADDRESS: u32 = 257;
const AUTH_APPLICATION_ID: u32 = 258;
const VENDOR_SPECIFIC_APPLICATION_ID: u32 = 260;
const SESSION_ID: u32 = 263;
const ORIGIN_HOST: u32 = 264;
const SUPPORTED_VENDOR_ID: u32 = 265;
const VENDOR_ID: u32 = 266;
const RESULT_CODE: u32 = 268;
const PRODUCT_NAME: u32 = 269;
const AUTH_SESSION_STATE: u32 = 277;
const ORIGIN_REALM: u32 = 296;
const EXPERIMENTAL_RESULT: u32 = 297;
const EXPERIMENTAL_RESULT_CODE: u32 = 298;
const PUBLIC_IDENTITY: u32 = 601;
const SERVER_NAME: u32 = 602;
const USER_DATA: u32 = 606;
const SIP_NUMBER_AUTH_ITEMS: u32 = 607;
const SIP_AUTHENTICATION_SCHEME: u32 = 608;
const SIP_AUTH_DATA_ITEM: u32 = 612;
const SIP_ITEM_NUMBER: u32 = 613;
const SERVER_ASSIGNMENT_TYPE: u32 = 614;
const SIP_DIGEST_AUTHENTICATE: u32 = 635;
