//! Dialogs as call flows, in virtual time.

use std::time::{Duration, Instant};

use super::answer::UnacknowledgedAnswer;
use super::rel100::{Acknowledgements, Reliability, ReliableProvisionals};
use super::session_timer::{SessionTimer, Wishes};
use super::*;
use crate::message::headers::RAck;

#[test]
fn caller_walks_its_routes_in_reverse_and_the_callee_in_order() {
    let invite = invite("a").with(
        HeaderName::RecordRoute,
        "<sip:p2.example;lr>, <sip:p1.example;lr>",
    );
    let ok = Response::to_request(&invite, StatusCode::OK)
        .with_to_tag("b")
        .with(
            HeaderName::RecordRoute,
            "<sip:p2.example;lr>, <sip:p1.example;lr>",
        )
        .with(HeaderName::Contact, "<sip:bob@192.0.2.4>");
    let mut caller = Dialog::from_response(&invite, &ok).unwrap();
    let mut callee = Dialog::from_request(&invite, "b").unwrap();
    assert_eq!(
        print(&caller.request(Method::Bye)),
        "BYE sip:bob@192.0.2.4\n\
         Route: <sip:p1.example;lr>\n\
         Route: <sip:p2.example;lr>\n\
         Max-Forwards: 70\n\
         From: \"Alice A.\" <sip:alice@example.com>;tag=a\n\
         To: <sip:bob@example.com>;tag=b\n\
         Call-ID: call-1\n\
         CSeq: 8 BYE"
    );
    assert_eq!(
        print(&callee.request(Method::Bye)),
        "BYE sip:alice@192.0.2.1\n\
         Route: <sip:p2.example;lr>\n\
         Route: <sip:p1.example;lr>\n\
         Max-Forwards: 70\n\
         From: <sip:bob@example.com>;tag=b\n\
         To: \"Alice A.\" <sip:alice@example.com>;tag=a\n\
         Call-ID: call-1\n\
         CSeq: 1 BYE"
    );
    assert_eq!(caller.next_hop().as_str(), "sip:p1.example;lr");
    assert_eq!(caller.id().remote_tag, callee.id().local_tag);
}

#[test]
fn strict_router_takes_the_place_of_the_target() {
    let invite = invite("a").with(
        HeaderName::RecordRoute,
        "<sip:old.example>, <sip:new.example;lr>",
    );
    let mut callee = Dialog::from_request(&invite, "b").unwrap();
    let bye = callee.request(Method::Bye);
    assert_eq!(
        print(&bye).lines().take(3).collect::<Vec<_>>(),
        [
            "BYE sip:old.example",
            "Route: <sip:new.example;lr>",
            "Route: <sip:alice@192.0.2.1>"
        ]
    );
}

#[test]
fn each_fork_is_a_dialog_and_the_acceptance_has_the_last_word_about_routes() {
    let invite = invite("a");
    let ringing = |tag: &str| {
        Response::to_request(&invite, StatusCode::RINGING)
            .with_to_tag(tag)
            .with(HeaderName::Contact, format!("<sip:{tag}@192.0.2.4>"))
            .with(HeaderName::RecordRoute, "<sip:early.example;lr>")
    };
    let one = Dialog::from_response(&invite, &ringing("b1")).unwrap();
    let mut two = Dialog::from_response(&invite, &ringing("b2")).unwrap();
    assert_ne!(one.id(), two.id());
    assert_eq!((one.state(), two.state()), (State::Early, State::Early));

    let ok = Response::to_request(&invite, StatusCode::OK)
        .with_to_tag("b2")
        .with(HeaderName::Contact, "<sip:moved@192.0.2.5>")
        .with(HeaderName::Allow, "INVITE, UPDATE");
    two.handle_response(&ok).unwrap();
    assert_eq!(two.state(), State::Confirmed);
    assert_eq!(two.next_hop().as_str(), "sip:moved@192.0.2.5");
    assert!(two.remote_allows(&Method::Update) && !one.remote_allows(&Method::Update));
    assert_eq!(
        print(&two.ack(7)).lines().last(),
        Some("CSeq: 7 ACK"),
        "an ACK has the number of its INVITE"
    );
}

