//! Media between a connected browser and the IMS side.

use std::net::SocketAddr;
use std::time::Duration;

use iq::{Command, Flow, Leg, Reply, SendDtmf, SessionReport};
use media::{Discard, PairId, Socket, Verdict};

use crate::browser::Browser;
use crate::roaming::ims_rtp;
use crate::world::{TELEPHONE, TELEPHONE_RTCP, World, addr, configure, session};

const BROWSER: &str = "192.0.2.7:40000";
const PAIR: Socket = Socket::Ims {
    pair: PairId(0),
    rtcp: false,
};

#[test]
fn audio_passes_both_ways_and_arrives_as_it_was() {
    let mut world = connected();
    for n in 0..50u8 {
        world.browsers[0].speak(8, &[n; 160]);
        world.ims_send(TELEPHONE, box_rtp(), ims_rtp(u16::from(n)));
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_millis(100));

    assert_eq!(world.ims_heard.len(), 50);
    assert_eq!(world.browsers[0].heard.len(), 50);
    for (n, datagram) in (0u8..).zip(&world.ims_heard) {
        assert_eq!(datagram.from, box_rtp());
        assert_eq!(datagram.bytes[1] & 0x7f, 8);
        assert_eq!(datagram.bytes[12..], [n; 160]);
    }
    for packet in &world.browsers[0].heard {
        assert_eq!(packet[1] & 0x7f, 8);
        assert_eq!(packet[12..], [0x55; 160]);
    }
    // Neither side learns the other's SSRC.
    assert_ne!(world.ims_heard[0].bytes[8..12], world.browsers[0].ssrc());
    assert_ne!(world.browsers[0].heard[0][8..12], [0xc0, 0, 0, 1]);
}

#[test]
fn key_presses_change_their_payload_number_and_are_reported_once() {
    let mut world = connected();
    for step in 0..10u16 {
        let end = if step >= 7 { 0x80 } else { 0 };
        let duration = (160 * (step.min(7) + 1)).to_be_bytes();
        let mut packet = world.browsers[0].rtp(126, &[5, end | 10, duration[0], duration[1]]);
        packet[4..8].copy_from_slice(&[0, 0, 0, 77]);
        let sealed = world.browsers[0].seal(&packet);
        world.browsers[0].send(sealed);
        world.run(Duration::from_millis(20));
    }
    assert_eq!(world.ims_heard.len(), 10);
    assert!(world.ims_heard.iter().all(|d| d.bytes[1] & 0x7f == 101));
    assert_eq!(world.timeline().matches("key 5 from Access").count(), 1);
}

#[test]
fn a_key_is_played_to_the_leg_that_signalling_names() {
    for (leg, number) in [(Leg::Ims, 101), (Leg::Access, 126)] {
        let mut world = connected();
        world.command(Command::SendDtmf(SendDtmf {
            session: session(1),
            leg,
            event: 9.into(),
            duration: Duration::from_millis(120),
        }));
        world.run(Duration::from_secs(1));
        let heard: Vec<Vec<u8>> = match leg {
            Leg::Ims => world.ims_heard.iter().map(|d| d.bytes.clone()).collect(),
            Leg::Access => world.browsers[0].heard.clone(),
        };
        assert!(heard.len() >= 5, "{leg:?}: {}", heard.len());
        assert!(heard.iter().all(|packet| packet[1] & 0x7f == number));
        assert!(heard.iter().all(|packet| packet[12] == 9));
        assert_eq!(heard.last().unwrap()[13] & 0x80, 0x80);
    }
}

#[test]
fn a_payload_that_was_not_negotiated_goes_nowhere() {
    let mut world = connected();
    world.browsers[0].speak(111, &[1; 80]);
    world.run(Duration::from_millis(100));
    assert!(world.ims_heard.is_empty());
    assert_eq!(world.relays.counters().discarded.unknown_payload, 1);
}

