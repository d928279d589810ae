//! The cipher of the workers: the CPU, and for the sizes of packets where calibration found
//! it faster a device, with the CPU behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iq::SrtpProfile;
use media::crypto::cpu::{Cpu, CpuKey};
use media::crypto::{Job, Outcome, Purpose, SessionKey, SrtpCipher};

use super::calibration::{Engine, Figure, Operation, class};
use super::kernel::Kernel;

/// The engines as they were chosen. Cloning shares the device and the tally.
pub struct Engines<D: SrtpCipher = Kernel> {
    device: Option<Device<D>>,
    tally: Arc<Tally>,
}

struct Device<D> {
    engine: D,
    plan: Arc<Plan>,
}

/// For which packets the device is used.
#[derive(Clone, Debug, Default)]
struct Plan(Vec<(SrtpProfile, Uses)>);

/// The classes of sizes that the device won, a bit each.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    seal: u8,
    open: u8,
}

/// What the device was used for.
#[derive(Debug, Default)]
struct Tally {
    packets: AtomicU64,
    failures: AtomicU64,
}

impl<D: SrtpCipher + Clone> Engines<D> {
    /// The CPU alone.
    #[must_use]
    pub fn cpu() -> Self {
        Engines {
            device: None,
            tally: Arc::default(),
        }
    }

    /// The CPU, and a device for what these figures say.
    #[must_use]
    pub fn chosen(engine: D, figures: &[Figure]) -> Self {
        let plan = Plan::of(figures);
        let plan = (!plan.0.is_empty()).then(|| Arc::new(plan));
        Engines {
            device: plan.map(|plan| Device { engine, plan }),
            tally: Arc::default(),
        }
    }

    /// The same engines for one more worker, which counts by itself.
    #[must_use]
    pub fn with_own_tally(&self) -> Self {
        Engines {
            tally: Arc::default(),
            ..self.clone()
        }
    }

    /// Packets that a device took, and those that it failed at and the CPU took over.
    #[must_use]
    pub fn tally(&self) -> (u64, u64) {
        let Tally { packets, failures } = &*self.tally;
        (
            packets.load(Ordering::Relaxed),
            failures.load(Ordering::Relaxed),
        )
    }

    /// Has the device try, and the CPU where it fails: nothing is lost by it.
    #[inline(never)]
    fn by_device(
        &self,
        (key, operation): (&D::Key, Operation),
        job: &mut Job<'_, EnginesKey<D>>,
    ) -> Outcome {
        let Some(device) = &self.device else {
            return Outcome::Failed;
        };
        let mut job = job.with_key(key);
        match operation {
            Operation::Seal => device.engine.seal(std::slice::from_mut(&mut job)),
            Operation::Open => device.engine.open(std::slice::from_mut(&mut job)),
        }
        let counted = match job.outcome {
            Outcome::Failed => &self.tally.failures,
            Outcome::Refused | Outcome::Done => &self.tally.packets,
        };
        counted.fetch_add(1, Ordering::Relaxed);
        job.outcome
    }
}

impl<D: Clone + SrtpCipher> Clone for Engines<D> {
    fn clone(&self) -> Self {
        let device = self.device.as_ref().map(|device| Device {
            engine: device.engine.clone(),
            plan: Arc::clone(&device.plan),
        });
        Engines {
            device,
            tally: Arc::clone(&self.tally),
        }
    }
}

impl<D: SrtpCipher> std::fmt::Debug for Engines<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plan = self.device.as_ref().map(|device| &device.plan);
        f.debug_tuple("Engines").field(&plan).finish()
    }
}

impl Plan {
    fn of(figures: &[Figure]) -> Self {
        let mut plan = Plan::default();
        for figure in figures.iter().filter(|it| it.chosen == Engine::Kernel) {
            let known = plan.0.iter().position(|(of, _)| *of == figure.profile);
            let at = known.unwrap_or_else(|| {
                plan.0.push((figure.profile, Uses::default()));
                plan.0.len() - 1
            });
            let uses = &mut plan.0[at].1;
            match figure.operation {
                Operation::Seal => uses.seal |= 1 << class(figure.size),
                Operation::Open => uses.open |= 1 << class(figure.size),
            }
        }
        plan
    }

    fn uses(&self, profile: SrtpProfile) -> Option<Uses> {
        let mut profiles = self.0.iter();
        profiles
            .find(|(of, _)| *of == profile)
            .map(|(_, uses)| *uses)
    }
}

/// Session keys for the CPU, and for the device if packets under them may go there.
pub struct EnginesKey<D: SrtpCipher> {
    cpu: CpuKey,
    device: Option<Box<(D::Key, Uses)>>,
}

impl<D: SrtpCipher + Clone> SrtpCipher for Engines<D> {
    type Key = EnginesKey<D>;

