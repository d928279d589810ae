//! What a board is to us, and the boards that there are. To add one, add a file here, a
//! machine in `yocto/` with the lamps and lines that the file names, and a target of
//! `hwtest`.

mod cm4;
mod imx8mp;
mod ls1046a;
mod qemu;

use board_core::light::Active;
use board_core::thermal::Limits;

/// All boards.
pub const ALL: [&Description; 4] = [&qemu::BOARD, &imx8mp::BOARD, &ls1046a::BOARD, &cm4::BOARD];

/// Where a board has what.
#[derive(Debug)]
pub struct Description {
    /// Its name in logs and on the status page.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// Entries of the device tree's root `compatible` that say that it is this board.
    pub compatible: &'static [&'static str],
    /// PWR, NET, IMS and SVC.
    pub lamps: [LampAt; 4],
    /// The button.
    pub button: LineAt,
    /// The thermometer that says how hot it is, and how hot it may be; a board whose
    /// temperature cannot be read has none.
    pub thermometer: Option<ThermometerAt>,
    /// What its watchdog calls itself in sysfs (`identity`).
    pub watchdog: &'static str,
}

/// Where a lamp is.
#[derive(Debug)]
pub enum LampAt {
    /// At a GPIO line, lit in its only colour.
    Line(LineAt),
    /// In Linux's LED class, as `gatehouse:<colour>:<this>`, once for each of its colours.
    Class(&'static str),
}

/// Where a GPIO line is.
#[derive(Debug)]
pub struct LineAt {
    /// Which one.
    pub line: Line,
    /// The level that means lit or pressed.
    pub active: Active,
}

/// Which GPIO line.
#[derive(Debug)]
pub enum Line {
    /// By its controller's label and its number there.
    Numbered {
        /// The controller's label, as `gpiodetect` prints it.
        controller: &'static str,
        /// The number.
        number: u32,
    },
    /// By its name in the device tree (`gpio-line-names`), whichever controller has it.
    Named(&'static str),
}

/// Which thermometer.
#[derive(Debug)]
pub struct ThermometerAt {
    /// The `type` of its thermal zone.
    pub zone: &'static str,
    /// What is too hot.
    pub limits: Limits,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_line_of_a_board_is_used_twice() {
        for board in ALL {
            let mut lines = BTreeSet::new();
            let lamps = board.lamps.iter().map(|lamp| match lamp {
                LampAt::Line(at) => format!("{:?}", at.line),
                LampAt::Class(name) => (*name).to_owned(),
            });
            let mut uses = 0;
            for line in lamps.chain([format!("{:?}", board.button.line)]) {
                lines.insert(line);
                uses += 1;
            }
            assert_eq!(lines.len(), uses, "{}", board.name);
        }
    }

    #[test]
    fn no_two_boards_are_known_by_the_same_name() {
        let names = ALL.iter().flat_map(|board| board.compatible);
        let names: Vec<_> = names.collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn each_thermometer_has_limits_in_order() {
        for board in ALL {
            let limits = board.thermometer.as_ref().map(|at| at.limits);
            assert!(
                limits.is_none_or(|limits| limits.are_in_order()),
                "{}",
                board.name
            );
        }
    }
}
