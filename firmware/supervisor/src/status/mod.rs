//! The technician's listener, on an address of its own: the status page, the same as
//! `/state.json`, /livez, /readyz, /metrics, and `DELETE /registrations/{identity}`, which
//! ends every registration of a user.

mod listener;
mod metrics;
mod overview;
mod page;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{delete, get};
use signaling::identity::PublicIdentity;
use signaling::message::Uri;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use transport::counters::{AccessCounters, ImsCounters};
use transport::crypto::Calibration;
use transport::pulse::Pulse;
use transport::rtp;

use crate::heat::Temperature;
use crate::media_task::{Figures, Request};
use crate::records::Recorder;
use crate::signaling_task::{self, Control};
use crate::store::Store;
use listener::Beating;
pub(crate) use overview::About;

/// Where the figures come from.
pub(crate) struct Sources {
    pub(crate) signaling: mpsc::Sender<Control>,
    pub(crate) media: mpsc::Sender<Request>,
    /// How often a media plane of its own went away.
    pub(crate) media_losses: Arc<AtomicU64>,
    pub(crate) access: Arc<AccessCounters>,
    pub(crate) ims: Arc<ImsCounters>,
    pub(crate) recorder: Recorder,
    pub(crate) store: Store,
    pub(crate) temperature: Temperature,
}

/// All figures of one moment. What does not answer in time is missing.
pub(crate) struct Snapshot {
    pub(crate) signaling: Option<signaling_task::Snapshot>,
    pub(crate) workers: Vec<(usize, rtp::Snapshot)>,
    /// Which engines seal and open packets, and what they cost.
    pub(crate) crypto: Calibration,
}

/// Serves until it is dropped.
pub(crate) async fn run(listen: SocketAddr, about: Arc<About>, pulse: Pulse) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("[management] listen: {listen}"))?;
    let mut router = Router::new()
        .route("/", get(page))
        .route("/state.json", get(state))
        .route("/style.css", get(style))
        .route("/page.js", get(script))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(&about));
    if let Some(sources) = &about.sources {
        let services = Router::new()
            .route("/registrations/{identity}", delete(end_registrations))
            .with_state(Arc::clone(sources));
        router = router.merge(services);
    }
    axum::serve(Beating { listener, pulse }, router).await?;
    Ok(())
}

async fn page(State(about): State<Arc<About>>) -> impl IntoResponse {
    let overview = about.overview().await;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, page::page(&overview))
}

async fn state(State(about): State<Arc<About>>) -> impl IntoResponse {
    let overview = about.overview().await;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    match serde_json::to_string(&overview) {
        Ok(text) => (headers, text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn style() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, page::STYLE)
}

async fn script() -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, page::SCRIPT)
}

async fn livez(State(about): State<Arc<About>>) -> impl IntoResponse {
    verdict(about.health.verdict(Instant::now()).dead)
}

async fn readyz(State(about): State<Arc<About>>) -> impl IntoResponse {
    verdict(about.unready(Instant::now()))
}

fn verdict(reasons: Vec<String>) -> (StatusCode, String) {
    if reasons.is_empty() {
        return (StatusCode::OK, "ok\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

/// Ends what is registered under an identity: a SIP or tel URI, percent-encoded.
async fn end_registrations(
    State(sources): State<Arc<Sources>>,
    Path(identity): Path<String>,
) -> (StatusCode, &'static str) {
    let identity = Uri::parse(&identity).and_then(|uri| PublicIdentity::of_uri(&uri));
    let Some(identity) = identity else {
        let wanted =
            "give a public identity, like sip:alice@ims.example.com or tel:+390401234567\n";
        return (StatusCode::BAD_REQUEST, wanted);
    };
    let (answer, ended) = oneshot::channel();
    let control = Control::EndRegistrations(identity, answer);
    if sources.signaling.send(control).await.is_err() {
        return (StatusCode::SERVICE_UNAVAILABLE, "try again\n");
    }
    match timeout(ANSWER_TIME, ended).await {
        Ok(Ok(0)) => (
            StatusCode::NOT_FOUND,
            "nobody is registered under this identity\n",
        ),
        Ok(Ok(_)) => (StatusCode::OK, "ended\n"),
        Ok(Err(_)) | Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "try again\n"),
    }
}

async fn metrics(State(about): State<Arc<About>>) -> impl IntoResponse {
    let Some(sources) = &about.sources else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the gateway waits\n").into_response();
    };
    let (snapshot, ends) = tokio::join!(sources.snapshot(), overview::ends(&about.causes));
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::exposition(&about, sources, &snapshot, &ends) {
        Ok(text) => ([(header::CONTENT_TYPE, content_type)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

impl Sources {
    /// Asks every service for its figures, through its own queue.
    pub(crate) async fn snapshot(&self) -> Snapshot {
        let signaling = timeout(ANSWER_TIME, self.ask_signaling()).await;
        let media = timeout(ANSWER_TIME, self.ask_media()).await;
        let Figures { workers, crypto } = media.unwrap_or_default();
        Snapshot {
            signaling: signaling.ok().flatten(),
            workers,
            crypto,
        }
    }

    async fn ask_signaling(&self) -> Option<signaling_task::Snapshot> {
        let (answer, snapshot) = oneshot::channel();
        self.signaling.send(Control::Snapshot(answer)).await.ok()?;
        snapshot.await.ok()
    }

    async fn ask_media(&self) -> Figures {
        let (answer, figures) = oneshot::channel();
        if self.media.send(Request::Figures(answer)).await.is_err() {
            return Figures::default();
        }
        figures.await.unwrap_or_default()
    }
}

/// The page runs nothing and loads nothing but its own.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ANSWER_TIME: Duration = Duration::from_secs(1);
