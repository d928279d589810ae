//! Preconditions of quality of service in a description, RFC 3312 and RFC 4032, with the
//! segmented status type that the IMS uses.
//!
//! The box's own segment needs no reservation and is always ready; what it waits for is
//! the peer's.

use serde::{Deserialize, Serialize};

use super::model::{Attribute, Direction, Media};

/// What a peer says of the segment on its own side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preconditions {
    /// The directions that are ready.
    ready: Direction,
    /// The directions that shall be ready before anybody is alerted.
    desired: Direction,
    strength: Strength,
}

/// How much a direction is desired, RFC 3312 §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Strength {
    Mandatory,
    Optional,
    None,
}

/// What the box does about preconditions in one SDP session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PreconditionUse {
    /// Nothing is read and nothing is said.
    #[default]
    Ignored,
    /// They are answered where the peer's offer has some.
    Answered,
    /// The box's own offers say that its segment is ready.
    Offered,
}

impl Preconditions {
    /// Reads those of a media line; `None` if it has none.
    pub(super) fn read(media: &Media) -> Option<Self> {
        let current = media.attributes("curr").filter_map(|value| {
            let [kind, segment, direction] = words(value)?;
            (kind == QOS && segment == LOCAL).then(|| read_direction(direction))?
        });
        let desired = media.attributes("des").filter_map(|value| {
            let [kind, strength, segment, direction] = words(value)?;
            let is_local = kind == QOS && segment == LOCAL;
            is_local.then(|| Some((Strength::read(strength)?, read_direction(direction)?)))?
        });
        let (current, desired) = (current.last(), desired.last());
        if current.is_none() && desired.is_none() {
            return None;
        }
        let (strength, desired) = desired.unwrap_or((Strength::None, Direction::Inactive));
        Some(Preconditions {
            ready: current.unwrap_or(Direction::Inactive),
            desired,
            strength,
        })
    }

    /// Whether the peer's segment is as ready as it must be before anybody is alerted.
    #[must_use]
    pub fn are_met(&self) -> bool {
        self.strength != Strength::Mandatory || self.desired.and(self.ready) == self.desired
    }

    /// The lines of the box's answer: its own segment is ready, and it wants to be told
    /// when the peer's is (RFC 3312 §7).
    pub(super) fn answer(&self) -> Vec<Attribute> {
        let mut lines = self.lines();
        if !self.are_met() {
            lines.push(Attribute::new("conf", "qos remote sendrecv"));
        }
        lines
    }

    /// The lines of the box's offer to a peer that said this, or has said nothing yet.
    pub(super) fn offer(peer: Option<&Self>) -> Vec<Attribute> {
        let unknown = Preconditions {
            ready: Direction::Inactive,
            desired: Direction::Inactive,
            strength: Strength::None,
        };
        peer.unwrap_or(&unknown).lines()
    }

    /// The peer's directions are the other way round seen from the box.
    fn lines(&self) -> Vec<Attribute> {
        vec![
            Attribute::new("curr", "qos local sendrecv"),
            Attribute::new(
                "curr",
                format_args!("qos remote {}", written(self.ready.reversed())),
            ),
            Attribute::new("des", "qos mandatory local sendrecv"),
            Attribute::new(
                "des",
                format_args!("qos {} remote sendrecv", self.strength.as_str()),
            ),
        ]
    }
}

impl Strength {
    fn read(text: &str) -> Option<Self> {
        match text {
            "mandatory" => Some(Strength::Mandatory),
            "optional" => Some(Strength::Optional),
            "none" => Some(Strength::None),
            _ => None, // `failure` and `unknown` stand in answers with 580 only.
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Strength::Mandatory => "mandatory",
            Strength::Optional => "optional",
            Strength::None => "none",
        }
    }
}

fn words<const N: usize>(value: &str) -> Option<[&str; N]> {
    let mut words = value.split_ascii_whitespace();
    let mut found = [""; N];
    for word in &mut found {
        *word = words.next()?;
    }
    words.next().is_none().then_some(found)
}

