//! The shell loop around [`Signaling`]: feeds it what sockets and media report, and does
//! what it says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use board_core::condition::Core;
use bytes::Bytes;
use iq::{Command, Refusal, Reply};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use signaling::auth::{FetchFailure, FetchId, FetchRequest, Fetched, TokenRefusal};
use signaling::guard::Pressure;
use signaling::identity::PublicIdentity;
use signaling::{Counters, Event, FlowId, Input, Output, Session, Signaling, TicketId};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use transport::clock;
use transport::counters::ImsCounters;
use transport::endpoint::{self, Endpoints};
use transport::flow::{Arrival, FlowSender};
use transport::http::Credential;
use transport::http_client::HttpClient;
use transport::pulse::Pulse;

use crate::credentials::Service;
use crate::health::Condition;
use crate::heat::Temperature;
use crate::log::EventLog;
use crate::media_task::Request;
use crate::records::Recorder;
use crate::run::fresh_seed;
use crate::store::Store;
use crate::surroundings::CoreWatch;

/// What the task needs, kept over its restarts.
pub(crate) struct SignalingTask {
    pub(crate) config: signaling::Config,
    pub(crate) endpoints: endpoint::Settings,
    /// Who asks which identity provider, in the order of the issuers.
    pub(crate) providers: Vec<HttpClient>,
    pub(crate) ims_counters: Arc<ImsCounters>,
    pub(crate) arrivals: Mutex<mpsc::Receiver<Arrival>>,
    pub(crate) replies: Mutex<mpsc::Receiver<Reply>>,
    pub(crate) controls: Mutex<mpsc::Receiver<Control>>,
    pub(crate) media: mpsc::Sender<Request>,
    pub(crate) recorder: Recorder,
    /// Who answers for users whom the box registers, and what was answered.
    pub(crate) credentials: Service,
    pub(crate) authenticated: Mutex<mpsc::Receiver<Input>>,
    pub(crate) store: Store,
    /// What the store tells.
    pub(crate) kept: Mutex<mpsc::Receiver<Input>>,
    /// How often this task was started.
    pub(crate) lives: AtomicU32,
    /// Told when signaling has nothing left.
    pub(crate) idle: Arc<Notify>,
    pub(crate) pulse: Pulse,
    /// Whether any network can be reached, as far as the box is registered there itself.
    pub(crate) trunks: Condition,
    pub(crate) temperature: Temperature,
    /// Told when the number of calls or the core's standing changes.
    pub(crate) changed: Arc<Notify>,
}

/// What the supervisor wants.
pub(crate) enum Control {
    /// Take no new calls.
    Drain,
    /// End what is left.
    Deregister,
    /// End every registration of a user; the answer is how many there are.
    EndRegistrations(PublicIdentity, oneshot::Sender<usize>),
    /// Close every WebSocket and end.
    Stop,
    /// The figures of this moment.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// Figures of the control plane.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) signaling: Counters,
    /// Port numbers towards the IMS that are left.
    pub(crate) ports_left: usize,
    /// How the IMS core treats the box.
    pub(crate) core: Core,
}

