//! How messages and commands read in a ladder.

use std::fmt::Write as _;

use super::sdp_text;
use crate::message::{HeaderName, Headers, Method, Request, Response};

pub(super) fn describe_request(request: &Request) -> String {
    let body = match request.method {
        Method::Info => String::new(),
        Method::Notify => format!(" {:?}", String::from_utf8_lossy(&request.body).trim_end()),
        _ => describe_body(&request.body),
    };
    format!(
        "{}{body}{}",
        request.method,
        describe_headers(&request.headers)
    )
}

pub(super) fn describe_response(response: &Response) -> String {
    let method = response.headers.cseq().unwrap().method;
    let method = match method {
        Method::Invite => String::new(),
        method => format!(" {method}"),
    };
    format!(
        "{}{method}{}{}",
        response.status,
        describe_body(&response.body),
        describe_headers(&response.headers)
    )
}

fn describe_body(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    format!(" {}", sdp_text::name(body))
}

pub(super) fn describe_headers(headers: &Headers) -> String {
    let mut text = String::new();
    for name in [
        HeaderName::Require,
        HeaderName::RSeq,
        HeaderName::RAck,
        HeaderName::Reason,
        HeaderName::RetryAfter,
        HeaderName::Unsupported,
        HeaderName::Warning,
        HeaderName::ReferTo,
        HeaderName::ReferredBy,
        HeaderName::ReferSub,
        HeaderName::Event,
        HeaderName::SubscriptionState,
    ] {
        for header in headers.get_all(&name) {
            let value = header.text().unwrap();
            if value != "timer" {
                write!(text, " {{{name}: {value}}}").unwrap();
            }
        }
    }
    text
}

pub(super) fn describe_configure(configure: &iq::Configure) -> String {
    let access = configure.access.as_ref();
    let mut text = format!(
        "Configure {}",
        access.map_or("-", |access| access.ice.ufrag.as_str())
    );
    for line in &configure.lines {
        let payloads: Vec<String> = line
            .payloads
            .iter()
            .map(|payload| format!("{:?}={}", payload.format, payload.access.receive))
            .collect();
        let remote = line
            .ims_remote
            .map_or("nowhere".to_owned(), |remote| remote.rtp.to_string());
        write!(
            text,
            " {} browser {} ims {} {remote}",
            payloads.join(","),
            describe_flow(line.access),
            describe_flow(line.ims)
        )
        .unwrap();
    }
    text
}

fn describe_flow(flow: iq::Flow) -> &'static str {
    match (flow.send, flow.receive) {
        (true, true) => "<>",
        (true, false) => "<",
        (false, true) => ">",
        (false, false) => "x",
    }
}