#[test]
fn the_ims_side_is_heard_from_its_agreed_address_only() {
    let mut world = connected();
    assert_eq!(
        world.arrive(PAIR, addr("10.0.0.66:20000"), &ims_rtp(1)),
        Verdict::Discarded(Discard::WrongSource)
    );
    assert_eq!(
        world.arrive(PAIR, addr("10.0.0.9:20002"), &ims_rtp(1)),
        Verdict::Discarded(Discard::WrongSource)
    );
    assert!(matches!(
        world.arrive(PAIR, addr(TELEPHONE), &ims_rtp(1)),
        Verdict::Forward { .. }
    ));
}

#[test]
fn directions_are_kept_on_both_legs() {
    let mut world = connected();
    let mut wanted = configure(1, &world.browsers[0]);
    let receive_only = Flow {
        send: false,
        receive: true,
    };
    let send_only = Flow {
        send: true,
        receive: false,
    };
    // The browser is put on hold by the far end: it hears music and is not heard.
    wanted.lines[0].ims = receive_only;
    wanted.lines[0].access = send_only;
    world.command(Command::Configure(wanted.clone()));
    world.browsers[0].speak(8, &[1; 160]);
    world.ims_send(TELEPHONE, box_rtp(), ims_rtp(1));
    world.run(Duration::from_millis(100));
    assert_eq!(world.ims_heard.len(), 0);
    assert_eq!(world.browsers[0].heard.len(), 1);

    wanted.lines[0].ims = Flow::NONE;
    wanted.lines[0].access = Flow::NONE;
    world.command(Command::Configure(wanted.clone()));
    world.ims_send(TELEPHONE, box_rtp(), ims_rtp(2));
    world.run(Duration::from_millis(100));
    assert_eq!(world.browsers[0].heard.len(), 1);

    wanted.lines[0].ims = Flow::BOTH;
    wanted.lines[0].access = Flow::BOTH;
    world.command(Command::Configure(wanted));
    world.browsers[0].speak(8, &[1; 160]);
    world.ims_send(TELEPHONE, box_rtp(), ims_rtp(3));
    world.run(Duration::from_millis(100));
    assert_eq!(world.ims_heard.len(), 1);
    assert_eq!(world.browsers[0].heard.len(), 2);
}

#[test]
fn a_line_that_is_left_out_stops() {
    let mut world = connected();
    let mut wanted = configure(1, &world.browsers[0]);
    wanted.lines.clear();
    world.command(Command::Configure(wanted));
    assert_eq!(
        world.arrive(PAIR, addr(TELEPHONE), &ims_rtp(1)),
        Verdict::Discarded(Discard::WrongSource)
    );
}

#[test]
fn silence_of_the_ims_side_is_reported_every_thirty_seconds_while_it_should_speak() {
    let mut world = connected();
    world.run(Duration::from_secs(65));
    let timeline = world.timeline();
    assert_eq!(
        timeline.matches("ims silent for 30s").count(),
        1,
        "{timeline}"
    );
    assert_eq!(
        timeline.matches("ims silent for 60s").count(),
        1,
        "{timeline}"
    );

    world.ims_send(TELEPHONE, box_rtp(), ims_rtp(1));
    world.run(Duration::from_secs(25));
    assert_eq!(world.timeline().matches("ims silent").count(), 2);

    let mut held = configure(1, &world.browsers[0]);
    held.lines[0].ims.receive = false;
    world.command(Command::Configure(held));
    world.run(Duration::from_secs(300));
    assert_eq!(world.timeline().matches("ims silent").count(), 2);
}

#[test]
fn each_leg_hears_reports_of_its_own() {
    let mut world = connected();
    for n in 0..500u16 {
        world.browsers[0].speak(8, &[1; 160]);
        world.ims_send(TELEPHONE, box_rtp(), ims_rtp(n));
        world.run(Duration::from_millis(20));
    }
    assert!(world.browsers[0].reports.len() >= 2);
    assert!(world.ims_reports.len() >= 2);
    let ssrc_in = |packets: Vec<&[u8]>| packets[0][4..8].to_vec();
    assert_eq!(
        ssrc_in(
            world.browsers[0]
                .reports
                .iter()
                .map(Vec::as_slice)
                .collect()
        ),
        world.browsers[0].heard[0][8..12]
    );
    assert_eq!(
        ssrc_in(world.ims_reports.iter().map(|d| &*d.bytes).collect()),
        world.ims_heard[0].bytes[8..12]
    );

    let report = release(&mut world);
    assert_eq!(report.access.received.packets, 500);
    assert_eq!(report.ims.received.packets, 500);
    assert_eq!(report.access.sent.packets, 500);
    assert_eq!(report.ims.sent.packets, 500);
}

