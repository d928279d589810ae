//! What protecting one packet costs: seal and open for each profile, over the payload
//! sizes of a compressed voice packet, a G.711 packet of 20 ms, and a full video packet.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use iq::{DtlsRole, SrtpProfile};
use media::srtp::{Inbound, Keys, MAX_OVERHEAD, MasterKey, Outbound, exported_length};

fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for (profile, size) in cases() {
        let name = BenchmarkId::new(format!("{profile:?}"), size);
        group.bench_function(name, |bencher| {
            let mut outbound = Outbound::new(profile, &master(profile));
            let mut buffer = vec![0; size + MAX_OVERHEAD];
            let mut sequence = 0u16;
            bencher.iter(|| {
                header(&mut buffer, sequence);
                sequence = sequence.wrapping_add(1);
                black_box(outbound.seal_rtp(black_box(&mut buffer), size)).unwrap()
            });
        });
    }
}

fn open(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for (profile, size) in cases() {
        let name = BenchmarkId::new(format!("{profile:?}"), size);
        group.bench_function(name, |bencher| {
            let master = master(profile);
            let mut outbound = Outbound::new(profile, &master);
            let mut inbound = Inbound::new(profile, &master);
            let mut sequence = 0u16;
            let now = Instant::now();
            // Sealed ahead in batches, and timed apart from that: an index opens once.
            bencher.iter_custom(|rounds| {
                let mut spent = Duration::ZERO;
                let mut left = rounds as usize;
                let mut batch = vec![vec![0; size + MAX_OVERHEAD]; BATCH];
                while left > 0 {
                    let count = left.min(BATCH);
                    let mut length = 0;
                    for buffer in &mut batch[..count] {
                        header(buffer, sequence);
                        sequence = sequence.wrapping_add(1);
                        length = outbound.seal_rtp(buffer, size).unwrap();
                    }
                    let start = Instant::now();
                    for buffer in &mut batch[..count] {
                        black_box(inbound.open_rtp(black_box(&mut buffer[..length]), now)).unwrap();
                    }
                    spent += start.elapsed();
                    left -= count;
                }
                spent
            });
        });
    }
}

fn cases() -> impl Iterator<Item = (SrtpProfile, usize)> {
    let profiles = [
        SrtpProfile::Aes128CmSha1_80,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::AeadAes256Gcm,
    ];
    profiles
        .into_iter()
        .flat_map(|profile| [92, 172, 1212].map(|size| (profile, size)))
}

fn master(profile: SrtpProfile) -> MasterKey {
    let exported = vec![7; exported_length(profile)];
    Keys::from_dtls(profile, &exported, DtlsRole::Client)
        .unwrap()
        .local
}

fn header(packet: &mut [u8], sequence: u16) {
    packet[..12].copy_from_slice(&[0x80, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
}

const BATCH: usize = 256;

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300)).without_plots();
    targets = seal, open
}
criterion_main!(benches);
