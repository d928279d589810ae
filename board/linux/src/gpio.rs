//! Lines of the GPIO character device, through linux-embedded-hal.

use board_core::light::{Active, PinButton, PinLight};
use linux_embedded_hal::CdevPin;
use linux_embedded_hal::gpio_cdev::{self, Chip, LineRequestFlags};

use crate::boards::{Line, LineAt};
use crate::{Description, Error};

/// The button of a board.
pub struct FrontButton(PinButton<CdevPin>);

impl FrontButton {
    /// Takes hold of the button's line.
    ///
    /// # Errors
    ///
    /// There is no such line, somebody else holds it, or this user may not.
    pub fn open(board: &Description) -> Result<Self, Error> {
        let (mut chip, controller, number) = find(&board.button.line)?;
        let pin = request(&mut chip, controller, number, LineRequestFlags::INPUT, 0)?;
        Ok(FrontButton(PinButton::new(pin, board.button.active)))
    }

    /// Whether it is pressed now.
    ///
    /// # Errors
    ///
    /// The line cannot be read.
    pub fn is_down(&mut self) -> Result<bool, Error> {
        Ok(self.0.is_down()?)
    }
}

/// Takes hold of a lamp's line, dark.
pub(crate) fn lamp(at: &LineAt) -> Result<PinLight<CdevPin>, Error> {
    let (mut chip, controller, number) = find(&at.line)?;
    let dark = u8::from(at.active == Active::Low);
    let pin = request(
        &mut chip,
        controller,
        number,
        LineRequestFlags::OUTPUT,
        dark,
    )?;
    Ok(PinLight::new(pin, at.active))
}

fn find(line: &Line) -> Result<(Chip, &'static str, u32), Error> {
    let mut chips = gpio_cdev::chips().into_iter().flatten().flatten();
    match *line {
        Line::Numbered { controller, number } => {
            let chip = chips.find(|chip| chip.label() == controller);
            let chip = chip.ok_or(Error::NoController(controller))?;
            Ok((chip, controller, number))
        }
        Line::Named(name) => chips
            .find_map(|chip| {
                let has_name = |line: &gpio_cdev::Line| {
                    line.info().is_ok_and(|info| info.name() == Some(name))
                };
                let number = chip.lines().find(has_name)?.offset();
                Some((chip, name, number))
            })
            .ok_or(Error::NoLine(name)),
    }
}

fn request(
    chip: &mut Chip,
    controller: &'static str,
    number: u32,
    flags: LineRequestFlags,
    level: u8,
) -> Result<CdevPin, Error> {
    let line = chip.get_line(number);
    let handle = line.and_then(|line| line.request(flags, level, "gatehouse"));
    handle.and_then(CdevPin::new).map_err(|error| Error::Line {
        controller,
        line: number,
        error,
    })
}
