//! Raspberry Pi Compute Module 4 on its IO board, for evaluation: four lamps and a button on
//! leads at the 40-pin header. PWR at pin 11, NET 13, IMS 15, SVC 16, each with its resistor
//! to ground; the button between pins 18 and 17 (3.3 V): the SoC pulls line 24 down by itself.

use board_core::light::Active;
use board_core::thermal::{Limits, MilliCelsius};

use super::{Description, LampAt, Line, LineAt, ThermometerAt};

pub(super) const BOARD: Description = Description {
    name: "cm4",
    title: "Raspberry Pi Compute Module 4",
    compatible: &["raspberrypi,4-compute-module"],
    lamps: [
        LampAt::Line(line(17)),
        LampAt::Line(line(27)),
        LampAt::Line(line(22)),
        LampAt::Line(line(23)),
    ],
    button: line(24),
    // The firmware slows the CPU from 80 degrees on.
    thermometer: Some(ThermometerAt {
        zone: "cpu-thermal",
        limits: Limits {
            throttle: MilliCelsius::degrees(75),
            refuse: MilliCelsius::degrees(82),
            fault: MilliCelsius::degrees(88),
            hysteresis: 4_000,
        },
    }),
    watchdog: "Broadcom BCM2835 Watchdog timer",
};

const fn line(number: u32) -> LineAt {
    LineAt {
        line: Line::Numbered {
            controller: "pinctrl-bcm2711",
            number,
        },
        active: Active::High,
    }
}
