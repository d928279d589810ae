//! Everything at one table, with one clock.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iq::{ImsAddress, Now, Private, UnixTime};
use lab::{Hop, Lab};
use media::{Arrival, PacketBuffer, PairId, Ports, Relays, Socket};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use signaling::config::{Config, HostName, NextHop};
use signaling::reach::Resolution;
use signaling::{EndpointId, FlowId, Input, Output, Signaling, SipTransport};

use crate::browser::Browser;
use crate::ladder::Ladder;
use crate::link::Link;

/// A gateway, a core, browsers, and the links between them.
pub struct World {
    /// The control plane.
    pub signaling: Signaling,
    /// The user plane.
    pub relays: Relays,
    /// The core and its telephones.
    pub lab: Lab,
    /// Every SIP message so far.
    pub ladder: Ladder,
    /// Between the gateway and the core; UDP only, so that what is lost is lost.
    pub ims_link: Link,
    /// Packets of sound that the gateway took from the core's telephones.
    pub media_packets: u64,
    browsers: Vec<Browser>,
    ports: Pairs,
    endpoints: BTreeMap<EndpointId, SocketAddr>,
    in_flight: BTreeMap<(Instant, u64), Flight>,
    sent: u64,
    start: Instant,
    now: Instant,
    rng: ChaCha20Rng,
}

/// Something between two ends.
enum Flight {
    ToBrowser(usize, Bytes),
    FromBrowser(usize, Bytes),
    ToCore(Hop, Bytes),
    FromCore(SocketAddr, SipTransport, Bytes),
    Sound(u16, SocketAddr, Bytes),
}