fn read_direction(text: &str) -> Option<Direction> {
    match text {
        "sendrecv" => Some(Direction::SendRecv),
        "send" => Some(Direction::SendOnly),
        "recv" => Some(Direction::RecvOnly),
        "none" => Some(Direction::Inactive),
        _ => None,
    }
}

fn written(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "send",
        Direction::RecvOnly => "recv",
        Direction::Inactive => "none",
    }
}

const QOS: &str = "qos";
const LOCAL: &str = "local";

#[cfg(test)]
mod tests {
    use super::super::model::{Host, MediaKind};
    use super::*;

    fn line(attributes: &[(&str, &str)]) -> Media {
        Media {
            kind: MediaKind::Audio,
            port: 40000,
            protocol: "RTP/AVP".to_owned(),
            formats: Vec::new(),
            connection: None::<Host>,
            bandwidths: Vec::new(),
            attributes: attributes
                .iter()
                .map(|(name, value)| Attribute::new(name, value))
                .collect(),
        }
    }

    fn text(lines: &[Attribute]) -> Vec<String> {
        let text = |line: &Attribute| format!("{}:{}", line.name, line.value.as_ref().unwrap());
        lines.iter().map(text).collect()
    }

    #[test]
    fn a_peer_that_is_not_ready_is_asked_to_say_when_it_is() {
        let offer = Preconditions::read(&line(&[
            ("curr", "qos local none"),
            ("curr", "qos remote none"),
            ("des", "qos mandatory local sendrecv"),
            ("des", "qos none remote sendrecv"),
        ]))
        .unwrap();
        assert!(!offer.are_met());
        assert_eq!(
            text(&offer.answer()),
            [
                "curr:qos local sendrecv",
                "curr:qos remote none",
                "des:qos mandatory local sendrecv",
                "des:qos mandatory remote sendrecv",
                "conf:qos remote sendrecv"
            ]
        );
    }

    #[test]
    fn a_peer_that_is_ready_is_not() {
        let update = Preconditions::read(&line(&[
            ("curr", "qos local sendrecv"),
            ("curr", "qos remote sendrecv"),
            ("des", "qos mandatory local sendrecv"),
            ("des", "qos mandatory remote sendrecv"),
        ]))
        .unwrap();
        assert!(update.are_met());
        assert_eq!(
            text(&update.answer())[1..],
            [
                "curr:qos remote sendrecv",
                "des:qos mandatory local sendrecv",
                "des:qos mandatory remote sendrecv"
            ]
        );
    }

    #[test]
    fn half_of_what_is_desired_is_not_enough_unless_it_was_optional() {
        let ready = |strength, ready| {
            let desired = format!("qos {strength} local sendrecv");
            let current = format!("qos local {ready}");
            let media = line(&[("curr", &current), ("des", &desired)]);
            Preconditions::read(&media).unwrap().are_met()
        };
        assert!(!ready("mandatory", "send"));
        assert!(!ready("mandatory", "none"));
        assert!(ready("optional", "none"));
        assert!(ready("none", "recv"));
    }

    #[test]
    fn a_direction_is_seen_from_the_other_end() {
        let media = line(&[
            ("curr", "qos local send"),
            ("des", "qos optional local send"),
        ]);
        let peer = Preconditions::read(&media).unwrap();
        assert_eq!(text(&peer.answer())[1], "curr:qos remote recv");
        assert_eq!(text(&peer.answer())[3], "des:qos optional remote sendrecv");
    }

    #[test]
    fn the_boxs_own_offer_says_that_it_is_ready() {
        assert_eq!(
            text(&Preconditions::offer(None)),
            [
                "curr:qos local sendrecv",
                "curr:qos remote none",
                "des:qos mandatory local sendrecv",
                "des:qos none remote sendrecv"
            ]
        );
    }

    #[test]
    fn other_lines_and_broken_ones_are_no_preconditions() {
        for attributes in [
            &[("curr", "sec local none")][..],
            &[("curr", "qos e2e none")],
            &[("curr", "qos local")],
            &[("curr", "qos local maybe")],
            &[("des", "qos mandatory remote sendrecv")],
            &[],
        ] {
            assert_eq!(Preconditions::read(&line(attributes)), None);
        }
    }
}
