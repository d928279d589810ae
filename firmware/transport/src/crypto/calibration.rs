//! What each engine costs for a packet, measured on the box itself when it starts: an
//! engine that loses at a size of packets is not used for them. Figures that were
//! published say that it usually does lose on packets of a voice call.
//!
//! Engines take turns in short bursts and the median burst counts, so that neither a
//! process that gets in between nor a clock that speeds up decides.

use std::time::Duration;

use iq::SrtpProfile;
use media::crypto::{Index, Job, Outcome, PROFILES, Purpose, SessionKey, SrtpCipher, tag_length};
use serde::{Deserialize, Serialize};

/// What was measured, and what follows from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// The CPU's own instructions that help.
    pub cpu: String,
    /// The drivers of the kernel's engine, or why it is not used.
    pub kernel: String,
    /// For each profile, operation and size.
    pub figures: Vec<Figure>,
}

/// The engines for one kind of packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// Protected how.
    pub profile: SrtpProfile,
    /// Sealed or opened.
    pub operation: Operation,
    /// Octets of RTP.
    pub size: usize,
    /// Nanoseconds for a packet on the CPU.
    pub cpu: u64,
    /// The same in the kernel, if it has the profile and there was time to measure.
    pub kernel: Option<u64>,
    /// Who does it from now on.
    pub chosen: Engine,
}

/// What an engine is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operation {
    /// Encrypt and authenticate.
    Seal,
    /// Check and decrypt.
    Open,
}

impl Operation {
    /// Both.
    pub const ALL: [Operation; 2] = [Operation::Seal, Operation::Open];

    /// As it is called in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Operation::Seal => "seal",
            Operation::Open => "open",
        }
    }
}

/// Who seals and opens packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// The CPU, by aws-lc.
    Cpu,
    /// The kernel's crypto.
    Kernel,
}

impl Engine {
    /// As it is called in figures.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Engine::Cpu => "cpu",
            Engine::Kernel => "kernel",
        }
    }
}

/// A profile as the configuration and figures call it.
#[must_use]
pub fn profile_name(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::AeadAes128Gcm => "gcm128",
        SrtpProfile::AeadAes256Gcm => "gcm256",
        SrtpProfile::Aes128CmSha1_80 => "cm80",
    }
}

/// Sizes of RTP packets that are measured: a compressed voice packet, G.711 of 20 ms, the
/// same with extensions or wideband, and video. Any other packet is judged by the next
/// smaller one: devices gain with size, so that this is never to the disadvantage of the
/// CPU.
pub const SIZES: [usize; 5] = [60, 172, 250, 600, 1200];

/// Which of [`SIZES`] a packet is judged by.
#[must_use]
pub(super) fn class(length: usize) -> usize {
    let sizes = SIZES.iter();
    sizes
        .rev()
        .skip_while(|&&size| size > length)
        .count()
        .max(1)
        - 1
}

/// Tells the time since some moment.
pub trait Stopwatch {
    /// Reads it.
    fn now(&self) -> Duration;
}

/// Measures the CPU and, for the profiles that it has, a device beside it.
pub fn calibrate<C: SrtpCipher, D: SrtpCipher>(
    cpu: &C,
    device: Option<(&D, &[SrtpProfile])>,
    stopwatch: &impl Stopwatch,
) -> Vec<Figure> {
    let end = stopwatch.now() + BUDGET;
    let reading = cost_of_reading(stopwatch);
    let kinds = PROFILES.into_iter().flat_map(|profile| {
        let operations = Operation::ALL.into_iter();
        operations.flat_map(move |operation| {
            SIZES
                .into_iter()
                .map(move |size| (profile, operation, size))
        })
    });
    let kinds: Vec<_> = kinds.collect();
    let mut figures = Vec::with_capacity(kinds.len());
    for (at, &(profile, operation, size)) in kinds.iter().enumerate() {
        let now = stopwatch.now();
        let share = end.saturating_sub(now) / (kinds.len() - at) as u32;
        let mut cpu = Contender::new(cpu, (profile, operation, size), reading);
        let mut device = device
            .filter(|(_, profiles)| profiles.contains(&profile) && !share.is_zero())
            .map(|(device, _)| Contender::new(device, (profile, operation, size), reading));
        for round in 0..ROUNDS {
            if round >= FEWEST_ROUNDS && stopwatch.now() > now + share {
                break;
            }
            cpu.take_turn(stopwatch);
            if stopwatch.now() > end {
                device = None;
            }
            if let Some(device) = &mut device {
                device.take_turn(stopwatch);
            }
        }
        let cpu = cpu.median().unwrap_or(u64::MAX);
        let kernel = device.and_then(Contender::median);
        figures.push(Figure {
            profile,
            operation,
            size,
            cpu,
            kernel,
            chosen: match kernel {
                Some(kernel) if is_worth_it(kernel, cpu) => Engine::Kernel,
                _ => Engine::Cpu,
            },
        });
    }
    figures
}

