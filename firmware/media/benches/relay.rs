//! What relaying costs: one packet each way in every session of a worker, without the
//! sockets. Divide by twice the number of sessions for one packet.

#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/media/browser.rs"]
#[allow(dead_code)]
mod browser;
#[path = "../tests/media/world.rs"]
#[allow(dead_code)]
mod world;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use media::{Arrival, PacketBuffer, PairId, Socket, Verdict};

use browser::Browser;
use world::{TELEPHONE, World, addr};

fn relaying(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("relay");
    for sessions in [100, 400] {
        let mut bench = Bench::new(sessions);
        group.throughput(Throughput::Elements(2 * u64::from(sessions)));
        group.bench_function(format!("{sessions}_sessions"), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| bench.round()).sum());
        });
    }
    group.finish();
}

/// A worker whose sessions are all up.
struct Bench {
    world: World,
    sequence: u16,
    arrivals: Vec<(Arrival, Vec<u8>)>,
    slots: Vec<PacketBuffer>,
}

impl Bench {
    fn new(sessions: u16) -> Self {
        let mut world = World::new();
        for n in 0..sessions {
            let address = format!("192.0.2.7:{}", 10_000 + n);
            let browser = Browser::new(&address, world.now());
            world.call(n.into(), browser);
            world.run(Duration::from_millis(5));
        }
        world.run(Duration::from_secs(2));
        let up = world.relays.counters().handshakes_established;
        assert_eq!(up, u64::from(sessions));
        Bench {
            world,
            sequence: 0,
            arrivals: Vec::new(),
            slots: vec![PacketBuffer::new(); BATCH],
        }
    }

    /// Twenty milliseconds of every call; the browsers' own work is not counted.
    fn round(&mut self) -> Duration {
        self.sequence = self.sequence.wrapping_add(1);
        self.world.run(Duration::from_millis(20));
        self.arrivals.clear();
        for (pair, browser) in (0..).zip(&mut self.world.browsers) {
            let audio = browser.rtp(8, &[0xd5; 160]);
            let access = Arrival {
                socket: Socket::Access(0),
                from: browser.address,
            };
            self.arrivals.push((access, browser.seal(&audio)));
            let ims = Arrival {
                socket: Socket::Ims {
                    pair: PairId(pair),
                    rtcp: false,
                },
                from: addr(TELEPHONE),
            };
            self.arrivals.push((ims, telephone_rtp(self.sequence)));
        }
        let now = self.world.now();
        let mut spent = Duration::ZERO;
        for batch in self.arrivals.chunks(BATCH) {
            for (slot, (_, bytes)) in self.slots.iter_mut().zip(batch) {
                slot.fill(bytes);
            }
            let relays = &mut self.world.relays;
            let started = Instant::now();
            relays.begin_batch();
            for (slot, (arrival, _)) in self.slots.iter_mut().zip(batch) {
                let verdict = relays.handle_packet(*arrival, slot, now);
                assert!(matches!(black_box(verdict), Verdict::Forward { .. }));
            }
            spent += started.elapsed();
        }
        spent
    }
}

fn telephone_rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend([0xc0, 0, 0, 1]);
    packet.extend([0x55; 160]);
    packet
}

/// Datagrams of one receive call, which find the same slots warm.
const BATCH: usize = 64;

criterion_group!(benches, relaying);
criterion_main!(benches);