impl World {
    /// A world in which nothing has happened yet.
    ///
    /// # Panics
    /// If the system cannot make a certificate.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let start = Instant::now();
        let settings = lab::Settings::new(CORE, (40_000..40_064).step_by(2).collect());
        let domain = HostName::parse(&settings.domain).expect("the lab's own domain");
        let mut config = Config::new(domain, NextHop::address(CORE, SipTransport::Udp));
        config.tenants[0].probes = false;
        let certificate = media::Certificate::generate().expect("a working random source");
        let media = media::Config::new(vec![ACCESS], Arc::new(certificate));
        let rng = |stream| {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            rng.set_stream(stream);
            rng
        };
        World {
            signaling: Signaling::new(config, seed, rng(1)),
            relays: Relays::new(media, rng(2), wall(start, start)),
            lab: Lab::new(settings, rng(3)),
            ladder: Ladder::default(),
            ims_link: Link::good(Duration::from_millis(5)),
            media_packets: 0,
            browsers: Vec::new(),
            ports: Pairs::default(),
            endpoints: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sent: 0,
            start,
            now: start,
            rng: rng(4),
        }
    }

    /// Opens a page with a user; the number is how the world knows it.
    pub fn open(&mut self, name: &str) -> usize {
        self.open_with(name, &format!("{name}-secret"))
    }

    /// Opens a page whose user types this password.
    pub fn open_with(&mut self, name: &str, password: &str) -> usize {
        let index = self.browsers.len();
        self.browsers.push(Browser::new(name, password, "ims.test"));
        self.input(Input::FlowOpened {
            flow: flow(index),
            remote: Private::new(SocketAddr::from(([203, 0, 113, 7], 50_000))),
            is_secure: true,
        });
        index
    }

    /// Opens a page and registers its user.
    ///
    /// # Panics
    /// If that does not work within ten seconds.
    pub fn registered(&mut self, name: &str) -> usize {
        let index = self.open(name);
        self.browser(index).register(300);
        self.run(Duration::from_secs(10));
        assert_eq!(self.browser(index).is_registered(), Some(true), "{name}");
        index
    }

    /// One of the pages.
    pub fn browser(&mut self, index: usize) -> &mut Browser {
        &mut self.browsers[index]
    }

    /// Closes a page without a word.
    pub fn close(&mut self, index: usize) {
        self.input(Input::FlowClosed { flow: flow(index) });
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let next = [
                self.in_flight.keys().next().map(|(at, _)| *at),
                self.signaling.poll_timeout(),
                self.relays.poll_timeout(),
                self.lab.poll_timeout(),
            ];
            let next = next.into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else {
                break;
            };
            self.now = at.max(self.now);
            self.step();
        }
        self.now = end;
    }

    /// Ports of the user plane that calls hold.
    #[must_use]
    pub fn ports_in_use(&self) -> usize {
        self.ports.held.len()
    }

    /// Ports of the control plane that registrations hold.
    #[must_use]
    pub fn endpoints_in_use(&self) -> usize {
        self.endpoints.len()
    }

    fn step(&mut self) {
        while let Some(entry) = self.in_flight.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let flight = entry.remove();
            self.arrive(flight);
        }
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= self.now);
        let (signaling, relays, lab) = (
            is_due(self.signaling.poll_timeout()),
            is_due(self.relays.poll_timeout()),
            is_due(self.lab.poll_timeout()),
        );
        if signaling {
            self.signaling.handle_timeout(wall(self.start, self.now));
        }
        if relays {
            self.relays.handle_timeout(self.now);
        }
        if lab {
            self.lab.handle_timeout(self.now);
        }
    }

    fn arrive(&mut self, flight: Flight) {
        match flight {
            Flight::ToBrowser(index, bytes) => self.browsers[index].handle_message(&bytes),
            Flight::FromBrowser(index, bytes) => self.input(Input::FlowMessage {
                flow: flow(index),
                bytes,
            }),
            Flight::ToCore(from, bytes) => self.lab.handle_message(from, &bytes, self.now),
            Flight::FromCore(to, transport, bytes) => {
                let endpoint = self.endpoints.iter().find(|(_, local)| **local == to);
                if let Some((&endpoint, _)) = endpoint {
                    self.input(Input::ImsMessage {
                        endpoint,
                        transport,
                        from: CORE,
                        bytes,
                    });
                }
            }
            Flight::Sound(port, to, bytes) => self.sound(port, to, &bytes),
        }
    }

    fn sound(&mut self, port: u16, to: SocketAddr, bytes: &[u8]) {
        let Some(pair) = self.ports.pair_at(to) else {
            return;
        };
        self.media_packets += 1;
        let arrival = Arrival {
            socket: Socket::Ims { pair, rtcp: false },
            from: SocketAddr::new(CORE.ip(), port),
        };
        let mut packet = PacketBuffer::default();
        packet.fill(bytes);
        let _ = self.relays.handle_packet(arrival, &mut packet, self.now);
    }

    /// Takes everything out of everybody until nobody has anything left to say.
    fn drain(&mut self) {
        loop {
            let mut is_quiet = true;
            while let Some(output) = self.signaling.poll_output() {
                is_quiet = false;
                self.perform(output);
            }
            while let Some(output) = self.relays.poll_output() {
                is_quiet = false;
                if let media::Output::Reply(reply) = output {
                    self.input(Input::Iq(reply));
                }
            }
            while let Some(output) = self.lab.poll_output() {
                is_quiet = false;
                self.perform_lab(output);
            }
            for index in 0..self.browsers.len() {
                while let Some(bytes) = self.browsers[index].poll_output() {
                    is_quiet = false;
                    let name = self.browsers[index].name().to_owned();
                    self.ladder
                        .draw(self.now - self.start, &name, "box", &bytes, false);
                    self.launch(ACCESS_LINK, Flight::FromBrowser(index, bytes));
                }
            }
            if is_quiet {
                return;
            }
        }
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::ToFlow { flow, bytes } => {
                let index = usize::try_from(flow.0 - 1).expect("flows are few");
                let name = self.browsers[index].name().to_owned();
                self.ladder
                    .draw(self.now - self.start, "box", &name, &bytes, false);
                self.launch(ACCESS_LINK, Flight::ToBrowser(index, bytes));
            }
            Output::Open { endpoint, .. } => {
                let number = u16::try_from(endpoint.0).expect("endpoints are few");
                let local = SocketAddr::new(BOX, 16_000 + number);
                self.endpoints.insert(endpoint, local);
                self.input(Input::Opened { endpoint, local });
            }
            Output::Close { endpoint } => {
                self.endpoints.remove(&endpoint);
            }
            Output::Transmit {
                endpoint,
                transport,
                bytes,
                ..
            } => {
                let address = self.endpoints[&endpoint];
                let from = Hop { transport, address };
                let link = self.link(transport);
                let time = link.carry(&mut self.rng);
                self.ladder
                    .draw(self.now - self.start, "box", "core", &bytes, time.is_none());
                self.fly(time, Flight::ToCore(from, bytes));
            }
            // No user of this world is registered by the box.
            Output::Authenticate { id, .. } => self.input(Input::Authenticated {
                id,
                answer: Err(signaling::auth::AuthenticationFailure::Unknown),
            }),
            Output::Resolve { query, .. } => self.input(Input::Resolved {
                query,
                resolution: Resolution::Failed,
            }),
            Output::Store { write, .. } => self.input(Input::Stored { write }),
            Output::Iq(command) => {
                let now = wall(self.start, self.now);
                self.relays.handle_command(command, &mut self.ports, now);
            }
            // Nobody logs in by token here.
            Output::Fetch { .. } | Output::Ticket { .. } => {}
            // Nobody here has IPsec.
            Output::InstallSa(_) | Output::ExtendSa(_) | Output::DeleteSa { .. } => {}
            Output::CloseFlow { .. } | Output::Event(_) | Output::Idle => {}
        }
    }

    fn perform_lab(&mut self, output: lab::Output) {
        match output {
            lab::Output::Transmit {
                transport,
                to,
                bytes,
            } => {
                let time = self.link(transport).carry(&mut self.rng);
                self.ladder
                    .draw(self.now - self.start, "core", "box", &bytes, time.is_none());
                self.fly(time, Flight::FromCore(to, transport, bytes));
            }
            lab::Output::Media { port, to, bytes } => {
                let time = self.ims_link.carry(&mut self.rng);
                self.fly(time, Flight::Sound(port, to, bytes));
            }
        }
    }

    /// A stream repeats what the link loses.
    fn link(&self, transport: SipTransport) -> Link {
        match transport {
            SipTransport::Udp => self.ims_link,
            SipTransport::Tcp | SipTransport::Tls => Link::good(self.ims_link.delay),
        }
    }

    fn launch(&mut self, link: Link, flight: Flight) {
        let time = link.carry(&mut self.rng);
        self.fly(time, flight);
    }

    fn fly(&mut self, time: Option<Duration>, flight: Flight) {
        if let Some(time) = time {
            self.sent += 1;
            self.in_flight.insert((self.now + time, self.sent), flight);
        }
    }

    fn input(&mut self, input: Input) {
        self.signaling
            .handle_input(input, wall(self.start, self.now));
    }
}

