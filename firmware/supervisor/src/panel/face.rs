//! What the front panel is made of: the lamps and the button of a board, or a terminal that
//! plays them.

use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::mpsc;

use board::{Description, FrontButton, Lamps};
use board_core::led::{Colour, Lamp};

/// Four lamps and a button.
pub(super) trait Face {
    /// Its name.
    fn name(&self) -> &str;

    /// Lights the lamps, from left to right.
    fn set(&mut self, lamps: [Option<Colour>; 4]) -> anyhow::Result<()>;

    /// Whether the button is pressed.
    fn is_down(&mut self) -> anyhow::Result<bool>;
}

/// The front panel of a board.
pub(super) struct Board {
    description: &'static Description,
    lamps: Lamps,
    button: FrontButton,
}

impl Board {
    /// Takes hold of it.
    pub(super) fn open(description: &'static Description, root: &Path) -> anyhow::Result<Self> {
        Ok(Board {
            description,
            lamps: Lamps::open(description, root)?,
            button: FrontButton::open(description)?,
        })
    }
}

impl Face for Board {
    fn name(&self) -> &str {
        self.description.name
    }

    fn set(&mut self, lamps: [Option<Colour>; 4]) -> anyhow::Result<()> {
        Ok(self.lamps.set(lamps)?)
    }

    fn is_down(&mut self) -> anyhow::Result<bool> {
        Ok(self.button.is_down()?)
    }
}

/// A front panel on a terminal: a line for each change of the lamps; lines `press` and
/// `release` on standard input move the button.
pub(super) struct Terminal {
    words: mpsc::Receiver<String>,
    is_down: bool,
    shown: Option<[Option<Colour>; 4]>,
}

impl Terminal {
    pub(super) fn open() -> Self {
        let (sender, words) = mpsc::sync_channel(8);
        std::thread::spawn(move || {
            let lines = std::io::stdin().lock().lines().map_while(Result::ok);
            for line in lines {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Terminal {
            words,
            is_down: false,
            shown: None,
        }
    }
}

impl Face for Terminal {
    fn name(&self) -> &str {
        "simulated"
    }

    fn set(&mut self, lamps: [Option<Colour>; 4]) -> anyhow::Result<()> {
        if self.shown != Some(lamps) {
            self.shown = Some(lamps);
            let seconds = super::state::uptime().as_secs_f64();
            writeln!(std::io::stdout(), "{seconds:10.2} s  {}", line(lamps))?;
        }
        Ok(())
    }

    fn is_down(&mut self) -> anyhow::Result<bool> {
        for word in self.words.try_iter() {
            match word.trim() {
                "press" => self.is_down = true,
                "release" => self.is_down = false,
                _ => eprintln!("say press or release"),
            }
        }
        Ok(self.is_down)
    }
}

/// The labels of the lamps that are lit, each with its colour.
pub(super) fn line(lamps: [Option<Colour>; 4]) -> String {
    let shown = Lamp::ALL.map(|lamp| match lamps[lamp.place()] {
        Some(colour) => format!("{} {:<6}", lamp.label(), colour.name()),
        None => format!("{:<10}", "..."),
    });
    shown.join(" ").trim_end().to_owned()
}
