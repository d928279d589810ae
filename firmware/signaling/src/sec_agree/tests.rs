#![allow(clippy::unwrap_used)]

use rand_core::SeedableRng;

use super::*;
use crate::message::headers::{SecurityServer, Typed};

struct World {
    agreement: Agreement,
    rng: ChaCha20Rng,
    now: Instant,
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let ports = Ports {
            client: 40_100,
            server: 40_101,
        };
        let local = "198.51.100.1".parse().unwrap();
        World {
            agreement: Agreement::new(local, ports, &mut rng),
            rng,
            now: Instant::now(),
        }
    }

    fn challenged(&mut self, offered: &[&str]) -> Result<(), Disagreement> {
        let offered: Vec<_> = offered
            .iter()
            .map(|text| SecurityServer::parse(text).unwrap().0)
            .collect();
        let keys = AkaKeys {
            ck: Zeroizing::new([0xcc; 16]),
            ik: Zeroizing::new([0x11; 16]),
        };
        let from = "192.0.2.10".parse().unwrap();
        self.agreement
            .handle_challenge(from, &offered, &keys, self.now, &mut self.rng)
    }

    fn spis(&self) -> (u32, u32) {
        let client = &self.agreement.client()[0];
        (
            client.number("spi-c").unwrap(),
            client.number("spi-s").unwrap(),
        )
    }

    /// All changes, a line each.
    fn changes(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.agreement.poll_output())
            .map(|change| match change {
                Change::Install(it) => {
                    let way = if it.is_inbound { "in" } else { "out" };
                    format!("+{} {} -> {} {way}", it.spi, it.from, it.to)
                }
                Change::Delete(id) => format!("-{} {}", id.spi, id.to),
            })
            .collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.agreement.handle_timeout(self.now);
    }
}

/// As Kamailio's ims_ipsec_pcscf says it.
fn server(spi: u32, port: u16, ealg: &str) -> String {
    format!(
        "ipsec-3gpp;q=0.1;prot=esp;mod=trans;spi-c={spi};spi-s={};port-c={port};port-s={};\
         alg=hmac-sha-1-96;ealg={ealg}",
        spi + 1,
        port - 1
    )
}

#[test]
fn a_challenge_makes_the_four_associations_of_ts_33_203() {
    let mut world = World::new();
    let (spi_c, spi_s) = world.spis();
    assert_eq!(
        world.agreement.client()[0].to_string(),
        format!(
            "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=trans;spi-c={spi_c};\
             spi-s={spi_s};port-c=40100;port-s=40101"
        )
    );
    let text = server(3000, 5101, "aes-cbc");
    world.challenged(&[&text]).unwrap();
    assert_eq!(
        world.changes(),
        [
            "+3001 198.51.100.1:40100 -> 192.0.2.10:5100 out".to_owned(),
            format!("+{spi_c} 192.0.2.10:5100 -> 198.51.100.1:40100 in"),
            format!("+{spi_s} 192.0.2.10:5101 -> 198.51.100.1:40101 in"),
            "+3000 198.51.100.1:40101 -> 192.0.2.10:5101 out".to_owned(),
        ]
    );
    assert_eq!(world.agreement.verify()[0].to_string(), text);
    let hop = "192.0.2.10:5100".parse().unwrap();
    assert_eq!(world.agreement.next_hop(), Some(hop));
    let next = world.spis();
    assert!(
        next.0 != spi_c && next.1 != spi_s,
        "indices are new each time"
    );
}

#[test]
fn keys_are_made_as_annex_i_says_and_never_print() {
    let mut world = World::new();
    world.challenged(&[&server(3000, 5101, "aes-cbc")]).unwrap();
    let Some(Change::Install(hidden)) = world.agreement.poll_output() else {
        panic!("an association");
    };
    let key = &hidden.protection.integrity_key;
    assert_eq!((key[0], key[15], &key[16..]), (0x11, 0x11, &[0; 4][..]));
    let cipher = Some(Zeroizing::new([0xcc; 16]));
    assert_eq!(hidden.protection.cipher_key, cipher);
    let text = format!("{:?}", hidden.protection);
    assert_eq!(text, "hmac-sha-1-96 aes-cbc <private>");
    world.changes();
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    let installed = std::iter::from_fn(|| world.agreement.poll_output());
    let plain = installed.filter(|it| matches!(it, Change::Install(_)));
    for change in plain {
        let Change::Install(plain) = change else {
            continue;
        };
        assert_eq!(plain.protection.cipher_key, None);
    }
}

#[test]
fn the_best_of_what_was_proposed_is_taken() {
    let better = server(3000, 5101, "null").replace("q=0.1", "q=0.9");
    let mut world = World::new();
    let gcm = server(5000, 5301, "aes-gcm").replace("q=0.1", "q=1");
    let md5 = server(6000, 5401, "null").replace("sha-1", "md5");
    world
        .challenged(&[&server(4000, 5201, "aes-cbc"), &better, &gcm, &md5, "tls"])
        .unwrap();
    assert!(world.changes()[0].starts_with("+3001 "));
    assert_eq!(
        world.agreement.verify().len(),
        5,
        "the whole list is said back"
    );
}

