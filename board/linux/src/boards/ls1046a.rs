//! NXP Layerscape LS1046A. Lamps and button are named by the device tree of `yocto/`, as on
//! the i.MX 8M Plus.

use board_core::light::Active;
use board_core::thermal::{Limits, MilliCelsius};

use super::{Description, LampAt, Line, LineAt, ThermometerAt};

pub(super) const BOARD: Description = Description {
    name: "ls1046a",
    title: "NXP Layerscape LS1046A",
    compatible: &["fsl,ls1046a"],
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
        zone: "core-cluster",
        limits: Limits {
            throttle: MilliCelsius::degrees(78),
            refuse: MilliCelsius::degrees(85),
            fault: MilliCelsius::degrees(91),
            hysteresis: 4_000,
        },
    }),
    watchdog: "imx2+ watchdog",
};
