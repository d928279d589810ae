//! The pins of a front panel, by embedded-hal's traits.

use embedded_hal::digital::{InputPin, OutputPin, PinState};

use crate::led::Colour;

/// A lamp that can be lit.
pub trait Light {
    /// Why it cannot be lit.
    type Error;

    /// Lights it in this colour, or in its only one; or makes it dark.
    ///
    /// # Errors
    ///
    /// The hardware does not do it.
    fn set(&mut self, lit: Option<Colour>) -> Result<(), Self::Error>;
}

/// Which level of a pin means lit or pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Active {
    /// The high one.
    High,
    /// The low one.
    Low,
}

/// A lamp of one colour at a pin.
#[derive(Debug)]
pub struct PinLight<P> {
    pin: P,
    active: Active,
}

impl<P: OutputPin> PinLight<P> {
    /// The lamp at this pin.
    pub fn new(pin: P, active: Active) -> Self {
        PinLight { pin, active }
    }
}

impl<P: OutputPin> Light for PinLight<P> {
    type Error = P::Error;

    fn set(&mut self, lit: Option<Colour>) -> Result<(), P::Error> {
        let is_high = lit.is_some() == (self.active == Active::High);
        self.pin.set_state(PinState::from(is_high))
    }
}

/// A button at a pin.
#[derive(Debug)]
pub struct PinButton<P> {
    pin: P,
    active: Active,
}

impl<P: InputPin> PinButton<P> {
    /// The button at this pin.
    pub fn new(pin: P, active: Active) -> Self {
        PinButton { pin, active }
    }

    /// Whether it is pressed now.
    ///
    /// # Errors
    ///
    /// The pin cannot be read.
    pub fn is_down(&mut self) -> Result<bool, P::Error> {
        Ok(self.pin.is_high()? == (self.active == Active::High))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::convert::Infallible;
    use embedded_hal::digital::ErrorType;

    #[test]
    fn a_lamp_between_supply_and_pin_is_lit_by_the_low_level() {
        let mut light = PinLight::new(Pin { is_high: false }, Active::Low);
        light.set(None).unwrap();
        assert!(light.pin.is_high);
        light.set(Some(Colour::Red)).unwrap();
        assert!(!light.pin.is_high);
        let mut light = PinLight::new(Pin { is_high: false }, Active::High);
        light.set(Some(Colour::Green)).unwrap();
        assert!(light.pin.is_high);
    }

    #[test]
    fn a_button_that_pulls_its_pin_down_is_pressed_at_the_low_level() {
        let mut button = PinButton::new(Pin { is_high: true }, Active::Low);
        assert!(!button.is_down().unwrap());
        button.pin.is_high = false;
        assert!(button.is_down().unwrap());
    }

    struct Pin {
        is_high: bool,
    }

    impl ErrorType for Pin {
        type Error = Infallible;
    }

    impl OutputPin for Pin {
        fn set_low(&mut self) -> Result<(), Infallible> {
            self.is_high = false;
            Ok(())
        }

        fn set_high(&mut self) -> Result<(), Infallible> {
            self.is_high = true;
            Ok(())
        }
    }

    impl InputPin for Pin {
        fn is_high(&mut self) -> Result<bool, Infallible> {
            Ok(self.is_high)
        }

        fn is_low(&mut self) -> Result<bool, Infallible> {
            Ok(!self.is_high)
        }
    }
}
