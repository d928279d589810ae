#![allow(clippy::unwrap_used)]

use rand_core::SeedableRng;

use super::*;
use crate::message::headers::{SecurityServer, Typed};

struct World {
    agreement: Agreement,
    rng: ChaCha20Rng,
    now: Instant,
    clients: u16,
}

const SECOND: Duration = Duration::from_secs(1);

impl World {
    fn new() -> Self {
        let server = Port {
            endpoint: EndpointId(1),
            address: "198.51.100.1:40101".parse().unwrap(),
        };
        let mut world = World {
            agreement: Agreement::new(server, vec![Cipher::AesCbc, Cipher::Null]),
            rng: ChaCha20Rng::seed_from_u64(1),
            now: Instant::now(),
            clients: 0,
        };
        world.propose();
        world
    }

    /// Client ports are 40200, 40201 and so on.
    fn propose(&mut self) {
        let port = 40_200 + self.clients;
        self.clients += 1;
        let client = Port {
            endpoint: EndpointId(port.into()),
            address: SocketAddr::new("198.51.100.1".parse().unwrap(), port),
        };
        self.agreement.propose(client, &mut self.rng);
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
            .handle_challenge(from, &offered, &keys, self.now)
    }

    /// The network takes it; its 200 comes from this port.
    fn accepted(&mut self, time: Duration, port: u16) {
        let from = SocketAddr::new("192.0.2.10".parse().unwrap(), port);
        self.agreement.handle_accepted(time, from, self.now);
    }

    /// One authentication after another.
    fn agreed(&mut self, time: Duration, port: u16) {
        if !self.agreement.has_proposal() {
            self.propose();
        }
        let text = server(u32::from(port) - 2101, port, "null");
        self.challenged(&[&text]).unwrap();
        self.accepted(time, port);
    }

    fn spis(&self) -> (u32, u32) {
        let client = &self.agreement.client()[0];
        (
            client.number("spi-c").unwrap(),
            client.number("spi-s").unwrap(),
        )
    }

