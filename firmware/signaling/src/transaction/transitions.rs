//! Prints what every machine does on every event in every state, and compares it with
//! what is written in `transitions.txt`, so that no transition changes unnoticed.

use std::fmt::Write as _;
use std::time::Instant;

use super::invite_client::InviteClient;
use super::invite_server::InviteServer;
use super::non_invite_client::NonInviteClient;
use super::non_invite_server::NonInviteServer;
use super::tests::{answer, request};
use super::{Action, GIVE_UP_AFTER};
use crate::message::{Message, Response, StatusCode};

#[test]
fn no_transition_changes_unnoticed() {
    let mut table = String::new();
    for is_reliable in [false, true] {
        let transport = if is_reliable {
            "reliable"
        } else {
            "unreliable"
        };
        invite_client(&mut table, transport, is_reliable);
        non_invite_client(&mut table, transport, is_reliable);
        invite_server(&mut table, transport, is_reliable);
        non_invite_server(&mut table, transport, is_reliable);
    }
    let stored = include_str!("transitions.txt");
    assert!(table == stored, "the table is now:\n{table}");
}

const CODES: [u16; 4] = [100, 180, 200, 486];

fn invite_client(table: &mut String, transport: &str, is_reliable: bool) {
    let paths: [(&str, &[u16]); 5] = [
        ("Calling", &[]),
        ("Proceeding", &[180]),
        ("Completed", &[486]),
        ("Accepted", &[200]),
        ("Terminated", &[0]),
    ];
    let invite = request("INVITE", "b1");
    for (name, path) in paths {
        let start = Instant::now();
        let at = |codes: &[u16]| {
            let mut machine = InviteClient::start(invite.clone(), is_reliable, start);
            for code in codes {
                match StatusCode::new(*code) {
                    Some(status) => machine.handle_response(answer(&invite, status), start),
                    None => machine.handle_transport_failure(),
                }
            }
            while machine.poll_output().is_some() {}
            machine
        };
        let mut print = |event: String, machine: &mut InviteClient| {
            let actions = actions(std::iter::from_fn(|| machine.poll_output()));
            let state = machine.state();
            row(
                table,
                "INVITE client",
                transport,
                name,
                &event,
                &format!("{state:?}"),
                &actions,
            );
        };
        for code in CODES {
            let mut machine = at(path);
            machine.handle_response(answer(&invite, status(code)), start);
            print(code.to_string(), &mut machine);
        }
        let mut machine = at(path);
        machine.handle_transport_failure();
        print("transport failure".into(), &mut machine);
        let mut machine = at(path);
        machine.handle_cancelled(start);
        machine.handle_timeout(start + GIVE_UP_AFTER);
        print("32 s after CANCEL".into(), &mut machine);
        let mut machine = at(path);
        if let Some(due) = machine.poll_timeout() {
            machine.handle_timeout(due);
            print("next timer".into(), &mut machine);
            let mut machine = at(path);
            machine.handle_timeout(start + GIVE_UP_AFTER);
            print("32 s".into(), &mut machine);
        }
    }
}

fn non_invite_client(table: &mut String, transport: &str, is_reliable: bool) {
    let paths: [(&str, &[u16]); 4] = [
        ("Trying", &[]),
        ("Proceeding", &[180]),
        ("Completed", &[486]),
        ("Terminated", &[0]),
    ];
    let register = request("REGISTER", "b1");
    for (name, path) in paths {
        let start = Instant::now();
        let at = |codes: &[u16]| {
            let mut machine = NonInviteClient::start(&register, is_reliable, start);
            for code in codes {
                match StatusCode::new(*code) {
                    Some(status) => machine.handle_response(answer(&register, status), start),
                    None => machine.handle_transport_failure(),
                }
            }
            while machine.poll_output().is_some() {}
            machine
        };
        let mut print = |event: String, machine: &mut NonInviteClient| {
            let actions = actions(std::iter::from_fn(|| machine.poll_output()));
            let state = format!("{:?}", machine.state());
            row(
                table,
                "non-INVITE client",
                transport,
                name,
                &event,
                &state,
                &actions,
            );
        };
        for code in CODES {
            let mut machine = at(path);
            machine.handle_response(answer(&register, status(code)), start);
            print(code.to_string(), &mut machine);
        }
        let mut machine = at(path);
        machine.handle_transport_failure();
        print("transport failure".into(), &mut machine);
        let mut machine = at(path);
        if let Some(due) = machine.poll_timeout() {
            machine.handle_timeout(due);
            print("next timer".into(), &mut machine);
            let mut machine = at(path);
            machine.handle_timeout(start + GIVE_UP_AFTER);
            print("32 s".into(), &mut machine);
        }
    }
}

