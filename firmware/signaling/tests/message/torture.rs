//! One line for each torture message, compared with `verdicts.txt` beside them.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use signaling::message::{
    Framing, HeaderError, Headers, Message, NameAddr, Parsed, parse_datagram,
};

#[test]
fn torture_messages_of_rfc_4475_meet_their_verdicts() {
    assert_eq!(compare("rfc4475"), 49);
}

#[test]
fn ipv6_torture_messages_of_rfc_5118_meet_their_verdicts() {
    assert_eq!(compare("rfc5118"), 11);
}

#[test]
fn accepted_torture_messages_are_the_same_after_being_written() {
    for (name, bytes) in ["rfc4475", "rfc5118"].into_iter().flat_map(messages) {
        if let Ok(Parsed::Message(message)) = parse_datagram(&bytes) {
            let again = Message::parse(&message.to_bytes(), Framing::Stream);
            assert_eq!(again.as_ref(), Ok(&message), "{name}");
        }
    }
}

fn compare(folder: &str) -> usize {
    let messages = messages(folder);
    let mut table = String::new();
    for (name, bytes) in &messages {
        writeln!(table, "{name:36}{}", verdict(bytes).trim_end()).unwrap();
    }
    let stored = std::fs::read_to_string(folder_path(folder).join("verdicts.txt"));
    assert!(
        stored.is_ok_and(|stored| stored == table),
        "the verdicts are now:\n{table}"
    );
    messages.len()
}

fn verdict(bytes: &Bytes) -> String {
    match parse_datagram(bytes) {
        Ok(Parsed::Message(message)) => format!("accept  {}", facts(&message)),
        Ok(Parsed::Ping | Parsed::Pong) => "keepalive".to_owned(),
        Err(error) => {
            let why = error.to_string();
            match error.into_response() {
                Some(response) => format!("reject  {} {why}", response.status),
                None => format!("drop    {why}"),
            }
        }
    }
}

fn facts(message: &Message) -> String {
    let headers = message.headers();
    let start = match message {
        Message::Request(request) => format!("{} {}", request.method, short(request.uri.as_str())),
        Message::Response(response) => format!("{} {:?}", response.status, response.reason),
    };
    let vias = or_fault(headers.vias().map(|vias| vias.len()));
    let from = headers.from().unwrap();
    let to = headers.to().unwrap();
    let contacts = or_fault(headers.contacts().map(|contacts| contacts.len()));
    let cseq = headers.cseq().unwrap();
    format!(
        "{start} | {vias} Via | From {} | To {} | CSeq {cseq} | {contacts} Contact | body {}{}",
        address(&from),
        address(&to),
        message.body().len(),
        other_facts(headers),
    )
}

/// Facts that only some messages have.
fn other_facts(headers: &Headers) -> String {
    let mut facts = String::new();
    if let Some(hops) = headers.max_forwards().unwrap()
        && hops.0 == 0
    {
        facts.push_str(" | no hops left");
    }
    for tag in headers.require().unwrap() {
        write!(facts, " | requires {tag}").unwrap();
    }
    if let Ok(Some(kind)) = headers.content_type()
        && !kind.is("application/sdp")
    {
        write!(facts, " | {kind}").unwrap();
    }
    for authorization in headers.authorization() {
        write!(facts, " | scheme {}", authorization.0.scheme).unwrap();
    }
    if let Some(received) = headers.via().unwrap().received() {
        write!(facts, " | received {received}").unwrap();
    }
    facts
}

fn address(address: &NameAddr) -> String {
    let display = address.display.as_ref();
    let display = display.map(|display| format!("{:?} ", short(display)));
    let tag = address.tag().map(|tag| format!(" tag {}", short(tag)));
    format!(
        "{}{}{}",
        display.unwrap_or_default(),
        short(address.uri.as_str()),
        tag.unwrap_or_default()
    )
}

fn short(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn or_fault(count: Result<usize, HeaderError>) -> String {
    count.map_or_else(|error| error.to_string(), |count| count.to_string())
}

fn messages(folder: &str) -> Vec<(String, Bytes)> {
    let mut messages: Vec<_> = std::fs::read_dir(folder_path(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sip"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, Bytes::from(std::fs::read(&path).unwrap()))
        })
        .collect();
    messages.sort_by_key(|(name, _)| clause(name));
    messages
}

/// `3.1.2.10-trws` comes after `3.1.2.9-lwsstart`.
fn clause(name: &str) -> (Vec<u32>, String) {
    let (numbers, rest) = name.split_once('-').unwrap();
    let numbers = numbers.split('.').map(|number| number.parse().unwrap());
    (numbers.collect(), rest.to_owned())
}

fn folder_path(folder: &str) -> std::path::PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.join("../../tests/fixtures").join(folder)
}