#[test]
fn no_report_is_sent_where_rtcp_is_off() {
    let mut world = connected();
    let mut wanted = configure(1, &world.browsers[0]);
    wanted.lines[0].ims_rtcp = false;
    world.command(Command::Configure(wanted));
    for n in 0..500u16 {
        world.browsers[0].speak(8, &[1; 160]);
        world.ims_send(TELEPHONE, box_rtp(), ims_rtp(n));
        world.run(Duration::from_millis(20));
    }
    assert!(world.ims_reports.is_empty());
    assert!(!world.browsers[0].reports.is_empty());
    let rtcp = Socket::Ims {
        pair: PairId(0),
        rtcp: true,
    };
    assert_eq!(
        world.arrive(rtcp, addr(TELEPHONE_RTCP), &[0x80, 201, 0, 1, 0, 0, 0, 1]),
        Verdict::Discarded(Discard::RtcpOff)
    );
}

#[test]
fn loss_on_one_leg_is_not_shown_on_the_other() {
    let mut world = connected();
    for n in 0..1000u16 {
        let audio = world.browsers[0].rtp(8, &[1; 160]);
        let sealed = world.browsers[0].seal(&audio);
        // Every twentieth packet of the browser's is lost on its way to us.
        if n % 20 != 7 {
            world.browsers[0].send(sealed);
        }
        world.run(Duration::from_millis(20));
    }
    let report = release(&mut world);
    assert_eq!(report.access.received.lost, 50);
    let sequences: Vec<_> = world
        .ims_heard
        .iter()
        .map(|d| u16::from_be_bytes([d.bytes[2], d.bytes[3]]))
        .collect();
    assert_eq!(sequences.len(), 950);
    assert!(
        sequences
            .windows(2)
            .all(|pair| pair[1] == pair[0].wrapping_add(1)),
        "the IMS side sees an unbroken stream"
    );
}

#[test]
fn more_packets_than_audio_can_be_are_not_passed_on() {
    let mut world = connected();
    for n in 0..2000u16 {
        world.ims_send(TELEPHONE, box_rtp(), ims_rtp(n));
        world.run(Duration::from_millis(1));
    }
    world.run(Duration::from_millis(100));
    let heard = world.browsers[0].heard.len();
    assert!((550..650).contains(&heard), "{heard}");
    let report = release(&mut world);
    assert!(report.ims.discarded > 1300);
}

#[test]
fn garbage_of_every_kind_is_dropped_and_the_call_goes_on() {
    let mut world = connected();
    let mut state = 1u32;
    for n in 0..20_000u32 {
        let length = n % 200;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        let socket = if n % 3 == 0 { PAIR } else { Socket::Access(0) };
        let from = if n % 3 == 0 { TELEPHONE } else { BROWSER };
        world.arrive(socket, addr(from), &bytes);
    }
    world.ims_heard.clear();
    world.browsers[0].speak(8, &[1; 160]);
    world.run(Duration::from_millis(50));
    assert_eq!(world.ims_heard.last().unwrap().bytes[12..], [1; 160]);
    assert!(!world.timeline().contains("lost"));
}

fn connected() -> World {
    let mut world = World::new();
    world.call(1, Browser::new(BROWSER, world.now()));
    world.run(Duration::from_secs(1));
    assert_eq!(world.timeline(), "0s reserved, 0s connected");
    world
}

fn box_rtp() -> SocketAddr {
    addr("10.0.0.1:30000")
}

fn release(world: &mut World) -> SessionReport {
    world.command(Command::Release {
        session: session(1),
    });
    match &world.replies.last().unwrap().1 {
        Reply::Released { report, .. } => (**report).clone(),
        other => panic!("{other:?}"),
    }
}
