//! The played world around one session.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use iq::{Command, Leg, Now, UnixTime};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use super::IMS;
use super::ladder::{describe_configure, describe_headers, describe_request, describe_response};
use crate::config::{CallConfig, ServiceConfig};
use crate::event::{CallRecord, Event};
use crate::message::{HeaderName, Headers, Method, NameAddr, Request, Response, StatusCode};
use crate::session::{Device, Outside};
use crate::transaction::{ClientTransactionId, ServerTransactionId};

/// What the session sees, and the ladder of what passed.
pub(super) struct World {
    pub(super) now: Now,
    pub(super) start: Instant,
    rng: ChaCha20Rng,
    pub(super) config: CallConfig,
    pub(super) services: ServiceConfig,
    /// Browsers whose connection is gone.
    pub(super) away: BTreeSet<Device>,
    pub(super) ladder: String,
    last_stamp: Duration,
    next_id: u64,
    pub(super) requests: Vec<(Leg, ClientTransactionId, Request)>,
    pub(super) responses: Vec<(Leg, ServerTransactionId, Response)>,
    pub(super) record: Option<Box<CallRecord>>,
    /// Requests of the peers: who asked, what, and what the final answer was.
    pub(super) asked: BTreeMap<ServerTransactionId, (Leg, Method, Option<StatusCode>)>,
    /// INVITEs of the box that have no final answer.
    pub(super) open_invites: BTreeSet<(Leg, ClientTransactionId)>,
    /// Requests of the box that have a final answer.
    pub(super) answered: BTreeSet<ClientTransactionId>,
    /// What broke a rule that always holds.
    breaches: Vec<String>,
    releases: usize,
    /// The browser that the session speaks with just now.
    pub(super) device: Device,
    /// To which browser each request went.
    pub(super) devices: BTreeMap<ClientTransactionId, Device>,
}

