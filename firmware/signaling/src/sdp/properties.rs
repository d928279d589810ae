//! What holds for any description.

use super::tests::{OFFER_ALL, everything_of, transport};
use super::*;

proptest::proptest! {
    #[test]
    fn what_is_written_is_read_again(description in any_description()) {
        let bytes = description.to_bytes();
        proptest::prop_assert!(parse(&bytes).unwrap() == description);
    }

    #[test]
    fn no_bytes_break_the_parser(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_mutation_of_a_real_offer_breaks_a_negotiation(
        at in 0..OFFER_ALL.len(),
        length in 0_usize..40,
        with in "[ -~\r\n]{0,20}",
    ) {
        let mut offer = OFFER_ALL.as_bytes().to_vec();
        let end = (at + length).min(offer.len());
        offer.splice(at..end, with.bytes());
        if let Ok(browser) = parse(&offer).and_then(|d| AccessDescription::read(&d, Part::Offer)) {
            let audio = everything_of(&browser.audio.formats);
            let answer = AccessSide::new(1).answer(&browser, &audio, &transport()).unwrap();
            let written = parse(&answer).unwrap();
            proptest::prop_assert_eq!(written.media.len(), browser.lines.len());
        }
    }
}

/// Any description that the grammar allows.
fn any_description() -> impl proptest::strategy::Strategy<Value = Description> {
    use proptest::prelude::*;
    let host = || prop_oneof![any::<std::net::IpAddr>().prop_map(Host::Ip)];
    let attribute = || {
        (
            "[a-z][a-z0-9-]{0,12}",
            proptest::option::of("[!-~][ -~]{0,30}"),
        )
            .prop_map(|(name, value)| Attribute { name, value })
    };
    let bandwidth =
        || ("[A-Z]{2,4}", any::<u64>()).prop_map(|(modifier, value)| Bandwidth { modifier, value });
    let media = (
        "audio|video|application|text",
        any::<u16>(),
        "RTP/AVP|UDP/TLS/RTP/SAVPF|udptl",
        proptest::collection::vec("[0-9]{1,3}|t38", 1..6),
        proptest::option::of(host()),
        proptest::collection::vec(bandwidth(), 0..3),
        proptest::collection::vec(attribute(), 0..8),
    )
        .prop_map(
            |(kind, port, protocol, formats, connection, bandwidths, attributes)| Media {
                kind: MediaKind::from(kind.as_str()),
                port,
                protocol,
                formats,
                connection,
                bandwidths,
                attributes,
            },
        );
    (
        "[0-9]{1,19}",
        any::<u64>(),
        host(),
        proptest::option::of(host()),
        proptest::collection::vec(bandwidth(), 0..2),
        proptest::collection::vec(attribute(), 0..5),
        proptest::collection::vec(media, 0..5),
    )
        .prop_map(
            |(session_id, version, origin, connection, bandwidths, attributes, media)| {
                Description {
                    session_id,
                    version,
                    origin,
                    connection,
                    bandwidths,
                    attributes,
                    media,
                }
            },
        )
}