#[test]
fn what_was_not_proposed_or_is_broken_is_no_agreement() {
    let good = server(3000, 5101, "aes-cbc");
    for (offered, expected) in [
        (vec![], Disagreement::NothingInCommon),
        (vec!["tls".to_owned()], Disagreement::NothingInCommon),
        (
            vec![good.replace("aes-cbc", "des-ede3-cbc")],
            Disagreement::NothingInCommon,
        ),
        (
            vec![good.replace("mod=trans", "mod=UDP-enc-tun")],
            Disagreement::NothingInCommon,
        ),
        (
            vec![good.replace("spi-c=3000", "spi-c=255")],
            Disagreement::Broken,
        ),
        (
            vec![good.replace("spi-c=3000", "spi-c=3001")],
            Disagreement::Broken,
        ),
        (vec![good.replace(";port-s=5100", "")], Disagreement::Broken),
        (
            vec![good.replace("port-s=5100", "port-s=0")],
            Disagreement::Broken,
        ),
    ] {
        let mut world = World::new();
        let texts: Vec<&str> = offered.iter().map(String::as_str).collect();
        assert_eq!(world.challenged(&texts), Err(expected), "{texts:?}");
        assert!(world.changes().is_empty());
    }
}

#[test]
fn new_associations_are_made_before_the_old_ones_break() {
    let mut world = World::new();
    let first = world.spis();
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    world.agreement.handle_accepted(600 * SECOND, world.now);
    world.changes();
    world.pass(300 * SECOND);

    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    let made = world.changes();
    assert!(
        made.len() == 4 && made.iter().all(|it| it.starts_with('+')),
        "{made:?}"
    );
    world.agreement.handle_accepted(600 * SECOND, world.now);
    assert!(
        world.changes().is_empty(),
        "a message may be under way on the old ones"
    );
    world
        .agreement
        .handle_message("192.0.2.10:5101".parse().unwrap());
    assert!(world.changes().is_empty());
    world
        .agreement
        .handle_message("192.0.2.10:5103".parse().unwrap());
    let gone = [
        "-3001 192.0.2.10".to_owned(),
        format!("-{} 198.51.100.1", first.0),
        format!("-{} 198.51.100.1", first.1),
        "-3000 192.0.2.10".to_owned(),
    ];
    assert_eq!(world.changes(), gone);
}

#[test]
fn old_associations_go_with_their_time_if_nothing_comes() {
    let mut world = World::new();
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    world.agreement.handle_accepted(100 * SECOND, world.now);
    world.pass(50 * SECOND);
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    world.agreement.handle_accepted(100 * SECOND, world.now);
    world.changes();
    world.pass(79 * SECOND);
    assert!(world.changes().is_empty());
    world.pass(SECOND);
    assert_eq!(world.changes().len(), 4, "100 s and 30 s after the first");
    assert_eq!(
        world.agreement.poll_timeout(),
        Some(world.now + 50 * SECOND)
    );
}

#[test]
fn an_attempt_that_fails_or_is_never_answered_leaves_what_stood_before() {
    let mut world = World::new();
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    world.agreement.handle_accepted(3600 * SECOND, world.now);
    world.changes();
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    world.changes();
    world.agreement.handle_failed();
    assert_eq!(world.changes()[0], "-3003 192.0.2.10");
    let hop = "192.0.2.10:5100".parse().unwrap();
    assert_eq!(world.agreement.next_hop(), Some(hop));
    world.challenged(&[&server(3004, 5105, "null")]).unwrap();
    world.changes();
    world.pass(240 * SECOND);
    assert_eq!(world.changes()[0], "-3005 192.0.2.10");
}

#[test]
fn a_second_challenge_replaces_the_associations_of_the_first() {
    let mut world = World::new();
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    world.changes();
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    let changes = world.changes();
    assert_eq!(changes.len(), 8);
    assert!(changes[0].starts_with("-3001") && changes[4].starts_with("+3003"));
}

#[test]
fn at_the_end_nothing_is_left() {
    let mut world = World::new();
    for port in [5101, 5103, 5105] {
        let text = server(u32::from(port), port, "aes-cbc");
        world.challenged(&[&text]).unwrap();
        world.agreement.handle_accepted(3600 * SECOND, world.now);
    }
    world.challenged(&[&server(9000, 5107, "aes-cbc")]).unwrap();
    world.agreement.end();
    let changes = world.changes();
    let count = |sign| changes.iter().filter(|it| it.starts_with(sign)).count();
    assert_eq!((count('+'), count('-')), (16, 16));
    assert_eq!(world.agreement.poll_timeout(), None);
}
