//! What a packet of G.711 costs by each engine: the CPU by itself, the CPU as a worker has
//! it (with the question whether a device is to be used), and the kernel where it has
//! AF_ALG.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use iq::SrtpProfile;
use media::crypto::cpu::Cpu;
use media::crypto::{Index, Job, Outcome, PROFILES, Purpose, SessionKey, SrtpCipher, tag_length};
use transport::crypto::{Engines, Kernel, profile_name};

fn seal(criterion: &mut Criterion) {
    for profile in PROFILES {
        measure(criterion, "cpu", &Cpu, profile);
        measure(criterion, "worker", &Engines::<Kernel>::cpu(), profile);
    }
    match Kernel::find(&[]) {
        Ok(kernel) => {
            for profile in kernel.profiles() {
                measure(criterion, "kernel", &kernel, profile);
            }
        }
        Err(error) => eprintln!("kernel: not measured: {error}"),
    }
}

fn measure<C: SrtpCipher>(
    criterion: &mut Criterion,
    engine: &str,
    cipher: &C,
    profile: SrtpProfile,
) {
    let key = cipher.key(profile, &session_key(profile));
    let (mut packet, mut tag) = ([0x80; 172], vec![0; tag_length(profile)]);
    let mut index = 0;
    let name = format!("seal/{}/{engine}", profile_name(profile));
    criterion.bench_function(&name, |bencher| {
        bencher.iter(|| {
            index += 1;
            let mut job = Job {
                key: &key,
                packet: black_box(&mut packet),
                tag: &mut tag,
                ssrc: 7,
                index: Index::Rtp { index, header: 12 },
                outcome: Outcome::Failed,
            };
            cipher.seal(std::slice::from_mut(&mut job));
            assert_eq!(job.outcome, Outcome::Done);
        });
    });
}

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

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(300)).without_plots();
    targets = seal
}
criterion_main!(benches);