/// Runs until it is told to stop.
pub(crate) async fn run(task: Arc<SignalingTask>) -> anyhow::Result<()> {
    let mut arrivals = task.arrivals.lock().await;
    let mut replies = task.replies.lock().await;
    let mut controls = task.controls.lock().await;
    let mut authenticated = task.authenticated.lock().await;
    let mut kept = task.kept.lock().await;
    let mut shell = Shell::new(&task);
    shell.restore().await;
    loop {
        shell.perform();
        let longest = Instant::now() + Pulse::LONGEST_TURN;
        let wake_at = shell
            .signaling
            .poll_timeout()
            .map_or(longest, |at| at.min(longest));
        let input = tokio::select! {
            Some(arrival) = arrivals.recv() => shell.take(arrival),
            input = shell.endpoints.next() => Some(input),
            Some(fetched) = shell.fetches.join_next() => {
                fetched.ok().map(|(query, result)| Input::Fetched { query, result })
            }
            Some(reply) = replies.recv() => Some(Input::Iq(reply)),
            Some(input) = authenticated.recv() => Some(input),
            Some(input) = kept.recv() => Some(input),
            Some(control) = controls.recv() => match control {
                Control::Drain => Some(Input::Drain),
                Control::Deregister => Some(Input::Deregister),
                Control::EndRegistrations(identity, answer) => {
                    let ended = shell.signaling.registrations_of(&identity);
                    let _ = answer.send(ended);
                    Some(Input::EndRegistrations { identity })
                }
                Control::Stop => {
                    shell.close_flows();
                    return Ok(());
                }
                Control::Snapshot(answer) => {
                    let _ = answer.send(shell.snapshot());
                    None
                }
            },
            () = tokio::time::sleep_until(wake_at.into()) => None,
        };
        if let Some(input) = input {
            shell.signaling.handle_input(input, clock::now());
        }
        let queued = pressure(&arrivals, &task.media);
        shell.look_at_pressure(queued.max(task.temperature.pressure()));
        shell.let_time_pass();
        shell.look_at_trunks();
        shell.look_around();
        task.pulse.beat();
    }
}

type TicketAnswer = oneshot::Sender<Result<Session, TokenRefusal>>;

struct Shell<'a> {
    task: &'a SignalingTask,
    signaling: Signaling,
    endpoints: Endpoints,
    flows: HashMap<FlowId, FlowSender>,
    /// Pages that wait for a ticket.
    tickets: HashMap<TicketId, TicketAnswer>,
    tickets_wanted: u64,
    /// Questions to identity providers.
    fetches: JoinSet<(FetchId, Result<Fetched, FetchFailure>)>,
    events: EventLog,
    /// What media had no room for.
    undelivered: VecDeque<Command>,
    pressure: Pressure,
    watch: CoreWatch,
    /// Calls and the core's standing, as they were told last.
    outlook: (u64, Core),
}

impl<'a> Shell<'a> {
    fn new(task: &'a SignalingTask) -> Self {
        Shell {
            task,
            signaling: Signaling::new(
                task.config.clone(),
                epoch(),
                ChaCha20Rng::from_seed(fresh_seed()),
            ),
            // A port that another user had in the life before is not the first to go again.
            endpoints: Endpoints::new(
                endpoint::Settings {
                    seed: fresh_seed(),
                    ..task.endpoints.clone()
                },
                Arc::clone(&task.ims_counters),
            ),
            flows: HashMap::new(),
            tickets: HashMap::new(),
            tickets_wanted: 0,
            fetches: JoinSet::new(),
            events: EventLog::default(),
            undelivered: VecDeque::new(),
            pressure: Pressure::Calm,
            watch: CoreWatch::default(),
            outlook: (0, Core::Unknown),
        }
    }

    /// Takes up what an earlier life left, of this task or of the whole program. One that
    /// fails again and again may fail because of it, and starts without.
    async fn restore(&mut self) {
        let lives = self.task.lives.fetch_add(1, Ordering::Relaxed);
        let records = if lives < LIVES_WITH_MEMORY {
            self.task.store.read_all().await
        } else {
            tracing::error!("signaling failed too often: it starts without what was kept");
            self.task.store.clear();
            Vec::new()
        };
        self.signaling.restore(records, clock::now());
    }