impl World {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        World {
            now: Now {
                monotonic: start,
                wall: Some(UnixTime::from_millis(1_000_000)),
            },
            start,
            rng: ChaCha20Rng::seed_from_u64(7),
            config: CallConfig::default(),
            services: ServiceConfig::default(),
            away: BTreeSet::new(),
            ladder: String::new(),
            last_stamp: Duration::ZERO,
            next_id: 0,
            requests: Vec::new(),
            responses: Vec::new(),
            record: None,
            asked: BTreeMap::new(),
            open_invites: BTreeSet::new(),
            answered: BTreeSet::new(),
            breaches: Vec::new(),
            releases: 0,
            device: Device::default(),
            devices: BTreeMap::new(),
        }
    }

    /// The rules that always hold.
    #[track_caller]
    pub(super) fn check(&self, seed: u64) {
        assert!(
            self.breaches.is_empty(),
            "seed {seed}: {:?}\n{}",
            self.breaches,
            self.ladder
        );
    }

    fn note_answer(&mut self, transaction: ServerTransactionId, status: StatusCode) {
        let Some((_, method, answered)) = self.asked.get_mut(&transaction) else {
            return self.breaches.push(format!("{status} to nothing"));
        };
        if !status.is_final() {
            return;
        }
        let is_copy = *answered == Some(status) && status.is_success();
        if answered.is_some() && !is_copy {
            self.breaches
                .push(format!("{status} to {method} after {answered:?}"));
        }
        *answered = Some(status);
    }

    fn note_invite(&mut self, leg: Leg, id: ClientTransactionId) {
        let is_same = |(other, id): &(Leg, ClientTransactionId)| {
            *other == leg && self.devices.get(id) == Some(&self.device)
        };
        if self.open_invites.iter().any(is_same) {
            self.breaches
                .push(format!("two INVITEs at once to {leg:?}"));
        }
        let is_asked = |(from, method, answered): &(Leg, Method, Option<StatusCode>)| {
            *from == leg && *method == Method::Invite && answered.is_none()
        };
        if self.asked.values().any(is_asked) {
            self.breaches
                .push(format!("INVITE to {leg:?} before its own is answered"));
        }
        self.open_invites.insert((leg, id));
    }

    pub(super) fn line(&mut self, who: &str, arrow: &str, what: &str) {
        let elapsed = self.now.monotonic.duration_since(self.start);
        if elapsed != self.last_stamp {
            writeln!(self.ladder, "after {:.1} s", elapsed.as_secs_f64()).unwrap();
            self.last_stamp = elapsed;
        }
        writeln!(self.ladder, "{who} {arrow} {what}").unwrap();
    }

    pub(super) fn leg_line(&mut self, leg: Leg, arrow: &str, what: &str) {
        let who = match (leg, self.device) {
            (Leg::Access, Device(0)) => "browser",
            (Leg::Access, Device(1)) => "second",
            (Leg::Access, Device(_)) => "third",
            (Leg::Ims, _) => "    ims",
        };
        self.line(who, arrow, what);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl Outside for World {
    fn now(&self) -> Now {
        self.now
    }

    fn rng(&mut self) -> &mut ChaCha20Rng {
        &mut self.rng
    }

    fn config(&self) -> &CallConfig {
        &self.config
    }

    fn services(&self) -> &ServiceConfig {
        &self.services
    }

    fn turn_to(&mut self, device: Device) {
        self.device = device;
    }

    fn is_reachable(&self, leg: Leg) -> bool {
        leg == IMS || !self.away.contains(&self.device)
    }

    fn contact(&self, leg: Leg, _: bool) -> NameAddr {
        NameAddr::parse(match leg {
            Leg::Access => "<sip:gatehouse.invalid;transport=ws>",
            Leg::Ims => "<sip:token@198.51.100.10:5062>",
        })
        .unwrap()
    }

    fn send_request(&mut self, leg: Leg, request: Request) -> Option<ClientTransactionId> {
        if !self.is_reachable(leg) {
            return None;
        }
        let text = describe_request(&request);
        self.leg_line(leg, "<", &text);
        let id = ClientTransactionId(self.id());
        if leg == Leg::Access {
            self.devices.insert(id, self.device);
        }
        if request.method == Method::Invite {
            self.note_invite(leg, id);
        }
        self.requests.push((leg, id, request));
        Some(id)
    }

    fn send_ack(&mut self, leg: Leg, request: Request) {
        let text = describe_request(&request);
        self.leg_line(leg, "<", &text);
    }

    fn cancel(&mut self, invite: ClientTransactionId, headers: Headers) {
        let known = self.requests.iter().find(|(_, id, _)| *id == invite);
        let leg = known.unwrap().0;
        assert_eq!(leg == Leg::Access, self.devices.contains_key(&invite));
        if let Some(device) = self.devices.get(&invite) {
            self.device = *device;
        }
        let text = format!("CANCEL{}", describe_headers(&headers));
        self.leg_line(leg, "<", &text);
    }

    fn respond(&mut self, leg: Leg, transaction: ServerTransactionId, response: Response) {
        let text = describe_response(&response);
        self.leg_line(leg, "<", &text);
        self.note_answer(transaction, response.status);
        self.responses.push((leg, transaction, response));
    }

    fn carry(&self, _towards: Leg, headers: &Headers) -> Headers {
        let mut carried = Headers::new();
        for name in [HeaderName::Reason, HeaderName::Subject] {
            carried.copy(headers, &name);
        }
        carried
    }

    fn iq(&mut self, command: Command) {
        let text = match command {
            Command::Reserve(reserve) if reserve.is_shared => "Reserve, shared".to_owned(),
            Command::Reserve(_) => "Reserve".to_owned(),
            Command::Configure(configure) => describe_configure(&configure),
            Command::RestartIce { .. } => "RestartIce".to_owned(),
            Command::SendDtmf(dtmf) => {
                let millis = dtmf.duration.as_millis();
                format!(
                    "SendDtmf {} {millis} ms to {:?}",
                    dtmf.event.reveal(),
                    dtmf.leg
                )
            }
            Command::Release { .. } => "Release".to_owned(),
            Command::Audit => "Audit".to_owned(),
        };
        if self.releases > 0 {
            self.breaches.push(format!("{text} after Release"));
        }
        self.releases += usize::from(text == "Release");
        self.line("  media", "<", &text);
    }

    fn event(&mut self, event: Event) {
        if let Event::CallEnded(record) = event {
            let cause = record.cause;
            let by = cause.by.map_or("box".to_owned(), |leg| format!("{leg:?}"));
            let status = cause
                .status
                .map_or(String::new(), |status| format!(" {status}"));
            let reason = cause
                .reason
                .map_or(String::new(), |reason| format!(" {reason}"));
            self.line(" record", "<", &format!("ended by {by}{status}{reason}"));
            self.record = Some(record);
        }
    }
}

impl World {
    pub(super) fn take_ladder(&mut self) -> String {
        std::mem::take(&mut self.ladder)
    }
}
