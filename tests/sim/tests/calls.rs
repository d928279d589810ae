//! Calls of one browser and of two, drawn as ladders.

use std::time::Duration;

use sim::{CallState, Link, World};

#[test]
fn a_browser_registers() {
    let mut world = World::new(1);
    world.registered("alice");
    insta::assert_snapshot!(world.ladder);
    assert_eq!(world.endpoints_in_use(), 1);
}

#[test]
fn a_wrong_password_is_told() {
    let mut world = World::new(1);
    let mallory = world.open_with("alice", "guess");
    world.browser(mallory).register(300);
    world.run(Duration::from_secs(5));
    assert_eq!(world.browser(mallory).is_registered(), Some(false));
    world.run(Duration::from_secs(60));
    assert_eq!(world.endpoints_in_use(), 0);
}

#[test]
fn a_browser_calls_a_telephone_and_hangs_up() {
    let mut world = World::new(1);
    let alice = world.registered("alice");
    world.ladder.clear();

    world.browser(alice).call("601");
    world.run(Duration::from_secs(2));
    assert_eq!(world.browser(alice).call_state(), Some(CallState::Up));
    assert!(world.media_packets > 50, "{}", world.media_packets);
    assert_eq!(world.ports_in_use(), 1);
    world.browser(alice).hang_up();
    world.run(Duration::from_secs(2));

    insta::assert_snapshot!(world.ladder);
    assert_eq!(world.ports_in_use(), 0);
    assert_eq!(world.lab.live_calls(), 0);
}

#[test]
fn ringing_is_cancelled_all_the_way() {
    let mut world = World::new(1);
    let alice = world.registered("alice");
    world.ladder.clear();
    world.browser(alice).call("602");
    world.run(Duration::from_secs(1));
    assert_eq!(world.browser(alice).call_state(), Some(CallState::Ringing));
    world.browser(alice).hang_up();
    world.run(Duration::from_secs(2));
    insta::assert_snapshot!(world.ladder);
    assert_eq!(
        world.browser(alice).call_state(),
        Some(CallState::Over(487))
    );
    assert_eq!(world.ports_in_use(), 0);
}

#[test]
fn refusals_keep_their_meaning() {
    for (number, status) in [
        ("603", 486),
        ("604", 603),
        ("bob", 480),
        ("carol", 604),
        ("12345", 404),
    ] {
        let mut world = World::new(1);
        let alice = world.registered("alice");
        world.browser(alice).call(number);
        world.run(Duration::from_secs(2));
        assert_eq!(
            world.browser(alice).call_state(),
            Some(CallState::Over(status)),
            "{number}"
        );
        assert_eq!(world.ports_in_use(), 0);
    }
}

#[test]
fn a_telephone_holds_and_the_browser_is_told() {
    let mut world = World::new(1);
    let alice = world.registered("alice");
    world.ladder.clear();
    world.browser(alice).call("608");
    world.run(Duration::from_secs(8));
    insta::assert_snapshot!(world.ladder);
    assert_eq!(world.browser(alice).call_state(), Some(CallState::Up));
}

#[test]
fn two_browsers_call_each_other_hold_and_resume() {
    let mut world = World::new(1);
    let alice = world.registered("alice");
    let bob = world.registered("bob");
    world.ladder.clear();
    world.browser(alice).call("bob");
    world.run(Duration::from_secs(2));
    for direction in ["sendonly", "sendrecv"] {
        world.browser(bob).offer(direction);
        world.run(Duration::from_secs(2));
    }
    world.browser(bob).hang_up();
    world.run(Duration::from_secs(2));
    insta::assert_snapshot!(world.ladder);
    assert_eq!(world.browser(alice).call_state(), Some(CallState::Over(0)));
    assert_eq!(world.ports_in_use(), 0);
}

#[test]
fn a_telephone_calls_back_with_and_without_an_offer() {
    for number in ["607", "609"] {
        let mut world = World::new(1);
        let alice = world.registered("alice");
        world.browser(alice).call(number);
        world.run(Duration::from_secs(6));
        assert_eq!(
            world.browser(alice).call_state(),
            Some(CallState::Up),
            "{number}"
        );
        assert_eq!(world.lab.live_calls(), 1);
        world.browser(alice).hang_up();
        world.run(Duration::from_secs(2));
        assert_eq!(world.lab.live_calls(), 0, "{number}");
        assert_eq!(world.ports_in_use(), 0);
    }
}

#[test]
fn a_closed_tab_frees_the_far_end() {
    let mut world = World::new(1);
    let alice = world.registered("alice");
    world.browser(alice).call("601");
    world.run(Duration::from_secs(2));
    world.close(alice);
    world.run(Duration::from_secs(400));
    assert_eq!(world.lab.live_calls(), 0);
    assert_eq!(world.ports_in_use(), 0);
    assert_eq!(world.endpoints_in_use(), 0);
}

/// One datagram in five is lost towards the core and back; calls come and go anyway,
/// and nothing is left behind.
#[test]
fn calls_survive_a_lossy_core_for_any_seed() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        let alice = world.registered("alice");
        let bob = world.registered("bob");
        world.ims_link = Link {
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(30),
            loss_per_mille: 200,
        };
        world.browser(alice).call("bob");
        world.run(Duration::from_secs(20));
        let states = [alice, bob].map(|index| world.browser(index).call_state());
        assert_eq!(
            states,
            [Some(CallState::Up); 2],
            "seed {seed}\n{}",
            world.ladder
        );
        world.browser(alice).hang_up();
        world.run(Duration::from_secs(120));
        assert_eq!(
            world.browser(bob).call_state(),
            Some(CallState::Over(0)),
            "seed {seed}"
        );
        assert_eq!(world.ports_in_use(), 0, "seed {seed}");
    }
}

#[test]
fn a_seed_replays_to_the_byte() {
    let ladder = |seed| {
        let mut world = World::new(seed);
        let alice = world.registered("alice");
        world.ims_link.loss_per_mille = 300;
        world.ims_link.jitter = Duration::from_millis(50);
        world.browser(alice).call("605");
        world.run(Duration::from_secs(10));
        world.ladder.to_string()
    };
    assert_eq!(ladder(5), ladder(5));
    assert_ne!(ladder(5), ladder(6));
}
