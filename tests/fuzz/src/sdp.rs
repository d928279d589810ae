//! Session descriptions from either side.

use signaling::sdp::{
    AccessDescription, Audio, CodecPolicy, Direction, ImsDescription, ImsSide, Part, parse,
    session_description,
};

/// Reads the bytes as a description, as a multipart body and as either half of a
/// negotiation on either leg; what is understood is written and read again.
///
/// # Panics
///
/// When a rule of the model is broken.
pub fn sdp(data: &[u8]) {
    let _ = session_description("multipart/mixed;boundary=b", data);
    let Ok(description) = parse(data) else {
        return;
    };
    let _ = parse(&description.to_bytes()).expect("what is written can be read");
    for part in [Part::Offer, Part::Answer] {
        let _ = AccessDescription::read(&description, part);
    }
    if let Ok(offer) = ImsDescription::read(&description, Part::Offer) {
        let audio = Audio {
            formats: CodecPolicy::default().of(&offer.audio.formats),
            direction: Direction::SendRecv,
        };
        let address = iq::ImsAddress {
            rtp: ([192, 0, 2, 1], 30_000).into(),
            rtcp: ([192, 0, 2, 1], 30_001).into(),
        };
        let answer = ImsSide::new(1)
            .answer(&offer, &audio, address)
            .expect("an offer with a codec can be answered");
        let answer = parse(&answer).expect("an answer of the box can be read");
        assert_eq!(answer.media.len(), description.media.len());
    }
}
