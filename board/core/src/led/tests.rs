//! What must be true of the whole language, and of lamps that follow it in time.

use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::string::String;
use std::vec::Vec;

use core::time::Duration;
use proptest::prelude::*;

use super::*;
use crate::condition::{Condition, Core, Faults, Network, Phase, Update};

#[test]
fn the_table_lists_each_state_once_in_order_of_precedence() {
    for (place, row) in TABLE.iter().enumerate() {
        assert_eq!(row.state as usize, place, "{:?}", row.state);
        assert_eq!(Row::of(row.state).key, row.key);
        assert_eq!(Row::named(row.key).unwrap().state, row.state);
        for later in row.over {
            assert!(
                *later as usize > place,
                "{:?} stands over {later:?}",
                row.state
            );
        }
    }
    let keys: BTreeSet<_> = TABLE.iter().map(|row| row.key).collect();
    assert_eq!(keys.len(), TABLE.len());
    let last = TABLE.last().unwrap();
    assert!(last.lamps.iter().all(|cell| *cell != Cell::Later));
}

#[test]
fn no_two_states_look_the_same_to_somebody_who_sees_no_colours() {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for row in &TABLE {
        let looks = export::usual(row).shown().map(|shown| shown.pattern);
        let other = seen.insert(format!("{looks:?}"), row.key);
        assert_eq!(other, None, "{} looks like it", row.key);
    }
}

#[test]
fn what_the_lamps_show_together_has_one_meaning() {
    let mut meanings: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for condition in conditions() {
        let shown = condition.states().shown();
        let looks = format!("{:?}", shown.map(|shown| shown.pattern));
        // That the box is well or merely has power means nothing beside something else.
        let is_news = |state| !matches!(state, State::Ready | State::PowerOn);
        let seen = shown
            .iter()
            .filter(|shown| shown.pattern != Pattern::Off && is_news(shown.because));
        let because: BTreeSet<&str> = seen.map(|shown| Row::of(shown.because).key).collect();
        let meant = meanings.entry(looks.clone()).or_insert(because.clone());
        assert_eq!(*meant, because, "{looks}");
    }
    assert!(meanings.len() > 100, "only {} looks", meanings.len());
}

/// Every condition that the box can be in, but for numbers of calls.
fn conditions() -> Vec<Condition> {
    let mut conditions = Vec::new();
    let phases = [Phase::Starting, Phase::NeedsSetup, Phase::Running];
    let networks = [
        Network::Good,
        Network::NoLink,
        Network::NoAddress,
        Network::NoNameService,
        Network::NoTime,
    ];
    let cores = [
        Core::Unknown,
        Core::Reachable,
        Core::Unreachable,
        Core::Distrusted,
        Core::Refuses,
    ];
    let updates = [
        Update::Idle,
        Update::Updating,
        Update::Trial,
        Update::RolledBack,
    ];
    for phase in phases {
        for network in networks {
            for core in cores {
                for update in updates {
                    for rest in 0..48_u32 {
                        let has = |bit: u32| rest >> bit & 1 == 1;
                        conditions.push(Condition {
                            phase,
                            network,
                            core,
                            update,
                            calls: rest >> 4,
                            capacity: Some(2),
                            faults: Faults {
                                supervisor: has(0),
                                storage: has(1),
                                crypto: has(2),
                                thermal: has(3),
                            },
                        });
                    }
                }
            }
        }
    }
    conditions
}

#[test]
fn rhythms_on_one_lamp_differ_by_more_than_a_sixth_of_the_time_wherever_one_looks() {
    for lamp in Lamp::ALL {
        let cells = TABLE.iter().filter_map(|row| match row.cell(lamp) {
            Cell::Show(pattern, _) => Some(pattern),
            Cell::Later => None,
        });
        let patterns: Vec<Pattern> = cells.collect();
        for a in &patterns {
            for b in patterns.iter().filter(|b| is_other_rhythm(**b, *a)) {
                let differ = least_difference(*a, *b);
                assert!(
                    differ > 120,
                    "{lamp:?}: {a:?} and {b:?} by {differ} permille"
                );
            }
        }
    }
}

/// The two beats are one rhythm: what differs is which lamps flash together.
fn is_other_rhythm(a: Pattern, b: Pattern) -> bool {
    let one = |pattern| match pattern {
        Pattern::CounterBeat => Pattern::Beat,
        other => other,
    };
    one(a) != one(b)
}

/// For how much of a minute two rhythms differ, in thousandths, moved against each other
/// so that they agree best.
fn least_difference(a: Pattern, b: Pattern) -> u32 {
    let at = |unit: u32| UNIT * unit;
    let differ = |moved: u32| {
        (0..200)
            .filter(|&u| a.is_lit(at(u)) != b.is_lit(at(u + moved)))
            .count()
    };
    let least = (0..30).map(differ).min().unwrap();
    u32::try_from(least).unwrap() * 1000 / 200
}

#[test]
fn a_steady_panel_shows_a_new_state_at_once() {
    let mut blinker = Blinker::new(States::of(&[State::Ready]), ms(0));
    assert_eq!(blinker.poll_timeout(), None);
    blinker.show(States::of(&[State::Locate]), ms(1_000));
    assert_eq!(lit(&blinker), "P.I.");
    blinker.handle_timeout(ms(1_600));
    assert_eq!(lit(&blinker), ".N.S");
}

