//! QEMU's `virt` machine: the lines of its PL061, whose outputs the host sees by the trace
//! event `pl061_set_output` and at 0x0903_03fc. Line 3 is the machine's power key and not
//! ours.

use board_core::light::Active;

use super::{Description, LampAt, Line, LineAt};

pub(super) const BOARD: Description = Description {
    name: "qemu",
    title: "emulated box (QEMU virt)",
    compatible: &["linux,dummy-virt"],
    lamps: [
        LampAt::Line(line(0)),
        LampAt::Line(line(1)),
        LampAt::Line(line(2)),
        LampAt::Line(line(4)),
    ],
    button: line(5),
    thermometer: None,
    watchdog: "i6300ESB timer",
};

const fn line(number: u32) -> LineAt {
    LineAt {
        line: Line::Numbered {
            controller: "9030000.pl061",
            number,
        },
        active: Active::High,
    }
}