fn invite_server(table: &mut String, transport: &str, is_reliable: bool) {
    /// An ACK, among the codes of a path.
    const ACK: u16 = 1;
    let paths: [(&str, &[u16]); 5] = [
        ("Proceeding", &[]),
        ("Accepted", &[200]),
        ("Completed", &[486]),
        ("Confirmed", &[486, ACK]),
        ("Terminated", &[0]),
    ];
    let invite = request("INVITE", "b1");
    for (name, path) in paths {
        let start = Instant::now();
        let at = |codes: &[u16]| {
            let trying = answer(&invite, StatusCode::TRYING);
            let mut machine = InviteServer::start(&trying, is_reliable, start);
            for code in codes {
                match (StatusCode::new(*code), *code) {
                    (Some(status), _) => machine.respond(&answer(&invite, status), start),
                    (None, ACK) => drop(machine.handle_ack(start)),
                    (None, _) => machine.handle_transport_failure(),
                }
            }
            while machine.poll_output().is_some() {}
            machine
        };
        let mut print = |event: String, machine: &mut InviteServer, told: &str| {
            let actions = actions(std::iter::from_fn(|| machine.poll_output()));
            let state = format!("{:?}", machine.state());
            let actions = [actions.as_str(), told].concat();
            row(
                table,
                "INVITE server",
                transport,
                name,
                &event,
                &state,
                &actions,
            );
        };
        for code in CODES {
            let mut machine = at(path);
            machine.respond(&answer(&invite, status(code)), start);
            print(format!("user sends {code}"), &mut machine, "");
        }
        let mut machine = at(path);
        machine.handle_copy();
        print("copy".into(), &mut machine, "");
        let mut machine = at(path);
        let told = if machine.handle_ack(start) {
            "tell ACK"
        } else {
            ""
        };
        print("ACK".into(), &mut machine, told);
        let mut machine = at(path);
        machine.handle_transport_failure();
        print("transport failure".into(), &mut machine, "");
        let mut machine = at(path);
        if let Some(due) = machine.poll_timeout() {
            machine.handle_timeout(due);
            print("next timer".into(), &mut machine, "");
            let mut machine = at(path);
            machine.handle_timeout(start + GIVE_UP_AFTER);
            print("32 s".into(), &mut machine, "");
        }
    }
}

fn non_invite_server(table: &mut String, transport: &str, is_reliable: bool) {
    let paths: [(&str, &[u16]); 4] = [
        ("Trying", &[]),
        ("Proceeding", &[180]),
        ("Completed", &[486]),
        ("Terminated", &[0]),
    ];
    let register = request("REGISTER", "b1");
    for (name, path) in paths {
        let start = Instant::now();
        let at = |codes: &[u16]| {
            let mut machine = NonInviteServer::start(is_reliable, start);
            for code in codes {
                match StatusCode::new(*code) {
                    Some(status) => machine.respond(&answer(&register, status), start),
                    None => machine.handle_transport_failure(),
                }
            }
            while machine.poll_output().is_some() {}
            machine
        };
        let mut print = |event: String, machine: &mut NonInviteServer| {
            let actions = actions(std::iter::from_fn(|| machine.poll_output()));
            let state = format!("{:?}", machine.state());
            row(
                table,
                "non-INVITE server",
                transport,
                name,
                &event,
                &state,
                &actions,
            );
        };
        for code in CODES {
            let mut machine = at(path);
            machine.respond(&answer(&register, status(code)), start);
            print(format!("user sends {code}"), &mut machine);
        }
        let mut machine = at(path);
        machine.handle_copy();
        print("copy".into(), &mut machine);
        let mut machine = at(path);
        machine.handle_transport_failure();
        print("transport failure".into(), &mut machine);
        let mut machine = at(path);
        if let Some(due) = machine.poll_timeout() {
            machine.handle_timeout(due);
            print("last timer".into(), &mut machine);
        }
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::new(code).unwrap()
}

fn actions(actions: impl Iterator<Item = Action>) -> String {
    let words = actions.map(|action| match action {
        Action::Transmit(bytes) => {
            let message = Message::parse(&bytes, crate::message::Framing::Datagram);
            match message.unwrap() {
                Message::Request(request) => format!("send {}", request.method),
                Message::Response(Response { status, .. }) => format!("send {status}"),
            }
        }
        Action::Deliver(response) => format!("tell {}", response.status),
        Action::Fail(failure) => format!("tell {failure:?}"),
        Action::Unacknowledged => "tell unacknowledged".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn row(
    table: &mut String,
    machine: &str,
    transport: &str,
    from: &str,
    event: &str,
    to: &str,
    actions: &str,
) {
    let line = format!("{machine:18}{transport:11}{from:11}{event:18}{to:11}{actions}");
    writeln!(table, "{}", line.trim_end()).unwrap();
}