    fn key(&self, profile: SrtpProfile, session: &SessionKey) -> EnginesKey<D> {
        // RTCP is a packet every few seconds: not worth a key in a device.
        let device = match session.purpose {
            Purpose::Rtp => self.device.as_ref(),
            Purpose::Rtcp => None,
        };
        let device = device.and_then(|device| {
            let uses = device.plan.uses(profile)?;
            Some(Box::new((device.engine.key(profile, session), uses)))
        });
        EnginesKey {
            cpu: Cpu.key(profile, session),
            device,
        }
    }

    fn seal(&self, jobs: &mut [Job<'_, EnginesKey<D>>]) {
        for job in jobs {
            let key = job.key;
            if let Some(device) = &key.device
                && device.1.seal >> class(job.packet.len()) & 1 == 1
            {
                job.outcome = self.by_device((&device.0, Operation::Seal), job);
                if job.outcome != Outcome::Failed {
                    continue;
                }
            }
            job.outcome = Cpu.seal_one(&key.cpu, job);
        }
    }

    fn open(&self, jobs: &mut [Job<'_, EnginesKey<D>>]) {
        for job in jobs {
            let key = job.key;
            if let Some(device) = &key.device
                && device.1.open >> class(job.packet.len()) & 1 == 1
            {
                job.outcome = self.by_device((&device.0, Operation::Open), job);
                if job.outcome != Outcome::Failed {
                    continue;
                }
            }
            job.outcome = Cpu.open_one(&key.cpu, job);
        }
    }
}

#[cfg(test)]
mod tests {
    use media::crypto::{PROFILES, conformance};

    use super::super::calibration::SIZES;
    use super::super::fake::{Fake, VirtualTime};
    use super::*;

    #[test]
    fn the_engines_conform_whoever_is_chosen() {
        let time = VirtualTime::default();
        for chosen in [Engine::Cpu, Engine::Kernel] {
            let device = Fake::new(&time, |_| 1);
            let engines = Engines::chosen(device.clone(), &figures(|_| chosen));
            assert_eq!(conformance::check(&engines, &PROFILES), Ok(()));
            let used = device.calls() > 0;
            assert_eq!(used, chosen == Engine::Kernel);
            assert_eq!(engines.tally(), (device.calls(), 0));
        }
    }

    #[test]
    fn a_device_that_fails_loses_nothing_and_is_counted() {
        let time = VirtualTime::default();
        let device = Fake::new(&time, |_| 1);
        let engines = Engines::chosen(device.clone(), &figures(|_| Engine::Kernel));
        device.break_down(true);
        assert_eq!(conformance::check(&engines, &PROFILES), Ok(()));
        assert_eq!(engines.tally(), (0, device.calls()));
        assert!(device.calls() > 0);
    }

    #[test]
    fn packets_go_to_whom_their_size_was_given() {
        let time = VirtualTime::default();
        let device = Fake::new(&time, |_| 1);
        let of_size = |size| {
            if size >= 600 {
                Engine::Kernel
            } else {
                Engine::Cpu
            }
        };
        let engines = Engines::chosen(device.clone(), &figures(of_size));
        let session = |purpose| SessionKey {
            purpose,
            encryption: vec![1; 16],
            authentication: Vec::new(),
            salt: vec![3; 12],
        };
        let seal = |purpose, size, calls| {
            let key = engines.key(SrtpProfile::AeadAes128Gcm, &session(purpose));
            let index = media::crypto::Index::Rtp {
                index: 1,
                header: 12,
            };
            let mut job = Job {
                key: &key,
                packet: &mut vec![0x80; size],
                tag: &mut [0; 16],
                ssrc: 7,
                index,
                outcome: Outcome::Failed,
            };
            engines.seal(std::slice::from_mut(&mut job));
            assert_eq!(job.outcome, Outcome::Done);
            assert_eq!(device.calls(), calls, "{size} octets");
        };
        seal(Purpose::Rtp, 172, 0);
        seal(Purpose::Rtp, 599, 0);
        seal(Purpose::Rtp, 600, 1);
        seal(Purpose::Rtp, 1400, 2);
        seal(Purpose::Rtcp, 1400, 2);
        let other = engines.with_own_tally();
        assert_eq!((engines.tally(), other.tally()), ((2, 0), (0, 0)));
    }

    fn figures(chosen: impl Fn(usize) -> Engine) -> Vec<Figure> {
        let mut figures = Vec::new();
        for profile in PROFILES {
            for operation in Operation::ALL {
                figures.extend(SIZES.map(|size| Figure {
                    profile,
                    operation,
                    size,
                    cpu: 1,
                    kernel: Some(1),
                    chosen: chosen(size),
                }));
            }
        }
        figures
    }
}
