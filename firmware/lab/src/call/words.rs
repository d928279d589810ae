//! What a call reads out of messages and writes into them.

use super::*;

pub(super) fn everything(direction: Direction) -> Audio {
    Audio {
        formats: CodecPolicy::default().everything(),
        direction,
    }
}

pub(super) fn audio_of(offer: Result<Description, SdpError>) -> Result<ImsDescription, SdpError> {
    ImsDescription::read(&offer?, Part::Offer)
}

pub(super) fn target_of(request: &Request) -> Option<Uri> {
    let contact = request.headers.contacts().ok()?.into_iter().next()?;
    contact.address().map(|address| address.uri.clone())
}

pub(super) fn description_of(request: &Request) -> Option<Result<Description, SdpError>> {
    sdp_in(&request.headers, &request.body)
}

pub(super) fn sdp_in(
    headers: &signaling::message::Headers,
    body: &[u8],
) -> Option<Result<Description, SdpError>> {
    let content_type = headers.text(&HeaderName::ContentType)?;
    session_description(content_type, body).map(parse)
}

/// `Signal=5` of application/dtmf-relay, or the bare key of application/dtmf.
pub(super) fn key_in_info(request: &Request) -> Option<u8> {
    let text = std::str::from_utf8(&request.body).ok()?;
    let signal = text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim()
            .eq_ignore_ascii_case("signal")
            .then_some(value.trim())
    });
    match signal.unwrap_or(text.trim()) {
        "*" => Some(STAR),
        "#" => Some(HASH),
        digit => digit.parse().ok().filter(|digit| *digit <= 9),
    }
}
