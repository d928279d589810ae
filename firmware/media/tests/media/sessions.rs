//! The table of sessions: commands, limits, and a thousand calls at once.

use std::time::Duration;

use iq::{Command, Configure, Refusal, Reply, Reserve, SendDtmf};

use crate::browser::Browser;
use crate::world::{World, configure, session};

#[test]
fn a_repeated_reservation_is_the_same_reservation() {
    let mut world = World::new();
    let first = world.reserve(1);
    assert_eq!(world.reserve(1), first);
    assert_eq!(world.ports.in_use(), 1);
}

#[test]
fn commands_for_unknown_sessions_are_refused() {
    let mut world = World::new();
    let session = session(9);
    for command in [
        Command::Configure(Configure {
            session,
            access: None,
            lines: vec![],
        }),
        Command::RestartIce { session },
        Command::SendDtmf(SendDtmf {
            session,
            leg: iq::Leg::Ims,
            event: 1.into(),
            duration: Duration::from_millis(100),
        }),
        Command::Release { session },
    ] {
        world.command(command);
        let refused = Reply::Refused {
            session,
            reason: Refusal::UnknownSession,
        };
        assert_eq!(world.replies.last().unwrap().1, refused);
    }
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let mut world = World::with(|config| config.max_sessions = 3);
    world.ports.limit(2);
    for n in 0..3 {
        world.command(reserve(n));
    }
    world.command(reserve(3));
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s reserved, 0s refused: out of IMS media ports, \
         0s refused: out of IMS media ports"
    );

    let mut world = World::with(|config| config.max_sessions = 1);
    world.command(reserve(0));
    world.command(reserve(1));
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s refused: out of media capacity"
    );
}

#[test]
fn a_line_that_was_not_reserved_ends_the_session() {
    let mut world = World::new();
    world.reserve(1);
    let browser = Browser::new("192.0.2.7:40000", world.now());
    let mut wanted = configure(1, &browser);
    wanted.lines[0].index = 1;
    world.command(Command::Configure(wanted));
    world.command(Command::Audit);
    assert_eq!(
        world.timeline(),
        "0s reserved, 0s refused: not carried by this media plane, 0s 0 sessions"
    );
    assert_eq!(world.ports.in_use(), 0);
}

#[test]
fn a_thousand_browsers_connect_speak_and_leave_nothing_behind() {
    let mut world = World::new();
    for n in 0..1000u64 {
        let address = format!("192.0.{}.{}:4000", 2 + n / 250, 1 + n % 250);
        world.call(n, Browser::new(&address, world.now()));
        world.run(Duration::from_millis(5));
    }
    world.run(Duration::from_secs(3));
    assert_eq!(world.relays.counters().sessions, 1000);
    assert_eq!(world.relays.counters().handshakes_established, 1000);

    for browser in &mut world.browsers {
        browser.speak(8, &[0xd5; 160]);
    }
    world.run(Duration::from_millis(100));
    assert_eq!(world.ims_heard.len(), 1000);

    for n in 0..1000 {
        world.command(Command::Release {
            session: session(n),
        });
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.ports.in_use(), 0);
    assert_eq!(world.relays.counters().sessions, 0);
    assert_eq!(world.relays.poll_timeout(), None);
    assert!(world.browsers.iter().all(|browser| browser.closed));
}

fn reserve(n: u64) -> Command {
    Command::Reserve(Reserve {
        session: session(n),
        lines: 1,
        is_shared: false,
    })
}