#[test]
fn a_lamp_that_blinks_on_keeps_its_rhythm_when_others_change() {
    let mut states = States::of(&[State::NoNameService, State::Ready]);
    let mut blinker = Blinker::new(states, ms(0));
    states.insert(State::InCall);
    run(&mut blinker, 700);
    blinker.show(states, ms(700));
    let drawn = timeline(&mut blinker, 700, 6_000);
    assert_eq!(
        drawn,
        "900 P.I. 1200 PNIS 1500 P.IS 3600 PNIS 3900 P.IS 4200 PNIS 4500 P.IS 4800 PNIS 5100 P.IS"
    );
}

#[test]
fn a_caller_who_sleeps_too_long_goes_on_where_the_lamps_were() {
    let mut blinker = Blinker::new(States::of(&[State::ResetArmed]), ms(0));
    assert_eq!(blinker.poll_timeout(), Some(ms(300)));
    blinker.handle_timeout(ms(5_123));
    assert_eq!(lit(&blinker), "....");
    assert_eq!(blinker.poll_timeout(), Some(ms(5_423)));
}

#[test]
fn each_state_has_the_times_of_its_rhythms_on_every_lamp() {
    for row in &TABLE {
        let states = export::usual(row);
        let mut blinker = Blinker::new(states, ms(0));
        let mut levels: [Vec<bool>; 4] = Default::default();
        for millis in (0..60_000).step_by(10) {
            blinker.handle_timeout(ms(millis));
            for (place, lamp) in blinker.lamps().iter().enumerate() {
                levels[place].push(lamp.is_some());
            }
        }
        for (place, shown) in states.shown().iter().enumerate() {
            let wanted = (0..60_000)
                .step_by(10)
                .map(|at| shown.pattern.is_lit(ms(at)));
            assert!(
                levels[place].iter().copied().eq(wanted),
                "{} {place}",
                row.key
            );
        }
    }
}

proptest! {
    /// WCAG 2.2 §2.3.1: never three flashes within a second, on the whole panel, whatever
    /// happens to the box and however late its program draws.
    #[test]
    fn the_panel_never_flashes_three_times_a_second(
        steps in prop::collection::vec((0_u64..900, 0_u64..400, any::<u32>(), any::<bool>()), 1..200)
    ) {
        let mut now = ms(0);
        let mut blinker = Blinker::new(States::default(), now);
        let mut before = blinker.lamps();
        let mut rises: Vec<Duration> = Vec::new();
        for (wait, late, states, is_new) in steps {
            let due = blinker.poll_timeout().map_or(now + ms(wait), |due| due.min(now + ms(wait)));
            now = due.max(now) + if late % 3 == 0 { ms(late) } else { ms(late % 20) };
            if is_new {
                blinker.show(some_states(states), now);
            } else {
                blinker.handle_timeout(now);
            }
            let lamps = blinker.lamps();
            let has_risen = (0..4).any(|place| before[place].is_none() && lamps[place].is_some());
            if has_risen {
                rises.push(now);
            }
            before = lamps;
        }
        for three in rises.windows(3) {
            prop_assert!(three[2] - three[0] > ms(1_000), "{three:?}");
        }
    }

    /// What is asked for is shown within a flash's time.
    #[test]
    fn every_state_is_shown_soon(first in any::<u32>(), then in any::<u32>(), at in 0_u64..10_000) {
        let mut blinker = Blinker::new(some_states(first), ms(0));
        run(&mut blinker, at);
        blinker.show(some_states(then), ms(at));
        while let Some(next) = blinker.poll_timeout().filter(|&next| next <= ms(at + 600)) {
            blinker.handle_timeout(next);
        }
        prop_assert_eq!(blinker.shown(), some_states(then).shown());
    }
}

/// A few states, picked by chance.
fn some_states(chance: u32) -> States {
    let count = u32::try_from(TABLE.len()).unwrap();
    let mut states = States::default();
    for pick in 0..3 {
        let place = (chance >> (8 * pick) & 0xff) % count;
        states.insert(TABLE[place as usize].state);
    }
    states
}

fn run(blinker: &mut Blinker, until: u64) {
    while let Some(next) = blinker.poll_timeout().filter(|&next| next < ms(until)) {
        blinker.handle_timeout(next);
    }
    blinker.handle_timeout(ms(until));
}

/// Every change within a time: when, and which lamps are lit after it.
fn timeline(blinker: &mut Blinker, from: u64, until: u64) -> String {
    let mut changes = Vec::new();
    let mut before = blinker.lamps();
    for millis in from..until {
        blinker.handle_timeout(ms(millis));
        if blinker.lamps() != before {
            before = blinker.lamps();
            changes.push(format!("{millis} {}", lit(blinker)));
        }
    }
    changes.join(" ")
}

fn lit(blinker: &Blinker) -> String {
    let lamps = blinker.lamps();
    let letters = Lamp::ALL.iter().map(|lamp| match lamps[lamp.place()] {
        Some(_) => &lamp.label()[..1],
        None => ".",
    });
    letters.collect()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
