//! The front panel against files and a played face, in virtual time.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use board_core::led::Colour;

use super::face::{Face, line};
use super::front::{FACTORY_RESET, Front, PREVIOUS_SLOT};
use super::state::{GATEWAY, PANEL, Shown, UPDATES, read};

#[test]
fn the_lamps_follow_the_gateway_and_show_when_it_is_dead() {
    let mut scene = Scene::new();
    scene.until(1_000);
    assert_eq!(scene.title(), "The box starts or stops");
    scene.gateway(r#""phase": "running", "core": "reachable", "calls": 2"#);
    scene.until(2_500);
    assert_eq!(scene.title(), "Calls are up");
    assert_eq!(scene.lamps(), "PWR green  NET green  IMS green  SVC white");
    scene.until(7_000);
    assert_eq!(scene.title(), "Fault: the gateway's program stands still");
    scene.gateway(r#""phase": "running", "core": "unreachable""#);
    scene.until(9_000);
    assert_eq!(
        scene.shown().lamps,
        "PWR: on; NET: on; IMS: 1 blink, pause; SVC: off"
    );
}

#[test]
fn an_update_is_shown_from_the_updater_s_own_file() {
    let mut scene = Scene::new();
    scene
        .run
        .write(UPDATES, r#"{"lamp": "updating", "percent": 7}"#);
    scene.until(1_000);
    assert_eq!(scene.title(), "An update is being installed");
    assert_eq!(scene.shown().states, ["updating", "starting", "power-on"]);
}

#[test]
fn a_button_held_for_three_seconds_asks_for_the_previous_slot() {
    let mut scene = Scene::new();
    scene.until(1_000);
    scene.face.is_down = true;
    scene.until(5_000);
    scene.face.is_down = false;
    scene.until(6_000);
    assert!(scene.run.path(PREVIOUS_SLOT).exists());
    assert!(!scene.run.path(FACTORY_RESET).exists());
}

#[test]
fn a_button_held_for_ten_seconds_asks_for_a_factory_reset_when_it_is_released() {
    let mut scene = Scene::new();
    scene.until(1_000);
    scene.face.is_down = true;
    scene.until(13_000);
    assert_eq!(scene.title(), "Button held: factory reset");
    assert!(!scene.run.path(FACTORY_RESET).exists());
    scene.face.is_down = false;
    scene.until(14_000);
    assert!(scene.run.path(FACTORY_RESET).exists());
    assert!(!scene.run.path(PREVIOUS_SLOT).exists());
}

#[test]
fn a_brief_press_is_told_to_the_status_page() {
    let mut scene = Scene::new();
    scene.until(1_000);
    scene.face.is_down = true;
    scene.until(1_500);
    scene.face.is_down = false;
    scene.until(2_500);
    assert!(scene.shown().locate);
    assert_eq!(scene.title(), "This is the box that you look for");
}

#[test]
fn lamps_that_fail_for_a_moment_are_tried_again_and_for_long_end_the_program() {
    let mut scene = Scene::new();
    scene.face.is_broken = true;
    scene.until(3_000);
    scene.face.is_broken = false;
    scene.until(6_000);
    scene.face.is_broken = true;
    let error = (0..200).find_map(|_| scene.turn().err());
    assert_eq!(error.unwrap().to_string(), "the lamps are gone");
}

struct Scene {
    run: Run,
    front: Front,
    face: Played,
    now: Duration,
}

impl Scene {
    fn new() -> Self {
        let run = Run::new();
        Scene {
            front: Front::new(run.0.clone(), "played", Duration::ZERO),
            face: Played::default(),
            now: Duration::ZERO,
            run,
        }
    }

    fn until(&mut self, millis: u64) {
        while self.now < Duration::from_millis(millis) {
            self.turn().unwrap();
        }
    }

    fn turn(&mut self) -> anyhow::Result<()> {
        let next = self.front.turn(&mut self.face, self.now)?;
        assert!(next > self.now && next <= self.now + Duration::from_millis(50));
        self.now = next;
        Ok(())
    }

    /// The gateway says now how it is.
    fn gateway(&self, words: &str) {
        let now = self.now.as_millis();
        let text = format!(r#"{{"written_at_ms": {now}, {words}}}"#);
        self.run.write(GATEWAY, &text);
    }

    fn lamps(&self) -> String {
        line(self.face.lamps)
    }

    fn shown(&self) -> Shown {
        read(&self.run.path(PANEL)).unwrap()
    }

    fn title(&self) -> String {
        self.shown().title
    }
}

/// Lamps that remember, and a button that does as it is told.
#[derive(Default)]
struct Played {
    lamps: [Option<Colour>; 4],
    is_down: bool,
    is_broken: bool,
}

impl Face for Played {
    fn name(&self) -> &str {
        "played"
    }

    fn set(&mut self, lamps: [Option<Colour>; 4]) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_broken, "the lamps are gone");
        self.lamps = lamps;
        Ok(())
    }

    fn is_down(&mut self) -> anyhow::Result<bool> {
        Ok(self.is_down)
    }
}

/// A folder that plays `/run`.
pub(super) struct Run(PathBuf);

impl Run {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gatehouse-panel-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        for inner in [GATEWAY, UPDATES, PANEL] {
            fs::create_dir_all(folder.join(inner).parent().unwrap()).unwrap();
        }
        Run(folder)
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        fs::write(self.path(file), text).unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