#[test]
fn target_moves_with_a_reinvite_but_not_with_a_bye() {
    let mut callee = Dialog::from_request(&invite("a"), "b").unwrap();
    let mut again = in_dialog("INVITE", 8);
    again
        .headers
        .push(HeaderName::Contact, "<sip:alice@192.0.2.99?Subject=x>");
    callee.handle_request(&again).unwrap();
    assert_eq!(callee.remote_target().as_str(), "sip:alice@192.0.2.99");
    let mut bye = in_dialog("BYE", 9);
    bye.headers
        .push(HeaderName::Contact, "<sip:evil@192.0.2.66>");
    callee.handle_request(&bye).unwrap();
    assert_eq!(callee.remote_target().as_str(), "sip:alice@192.0.2.99");
}

#[test]
fn request_out_of_order_is_refused() {
    let mut callee = Dialog::from_request(&invite("a"), "b").unwrap();
    callee.handle_request(&in_dialog("INFO", 20)).unwrap();
    for number in [19, 20] {
        let error = callee
            .handle_request(&in_dialog("INFO", number))
            .unwrap_err();
        assert_eq!(error, DialogError::OutOfOrder);
        assert_eq!(error.status(), StatusCode::SERVER_INTERNAL_ERROR);
    }
    callee.handle_request(&in_dialog("ACK", 7)).unwrap();
    callee.handle_request(&in_dialog("INFO", 300)).unwrap();
}

#[test]
fn dialog_of_a_message_is_found_from_both_ends() {
    let mut request = in_dialog("BYE", 9);
    let id = DialogId::of_request(&request).unwrap();
    assert_eq!((id.local_tag.as_str(), id.remote_tag.as_str()), ("b", "a"));
    let response = Response::to_request(&request, StatusCode::OK);
    let id = DialogId::of_response(&response).unwrap();
    assert_eq!((id.local_tag.as_str(), id.remote_tag.as_str()), ("a", "b"));
    request
        .headers
        .replace(HeaderName::To, "<sip:bob@example.com>");
    assert_eq!(DialogId::of_request(&request), None);
}

#[test]
fn acceptance_without_a_contact_makes_no_dialog() {
    let invite = invite("a");
    let ok = Response::to_request(&invite, StatusCode::OK).with_to_tag("b");
    assert!(Dialog::from_response(&invite, &ok).is_err());
    let ringing = Response::to_request(&invite, StatusCode::RINGING);
    assert!(Dialog::from_response(&invite, &ringing).is_err(), "no tag");
    let ringing = ringing.with_to_tag("b");
    let early = Dialog::from_response(&invite, &ringing).unwrap();
    assert_eq!(early.remote_target().as_str(), "sip:bob@example.com");
}

#[test]
fn acceptance_is_repeated_until_it_is_acknowledged() {
    let ok = Response::to_request(&invite("a"), StatusCode::OK);
    let start = Instant::now();
    let mut answer = UnacknowledgedAnswer::start(ok.clone(), start);
    let timeline = Timeline::new(start).run(
        &mut answer,
        |answer, now| {
            answer.handle_timeout(now);
            answer.poll_timeout()
        },
        |answer| match answer.poll_output()? {
            super::answer::Output::Send(response) => Some(response.status.to_string()),
            super::answer::Output::GaveUp => Some("give up".to_owned()),
        },
    );
    assert_eq!(
        timeline,
        "0s 200, 0.5s 200, 1.5s 200, 3.5s 200, 7.5s 200, 11.5s 200, 15.5s 200, 19.5s 200, \
         23.5s 200, 27.5s 200, 31.5s 200, 32s give up"
    );

    let mut answer = UnacknowledgedAnswer::start(ok, start);
    assert!(!answer.handle_ack(&in_dialog("ACK", 6)));
    assert!(answer.handle_ack(&in_dialog("ACK", 7)));
    assert!(!answer.handle_ack(&in_dialog("ACK", 7)), "a copy");
    assert_eq!(answer.poll_timeout(), None);
}

