//! A browser that moves, falls silent, or is somebody else.

use std::time::Duration;

use iq::Command;
use media::{Discard, Socket, Verdict};

use crate::browser::Browser;
use crate::world::{DELAY, World, addr, configure, session};

const BROWSER: &str = "192.0.2.7:40000";
const ELSEWHERE: &str = "203.0.113.50:9000";

#[test]
fn media_from_a_third_address_is_dropped() {
    let mut world = connected();
    let audio = world.browsers[0].rtp(8, &[0xd5; 160]);
    let sealed = world.browsers[0].seal(&audio);

    assert_eq!(
        world.arrive(Socket::Access(0), addr("203.0.113.66:666"), &sealed),
        Verdict::Discarded(Discard::UnvalidatedSource)
    );
    assert!(matches!(
        world.arrive(Socket::Access(0), addr(BROWSER), &sealed),
        Verdict::Forward { .. }
    ));
}

#[test]
fn a_browser_whose_network_changed_goes_on_from_its_new_address() {
    let mut world = connected();
    world.browsers[0].move_to(ELSEWHERE);
    world.run(Duration::from_secs(3));

    world.browsers[0].speak(8, &[0xd5; 160]);
    world.run(Duration::from_millis(100));

    assert_eq!(world.ims_heard.len(), 1);
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s connected, 4s first media from Access"
    );
    let to = world.access_sent.last().unwrap().to;
    assert_eq!(to, addr(ELSEWHERE));
}

#[test]
fn an_ice_restart_keeps_the_call_and_its_keys() {
    let mut world = connected();
    world.command(Command::RestartIce {
        session: session(1),
    });
    let restarted = match &world.replies.last().unwrap().1 {
        iq::Reply::Reserved(reserved) => reserved.clone(),
        other => panic!("{other:?}"),
    };

    // Until the browser has heard of it, the old pair carries.
    world.browsers[0].speak(8, &[0xd5; 160]);
    world.run(Duration::from_secs(2));
    assert_eq!(world.ims_heard.len(), 1);

    world.browsers[0].restart_ice(ELSEWHERE);
    world.browsers[0].learn(&restarted.access);
    world.run(Duration::from_secs(1));
    let wanted = configure(1, &world.browsers[0]);
    world.command(Command::Configure(wanted));
    world.browsers[0].speak(8, &[0xd5; 160]);
    world.run(Duration::from_secs(1));

    assert_eq!(world.ims_heard.len(), 2);
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s connected, 1s reserved, 1s first media from Access"
    );
    assert_eq!(world.access_sent.last().unwrap().to, addr(ELSEWHERE));
}

#[test]
fn a_closed_tab_is_reported_ten_seconds_after_its_last_check() {
    let mut world = connected();
    world.run(Duration::from_secs(60));
    assert_eq!(world.timeline(), "0s reserved, 0s connected");

    world.browsers[0].alive = false;
    world.run(Duration::from_secs(13));
    assert!(world.timeline().ends_with("lost: consent expired"));
    world.run(Duration::from_secs(600));
    assert_eq!(world.timeline().matches("lost").count(), 1);
}

#[test]
fn nothing_is_sent_to_a_browser_that_has_been_silent_for_thirty_seconds() {
    let mut world = connected();
    world.browsers[0].alive = false;
    world.run(Duration::from_secs(31));
    let before = world.access_sent.len();

    let to = addr("10.0.0.1:30000");
    for sequence in 0..100u16 {
        let packet = ims_rtp(sequence);
        world.ims_send(crate::world::TELEPHONE, to, packet);
        world.run(Duration::from_millis(20));
    }
    world.run(Duration::from_secs(60));

    assert_eq!(world.access_sent.len(), before);
    assert!(world.relays.counters().discarded.no_destination >= 100);
}

#[test]
fn a_browser_that_comes_back_is_reported_connected_again() {
    let mut world = connected();
    world.weather = Box::new(|_| vec![]);
    world.run(Duration::from_secs(14));
    world.weather = Box::new(|datagram| vec![(DELAY, datagram.clone())]);
    world.run(Duration::from_secs(5));
    let timeline = world.timeline();
    assert!(timeline.contains("lost: consent expired"), "{timeline}");
    assert!(timeline.ends_with("connected"), "{timeline}");
}

#[test]
fn a_check_with_a_forged_source_does_not_take_a_calls_address() {
    let mut world = connected();
    let mallory = Browser::new("203.0.113.66:666", world.now());
    world.call(2, mallory);
    world.run(Duration::from_secs(1));

    // Its next checks claim to come from the first browser.
    world.weather = Box::new(|datagram| {
        let mut copy = datagram.clone();
        if copy.from == addr("203.0.113.66:666") {
            copy.from = addr(BROWSER);
        }
        vec![(DELAY, copy)]
    });
    world.run(Duration::from_secs(20));

    world.browsers[0].speak(8, &[0xd5; 160]);
    world.run(Duration::from_millis(100));
    assert_eq!(world.ims_heard.len(), 1);
    assert!(world.relays.counters().discarded.unvalidated_source > 0);
}

#[test]
fn another_browser_may_take_the_call_over_with_its_own_certificate() {
    let mut world = connected();
    let mut second = Browser::new(ELSEWHERE, world.now());
    world.command(Command::RestartIce {
        session: session(1),
    });
    let restarted = match &world.replies.last().unwrap().1 {
        iq::Reply::Reserved(reserved) => reserved.clone(),
        other => panic!("{other:?}"),
    };
    let late = {
        let audio = world.browsers[0].rtp(8, &[0xd5; 160]);
        world.browsers[0].seal(&audio)
    };
    let stale = {
        let audio = world.browsers[0].rtp(8, &[0xd5; 160]);
        world.browsers[0].seal(&audio)
    };
    second.learn(&restarted.access);
    let wanted = configure(1, &second);
    world.browsers[0].alive = false;
    world.browsers.push(second);
    world.command(Command::Configure(wanted));

    // What the first one had in flight still passes, for two seconds.
    assert!(matches!(
        world.arrive(Socket::Access(0), addr(BROWSER), &late),
        Verdict::Forward { .. }
    ));
    world.run(Duration::from_secs(3));
    assert_eq!(
        world.arrive(Socket::Access(0), addr(BROWSER), &stale),
        Verdict::Discarded(Discard::BadTag)
    );
    world.browsers[1].speak(8, &[0xd5; 160]);
    world.run(Duration::from_millis(100));

    assert_eq!(
        world.timeline(),
        "0s reserved, 0s connected, 1s reserved, 1s first media from Access, 1s connected"
    );
    assert_eq!(world.ims_heard.len(), 2);
}

#[test]
fn a_page_that_closes_its_connection_is_noticed_at_once() {
    let mut world = connected();
    world.browsers[0].close();
    world.run(Duration::from_millis(100));
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s connected, 1s lost: closed by the browser"
    );
}

#[test]
fn a_released_session_says_goodbye_to_the_browser() {
    let mut world = connected();
    world.command(Command::Release {
        session: session(1),
    });
    world.run(Duration::from_millis(100));
    assert!(world.browsers[0].closed);
    assert_eq!(world.timeline(), "0s reserved, 0s connected, 1s released");
}

fn connected() -> World {
    let mut world = World::with(|config| config.ims_silence = Duration::from_secs(10_000));
    world.call(1, Browser::new(BROWSER, world.now()));
    world.run(Duration::from_secs(1));
    assert_eq!(world.timeline(), "0s reserved, 0s connected");
    world
}

pub(crate) fn ims_rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0xc0, 0, 0, 1]);
    packet.extend([0x55; 160]);
    packet
}
