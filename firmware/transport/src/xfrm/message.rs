//! The messages themselves, byte by byte as `linux/xfrm.h` and `linux/netlink.h` lay them
//! out; what is not said otherwise is in the machine's own byte order.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use signaling::sec_agree::{Association, AssociationId};
use zeroize::Zeroizing;

use super::Way;

/// A request: its type, and what follows the netlink header.
pub(super) struct Message {
    kind: u16,
    flags: u16,
    body: Body,
}

impl Message {
    /// One that the kernel says of whether it was done.
    fn asking(kind: u16, body: Body) -> Self {
        Message {
            kind,
            flags: NLM_F_ACK,
            body,
        }
    }

    /// With the netlink header.
    pub(super) fn framed(&self, sequence: u32) -> Zeroizing<Vec<u8>> {
        let len = HEADER + self.body.0.len();
        let mut bytes = Body::with_capacity(len);
        bytes.u32(u32::try_from(len).expect("a message is short"));
        bytes.u16(self.kind);
        bytes.u16(NLM_F_REQUEST | self.flags);
        bytes.u32(sequence);
        bytes.u32(0);
        bytes.bytes(&self.body.0);
        bytes.0
    }
}

/// XFRM_MSG_NEWSA: ESP in transport mode between two sockets.
pub(super) fn new_association(association: &Association, request: u32) -> Message {
    let kind = XFRM_MSG_NEWSA;
    Message {
        kind,
        ..update_association(association, request)
    }
}

/// XFRM_MSG_UPDSA: the same for one that stands, which takes the lifetime from it.
pub(super) fn update_association(association: &Association, request: u32) -> Message {
    let mut body = Body::with_capacity(LONGEST);
    let (from, to) = (association.from, association.to);
    body.selector(from, to);
    body.address(to.ip());
    body.bytes(&association.spi.to_be_bytes());
    body.bytes(&[IPPROTO_ESP, 0, 0, 0]);
    body.address(from.ip());
    body.lifetime(association.lifetime.as_secs());
    body.zeros(32 + 12 + 4); // Current lifetime, statistics, sequence.
    body.u32(request);
    body.u16(family(to.ip()));
    body.bytes(&[TRANSPORT, REPLAY_WINDOW, 0]);
    body.zeros(7);
    let protection = &association.protection;
    body.attribute(XFRMA_ALG_AUTH_TRUNC, |body| {
        body.name("hmac(sha1)");
        body.u32(160);
        body.u32(96);
        body.bytes(&protection.integrity_key[..]);
    });
    body.attribute(XFRMA_ALG_CRYPT, |body| match &protection.cipher_key {
        Some(key) => {
            body.name("cbc(aes)");
            body.u32(128);
            body.bytes(&key[..]);
        }
        None => {
            body.name("ecb(cipher_null)");
            body.u32(0);
        }
    });
    Message::asking(XFRM_MSG_UPDSA, body)
}

/// XFRM_MSG_UPDPOLICY: what goes this way is protected.
pub(super) fn update_policy(way: &Way, request: u32) -> Message {
    let mut body = policy(way, XFRM_POLICY_ALLOW, 0);
    body.attribute(XFRMA_TMPL, |body| {
        body.address(way.to.ip());
        body.zeros(4);
        body.bytes(&[IPPROTO_ESP, 0, 0, 0]);
        body.u16(family(way.to.ip()));
        body.zeros(2);
        body.address(way.from.ip());
        body.u32(request);
        body.bytes(&[TRANSPORT, 0, 0, 0]);
        body.bytes(&[0xff; 12]); // Any algorithm: the association says which.
    });
    Message::asking(XFRM_MSG_UPDPOLICY, body)
}

/// XFRM_MSG_UPDPOLICY: nothing goes this way for a while.
pub(super) fn block(way: &Way, time: Duration) -> Message {
    let body = policy(way, XFRM_POLICY_BLOCK, time.as_secs());
    Message::asking(XFRM_MSG_UPDPOLICY, body)
}

/// XFRM_MSG_GETSA: all of them.
pub(super) fn all_associations() -> Message {
    Message {
        kind: XFRM_MSG_GETSA,
        flags: NLM_F_DUMP,
        body: Body::with_capacity(0),
    }
}

/// XFRM_MSG_GETPOLICY: all of them.
pub(super) fn all_policies() -> Message {
    Message {
        kind: XFRM_MSG_GETPOLICY,
        ..all_associations()
    }
}

/// `struct xfrm_userpolicy_info`.
fn policy(way: &Way, action: u8, seconds: u64) -> Body {
    let mut body = Body::with_capacity(LONGEST);
    body.selector(way.from, way.to);
    body.lifetime(seconds);
    body.zeros(32 + 4 + 4); // Current lifetime, priority, index.
    body.bytes(&[direction(way), action, 0, 0]);
    body.zeros(4);
    body
}

