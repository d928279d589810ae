//! The lists of what the kernel has, and what of it is to be removed.

use std::net::IpAddr;

use signaling::sec_agree::AssociationId;

use super::message::{
    self, AF_INET, AF_INET6, HEADER, IPPROTO_ESP, Message, NLMSG_DONE, NLMSG_ERROR,
    XFRM_MSG_NEWPOLICY, XFRM_MSG_NEWSA, XFRMA_TMPL,
};
use super::{MARK, REQUESTS};

/// One entry of a list: its type, and what follows the netlink header.
pub(super) struct Found {
    kind: u16,
    body: Vec<u8>,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    More,
    Last,
    /// The kernel's code, negative.
    Failed(i32),
}

/// Takes the messages of one read.
pub(super) fn read(mut bytes: &[u8], sequence: u32, found: &mut Vec<Found>) -> Part {
    while let (Some(len), Some(kind), Some(of)) =
        (u32_at(bytes, 0), u16_at(bytes, 4), u32_at(bytes, 8))
    {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let Some(body) = bytes.get(HEADER..len) else {
            break;
        };
        match kind {
            _ if of != sequence => {} // Late, of an earlier question.
            NLMSG_DONE => return Part::Last,
            NLMSG_ERROR => return Part::Failed(u32_at(body, 0).map_or(0, u32::cast_signed)),
            _ => found.push(Found {
                kind,
                body: body.to_vec(),
            }),
        }
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Part::More
}

/// What removes an entry, if it is this program's and of one of its addresses.
pub(super) fn removal(found: &Found, own: &[IpAddr]) -> Option<Message> {
    let Found { kind, body } = found;
    match *kind {
        XFRM_MSG_NEWSA => {
            let family = u16_at(body, SA_FAMILY)?;
            let to = address(body, SA_TO, family)?;
            let from = address(body, SA_FROM, family)?;
            let is_ours = is_marked(u32_at(body, SA_REQUEST)?)
                && body.get(SA_PROTOCOL) == Some(&IPPROTO_ESP)
                && (own.contains(&to) || own.contains(&from));
            let spi = u32_at(body, SA_SPI)?.to_be();
            is_ours.then(|| message::delete_association(AssociationId { to, spi }, from))
        }
        XFRM_MSG_NEWPOLICY => {
            let selector = body.get(..SELECTOR)?;
            let family = u16_at(body, SELECTOR_FAMILY)?;
            let ends = [address(body, 0, family)?, address(body, 16, family)?];
            let template = attribute(body.get(POLICY..)?, XFRMA_TMPL)?;
            let is_ours = is_marked(u32_at(template, TEMPLATE_REQUEST)?)
                && ends.iter().any(|end| own.contains(end));
            let direction = *body.get(POLICY_DIRECTION)?;
            is_ours.then(|| message::delete_policy_of(selector, direction))
        }
        _ => None,
    }
}

fn is_marked(request: u32) -> bool {
    request & !REQUESTS == MARK
}

/// The value of the first attribute of a kind.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let (len, kind) = (usize::from(u16_at(bytes, 0)?), u16_at(bytes, 2)?);
        let value = bytes.get(4..len)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(len.next_multiple_of(4)..)?;
    }
}

fn address(bytes: &[u8], at: usize, family: u16) -> Option<IpAddr> {
    let bytes = bytes.get(at..)?;
    match family {
        AF_INET => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        AF_INET6 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// `struct xfrm_selector`: its length, and where the family is.
const SELECTOR: usize = 56;
const SELECTOR_FAMILY: usize = 40;

/// Where things are in `struct xfrm_usersa_info`.
const SA_TO: usize = 56;
const SA_SPI: usize = 72;
const SA_PROTOCOL: usize = 76;
const SA_FROM: usize = 80;
const SA_REQUEST: usize = 208;
const SA_FAMILY: usize = 212;

/// `struct xfrm_userpolicy_info`: its length, and where the direction is.
const POLICY: usize = 168;
const POLICY_DIRECTION: usize = 160;

/// Where the request number is in `struct xfrm_user_tmpl`.
const TEMPLATE_REQUEST: usize = 44;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use signaling::sec_agree::{Association, Protection};
    use zeroize::Zeroizing;

    use super::super::Way;
    use super::*;

    fn association() -> Association {
        Association {
            spi: 3001,
            from: "198.51.100.1:40100".parse().unwrap(),
            to: "192.0.2.10:5100".parse().unwrap(),
            is_inbound: false,
            protection: Protection {
                integrity_key: Zeroizing::new([0x11; 20]),
                cipher_key: None,
            },
            lifetime: Duration::from_secs(240),
        }
    }

    /// The kernel lists an entry as it was made.
    fn listed(made: &Message) -> Found {
        let bytes = made.framed(7);
        let mut found = Vec::new();
        assert_eq!(read(&bytes, 7, &mut found), Part::More);
        found.pop().unwrap()
    }

    #[test]
    fn what_bears_the_mark_is_removed_and_nothing_else() {
        let (association, own) = (association(), ["198.51.100.1".parse().unwrap()]);
        let other = ["203.0.113.9".parse().unwrap()];
        let made = message::new_association(&association, MARK | 7);
        let removed = removal(&listed(&made), &own).unwrap();
        let expected = message::delete_association(association.id(), association.from.ip());
        assert_eq!(removed.framed(1), expected.framed(1));
        assert!(removal(&listed(&made), &other).is_none());
        let foreign = message::new_association(&association, 7);
        assert!(removal(&listed(&foreign), &own).is_none());
    }

    #[test]
    fn its_policies_go_too() {
        let (way, own) = (Way::of(&association()), ["198.51.100.1".parse().unwrap()]);
        // What the kernel lists is of another type than what made it.
        let listed = |request| Found {
            kind: XFRM_MSG_NEWPOLICY,
            ..listed(&message::update_policy(&way, request))
        };
        let removed = removal(&listed(MARK), &own).unwrap();
        assert_eq!(removed.framed(1), message::delete_policy(&way).framed(1));
        assert!(removal(&listed(0), &own).is_none());
    }

    #[test]
    fn a_list_ends_where_the_kernel_says_so() {
        let mut done = vec![0; 20];
        done[0] = 20;
        done[4] = 3;
        done[8] = 7;
        assert_eq!(read(&done, 7, &mut Vec::new()), Part::Last);
        assert_eq!(read(&done, 8, &mut Vec::new()), Part::More);
        done[4] = 2;
        done[16..].copy_from_slice(&(-1_i32).to_ne_bytes());
        assert_eq!(read(&done, 7, &mut Vec::new()), Part::Failed(-1));
        assert_eq!(read(&done[..15], 7, &mut Vec::new()), Part::More);
    }
}
