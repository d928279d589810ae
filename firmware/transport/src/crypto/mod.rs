//! Engines behind [`SrtpCipher`](media::crypto::SrtpCipher) that need a device, and the
//! choice between them and the CPU, made on the box itself when it starts.

mod calibration;
mod engines;
#[cfg(test)]
mod fake;
mod kernel;
mod proc_crypto;
mod report;
mod socket;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

pub use calibration::{
    Calibration, Engine, Figure, Operation, SIZES, Stopwatch, calibrate, profile_name,
};
pub use engines::{Engines, EnginesKey};
use iq::SrtpProfile;
pub use kernel::{Kernel, KernelKey, Unavailable};
use media::crypto::conformance::{Nonconforming, check_briefly};
use media::crypto::cpu::Cpu;

/// What the operator wants to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Whatever calibration finds faster.
    Auto,
    /// The CPU.
    Cpu,
    /// The kernel for all that it has, faster or not.
    Kernel,
}

/// Why the kernel's engine is not used.
#[derive(Debug, thiserror::Error)]
pub enum NotUsed {
    /// It is not there.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// It gives out other octets than the standards have.
    #[error(transparent)]
    Nonconforming(#[from] Nonconforming),
    /// It stands still.
    #[error("it did not answer within {} s", PATIENCE.as_secs())]
    Silent,
    /// The system has no thread to try it on.
    #[error("it could not be tried: {0}")]
    Untried(std::io::Error),
}

/// Finds the engines, tries and measures them, and chooses.
///
/// # Errors
/// [`NotUsed`], only if the kernel's engine is wished for by name.
pub fn choose(wish: Wish, drivers: &[String]) -> Result<(Engines, Calibration), NotUsed> {
    let tried = match wish {
        Wish::Cpu => None,
        Wish::Auto | Wish::Kernel => Some(find_and_measure(drivers)),
    };
    let cpu = report::cpu_features();
    let why_not = match tried {
        Some(Ok((kernel, mut figures))) => {
            if wish == Wish::Kernel {
                prefer_kernel(&mut figures, &kernel.profiles());
            }
            let engines = Engines::chosen(kernel.clone(), &figures);
            let kernel = kernel.to_string();
            let calibration = Calibration {
                cpu,
                kernel,
                figures,
            };
            return Ok((engines, calibration));
        }
        Some(Err(error)) if wish == Wish::Kernel => return Err(error),
        Some(Err(error)) => error.to_string(),
        None => "the configuration wants the CPU".to_owned(),
    };
    let calibration = Calibration {
        cpu,
        kernel: format!("not used: {why_not}"),
        figures: calibrate::<Cpu, Kernel>(&Cpu, None, &Clock::start()),
    };
    Ok((Engines::cpu(), calibration))
}

/// On a thread of its own: an engine that stands still must not keep the box from starting.
fn find_and_measure(drivers: &[String]) -> Result<(Kernel, Vec<Figure>), NotUsed> {
    let kernel = Kernel::find(drivers)?;
    let (answer, answered) = mpsc::channel();
    let engine = kernel.clone();
    let measure = move || {
        let profiles = engine.profiles();
        let figures = check_briefly(&engine, &profiles)
            .map(|()| calibrate(&Cpu, Some((&engine, &profiles)), &Clock::start()));
        let _ = answer.send(figures);
    };
    let thread = thread::Builder::new().name("crypto-trial".to_owned());
    thread.spawn(measure).map_err(NotUsed::Untried)?;
    let figures = answered.recv_timeout(PATIENCE);
    Ok((kernel, figures.map_err(|_| NotUsed::Silent)??))
}

/// Gives the kernel all that it has, even what there was no time to measure.
fn prefer_kernel(figures: &mut [Figure], profiles: &[SrtpProfile]) {
    for figure in figures {
        if profiles.contains(&figure.profile) {
            figure.chosen = Engine::Kernel;
        }
    }
}

/// The system's clock.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Clock(Instant::now())
    }
}

impl Stopwatch for Clock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How long an engine may take to be tried; ten times what it should.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use media::crypto::conformance;

    use super::*;

    /// The same check runs as `gatehouse crypto` in kernels that have it: in the guest of
    /// `cargo xtask test ims`, and on the image.
    #[test]
    fn the_kernel_conforms_where_there_is_one_to_ask() {
        match Kernel::find(&[]) {
            Ok(kernel) => assert_eq!(conformance::check(&kernel, &kernel.profiles()), Ok(())),
            Err(error) => {
                let said = format!(
                    "NOT CHECKED here: the kernel's crypto against the conformance suite: {error}\n"
                );
                let _ = std::io::stderr().write_all(said.as_bytes());
                assert!(!matches!(error, Unavailable::NoDriver { .. }));
            }
        }
    }

    #[test]
    fn the_cpu_serves_everything_where_it_is_wished_for() {
        let (engines, calibration) = choose(Wish::Cpu, &[]).unwrap();
        let figures = &calibration.figures;
        assert_eq!(figures.len(), 30);
        assert!(figures.iter().all(|figure| figure.chosen == Engine::Cpu));
        assert!(figures.iter().all(|figure| figure.kernel.is_none()));
        assert_eq!(engines.tally(), (0, 0));
        assert_eq!(
            calibration.kernel,
            "not used: the configuration wants the CPU"
        );
    }

    #[test]
    fn the_kernel_has_all_that_it_can_do_where_it_is_wished_for() {
        let (_, mut calibration) = choose(Wish::Cpu, &[]).unwrap();
        let profiles = [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm];
        calibration.figures[0].kernel = Some(u64::MAX);
        prefer_kernel(&mut calibration.figures, &profiles);
        assert_eq!(calibration.kernel_share(), (20, 30));
        assert_eq!(calibration.losses(), 1);
    }

    #[test]
    fn a_driver_that_is_not_there_is_named() {
        let drivers = ["gcm-aes-of-nobody".to_owned()];
        let refused = choose(Wish::Kernel, &drivers).unwrap_err().to_string();
        let has_sockets = !refused.contains("AF_ALG sockets");
        assert_eq!(has_sockets, refused.contains("gcm-aes-of-nobody"));
        let (_, calibration) = choose(Wish::Auto, &drivers).unwrap();
        assert_eq!(calibration.kernel, format!("not used: {refused}"));
    }

    #[test]
    fn measuring_the_cpu_takes_far_less_than_its_budget() {
        let started = Instant::now();
        choose(Wish::Cpu, &[]).unwrap();
        assert!(started.elapsed() < Duration::from_secs(1));
    }
}