/// XFRM_MSG_DELSA.
pub(super) fn delete_association(id: AssociationId, from: IpAddr) -> Message {
    let mut body = Body::with_capacity(LONGEST);
    body.address(id.to);
    body.bytes(&id.spi.to_be_bytes());
    body.u16(family(id.to));
    body.bytes(&[IPPROTO_ESP, 0]);
    body.attribute(XFRMA_SRCADDR, |body| body.address(from));
    Message::asking(XFRM_MSG_DELSA, body)
}

/// XFRM_MSG_DELPOLICY.
pub(super) fn delete_policy(way: &Way) -> Message {
    let mut body = Body::with_capacity(LONGEST);
    body.selector(way.from, way.to);
    body.zeros(4);
    body.bytes(&[direction(way), 0, 0, 0]);
    Message::asking(XFRM_MSG_DELPOLICY, body)
}

/// XFRM_MSG_DELPOLICY with a selector as the kernel told it.
pub(super) fn delete_policy_of(selector: &[u8], direction: u8) -> Message {
    let mut body = Body::with_capacity(LONGEST);
    body.bytes(selector);
    body.zeros(4);
    body.bytes(&[direction, 0, 0, 0]);
    Message::asking(XFRM_MSG_DELPOLICY, body)
}

/// The sequence number and the code of an NLMSG_ERROR; 0 means done.
pub(super) fn answer(bytes: &[u8]) -> Option<(u32, i32)> {
    let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
    let code = i32::from_ne_bytes(*bytes.get(HEADER..)?.first_chunk()?);
    (kind == NLMSG_ERROR && code <= 0).then_some((sequence, code))
}

fn direction(way: &Way) -> u8 {
    match way.is_inbound {
        true => XFRM_POLICY_IN,
        false => XFRM_POLICY_OUT,
    }
}

fn family(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// Bytes that may hold keys.
struct Body(Zeroizing<Vec<u8>>);

impl Body {
    /// Large enough not to grow, which would leave copies of keys behind.
    fn with_capacity(len: usize) -> Self {
        Body(Zeroizing::new(Vec::with_capacity(len)))
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn zeros(&mut self, count: usize) {
        let len = self.0.len() + count;
        self.0.resize(len, 0);
    }

    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_ne_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_ne_bytes());
    }

    /// `xfrm_address_t`: 16 bytes, whatever the family.
    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => {
                self.bytes(&address.octets());
                self.zeros(12);
            }
            IpAddr::V6(address) => self.bytes(&address.octets()),
        }
    }

    /// `struct xfrm_selector`: both sockets, UDP and TCP alike.
    fn selector(&mut self, from: SocketAddr, to: SocketAddr) {
        self.address(to.ip());
        self.address(from.ip());
        for port in [to.port(), from.port()] {
            self.bytes(&port.to_be_bytes());
            self.bytes(&[0xff; 2]);
        }
        self.u16(family(to.ip()));
        let whole = if to.is_ipv4() { 32 } else { 128 };
        self.bytes(&[whole, whole, 0]);
        self.zeros(3 + 4 + 4);
    }

    /// `struct xfrm_lifetime_cfg`: so many seconds from now, if any, and no other limit.
    fn lifetime(&mut self, seconds: u64) {
        self.bytes(&[0xff; 32]);
        self.zeros(8);
        self.bytes(&seconds.to_ne_bytes());
        self.zeros(16);
    }

    /// `char alg_name[64]`.
    fn name(&mut self, name: &str) {
        self.bytes(name.as_bytes());
        self.zeros(64 - name.len());
    }

    /// `struct nlattr`; its length is a multiple of four here.
    fn attribute(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.zeros(2);
        self.u16(kind);
        write(self);
        let len = u16::try_from(self.0.len() - at).expect("an attribute is short");
        self.0[at..at + 2].copy_from_slice(&len.to_ne_bytes());
    }
}

pub(super) const HEADER: usize = 16;

/// No message is longer than this.
const LONGEST: usize = 512;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;

const NLM_F_DUMP: u16 = 0x300;

pub(super) const XFRM_MSG_NEWSA: u16 = 0x10;
const XFRM_MSG_DELSA: u16 = 0x11;
const XFRM_MSG_GETSA: u16 = 0x12;
pub(super) const XFRM_MSG_NEWPOLICY: u16 = 0x13;
const XFRM_MSG_DELPOLICY: u16 = 0x14;
const XFRM_MSG_GETPOLICY: u16 = 0x15;
const XFRM_MSG_UPDPOLICY: u16 = 0x19;
const XFRM_MSG_UPDSA: u16 = 0x1a;

const XFRM_POLICY_ALLOW: u8 = 0;
const XFRM_POLICY_BLOCK: u8 = 1;

const XFRMA_ALG_CRYPT: u16 = 2;
pub(super) const XFRMA_TMPL: u16 = 5;
const XFRMA_SRCADDR: u16 = 13;
const XFRMA_ALG_AUTH_TRUNC: u16 = 20;

const XFRM_POLICY_IN: u8 = 0;
const XFRM_POLICY_OUT: u8 = 1;
const TRANSPORT: u8 = 0;
const REPLAY_WINDOW: u8 = 32;

pub(super) const IPPROTO_ESP: u8 = 50;
pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;
