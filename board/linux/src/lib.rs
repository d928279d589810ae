//! The boards that Gatehouse runs on: which pin, lamp, thermometer and watchdog of Linux is
//! which of ours. One file a board in [`boards`]; what lamps mean is `board_core`'s.
//!
//! Everything is found under a root folder, `/` on the box, so that a folder of files can
//! play the board in tests.

pub mod boards;
mod gpio;
mod lamps;
mod sysfs;
pub mod thermal;
pub mod watchdog;

use std::path::Path;

pub use boards::Description;
pub use gpio::FrontButton;
pub use lamps::Lamps;

/// Why the board cannot be used; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This is not one of the [`boards`].
    #[error(
        "this machine ({0}) is none of the boards that are known ({1}): \
         it has no front panel; add it as a file in board/linux/src/boards"
    )]
    UnknownBoard(String, String),

    /// The GPIO controller is missing.
    #[error(
        "no GPIO controller {0} that this user may open: add the user to the group of \
         /dev/gpiochip* (gpio), and check that the kernel has CONFIG_GPIO_CDEV_V1 and the \
         controller's driver"
    )]
    NoController(&'static str),

    /// A line is not to be had.
    #[error(
        "GPIO line {line} of {controller}: {error}: see with `gpioinfo` who holds it, and take \
         it from the device tree or end that program"
    )]
    Line {
        /// The label of its controller.
        controller: &'static str,
        /// Its number there.
        line: u32,
        /// What the kernel says.
        error: linux_embedded_hal::gpio_cdev::Error,
    },

    /// A line could be had and then failed.
    #[error("a GPIO line failed: {0}")]
    Pin(#[from] linux_embedded_hal::CdevPinError),

    /// No line has the name.
    #[error(
        "no GPIO line is named {0}: name it in the device tree (gpio-line-names of its controller)"
    )]
    NoLine(&'static str),

    /// A lamp of the LED class is missing.
    #[error("no lamp gatehouse:<colour>:{0} in /sys/class/leds: name it in the device tree")]
    NoLamp(&'static str),

    /// A file of Linux cannot be read or written.
    #[error("{path}: {error}: the user's group needs access to it (udev rule of the board)")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// What the kernel says.
        error: std::io::Error,
    },
}

/// Which board this is, by the device tree's list of what it is compatible with.
///
/// # Errors
///
/// [`Error::UnknownBoard`], naming the machine as its device tree does.
pub fn identify(root: &Path) -> Result<&'static Description, Error> {
    let tree = root.join("sys/firmware/devicetree/base");
    let compatible = std::fs::read(tree.join("compatible")).unwrap_or_default();
    let names = compatible.split(|byte| *byte == 0);
    let known = names.filter_map(|name| {
        let is_it = |board: &&Description| board.compatible.iter().any(|c| c.as_bytes() == name);
        boards::ALL.into_iter().find(is_it)
    });
    known.into_iter().next().ok_or_else(|| {
        let model = std::fs::read_to_string(tree.join("model")).unwrap_or_default();
        let model = match model.trim_matches(['\0', '\n']) {
            "" => "it has no device tree".to_owned(),
            model => model.to_owned(),
        };
        let boards = boards::ALL.map(|board| board.name);
        Error::UnknownBoard(model, boards.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::Folder;

    #[test]
    fn each_board_is_known_by_its_device_tree() {
        for (compatible, name) in [
            ("linux,dummy-virt\0", "qemu"),
            ("gatehouse,edge-imx8mp\0fsl,imx8mp\0", "imx8mp"),
            ("fsl,imx8mp-evk\0fsl,imx8mp\0", "imx8mp"),
            ("fsl,ls1046a-rdb\0fsl,ls1046a\0", "ls1046a"),
            ("raspberrypi,4-compute-module\0brcm,bcm2711\0", "cm4"),
        ] {
            let root = Folder::new();
            root.write("sys/firmware/devicetree/base/compatible", compatible);
            assert_eq!(identify(root.path()).unwrap().name, name);
        }
    }

    #[test]
    fn a_machine_that_is_no_board_is_named_with_those_that_are() {
        let root = Folder::new();
        root.write(
            "sys/firmware/devicetree/base/compatible",
            "raspberrypi,3-model-b\0",
        );
        root.write(
            "sys/firmware/devicetree/base/model",
            "Raspberry Pi 3 Model B\0",
        );
        let error = identify(root.path()).unwrap_err().to_string();
        let start = "this machine (Raspberry Pi 3 Model B) is none of the boards that are known \
                     (qemu, imx8mp, ls1046a, cm4): it has no front panel";
        assert!(error.starts_with(start), "{error}");
        let error = identify(Folder::new().path()).unwrap_err().to_string();
        assert!(error.contains("(it has no device tree)"), "{error}");
    }
}