    fn take(&mut self, arrival: Arrival) -> Option<Input> {
        match arrival {
            Arrival::Opened {
                flow,
                remote,
                is_secure,
                sender,
            } => {
                self.flows.insert(flow, sender);
                Some(Input::FlowOpened {
                    flow,
                    remote,
                    is_secure,
                })
            }
            // Its place is free as soon as it is taken.
            Arrival::Message { flow, bytes, .. } => self
                .flows
                .contains_key(&flow)
                .then_some(Input::FlowMessage { flow, bytes }),
            Arrival::Credential { flow, credential } => {
                self.flows.contains_key(&flow).then(|| match credential {
                    Credential::Token(token) => Input::FlowToken { flow, token },
                    Credential::Ticket(ticket) => Input::FlowTicket { flow, ticket },
                })
            }
            Arrival::TicketWanted { token, answer } => {
                self.tickets_wanted += 1;
                let ticket = TicketId(self.tickets_wanted);
                self.tickets.insert(ticket, answer);
                Some(Input::TicketWanted { ticket, token })
            }
            // A flow that signaling closed is gone for it already.
            Arrival::Closed { flow } => {
                self.flows.remove(&flow).map(|_| Input::FlowClosed { flow })
            }
        }
    }

    fn let_time_pass(&mut self) {
        let due = self.signaling.poll_timeout();
        if due.is_some_and(|at| at <= Instant::now()) {
            self.signaling.handle_timeout(clock::now());
        }
        for _ in 0..self.undelivered.len() {
            if let Some(command) = self.undelivered.pop_front() {
                self.ask_media(command);
            }
        }
    }

    /// A box that only has trunks, and is registered with no peer, is no use to anybody.
    fn look_at_trunks(&self) {
        let counters = self.signaling.counters();
        let out = usize::try_from(counters.trunks_unregistered).unwrap_or(usize::MAX);
        if counters.trunks_registered == 0 && out == self.task.config.tenants.len() {
            let reason = "no trunk is registered with its peer";
            self.task.trunks.set(reason);
        } else {
            self.task.trunks.clear();
        }
    }

    /// Tells when the number of calls or the core's standing changes.
    fn look_around(&mut self) {
        let counters = self.signaling.counters();
        let tls_failures = self.task.ims_counters.tls_failures.value();
        let outlook = (counters.sessions, self.watch.look(counters, tls_failures));
        if std::mem::replace(&mut self.outlook, outlook) != outlook {
            self.task.changed.notify_one();
        }
    }

    /// Tells signaling when the box gets shorter of time or hotter, or less so.
    fn look_at_pressure(&mut self, pressure: Pressure) {
        if std::mem::replace(&mut self.pressure, pressure) != pressure {
            tracing::info!(?pressure, "the pressure on the box has changed");
            let input = Input::Pressure(pressure);
            self.signaling.handle_input(input, clock::now());
        }
    }

    /// Does everything that signaling says.
    fn perform(&mut self) {
        while let Some(output) = self.signaling.poll_output() {
            if let Some(input) = self.perform_one(output) {
                self.signaling.handle_input(input, clock::now());
            }
        }
    }

    /// Does one thing; what is known of it at once goes back in.
    fn perform_one(&mut self, output: Output) -> Option<Input> {
        match output {
            Output::ToFlow { flow, bytes } => return self.send_to_flow(flow, bytes),
            Output::CloseFlow { flow, code, reason } => {
                if let Some(sender) = self.flows.remove(&flow) {
                    sender.close(code, reason);
                }
            }
            Output::Open {
                endpoint,
                tenant,
                kind,
            } => return Some(self.endpoints.open(endpoint, tenant, kind)),
            Output::Store { write, key, value } => {
                let unwritten = self.task.store.write(write, key, value).err();
                return unwritten.map(|write| Input::Stored { write });
            }
            Output::Close { endpoint } => self.endpoints.close(endpoint),
            Output::InstallSa(set) => return Some(self.endpoints.install(&set)),
            Output::ExtendSa(set) => self.endpoints.extend(&set),
            Output::DeleteSa { client } => self.endpoints.delete(client),
            Output::Transmit {
                endpoint,
                transport,
                to,
                bytes,
            } => return self.endpoints.transmit(endpoint, transport, to, bytes),
            Output::Resolve {
                query,
                tenant,
                question,
            } => self.endpoints.resolve(query, tenant, question),
            Output::Authenticate { id, user, question } => {
                return self.task.credentials.ask(id, user, question);
            }
            Output::Ticket { ticket, result } => {
                if let Some(answer) = self.tickets.remove(&ticket) {
                    let _ = answer.send(result);
                }
            }
            Output::Fetch { query, request } => return self.fetch(query, request),
            Output::Iq(command) => return self.ask_media(command),
            Output::Event(event) => self.tell(&event),
            Output::Idle => self.task.idle.notify_one(),
        }
        None
    }

