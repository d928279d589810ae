//! How hot the board is, and what that costs: a box that is too hot puts questions off, then
//! takes no new calls, so that those that are up live on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use board::thermal::{ThermalZone, Thermometer};
use board_core::thermal::{Heat, MilliCelsius, Thermal};
use signaling::guard::Pressure;

use crate::health::{Condition, Health};

/// What the thermometer says, for everybody who wants to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Temperature(Arc<Mutex<Reading>>);

#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    heat: Heat,
    last: Option<MilliCelsius>,
}

impl Temperature {
    /// What has to be done about the heat.
    pub(crate) fn heat(&self) -> Heat {
        self.reading().heat
    }

    /// The last temperature, in degrees Celsius; `None` on a board that does not tell.
    pub(crate) fn celsius(&self) -> Option<i32> {
        self.reading().last.map(|temperature| temperature.0 / 1000)
    }

    /// How much less the box may do.
    pub(crate) fn pressure(&self) -> Pressure {
        match self.heat() {
            Heat::Normal => Pressure::Calm,
            Heat::Throttle => Pressure::Busy,
            Heat::RefuseCalls | Heat::Fault => Pressure::Critical,
        }
    }

    fn set(&self, heat: Heat, last: Option<MilliCelsius>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Reading { heat, last };
    }

    fn reading(&self) -> Reading {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks again and again how hot the board is. Ends at once on a machine that is none of the
/// known boards or has no thermometer.
pub(crate) async fn run(
    temperature: Temperature,
    condition: Condition,
    health: Health,
) -> anyhow::Result<()> {
    let root = Path::new("/");
    let at = board::identify(root).ok();
    let Some(at) = at.and_then(|board| board.thermometer.as_ref()) else {
        return Ok(());
    };
    let Some(mut zone) = ThermalZone::find(at.zone, root) else {
        tracing::warn!(
            zone = at.zone,
            "the board's thermometer is missing: name it in the device tree; heat goes unseen"
        );
        return Ok(());
    };
    let mut watch = Watch::new(Thermal::new(at.limits), temperature, condition);
    let start = Instant::now();
    let pulse = health.watch_for("heat", LONGEST_SILENCE);
    loop {
        watch.look(&mut zone, start.elapsed());
        pulse.beat();
        tokio::time::sleep(PERIOD).await;
    }
}

struct Watch {
    thermal: Thermal,
    temperature: Temperature,
    condition: Condition,
    is_blind: bool,
}

impl Watch {
    fn new(thermal: Thermal, temperature: Temperature, condition: Condition) -> Self {
        Watch {
            thermal,
            temperature,
            condition,
            is_blind: false,
        }
    }

    fn look(&mut self, thermometer: &mut impl Thermometer, now: Duration) {
        let before = self.thermal.heat();
        let last = thermometer.temperature();
        if let Ok(temperature) = last {
            self.thermal.handle_reading(temperature, now);
        }
        self.look_whether_blind(last.as_ref().err(), now);
        let heat = self.thermal.heat();
        let last = last.ok();
        self.temperature.set(heat, last);
        if heat == before {
            return;
        }
        let celsius = self.temperature.celsius();
        match heat {
            Heat::Normal => tracing::info!(celsius, "the board is cool again"),
            Heat::Throttle => tracing::warn!(celsius, "the board is hot: questions are put off"),
            Heat::RefuseCalls | Heat::Fault => {
                tracing::error!(celsius, "the board is too hot: no new calls");
            }
        }
        match heat {
            Heat::Normal | Heat::Throttle => self.condition.clear(),
            Heat::RefuseCalls | Heat::Fault => {
                self.condition.set("the board is too hot: no new calls");
            }
        }
    }

    fn look_whether_blind(&mut self, error: Option<&board::Error>, now: Duration) {
        let is_blind = self.thermal.is_blind(now) && now > BLIND_AT_START;
        if is_blind && !self.is_blind {
            let error = error.map(ToString::to_string);
            tracing::warn!(error, "the thermometer does not answer: heat goes unseen");
        }
        self.is_blind = is_blind;
    }
}

const PERIOD: Duration = Duration::from_secs(2);
/// A thermometer on a slow bus may take its time.
const LONGEST_SILENCE: Duration = Duration::from_secs(20);
/// A driver may come up later than the gateway.
const BLIND_AT_START: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use board_core::thermal::Limits;

    #[test]
    fn a_box_that_is_too_hot_is_unready_and_takes_no_calls_until_it_is_cool() {
        let temperature = Temperature::default();
        let condition = Condition::default();
        let thermal = Thermal::new(LIMITS);
        let mut watch = Watch::new(thermal, temperature.clone(), condition.clone());
        let mut pressures = Vec::new();
        let degrees = [50, 82, 82, 91, 91].into_iter();
        for (second, degrees) in degrees.chain([70; 40]).enumerate() {
            let mut thermometer = Played(Some(MilliCelsius::degrees(degrees)));
            watch.look(&mut thermometer, Duration::from_secs(second as u64));
            let pressure = (temperature.pressure(), condition.reason());
            if pressures.last() != Some(&pressure) {
                pressures.push(pressure);
            }
        }
        let expected = [
            (Pressure::Calm, None),
            (Pressure::Busy, None),
            (
                Pressure::Critical,
                Some("the board is too hot: no new calls"),
            ),
            (Pressure::Calm, None),
        ];
        assert_eq!(pressures, expected);
        assert_eq!(temperature.celsius(), Some(70));
    }

    #[test]
    fn a_thermometer_that_falls_silent_leaves_the_last_verdict() {
        let temperature = Temperature::default();
        let thermal = Thermal::new(LIMITS);
        let mut watch = Watch::new(thermal, temperature.clone(), Condition::default());
        for second in 0..2 {
            let mut thermometer = Played(Some(MilliCelsius::degrees(91)));
            watch.look(&mut thermometer, Duration::from_secs(second));
        }
        watch.look(&mut Played(None), Duration::from_secs(100));
        assert_eq!(temperature.heat(), Heat::RefuseCalls);
        assert_eq!(temperature.celsius(), None);
        assert!(watch.is_blind);
    }

    /// Says this, or nothing.
    struct Played(Option<MilliCelsius>);

    impl Thermometer for Played {
        fn temperature(&mut self) -> Result<MilliCelsius, board::Error> {
            self.0.ok_or(board::Error::NoLamp("none"))
        }
    }

    const LIMITS: Limits = Limits {
        throttle: MilliCelsius::degrees(80),
        refuse: MilliCelsius::degrees(90),
        fault: MilliCelsius::degrees(95),
        hysteresis: 4_000,
    };
}