#[test]
fn reliable_ringing_is_repeated_and_the_next_waits_for_its_prack() {
    let invite = invite("a");
    let start = Instant::now();
    let mut provisionals = ReliableProvisionals::new(&invite, 17);
    provisionals.send(
        Response::to_request(&invite, StatusCode::SESSION_PROGRESS),
        start,
    );
    provisionals.send(Response::to_request(&invite, StatusCode::RINGING), start);
    let first = sent(&mut provisionals);
    assert_eq!(first, "183 RSeq 17 Require 100rel");
    assert!(!provisionals.handle_prack(&prack(18, 7), start));
    assert!(!provisionals.handle_prack(&prack(17, 6), start));
    assert!(provisionals.handle_prack(&prack(17, 7), start));
    assert_eq!(sent(&mut provisionals), "180 RSeq 18 Require 100rel");
    assert!(!provisionals.handle_prack(&prack(17, 7), start), "a copy");
    let timeline = Timeline::new(start).run(
        &mut provisionals,
        |provisionals, now| {
            provisionals.handle_timeout(now);
            provisionals.poll_timeout()
        },
        |provisionals| match provisionals.poll_output()? {
            super::rel100::Output::Send(response) => Some(response.status.to_string()),
            super::rel100::Output::GaveUp => Some("give up".to_owned()),
        },
    );
    assert_eq!(
        timeline,
        "0.5s 180, 1.5s 180, 3.5s 180, 7.5s 180, 15.5s 180, 31.5s 180, 32s give up"
    );
    assert!(!provisionals.is_waiting());
}

#[test]
fn only_the_next_reliable_response_is_acknowledged() {
    let invite = invite("a");
    let ringing = |rseq: u32| {
        Response::to_request(&invite, StatusCode::RINGING)
            .with(HeaderName::Require, "100rel")
            .with(HeaderName::RSeq, rseq)
    };
    let rack = |rseq| {
        Reliability::Acknowledge(RAck {
            rseq,
            cseq: invite.headers.cseq().unwrap(),
        })
    };
    let mut fork = Acknowledgements::default();
    let plain = Response::to_request(&invite, StatusCode::RINGING);
    assert_eq!(fork.handle_response(&plain), Reliability::Unreliable);
    assert_eq!(fork.handle_response(&ringing(988_789)), rack(988_789));
    assert_eq!(fork.handle_response(&ringing(988_789)), Reliability::Drop);
    assert_eq!(fork.handle_response(&ringing(988_791)), Reliability::Drop);
    assert_eq!(fork.handle_response(&ringing(988_790)), rack(988_790));
    assert_eq!(
        rack(1),
        Acknowledgements::default().handle_response(&ringing(1))
    );
}

#[test]
fn session_is_refreshed_at_half_time_and_ended_shortly_before_its_end() {
    let start = Instant::now();
    let mut timer = SessionTimer::new(Wishes::default());
    let mut invite = invite("a");
    timer.prepare_request(&mut invite);
    assert_eq!(
        invite.headers.text(&HeaderName::SessionExpires),
        Some("1800")
    );
    assert_eq!(invite.headers.text(&HeaderName::Supported), Some("timer"));
    let ok = Response::to_request(&invite, StatusCode::OK)
        .with(HeaderName::SessionExpires, "1800;refresher=uac");
    timer.handle_success(&ok, start);
    assert_eq!(run_timer(&mut timer, start), "900s refresh, 1768s expired");

    timer.handle_success(&ok, start);
    let mut again = in_dialog("UPDATE", 8);
    timer.prepare_request(&mut again);
    assert_eq!(
        again.headers.text(&HeaderName::SessionExpires),
        Some("1800;refresher=uac")
    );

    let theirs = Response::to_request(&invite, StatusCode::OK)
        .with(HeaderName::SessionExpires, "90;refresher=uas");
    timer.handle_success(&theirs, start);
    assert_eq!(run_timer(&mut timer, start), "60s expired");

    timer.handle_success(&Response::to_request(&invite, StatusCode::OK), start);
    assert_eq!(run_timer(&mut timer, start), "");
}