    fn send_to_flow(&mut self, flow: FlowId, bytes: Bytes) -> Option<Input> {
        let sender = self.flows.get(&flow)?;
        // Whoever is registered hears so, and whoever is not any more.
        sender.set_user(self.signaling.is_user(flow));
        if sender.send(bytes).is_ok() {
            return None;
        }
        tracing::info!(flow = flow.0, "browser does not read; flow dropped");
        self.flows.remove(&flow);
        Some(Input::FlowClosed { flow })
    }

    fn fetch(&mut self, query: FetchId, request: FetchRequest) -> Option<Input> {
        let client = self.task.providers.get(request.issuer.0).cloned();
        let Some(client) = client.filter(|_| self.fetches.len() < FETCHES_AT_ONCE) else {
            let result = Err(FetchFailure::TimedOut);
            return Some(Input::Fetched { query, result });
        };
        self.fetches
            .spawn(async move { (query, client.fetch(&request).await) });
        None
    }

    fn ask_media(&mut self, command: Command) -> Option<Input> {
        let command = match self.task.media.try_send(Request::Iq(command)) {
            Ok(()) => return None,
            Err(error) => match error.into_inner() {
                Request::Iq(command) => command,
                Request::Forget | Request::Figures(_) => return None,
            },
        };
        let session = match &command {
            Command::Reserve(reserve) => reserve.session,
            Command::Configure(configure) => configure.session,
            Command::RestartIce { session } => *session,
            Command::SendDtmf(_) | Command::Audit => return None,
            // Nothing else would ever end the session, so it waits for room.
            Command::Release { .. } => {
                self.undelivered.push_back(command);
                return None;
            }
        };
        let reason = Refusal::Unavailable;
        Some(Input::Iq(Reply::Refused { session, reason }))
    }

    fn tell(&mut self, event: &Event) {
        self.watch.handle_event(event);
        self.events.log(event, Instant::now());
        if let Event::CallEnded(record) = event {
            self.task.recorder.record(record);
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            signaling: *self.signaling.counters(),
            ports_left: self.endpoints.ports_left(),
            core: self.outlook.1,
        }
    }

    /// Tells every browser to come back in a while.
    fn close_flows(&mut self) {
        for (_, sender) in self.flows.drain() {
            sender.close(SERVICE_RESTART, "the gateway restarts");
        }
    }
}

/// How short of time the box is: by how full the queue of what browsers send is. Strangers
/// can fill that one, so it never keeps users from calling; what calls themselves fill, the
/// queue to the media plane, does.
fn pressure(arrivals: &mpsc::Receiver<Arrival>, media: &mpsc::Sender<Request>) -> Pressure {
    let is_half_full = 2 * media.capacity() < media.max_capacity();
    match 4 * arrivals.len() / arrivals.max_capacity().max(1) {
        _ if is_half_full => Pressure::Critical,
        0 => Pressure::Calm,
        1 => Pressure::Busy,
        2.. => Pressure::High,
    }
}

/// Tells this life of the controller from earlier ones: they began at another time.
fn epoch() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|passed| u64::try_from(passed.as_micros()).ok())
        .unwrap_or_default()
}

/// Starts of this task that take up what was kept.
const LIVES_WITH_MEMORY: u32 = 3;

/// Questions to identity providers at one time.
const FETCHES_AT_ONCE: usize = 64;

/// Close code of a restart: come back, spread over time (IANA, RFC 6455 §7.4.2).
const SERVICE_RESTART: u16 = 1012;
