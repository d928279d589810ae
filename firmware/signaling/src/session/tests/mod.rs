//! Calls as flows: a played browser, a played IMS and a played media plane around one
//! session, in virtual time. What passes between them is written down as a ladder, and
//! the ladder is what is compared.
#![allow(clippy::unwrap_used)]

mod any_order;
mod call;
mod call_in;
mod call_out;
mod ending;
mod forks;
mod ladder;
mod media_loss;
mod preconditions;
mod re_offers;
mod referral;
mod rivals;
mod sdp_text;
mod session_timer;
mod world;

use iq::Leg;

use crate::message::StatusCode;

const BROWSER: Leg = Leg::Access;
const IMS: Leg = Leg::Ims;

/// Compares a ladder with the expected one, both without indentation.
#[track_caller]
fn assert_ladder(ladder: &str, expected: &str) {
    let trim = |text: &str| {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("\n")
    };
    let (ladder, expected) = (trim(ladder), trim(expected));
    assert!(
        ladder == expected,
        "the ladder is\n{ladder}\n\nand should be\n{expected}\n"
    );
}

fn status(code: u16) -> StatusCode {
    StatusCode::new(code).unwrap()
}
