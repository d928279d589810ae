//! The four lamps of a board, at GPIO lines or in the LED class of sysfs.

use std::path::{Path, PathBuf};

use board_core::led::Colour;
use board_core::light::Light;

use crate::boards::LampAt;
use crate::{Description, Error, gpio, sysfs};

/// The four lamps of a board, from left to right.
pub struct Lamps {
    lights: [AnyLight; 4],
    lit: [Option<Option<Colour>>; 4],
}

enum AnyLight {
    Line(Box<dyn Light<Error = linux_embedded_hal::CdevPinError>>),
    Class(ClassLight),
}

impl Lamps {
    /// Takes hold of the lamps and makes them dark.
    ///
    /// # Errors
    ///
    /// The first lamp that is not to be had.
    pub fn open(board: &Description, root: &Path) -> Result<Self, Error> {
        let [power, network, ims, service] = &board.lamps;
        let open = |lamp| AnyLight::open(lamp, root);
        let lights = [open(power)?, open(network)?, open(ims)?, open(service)?];
        let mut lamps = Lamps {
            lights,
            lit: [None; 4],
        };
        lamps.set([None; 4])?;
        Ok(lamps)
    }

    /// Lights the lamps, each in its colour if it has that one. Only what changes is written.
    ///
    /// # Errors
    ///
    /// The hardware refuses; the next call tries again.
    pub fn set(&mut self, lamps: [Option<Colour>; 4]) -> Result<(), Error> {
        for (place, lit) in lamps.into_iter().enumerate() {
            if self.lit[place] == Some(lit) {
                continue;
            }
            self.lit[place] = None;
            self.lights[place].set(lit)?;
            self.lit[place] = Some(lit);
        }
        Ok(())
    }
}

impl AnyLight {
    fn open(lamp: &LampAt, root: &Path) -> Result<Self, Error> {
        Ok(match lamp {
            LampAt::Line(at) => AnyLight::Line(Box::new(gpio::lamp(at)?)),
            LampAt::Class(name) => AnyLight::Class(ClassLight::open(name, root)?),
        })
    }

    fn set(&mut self, lit: Option<Colour>) -> Result<(), Error> {
        match self {
            AnyLight::Line(light) => Ok(light.set(lit)?),
            AnyLight::Class(light) => light.set(lit),
        }
    }
}

/// A lamp in the LED class: one device for each of its colours.
#[derive(Debug)]
struct ClassLight {
    channels: Vec<Channel>,
}

#[derive(Debug)]
struct Channel {
    colour: Colour,
    brightness: PathBuf,
    brightest: String,
}

impl ClassLight {
    fn open(name: &'static str, root: &Path) -> Result<Self, Error> {
        let mut channels = Vec::new();
        for colour in COLOURS {
            let device = format!("gatehouse:{}:{name}", colour.name());
            let device = root.join("sys/class/leds").join(device);
            if !device.exists() {
                continue;
            }
            // No trigger of the kernel's drives it any longer.
            sysfs::write(&device.join("trigger"), "none")?;
            channels.push(Channel {
                colour,
                brightness: device.join("brightness"),
                brightest: sysfs::read(&device.join("max_brightness"))?,
            });
        }
        if channels.is_empty() {
            return Err(Error::NoLamp(name));
        }
        Ok(ClassLight { channels })
    }

    /// The channels to light for a colour: its own; red and green together for amber; else
    /// the first that there is.
    fn is_lit(&self, channel: &Channel, colour: Colour) -> bool {
        let has = |colour| self.channels.iter().any(|other| other.colour == colour);
        if has(colour) {
            channel.colour == colour
        } else if colour == Colour::Amber && has(Colour::Red) && has(Colour::Green) {
            matches!(channel.colour, Colour::Red | Colour::Green)
        } else {
            channel.colour == self.channels[0].colour
        }
    }
}

impl Light for ClassLight {
    type Error = Error;

    fn set(&mut self, lit: Option<Colour>) -> Result<(), Error> {
        for channel in &self.channels {
            let is_lit = lit.is_some_and(|colour| self.is_lit(channel, colour));
            let level = if is_lit { &channel.brightest } else { "0" };
            sysfs::write(&channel.brightness, level)?;
        }
        Ok(())
    }
}

const COLOURS: [Colour; 5] = [
    Colour::Green,
    Colour::Amber,
    Colour::Red,
    Colour::Blue,
    Colour::White,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysfs::tests::Folder;

    #[test]
    fn a_lamp_of_two_colours_shows_amber_as_both_of_them() {
        let root = Folder::new();
        let colours = ["green", "red"];
        for name in ["power", "network", "ims", "service"] {
            led(&root, &colours, name);
        }
        let board = crate::boards::ALL[1];
        let mut lamps = Lamps::open(board, root.path()).unwrap();
        assert_eq!(
            root.read("sys/class/leds/gatehouse:red:power/trigger"),
            "none"
        );
        let levels = |name| colours.map(|colour| root.read(&brightness(colour, name)));
        lamps
            .set([
                Some(Colour::Green),
                Some(Colour::Amber),
                None,
                Some(Colour::Blue),
            ])
            .unwrap();
        assert_eq!(levels("power"), ["255", "0"]);
        assert_eq!(levels("network"), ["255", "255"]);
        assert_eq!(levels("ims"), ["0", "0"]);
        assert_eq!(
            levels("service"),
            ["255", "0"],
            "a lamp without blue is lit all the same"
        );
        lamps.set([Some(Colour::Red), None, None, None]).unwrap();
        assert_eq!(levels("power"), ["0", "255"]);
        assert_eq!(levels("network"), ["0", "0"]);
    }

    #[test]
    fn only_what_changes_is_written() {
        let root = Folder::new();
        for name in ["power", "network", "ims", "service"] {
            led(&root, &["green"], name);
        }
        let mut lamps = Lamps::open(crate::boards::ALL[1], root.path()).unwrap();
        root.write(&brightness("green", "ims"), "untouched");
        lamps.set([Some(Colour::Green), None, None, None]).unwrap();
        assert_eq!(root.read(&brightness("green", "ims")), "untouched");
    }

    #[test]
    fn a_lamp_that_the_device_tree_forgot_is_named() {
        let root = Folder::new();
        led(&root, &["green"], "power");
        let error = Lamps::open(crate::boards::ALL[1], root.path())
            .err()
            .unwrap();
        let expected = "no lamp gatehouse:<colour>:network in /sys/class/leds: \
                        name it in the device tree";
        assert_eq!(error.to_string(), expected);
    }

    fn led(root: &Folder, colours: &[&str], name: &str) {
        for colour in colours {
            root.write(&brightness(colour, name), "1");
            let device = format!("sys/class/leds/gatehouse:{colour}:{name}");
            root.write(&format!("{device}/trigger"), "[heartbeat] none");
            root.write(&format!("{device}/max_brightness"), "255\n");
        }
    }

    fn brightness(colour: &str, name: &str) -> String {
        format!("sys/class/leds/gatehouse:{colour}:{name}/brightness")
    }
}
