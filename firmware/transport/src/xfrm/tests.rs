//! The bytes are those that `ip xfrm` of iproute2 6.1 sends for the same things (x86-64).

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use signaling::sec_agree::{Association, Protection};

use super::*;

fn association(from: &str, to: &str, is_hidden: bool) -> Association {
    let mut integrity_key = Zeroizing::new([0x11; 20]);
    integrity_key[16..].fill(0);
    Association {
        spi: 3001,
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        is_inbound: false,
        protection: Protection {
            integrity_key,
            cipher_key: is_hidden.then(|| Zeroizing::new([0xcc; 16])),
        },
        lifetime: Duration::from_secs(240),
    }
}

fn outbound() -> Association {
    association("198.51.100.1:40100", "192.0.2.10:5100", true)
}

/// Without the netlink header, in hexadecimal digits.
fn hex(message: &message::Message) -> String {
    let bytes = message.framed(1);
    bytes[16..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What `ip xfrm` sent, written in lines.
fn sent(text: &str) -> String {
    text.replace(' ', "")
}

#[test]
fn an_association_is_made_as_ip_xfrm_makes_it() {
    assert_eq!(
        hex(&message::new_association(&outbound(), 7)),
        sent(STATE_ADD)
    );
    let v6 = association("[2001:db8::1]:40100", "[2001:db8::2]:5100", false);
    assert_eq!(hex(&message::new_association(&v6, 7)), sent(STATE_ADD_V6));
}

#[test]
fn its_policy_is_made_as_ip_xfrm_makes_it() {
    let way = Way::of(&outbound());
    assert_eq!(hex(&message::update_policy(&way, 7)), sent(POLICY_UPDATE));
    let inbound = Way {
        from: "192.0.2.10:5101".parse().unwrap(),
        to: "198.51.100.1:40101".parse().unwrap(),
        is_inbound: true,
    };
    assert_eq!(
        hex(&message::update_policy(&inbound, 0)),
        sent(POLICY_UPDATE_IN)
    );
}

#[test]
fn both_are_removed_as_ip_xfrm_removes_them() {
    let association = outbound();
    let message = message::delete_association(association.id(), association.from.ip());
    assert_eq!(hex(&message), sent(STATE_DELETE));
    let message = message::delete_policy(&Way::of(&association));
    assert_eq!(hex(&message), sent(POLICY_DELETE));
}

#[test]
fn the_header_asks_for_an_answer() {
    let bytes = message::delete_policy(&Way::of(&outbound())).framed(9);
    let header = [80, 0, 0, 0, 0x14, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bytes[..16], header);
}

#[test]
fn an_answer_is_read_and_nothing_else_is_taken_for_one() {
    let mut bytes = [0; 36];
    bytes[4] = 2;
    bytes[8] = 9;
    assert_eq!(message::answer(&bytes), Some((9, 0)));
    bytes[16..20].copy_from_slice(&(-3_i32).to_ne_bytes());
    assert_eq!(message::answer(&bytes), Some((9, -3)));
    assert_eq!(message::answer(&bytes[..19]), None);
    bytes[4] = 3;
    assert_eq!(message::answer(&bytes), None);
}

/// The kernel itself reads a request and says that there is no such association; or, to a
/// process without the right, that it may not ask.
#[test]
fn the_kernel_understands_a_request() {
    let mut xfrm = Xfrm::open().unwrap();
    let association = outbound();
    let asked = xfrm.ask(&message::delete_association(
        association.id(),
        association.from.ip(),
    ));
    let code = asked.unwrap_err().raw_os_error();
    assert!(
        [Some(libc::ESRCH), Some(libc::EPERM)].contains(&code),
        "{code:?}"
    );
}

const STATE_ADD: &str = "c000020a000000000000000000000000c633640100000000000000000000000013ecffff9ca4ffff \
     02002020000000000000000000000000c000020a00000000000000000000000000000bb932000000 \
     c6336401000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff \
     ffffffffffffffff0000000000000000f00000000000000000000000000000000000000000000000 \
     00000000000000000000000000000000000000000000000000000000000000000000000000000000 \
     00000000000000000700000002000020000000000000000060001400686d61632873686131290000 \
     00000000000000000000000000000000000000000000000000000000000000000000000000000000 \
     000000000000000000000000a0000000600000001111111111111111111111111111111100000000 \
     58000200636263286165732900000000000000000000000000000000000000000000000000000000 \
     0000000000000000000000000000000000000000000000000000000080000000cccccccccccccccc \
     cccccccccccccccc";

const STATE_ADD_V6: &str = "20010db800000000000000000000000220010db800000000000000000000000113ecffff9ca4ffff \
     0a00808000000000000000000000000020010db800000000000000000000000200000bb932000000 \
     20010db8000000000000000000000001ffffffffffffffffffffffffffffffffffffffffffffffff \
     ffffffffffffffff0000000000000000f00000000000000000000000000000000000000000000000 \
     00000000000000000000000000000000000000000000000000000000000000000000000000000000 \
     0000000000000000070000000a000020000000000000000060001400686d61632873686131290000 \
     00000000000000000000000000000000000000000000000000000000000000000000000000000000 \
     000000000000000000000000a0000000600000001111111111111111111111111111111100000000 \
     48000200656362286369706865725f6e756c6c290000000000000000000000000000000000000000 \
     0000000000000000000000000000000000000000000000000000000000000000";

const POLICY_UPDATE: &str = "c000020a000000000000000000000000c633640100000000000000000000000013ecffff9ca4ffff \
     02002020000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff \
     ffffffffffffffff0000000000000000000000000000000000000000000000000000000000000000 \
     00000000000000000000000000000000000000000000000000000000000000000000000000000000 \
     010000000000000044000500c000020a000000000000000000000000000000003200000002000000 \
     c63364010000000000000000000000000700000000000000ffffffffffffffffffffffff";

const POLICY_UPDATE_IN: &str = "c6336401000000000000000000000000c000020a0000000000000000000000009ca5ffff13edffff \
     02002020000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff \
     ffffffffffffffff0000000000000000000000000000000000000000000000000000000000000000 \
     00000000000000000000000000000000000000000000000000000000000000000000000000000000 \
     000000000000000044000500c6336401000000000000000000000000000000003200000002000000 \
     c000020a0000000000000000000000000000000000000000ffffffffffffffffffffffff";

const STATE_DELETE: &str = "c000020a00000000000000000000000000000bb90200320014000d00c63364010000000000000000 \
     00000000";

const POLICY_DELETE: &str = "c000020a000000000000000000000000c633640100000000000000000000000013ecffff9ca4ffff \
     020020200000000000000000000000000000000001000000";