#[test]
fn too_short_a_session_is_refused_and_ours_grows_when_refused() {
    let mut timer = SessionTimer::new(Wishes {
        interval: 600,
        min_se: 300,
    });
    let asks = |interval: &str| {
        invite("a")
            .with(HeaderName::Supported, "timer")
            .with(HeaderName::SessionExpires, interval)
    };
    let refused = timer.check_request(&asks("120")).unwrap_err();
    let response = refused.response(&asks("120"));
    assert_eq!(response.status, StatusCode::SESSION_INTERVAL_TOO_SMALL);
    assert_eq!(response.headers.text(&HeaderName::MinSe), Some("300"));
    timer.check_request(&asks("300")).unwrap();
    timer.check_request(&invite("a")).unwrap();

    let too_small = |min_se: u32| {
        Response::to_request(&invite("a"), StatusCode::SESSION_INTERVAL_TOO_SMALL)
            .with(HeaderName::MinSe, min_se)
    };
    assert!(timer.handle_too_small(&too_small(3600)));
    let mut again = invite("a");
    timer.prepare_request(&mut again);
    assert_eq!(
        again.headers.text(&HeaderName::SessionExpires),
        Some("3600")
    );
    assert_eq!(again.headers.text(&HeaderName::MinSe), Some("3600"));
    assert!(
        !timer.handle_too_small(&too_small(3600)),
        "no end of it otherwise"
    );
}

/// RFC 4028 §9, table 2.
#[test]
fn answer_says_who_refreshes() {
    let start = Instant::now();
    for (supported, asked, answered, timeline) in [
        (
            "",
            None,
            "1800;refresher=uas",
            "900s refresh, 1768s expired",
        ),
        (
            "timer",
            None,
            "1800;refresher=uas",
            "900s refresh, 1768s expired",
        ),
        (
            "timer",
            Some("600"),
            "600;refresher=uas",
            "300s refresh, 568s expired",
        ),
        (
            "timer",
            Some("600;refresher=uac"),
            "600;refresher=uac",
            "568s expired",
        ),
        (
            "timer",
            Some("600;refresher=uas"),
            "600;refresher=uas",
            "300s refresh, 568s expired",
        ),
        (
            "",
            Some("600;refresher=uac"),
            "600;refresher=uas",
            "300s refresh, 568s expired",
        ),
        (
            "",
            Some("30"),
            "90;refresher=uas",
            "45s refresh, 60s expired",
        ),
    ] {
        let mut timer = SessionTimer::new(Wishes::default());
        let mut request = invite("a").with(HeaderName::Supported, supported);
        if let Some(asked) = asked {
            request.headers.push(HeaderName::SessionExpires, asked);
        }
        timer.check_request(&request).unwrap();
        let mut ok = Response::to_request(&request, StatusCode::OK);
        timer.prepare_response(&request, &mut ok, start);
        assert_eq!(ok.headers.text(&HeaderName::SessionExpires), Some(answered));
        let requires = ok.headers.lists_token(&HeaderName::Require, "timer");
        assert_eq!(requires, answered.ends_with("uac"), "{asked:?}");
        assert_eq!(run_timer(&mut timer, start), timeline, "{asked:?}");
    }
}

