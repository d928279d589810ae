//! Engines for tests: the CPU's octets, and a time of their own.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use iq::SrtpProfile;
use media::crypto::cpu::{Cpu, CpuKey};
use media::crypto::{Job, SessionKey, SrtpCipher};

use super::calibration::Stopwatch;

/// A clock that only engines move on.
#[derive(Clone, Default)]
pub(super) struct VirtualTime(Rc<Cell<u64>>);

impl Stopwatch for VirtualTime {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.get())
    }
}

/// What the call of a number takes more, in nanoseconds.
type Disturbance = fn(u64) -> u64;

/// An engine that takes a time by the size of a packet.
#[derive(Clone)]
pub(super) struct Fake {
    time: VirtualTime,
    cost: fn(usize) -> u64,
    disturbance: Rc<Cell<Disturbance>>,
    is_down: Rc<Cell<bool>>,
    calls: Rc<Cell<u64>>,
}

impl Fake {
    pub(super) fn new(time: &VirtualTime, cost: fn(usize) -> u64) -> Self {
        Fake {
            time: time.clone(),
            cost,
            disturbance: Rc::new(Cell::new(|_| 0)),
            is_down: Rc::default(),
            calls: Rc::default(),
        }
    }

    /// What its calls, counted from one, take beside that, in nanoseconds.
    pub(super) fn disturb(&self, by: Disturbance) {
        self.disturbance.set(by);
    }

    /// Whether it fails from now on.
    pub(super) fn break_down(&self, is_down: bool) {
        self.is_down.set(is_down);
    }

    /// Packets that it was handed.
    pub(super) fn calls(&self) -> u64 {
        self.calls.get()
    }

    fn work(&self, jobs: &mut [Job<'_, CpuKey>], on_cpu: fn(&Cpu, &mut [Job<'_, CpuKey>])) {
        for job in jobs {
            self.calls.set(self.calls.get() + 1);
            let more = self.disturbance.get()(self.calls.get());
            let cost = (self.cost)(job.packet.len()) + more;
            self.time.0.set(self.time.0.get() + cost);
            if !self.is_down.get() {
                on_cpu(&Cpu, std::slice::from_mut(job));
            }
        }
    }
}

impl SrtpCipher for Fake {
    type Key = CpuKey;

    fn key(&self, profile: SrtpProfile, session: &SessionKey) -> CpuKey {
        Cpu.key(profile, session)
    }

    fn seal(&self, jobs: &mut [Job<'_, CpuKey>]) {
        self.work(jobs, |cpu, jobs| cpu.seal(jobs));
    }

    fn open(&self, jobs: &mut [Job<'_, CpuKey>]) {
        self.work(jobs, |cpu, jobs| cpu.open(jobs));
    }
}