/// On some machines a clock costs more than a packet.
fn cost_of_reading(stopwatch: &impl Stopwatch) -> Duration {
    let reading = |_| {
        let before = stopwatch.now();
        stopwatch.now().saturating_sub(before)
    };
    (0..ROUNDS).map(reading).min().unwrap_or_default()
}

/// A device must be a tenth faster: what it costs beside the time of the call, the caches
/// that a system call empties among it, is not in the figures.
fn is_worth_it(device: u64, cpu: u64) -> bool {
    device.saturating_mul(10) <= cpu.saturating_mul(9)
}

/// One engine at one kind of packet.
struct Contender<'a, C: SrtpCipher> {
    cipher: &'a C,
    key: C::Key,
    operation: Operation,
    /// What the engine is handed: packets with the room for their tags.
    work: Vec<(Vec<u8>, Vec<u8>)>,
    /// What is copied there before a turn, because an engine works in place.
    packet: Vec<u8>,
    tag: Vec<u8>,
    /// Packets of a turn, as many as take a turn's time.
    burst: usize,
    /// What reading the stopwatch takes, which is in every turn.
    reading: Duration,
    turns: Vec<u64>,
    /// Whether all packets came out as they should.
    is_sound: bool,
}

impl<'a, C: SrtpCipher> Contender<'a, C> {
    fn new(
        cipher: &'a C,
        (profile, operation, size): (SrtpProfile, Operation, usize),
        reading: Duration,
    ) -> Self {
        let key = cipher.key(profile, &session_key(profile));
        let mut packet = vec![0x5a; size];
        packet[0] = 0x80;
        let mut contender = Contender {
            cipher,
            key,
            operation: Operation::Seal,
            work: vec![(packet.clone(), vec![0; tag_length(profile)]); LONGEST_BURST],
            tag: vec![0; tag_length(profile)],
            packet,
            burst: 1,
            reading,
            turns: Vec::with_capacity(ROUNDS),
            is_sound: true,
        };
        if operation == Operation::Open {
            contender.is_sound = contender.run();
            (contender.packet, contender.tag) = contender.work[0].clone();
            contender.operation = Operation::Open;
        }
        contender
    }

    /// Times one burst. The first packet of all is for finding out how many make a burst.
    fn take_turn(&mut self, stopwatch: &impl Stopwatch) {
        if !self.is_sound {
            return;
        }
        if self.turns.is_empty() {
            let first = self.time(stopwatch).max(Duration::from_nanos(1));
            let fit = TURN.as_nanos() / first.as_nanos();
            self.burst = usize::try_from(fit).map_or(LONGEST_BURST, |n| n.clamp(1, LONGEST_BURST));
        }
        let spent = self.time(stopwatch).as_nanos() / self.burst as u128;
        self.turns.push(u64::try_from(spent).unwrap_or(u64::MAX));
    }

    fn time(&mut self, stopwatch: &impl Stopwatch) -> Duration {
        for (packet, tag) in &mut self.work[..self.burst] {
            packet.copy_from_slice(&self.packet);
            tag.copy_from_slice(&self.tag);
        }
        let before = stopwatch.now();
        let is_sound = self.run();
        let spent = stopwatch.now().saturating_sub(before);
        let spent = spent.saturating_sub(self.reading);
        self.is_sound &= is_sound;
        spent
    }

    /// Works through a burst packet by packet, as a worker does.
    fn run(&mut self) -> bool {
        let mut is_sound = true;
        for (packet, tag) in &mut self.work[..self.burst] {
            let mut job = Job {
                key: &self.key,
                packet,
                tag,
                ssrc: 7,
                index: Index::Rtp {
                    index: 1,
                    header: RTP_HEADER,
                },
                outcome: Outcome::Failed,
            };
            match self.operation {
                Operation::Seal => self.cipher.seal(std::slice::from_mut(&mut job)),
                Operation::Open => self.cipher.open(std::slice::from_mut(&mut job)),
            }
            is_sound &= job.outcome == Outcome::Done;
        }
        is_sound
    }

    /// The middle turn; nothing from an engine that failed or had too few.
    fn median(mut self) -> Option<u64> {
        self.turns.sort_unstable();
        let is_enough = self.is_sound && self.turns.len() >= FEWEST_ROUNDS;
        is_enough.then(|| self.turns[self.turns.len() / 2])
    }
}