#[test]
fn failed_refresh_is_tried_again_before_the_end() {
    let start = Instant::now();
    let mut timer = SessionTimer::new(Wishes::default());
    let ok = Response::to_request(&invite("a"), StatusCode::OK)
        .with(HeaderName::SessionExpires, "90;refresher=uac");
    timer.handle_success(&ok, start);
    let refresh_at = start + Duration::from_secs(45);
    timer.handle_timeout(refresh_at);
    assert!(timer.poll_output().is_some());
    timer.retry_refresh(refresh_at);
    assert_eq!(run_timer(&mut timer, start), "48.1s refresh, 60s expired");
}

fn run_timer(timer: &mut SessionTimer, start: Instant) -> String {
    Timeline::new(start).run(
        timer,
        |timer, now| {
            timer.handle_timeout(now);
            timer.poll_timeout()
        },
        |timer| match timer.poll_output()? {
            super::session_timer::Output::Refresh => Some("refresh".to_owned()),
            super::session_timer::Output::Expired => Some("expired".to_owned()),
        },
    )
}

/// Runs a value through its timers and writes down what it says.
struct Timeline {
    start: Instant,
    now: Instant,
    said: Vec<String>,
}

impl Timeline {
    fn new(start: Instant) -> Self {
        Timeline {
            start,
            now: start,
            said: Vec::new(),
        }
    }

    fn run<T>(
        mut self,
        value: &mut T,
        mut handle_timeout: impl FnMut(&mut T, Instant) -> Option<Instant>,
        mut poll_output: impl FnMut(&mut T) -> Option<String>,
    ) -> String {
        loop {
            let next = handle_timeout(value, self.now);
            while let Some(said) = poll_output(value) {
                let seconds = self.now.duration_since(self.start).as_millis() as f64 / 1000.0;
                self.said.push(format!("{seconds}s {said}"));
            }
            match next {
                Some(at) => self.now = at.max(self.now),
                None => return self.said.join(", "),
            }
        }
    }
}

fn sent(provisionals: &mut ReliableProvisionals) -> String {
    let Some(super::rel100::Output::Send(response)) = provisionals.poll_output() else {
        panic!()
    };
    assert_eq!(provisionals.poll_output(), None);
    let text = |name| response.headers.text(&name).unwrap().to_owned();
    format!(
        "{} RSeq {} Require {}",
        response.status,
        text(HeaderName::RSeq),
        text(HeaderName::Require)
    )
}

fn prack(rseq: u32, cseq: u32) -> Request {
    in_dialog("PRACK", 8).with(HeaderName::RAck, format!("{rseq} {cseq} INVITE"))
}

fn invite(from_tag: &str) -> Request {
    Request::new(Method::Invite, Uri::parse("sip:bob@example.com").unwrap())
        .with(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1")
        .with(
            HeaderName::From,
            format!("Alice A. <sip:alice@example.com>;tag={from_tag}"),
        )
        .with(HeaderName::To, "<sip:bob@example.com>")
        .with(HeaderName::CallId, "call-1")
        .with(HeaderName::CSeq, "7 INVITE")
        .with(HeaderName::Contact, "<sip:alice@192.0.2.1>")
}

fn in_dialog(method: &str, number: u32) -> Request {
    let method = Method::parse(method).unwrap();
    Request::new(method.clone(), Uri::parse("sip:bob@192.0.2.4").unwrap())
        .with(HeaderName::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK2")
        .with(HeaderName::From, "<sip:alice@example.com>;tag=a")
        .with(HeaderName::To, "<sip:bob@example.com>;tag=b")
        .with(HeaderName::CallId, "call-1")
        .with(HeaderName::CSeq, format!("{number} {method}"))
}

fn print(request: &Request) -> String {
    let mut lines = vec![format!("{} {}", request.method, request.uri)];
    lines.extend(
        request
            .headers
            .iter()
            .map(|header| format!("{}: {}", header.name(), header.text().unwrap())),
    );
    lines.join("\n")
}
