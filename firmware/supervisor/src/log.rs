//! The log: where it goes, and the one place where signaling's events become lines of it.
//! No line names a subscriber: sessions, flows and endpoints are numbers.

use std::fmt;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use iq::Leg;
use signaling::Event;
use signaling::event::{Origin, RegistrationFailure};
use signaling::reach::{Hop, Standing};
use tracing::{Level, Metadata, debug, error, info, info_span, warn};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Log, LogFormat};

/// Starts the log.
pub(crate) fn start(log: &Log) -> anyhow::Result<()> {
    let levels = EnvFilter::builder().parse(&log.level)?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false);
    let lines: Box<dyn Layer<_> + Send + Sync> = match resolve(log.format) {
        LogFormat::Auto | LogFormat::Text => {
            lines.with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .boxed(),
        LogFormat::Journal => lines.with_ansi(false).event_format(JournalLine).boxed(),
    };
    let subscriber = tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(is_ours)))
        .with(levels);
    // Set without the bridge from the `log` crate: libraries that use it print whole
    // messages, credentials included, when they trace.
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(())
}

/// Libraries know nothing of what must not be logged, so none of them is heard.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let room = metadata.target().split("::").next().unwrap_or_default();
    ["gatehouse", "transport"].contains(&room)
}

fn resolve(format: LogFormat) -> LogFormat {
    match format {
        LogFormat::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => LogFormat::Journal,
        LogFormat::Auto if std::io::stderr().is_terminal() => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        chosen => chosen,
    }
}

/// Writes a line for journald: its priority in front (sd-daemon(3)), no time of its own.
struct JournalLine;

impl<S, N> FormatEvent<S, N> for JournalLine
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span
                .extensions()
                .get::<tracing_subscriber::fmt::FormattedFields<N>>()
            {
                write!(writer, "{fields} ")?;
            }
        }
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Logs what signaling tells, and holds its breath when strangers make it talk too much.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    /// When the current second began, and how many provoked lines it has had.
    second: Option<(Instant, u32)>,
    withheld: u64,
}

impl EventLog {
    /// Logs one event.
    pub(crate) fn log(&mut self, event: &Event, now: Instant) {
        let provoked = matches!(
            event,
            Event::Security { .. }
                | Event::RegistrationFailed { .. }
                | Event::Insecure { .. }
                | Event::FlowClosed { .. }
        );
        if !provoked || self.allows(now) {
            log(event);
        }
    }

    fn allows(&mut self, now: Instant) -> bool {
        let (began, lines) = match self.second {
            Some((began, lines)) if now.duration_since(began) < SECOND => (began, lines + 1),
            _ => {
                if self.withheld > 0 {
                    warn!(withheld = self.withheld, "more of the same was not logged");
                    self.withheld = 0;
                }
                (now, 1)
            }
        };
        self.second = Some((began, lines));
        let allowed = lines <= PROVOKED_LINES;
        self.withheld += u64::from(!allowed);
        allowed
    }
}

fn log(event: &Event) {
    match event {
        Event::CallStarted { .. }
        | Event::CallRinging { .. }
        | Event::CallAnswered { .. }
        | Event::CallEnded(_) => call(event),
        Event::Security { origin, breach } => match origin {
            Origin::Flow(flow) => warn!(flow = flow.0, "{breach}"),
            Origin::Endpoint(endpoint) => warn!(endpoint = endpoint.0, "{breach}"),
        },
        Event::EmergencyCall { flow, is_taken } => {
            warn!(flow = flow.0, is_taken, "emergency call");
        }
        Event::Restored(restored) => info!(
            registrations = restored.registrations,
            calls = restored.calls,
            leases = restored.leases,
            dropped = restored.dropped,
            "taken up what was kept"
        ),
        Event::EndpointRefused { endpoint, reason } => {
            error!(endpoint = endpoint.0, "no port towards the IMS: {reason}");
        }
        Event::ProviderSilent {
            issuer,
            times,
            failure,
        } => {
            let why = failure.map_or("answers nothing usable".to_owned(), |it| it.to_string());
            // Keys last for a day, so one failure is no alarm.
            if *times >= PROVIDER_ALARM {
                error!(issuer, times, "the identity provider {why}");
            } else {
                warn!(issuer, times, "the identity provider {why}");
            }
        }
        Event::TokenRevoked { refusal } => info!("a registered user's token is revoked: {refusal}"),
        Event::Insecure { endpoint, failure } => {
            error!(endpoint = endpoint.0, "no IPsec with the P-CSCF: {failure}");
        }
        Event::NextHopUnresolved => error!("the P-CSCF's name has no address"),
        Event::NextHopStands { hop, standing } => next_hop(hop, *standing),
        _ => registration(event),
    }
}