    /// All changes, a line each, and one for each association that is made.
    fn changes(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(change) = self.agreement.poll_output() {
            match change {
                Change::Install(made) => lines.extend(made.ways.iter().map(|it| {
                    let way = if it.is_inbound { "in" } else { "out" };
                    format!("+{} {} -> {} {way}", it.spi, it.from, it.to)
                })),
                Change::Extend(made) => {
                    let time = made.ways[0].lifetime.as_secs();
                    lines.push(format!("{} lasts {time} s", made.client.0));
                }
                Change::Delete(client) => lines.push(format!("-{}", client.0)),
                Change::Close(client) => lines.push(format!("close {}", client.0)),
            }
        }
        lines
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
    let proposed = world.agreement.client();
    assert_eq!(
        proposed[0].to_string(),
        format!(
            "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;prot=esp;mod=trans;spi-c={spi_c};\
             spi-s={spi_s};port-c=40200;port-s=40101"
        )
    );
    let text = server(3000, 5101, "aes-cbc");
    world.challenged(&[&text]).unwrap();
    assert_eq!(
        world.changes(),
        [
            "+3001 198.51.100.1:40200 -> 192.0.2.10:5100 out".to_owned(),
            format!("+{spi_c} 192.0.2.10:5100 -> 198.51.100.1:40200 in"),
            format!("+{spi_s} 192.0.2.10:5101 -> 198.51.100.1:40101 in"),
            "+3000 198.51.100.1:40101 -> 192.0.2.10:5101 out".to_owned(),
        ]
    );
    let way = world.agreement.register_way().unwrap();
    assert_eq!(way.verify[0].to_string(), text);
    assert_eq!(way.to, "192.0.2.10:5100".parse().unwrap());
    assert!(world.agreement.way().is_none(), "the network decides first");
    assert_eq!(
        world.agreement.client(),
        proposed,
        "the answer proposes the same"
    );
    world.accepted(600 * SECOND, 5101);
    assert_eq!(world.changes(), ["40200 lasts 630 s"]);
    assert_eq!(
        world.agreement.way().unwrap().to,
        "192.0.2.10:5100".parse().unwrap()
    );
    assert!(!world.agreement.has_proposal());
    world.propose();
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
    let Some(Change::Install(made)) = world.agreement.poll_output() else {
        panic!("associations");
    };
    let hidden = &made.ways[0];
    let key = &hidden.protection.integrity_key;
    assert_eq!((key[0], key[15], &key[16..]), (0x11, 0x11, &[0; 4][..]));
    let cipher = Some(Zeroizing::new([0xcc; 16]));
    assert_eq!(hidden.protection.cipher_key, cipher);
    let text = format!("{:?}", hidden.protection);
    assert_eq!(text, "hmac-sha-1-96 aes-cbc <private>");
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    let Some(Change::Install(plain)) = std::iter::from_fn(|| world.agreement.poll_output()).last()
    else {
        panic!("associations");
    };
    assert!(
        plain
            .ways
            .iter()
            .all(|it| it.protection.cipher_key.is_none())
    );
}

#[test]
fn a_cipher_that_was_not_proposed_is_not_taken() {
    let mut world = World::new();
    world.agreement.ciphers = vec![Cipher::AesCbc];
    let taken = world.challenged(&[&server(3000, 5101, "null")]);
    assert_eq!(taken, Err(Disagreement::NothingInCommon));
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
    let way = world.agreement.register_way().unwrap();
    assert_eq!(way.verify.len(), 5, "the whole list is said back");
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
    world.agreed(600 * SECOND, 5101);
    world.changes();
    world.pass(300 * SECOND);

    world.propose();
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    let made = world.changes();
    assert!(
        made.len() == 4 && made.iter().all(|it| it.starts_with('+')),
        "{made:?}"
    );
    let way = |world: &World| world.agreement.way().unwrap().client;
    assert_eq!(
        way(&world),
        EndpointId(40_200),
        "calls stay on the old ones"
    );
    world.accepted(600 * SECOND, 5101);
    assert_eq!(way(&world), EndpointId(40_201));
    assert_eq!(world.changes(), ["40201 lasts 630 s"]);
    world.pass(60 * SECOND);
    assert!(
        world.changes().is_empty(),
        "nothing has come by the new ones yet"
    );
    let from = "192.0.2.10:5103".parse().unwrap();
    world.agreement.handle_message(from, world.now);
    world.pass(31 * SECOND);
    assert!(
        world.changes().is_empty(),
        "transactions may be under way on the old ones"
    );
    world.pass(SECOND);
    assert_eq!(world.changes(), ["-40200", "close 40200"]);
}

#[test]
fn old_associations_go_with_their_time_if_nothing_comes() {
    let mut world = World::new();
    world.agreed(100 * SECOND, 5101);
    world.pass(50 * SECOND);
    world.propose();
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    world.accepted(100 * SECOND, 5101);
    world.changes();
    world.pass(79 * SECOND);
    assert!(world.changes().is_empty());
    world.pass(SECOND);
    assert_eq!(
        world.changes(),
        ["-40200", "close 40200"],
        "100 s and 30 s after the first"
    );
    assert_eq!(
        world.agreement.poll_timeout(),
        Some(world.now + 50 * SECOND)
    );
}

#[test]
fn an_attempt_that_fails_or_is_never_answered_leaves_what_stood_before() {
    let mut world = World::new();
    world.agreed(3600 * SECOND, 5101);
    world.changes();
    world.propose();
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    world.changes();
    world.agreement.handle_failed();
    assert_eq!(world.changes(), ["-40201", "close 40201"]);
    let hop = "192.0.2.10:5100".parse().unwrap();
    assert_eq!(world.agreement.register_way().unwrap().to, hop);
    world.propose();
    world.challenged(&[&server(3004, 5105, "null")]).unwrap();
    world.changes();
    world.pass(240 * SECOND);
    assert_eq!(world.changes(), ["-40202", "close 40202"]);
}

#[test]
fn a_second_challenge_replaces_the_associations_of_the_first() {
    let mut world = World::new();
    world.challenged(&[&server(3000, 5101, "null")]).unwrap();
    world.changes();
    world.challenged(&[&server(3002, 5103, "null")]).unwrap();
    let changes = world.changes();
    assert_eq!(changes.len(), 5);
    assert!(changes[0] == "-40200" && changes[1].starts_with("+3003"));
}

#[test]
fn a_refresh_without_a_challenge_makes_the_associations_last() {
    let mut world = World::new();
    world.agreed(100 * SECOND, 5101);
    world.changes();
    world.pass(50 * SECOND);
    world.propose();
    world.accepted(100 * SECOND, 5101);
    assert_eq!(world.changes(), ["40200 lasts 180 s"]);
    assert!(world.agreement.has_proposal(), "good for the next time");
}

#[test]
fn at_the_end_nothing_is_left() {
    let mut world = World::new();
    for port in [5101, 5103, 5105] {
        world.agreed(3600 * SECOND, port);
    }
    world.propose();
    world.challenged(&[&server(9000, 5107, "aes-cbc")]).unwrap();
    world.agreement.end();
    let changes = world.changes();
    let count = |sign| changes.iter().filter(|it| it.starts_with(sign)).count();
    assert_eq!((count('+'), count('-'), count('c')), (16, 4, 4));
    assert_eq!(world.agreement.poll_timeout(), None);
}
