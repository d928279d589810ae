//! The session timer of one leg, RFC 4028: who refreshes, how often, and when the call
//! counts as dead.

use std::time::{Duration, Instant};

use crate::config::CallConfig;
use crate::message::headers::{Refresher, SessionExpires};
use crate::message::{HeaderName, Headers, StatusCode};
use crate::session::leg::Final;

/// The session timer of one leg.
#[derive(Clone, Debug)]
pub(super) struct SessionTimer {
    wanted: u32,
    min: u32,
    running: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    interval: u32,
    is_ours: bool,
    /// When the box refreshes, if that is its part.
    refresh_at: Option<Instant>,
    expires_at: Instant,
}

/// What the session timer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimerEvent {
    /// Refresh the session.
    Refresh,
    /// Nobody refreshed it in time: BYE.
    Expired,
}

impl SessionTimer {
    /// Not running yet.
    pub(super) fn new(config: &CallConfig) -> Self {
        SessionTimer {
            wanted: seconds(config.session_expires),
            min: seconds(config.min_session_expires).max(MIN_SE),
            running: None,
        }
    }

    /// Asks for a timer in a request of the box's own; the box refreshes unless the
    /// peer does already.
    pub(super) fn ask(&self, headers: &mut Headers) {
        let is_ours = self.running.is_none_or(|running| running.is_ours);
        let interval = self.running.map_or(self.wanted, |running| running.interval);
        let expires = SessionExpires {
            interval: interval.max(self.min),
            refresher: Some(if is_ours {
                Refresher::Uac
            } else {
                Refresher::Uas
            }),
        };
        headers.replace(HeaderName::SessionExpires, expires.to_string());
        headers.replace(HeaderName::MinSe, self.min);
    }

    /// Checks what the peer's request asks for.
    ///
    /// # Errors
    ///
    /// 422 if the interval is too short, RFC 4028 §9; 400 if it cannot be read.
    pub(super) fn check(&self, headers: &Headers) -> Result<(), Final> {
        let malformed = |_| Final::new(StatusCode::BAD_REQUEST);
        let asked = headers.session_expires().map_err(malformed)?;
        if asked.is_none_or(|asked| asked.interval >= self.min) {
            return Ok(());
        }
        let mut refusal = Final::new(StatusCode::SESSION_INTERVAL_TOO_SMALL);
        refusal.headers.push(HeaderName::MinSe, self.min);
        Err(refusal)
    }

    /// Agrees in a 2xx to the peer's request, RFC 4028 §9. The box refreshes unless
    /// the peer wants to.
    pub(super) fn answer(&mut self, request: &Headers, response: &mut Headers, now: Instant) {
        let asked = request.session_expires().ok().flatten();
        let knows_timer = request.lists_token(&HeaderName::Supported, "timer");
        let at_least = request.min_se().ok().flatten().map_or(0, |min| min.0);
        let interval = asked.map_or(self.wanted.max(at_least), |asked| asked.interval);
        let refresher = match asked.and_then(|asked| asked.refresher) {
            Some(Refresher::Uac) if knows_timer => Refresher::Uac,
            Some(_) | None => Refresher::Uas,
        };
        let agreed = SessionExpires {
            interval,
            refresher: Some(refresher),
        };
        response.replace(HeaderName::SessionExpires, agreed.to_string());
        if knows_timer {
            response.push(HeaderName::Require, "timer");
        }
        self.start(interval, refresher == Refresher::Uas, now);
    }

    /// Takes the peer's agreement from a 2xx to the box's request, RFC 4028 §7.2.
    pub(super) fn handle_success(&mut self, headers: &Headers, now: Instant) {
        match headers.session_expires() {
            Ok(Some(agreed)) if agreed.interval >= MIN_SE => {
                self.start(
                    agreed.interval,
                    agreed.refresher != Some(Refresher::Uas),
                    now,
                );
            }
            // The peer knows no timer. The box goes on refreshing if it did, so that it
            // notices when the peer is gone.
            Ok(_) | Err(_) => self.start(self.wanted, true, now),
        }
    }

    /// A 422 names a longer interval. No if it brings nothing new.
    pub(super) fn raise_min(&mut self, headers: &Headers) -> bool {
        let min = headers.min_se().ok().flatten().map_or(0, |min| min.0);
        let is_news = min > self.min && min <= MAX_SE;
        if is_news {
            self.min = min;
            self.wanted = self.wanted.max(min);
        }
        is_news
    }

    /// Refreshes at this time what could not be refreshed now.
    pub(super) fn try_again(&mut self, at: Instant) {
        if let Some(running) = &mut self.running {
            running.refresh_at = Some(at);
        }
    }

    /// The call is over.
    pub(super) fn stop(&mut self) {
        self.running = None;
    }

    /// What is due.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<TimerEvent> {
        let running = self.running.as_mut()?;
        if running.expires_at <= now {
            self.running = None;
            return Some(TimerEvent::Expired);
        }
        running.refresh_at.take_if(|at| *at <= now)?;
        running.refresh_at = Some(now + REPEAT);
        Some(TimerEvent::Refresh)
    }

    /// When `handle_timeout` wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running?;
        Some(
            running
                .refresh_at
                .unwrap_or(running.expires_at)
                .min(running.expires_at),
        )
    }

    /// RFC 4028 §10: refresh after half the time; BYE a little before its end.
    fn start(&mut self, interval: u32, is_ours: bool, now: Instant) {
        let interval = interval.min(MAX_SE);
        let whole = Duration::from_secs(u64::from(interval));
        let margin = Duration::from_secs(32).min(whole / 3);
        self.running = Some(Running {
            interval,
            is_ours,
            refresh_at: is_ours.then(|| now + whole / 2),
            expires_at: now + whole - margin,
        });
    }
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs())
        .unwrap_or(MAX_SE)
        .min(MAX_SE)
}

/// The shortest interval there may be, RFC 4028 §5.
const MIN_SE: u32 = 90;

/// The longest one that is kept: a day.
const MAX_SE: u32 = 86_400;

/// Pause before a refresh without a result is tried again.
const REPEAT: Duration = Duration::from_secs(10);