fn next_hop(hop: &Hop, standing: Standing) {
    let (address, transport) = (hop.address, hop.transport.via_token());
    match standing {
        Standing::Up => info!(%address, transport, "the P-CSCF answers again"),
        Standing::Suspect => warn!(%address, transport, "the P-CSCF does not answer"),
        Standing::Down => error!(%address, transport, "the P-CSCF is down, or asks for a rest"),
    }
}

fn registration(event: &Event) {
    match event {
        Event::Registered {
            flow,
            endpoint,
            expires,
            ..
        } => info!(
            flow = flow.0,
            endpoint = endpoint.0,
            seconds = expires.as_secs(),
            "registered"
        ),
        Event::RegistrationFailed {
            flow,
            status,
            reason,
            ..
        } => match reason {
            RegistrationFailure::CoreSilent
            | RegistrationFailure::CoreBusy
            | RegistrationFailure::TooFast
            | RegistrationFailure::Unresolved
            | RegistrationFailure::CoreDistrusts
            | RegistrationFailure::NoCapacity => {
                error!(flow = flow.0, status, "registration failed: {reason}");
            }
            _ => info!(flow = flow.0, status, "registration failed: {reason}"),
        },
        Event::Deregistered {
            endpoint, cause, ..
        } => info!(endpoint = endpoint.0, "registration over: {cause}"),
        Event::TrunkRegistered { tenant, expires } => {
            let expires = expires.as_secs();
            info!(tenant, expires, "trunk registered with its peer");
        }
        Event::TrunkFailed {
            tenant,
            status,
            pause,
        } => warn!(
            tenant,
            status,
            pause = pause.as_secs(),
            "trunk could not be registered with its peer; it is tried again"
        ),
        Event::TrunkLost { tenant } => {
            error!(
                tenant,
                "the peer does not hold the trunk's registration any more"
            );
        }
        Event::RefreshFailed {
            endpoint, status, ..
        } => warn!(
            endpoint = endpoint.0,
            status, "the box could not refresh a registration; it tries again"
        ),
        Event::CoreForgot {
            endpoint, is_kept, ..
        } => warn!(
            endpoint = endpoint.0,
            is_kept, "the core has lost a user and asks for a new registration"
        ),
        Event::FlowLost {
            flow,
            endpoint,
            grace,
        } => info!(
            flow = flow.0,
            endpoint = endpoint.0,
            grace = grace.as_secs(),
            "browser lost its connection"
        ),
        Event::FlowReattached { flow, endpoint } => {
            info!(flow = flow.0, endpoint = endpoint.0, "browser came back");
        }
        Event::FlowClosed { flow, code, reason } => {
            info!(flow = flow.0, code, "connection closed: {reason}");
        }
        _ => debug!("an event without words"),
    }
}

fn call(event: &Event) {
    let session = match event {
        Event::CallStarted { session, .. }
        | Event::CallRinging { session }
        | Event::CallAnswered { session } => *session,
        Event::CallEnded(record) => record.session,
        _ => return,
    };
    let span = info_span!("call", %session);
    let _inside = span.enter();
    match event {
        Event::CallStarted { from, .. } => info!(from = leg(*from), "call"),
        Event::CallRinging { .. } => info!("ringing"),
        Event::CallAnswered { .. } => info!("answered"),
        Event::CallEnded(record) => {
            let by = record.cause.by.map_or("box", leg);
            let reason = record.cause.reason.map(|reason| reason.to_string());
            let seconds = record.ended_after.as_secs();
            info!(
                by,
                status = record.cause.status,
                reason,
                seconds,
                "call over"
            );
        }
        _ => {}
    }
}

fn leg(leg: Leg) -> &'static str {
    match leg {
        Leg::Access => "browser",
        Leg::Ims => "ims",
    }
}

/// Failures in a row after which an identity provider is an alarm.
const PROVIDER_ALARM: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
/// Lines a second that strangers can cause.
const PROVOKED_LINES: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_fill_the_disk_with_log_lines() {
        let mut log = EventLog::default();
        let now = Instant::now();
        let logged = (0..1000).filter(|_| log.allows(now)).count();
        assert_eq!((logged, log.withheld), (20, 980));
        assert!(log.allows(now + SECOND));
        assert_eq!(log.withheld, 0);
    }
}