/// Port pairs on the IMS side.
#[derive(Default)]
struct Pairs {
    held: BTreeMap<PairId, ImsAddress>,
    next: u32,
}

impl Pairs {
    fn pair_at(&self, address: SocketAddr) -> Option<PairId> {
        let mut held = self.held.iter();
        held.find(|(_, known)| known.rtp == address)
            .map(|(pair, _)| *pair)
    }
}

impl Ports for Pairs {
    fn reserve(&mut self, lines: u8) -> Option<Vec<media::Line>> {
        let mut reserved = Vec::new();
        for _ in 0..lines {
            let pair = PairId(self.next);
            let port = u16::try_from(30_000 + 2 * self.next).ok()?;
            self.next += 1;
            let address = ImsAddress {
                rtp: SocketAddr::new(BOX, port),
                rtcp: SocketAddr::new(BOX, port + 1),
            };
            self.held.insert(pair, address);
            reserved.push(media::Line { pair, address });
        }
        Some(reserved)
    }

    fn release(&mut self, pair: PairId) {
        self.held.remove(&pair);
    }
}

fn flow(index: usize) -> FlowId {
    FlowId(index as u64 + 1)
}

fn wall(start: Instant, now: Instant) -> Now {
    let passed = u64::try_from(now.duration_since(start).as_millis()).unwrap_or(u64::MAX);
    Now {
        monotonic: now,
        wall: Some(UnixTime::from_millis(1_800_000_000_000 + passed)),
    }
}

const BOX: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 10));

const CORE: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1)), 5060);

const ACCESS: SocketAddr =
    SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 5)), 24_000);

/// A WebSocket loses nothing.
const ACCESS_LINK: Link = Link::good(Duration::from_millis(20));
