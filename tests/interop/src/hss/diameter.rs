//! Diameter messages as far as Cx needs them: RFC 6733 §4, TS 29.229 §6.

use super::DOMAIN;

/// One attribute-value pair of a request.
pub(super) struct Avp<'a> {
    code: u32,
    data: &'a [u8],
}

pub(super) fn read_avps(mut bytes: &[u8]) -> Vec<Avp<'_>> {
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

pub(super) fn find<'a>(avps: &[Avp<'a>], code: u32) -> Option<&'a [u8]> {
    avps.iter().find(|avp| avp.code == code).map(|avp| avp.data)
}

pub(super) fn text(data: Option<&[u8]>) -> String {
    String::from_utf8_lossy(data.unwrap_or_default()).into_owned()
}

/// Attribute-value pairs being written, RFC 6733 §4.1.
#[derive(Default)]
pub(super) struct Avps(pub(super) Vec<u8>);

impl Avps {
    pub(super) fn base(&mut self, code: u32, data: &[u8]) -> &mut Self {
        self.write(code, None, data)
    }

    pub(super) fn base_number(&mut self, code: u32, value: u32) -> &mut Self {
        self.base(code, &value.to_be_bytes())
    }

    pub(super) fn cx(&mut self, code: u32, data: &[u8]) -> &mut Self {
        self.write(code, Some(VENDOR_3GPP), data)
    }

    pub(super) fn cx_number(&mut self, code: u32, value: u32) -> &mut Self {
        self.cx(code, &value.to_be_bytes())
    }

    pub(super) fn origin(&mut self) -> &mut Self {
        self.base(ORIGIN_HOST, b"hss.ims.test")
            .base(ORIGIN_REALM, DOMAIN.as_bytes())
    }

    pub(super) fn application(&mut self) -> &mut Self {
        let mut inner = Self::default();
        inner
            .base_number(VENDOR_ID, VENDOR_3GPP)
            .base_number(AUTH_APPLICATION_ID, CX);
        self.base(VENDOR_SPECIFIC_APPLICATION_ID, &inner.0)
    }

    pub(super) fn experimental(&mut self, code: u32) -> &mut Self {
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

pub(super) const FLAG_REQUEST: u8 = 0x80;
pub(super) const FLAG_VENDOR: u8 = 0x80;
pub(super) const FLAG_MANDATORY: u8 = 0x40;
pub(super) const VENDOR_3GPP: u32 = 10415;
pub(super) const CX: u32 = 16_777_216;

// Commands, RFC 6733 §3.1 and TS 29.229 §6.1.
pub(super) const CAPABILITIES_EXCHANGE: u32 = 257;
pub(super) const DEVICE_WATCHDOG: u32 = 280;
pub(super) const DISCONNECT_PEER: u32 = 282;
pub(super) const USER_AUTHORIZATION: u32 = 300;
pub(super) const SERVER_ASSIGNMENT: u32 = 301;
pub(super) const LOCATION_INFO: u32 = 302;
pub(super) const MULTIMEDIA_AUTH: u32 = 303;

// Results, RFC 6733 §7.1 and TS 29.229 §6.2.
pub(super) const SUCCESS: u32 = 2001;
pub(super) const FIRST_REGISTRATION: u32 = 2001;
pub(super) const SUBSEQUENT_REGISTRATION: u32 = 2002;
pub(super) const COMMAND_UNSUPPORTED: u32 = 3001;
pub(super) const ERROR_USER_UNKNOWN: u32 = 5001;
pub(super) const ERROR_IDENTITIES_DONT_MATCH: u32 = 5002;

// Attributes, RFC 6733 §4.5, RFC 4740 §9 and TS 29.229 §6.3.
pub(super) const USER_NAME: u32 = 1;
pub(super) const DIGEST_REALM: u32 = 104;
pub(super) const DIGEST_QOP: u32 = 110;
pub(super) const DIGEST_ALGORITHM: u32 = 111;
pub(super) const DIGEST_HA1: u32 = 121;
pub(super) const HOST_IP_ADDRESS: u32 = 257;
pub(super) const AUTH_APPLICATION_ID: u32 = 258;
pub(super) const VENDOR_SPECIFIC_APPLICATION_ID: u32 = 260;
pub(super) const SESSION_ID: u32 = 263;
pub(super) const ORIGIN_HOST: u32 = 264;
pub(super) const SUPPORTED_VENDOR_ID: u32 = 265;
pub(super) const VENDOR_ID: u32 = 266;
pub(super) const RESULT_CODE: u32 = 268;
pub(super) const PRODUCT_NAME: u32 = 269;
pub(super) const AUTH_SESSION_STATE: u32 = 277;
pub(super) const ORIGIN_REALM: u32 = 296;
pub(super) const EXPERIMENTAL_RESULT: u32 = 297;
pub(super) const EXPERIMENTAL_RESULT_CODE: u32 = 298;
pub(super) const PUBLIC_IDENTITY: u32 = 601;
pub(super) const SERVER_NAME: u32 = 602;
pub(super) const USER_DATA: u32 = 606;
pub(super) const SIP_NUMBER_AUTH_ITEMS: u32 = 607;
pub(super) const SIP_AUTHENTICATION_SCHEME: u32 = 608;
pub(super) const SIP_AUTHENTICATE: u32 = 609;
pub(super) const SIP_AUTHORIZATION: u32 = 610;
pub(super) const SIP_AUTH_DATA_ITEM: u32 = 612;
pub(super) const SIP_ITEM_NUMBER: u32 = 613;
pub(super) const SERVER_ASSIGNMENT_TYPE: u32 = 614;
pub(super) const CONFIDENTIALITY_KEY: u32 = 625;
pub(super) const INTEGRITY_KEY: u32 = 626;
pub(super) const SIP_DIGEST_AUTHENTICATE: u32 = 635;

/// What TS 29.229 §6.1 calls a request of Cx.
pub(super) fn short_name(command: u32) -> Option<&'static str> {
    match command {
        USER_AUTHORIZATION => Some("UAR"),
        SERVER_ASSIGNMENT => Some("SAR"),
        LOCATION_INFO => Some("LIR"),
        MULTIMEDIA_AUTH => Some("MAR"),
        _ => None,
    }
}
