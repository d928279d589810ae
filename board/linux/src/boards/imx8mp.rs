//! NXP i.MX 8M Plus. Lamps and button are named by the device tree of `yocto/`: LED class
//! devices `gatehouse:<colour>:power`, `network`, `ims`, `service`, and the line
//! `gatehouse-button`, which is high while nobody presses.

use board_core::light::Active;
use board_core::thermal::{Limits, MilliCelsius};

use super::{Description, LampAt, Line, LineAt, ThermometerAt};

pub(super) const BOARD: Description = Description {
    name: "imx8mp",
    title: "NXP i.MX 8M Plus",
    compatible: &["fsl,imx8mp"],
    lamps: [
        LampAt::Class("power"),
        LampAt::Class("network"),
        LampAt::Class("ims"),
        LampAt::Class("service"),
    ],
    button: LineAt {
        line: Line::Named("gatehouse-button"),
        active: Active::Low,
    },
    // The kernel slows the CPU at 85 degrees and switches the box off at 95.
    thermometer: Some(ThermometerAt {
        zone: "cpu-thermal",
        limits: Limits {
            throttle: MilliCelsius::degrees(78),
            refuse: MilliCelsius::degrees(85),
            fault: MilliCelsius::degrees(91),
            hysteresis: 4_000,
        },
    }),
    watchdog: "imx2+ watchdog",
};