/// A key for measuring: each octet the same is as good as any.
fn session_key(profile: SrtpProfile) -> SessionKey {
    let (encryption, authentication, salt) = match profile {
        SrtpProfile::Aes128CmSha1_80 => (16, 20, 14),
        SrtpProfile::AeadAes128Gcm => (16, 0, 12),
        SrtpProfile::AeadAes256Gcm => (32, 0, 12),
    };
    SessionKey {
        purpose: Purpose::Rtp,
        encryption: vec![1; encryption],
        authentication: vec![2; authentication],
        salt: vec![3; salt],
    }
}

/// The longest that measuring may take, but for the turns that are under way.
const BUDGET: Duration = Duration::from_millis(200);
/// Turns of each engine: half of them less one may be disturbed.
const ROUNDS: usize = 9;
const FEWEST_ROUNDS: usize = 3;
/// How long a turn is to take: well above what reading the clock costs.
const TURN: Duration = Duration::from_micros(50);
const LONGEST_BURST: usize = 32;
const RTP_HEADER: usize = 12;

#[cfg(test)]
mod tests {
    use super::super::fake::{Fake, VirtualTime};
    use super::*;

    #[test]
    fn a_slow_engine_is_rejected_at_every_size() {
        let time = VirtualTime::default();
        let cpu = Fake::new(&time, |size| 100 + size as u64);
        let slow = Fake::new(&time, |size| 2000 + size as u64 / 10);
        let figures = calibrate(&cpu, Some((&slow, &PROFILES)), &time);

        assert_eq!(figures.len(), 30);
        for figure in figures {
            assert_eq!(figure.chosen, Engine::Cpu);
            assert_eq!(figure.cpu, 100 + figure.size as u64);
            assert_eq!(figure.kernel, Some(2000 + figure.size as u64 / 10));
        }
        assert!(time.now() <= BUDGET);
    }

    #[test]
    fn a_fast_engine_is_chosen_from_the_size_on_where_it_wins() {
        let time = VirtualTime::default();
        let cpu = Fake::new(&time, |size| 10 * size as u64);
        let fast = Fake::new(&time, |size| 3000 + size as u64);
        for figure in calibrate(&cpu, Some((&fast, &PROFILES)), &time) {
            let wins = figure.size >= 600;
            assert_eq!(figure.chosen == Engine::Kernel, wins, "{figure:?}");
        }
    }

    #[test]
    fn an_engine_that_is_as_fast_as_the_cpu_is_not_worth_it() {
        assert!(!is_worth_it(1000, 1000));
        assert!(!is_worth_it(901, 1000));
        assert!(is_worth_it(900, 1000));
    }

    #[test]
    fn a_process_that_gets_in_between_decides_nothing() {
        let time = VirtualTime::default();
        let cpu = Fake::new(&time, |_| 1000);
        let device = Fake::new(&time, |_| 500);
        // Three of nine turns take ten milliseconds more, whoever's turn it is.
        device.disturb(|call| if call % 97 == 0 { 10_000_000 } else { 0 });
        let profiles = [SrtpProfile::AeadAes128Gcm];
        let figures = calibrate(&cpu, Some((&device, &profiles)), &time);
        for figure in &figures[..3] {
            assert_eq!((figure.kernel, figure.chosen), (Some(500), Engine::Kernel));
        }
    }

    #[test]
    fn an_engine_that_takes_for_ever_does_not_keep_the_box_from_starting() {
        let time = VirtualTime::default();
        let cpu = Fake::new(&time, |_| 300);
        let device = Fake::new(&time, |_| 20_000_000);
        let figures = calibrate(&cpu, Some((&device, &PROFILES)), &time);
        assert!(figures.iter().all(|figure| figure.chosen == Engine::Cpu));
        assert!(figures.iter().all(|figure| figure.cpu == 300));
        assert!(figures.last().is_some_and(|figure| figure.kernel.is_none()));
        assert!(time.now() < 2 * BUDGET, "{:?}", time.now());
    }

    #[test]
    fn an_engine_that_fails_has_no_figures() {
        let time = VirtualTime::default();
        let cpu = Fake::new(&time, |_| 1000);
        let device = Fake::new(&time, |_| 10);
        device.break_down(true);
        let figures = calibrate(&cpu, Some((&device, &PROFILES)), &time);
        assert!(figures.iter().all(|figure| figure.kernel.is_none()));
        assert!(figures.iter().all(|figure| figure.chosen == Engine::Cpu));
    }

    #[test]
    fn a_packet_is_judged_by_the_next_smaller_size_that_was_measured() {
        for (length, judged_by) in [
            (12, 60),
            (60, 60),
            (171, 60),
            (172, 172),
            (599, 250),
            (1199, 600),
            (1460, 1200),
        ] {
            assert_eq!(SIZES[class(length)], judged_by, "{length}");
        }
    }
}
