//! Session timers, RFC 4028, of one leg: what is said in requests and answers, when the
//! session is refreshed and when it is given up. Nothing is passed from leg to leg.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use iq::UnixTime;
use serde::{Deserialize, Serialize};

use crate::kept::Clock;
use crate::message::headers::{MinSe, Refresher, Require, SessionExpires, Supported};
use crate::message::{HeaderName, Headers, Request, Response, StatusCode};

/// The option tag, RFC 4028 §4.
pub const OPTION_TAG: &str = "timer";

/// What we want, before the other end is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// How long a session lasts without a refresh, in seconds.
    pub interval: u32,
    /// The least that we agree to, in seconds; at least 90.
    pub min_se: u32,
}

impl Default for Wishes {
    /// RFC 4028 §4.
    fn default() -> Self {
        Wishes {
            interval: 1800,
            min_se: ABSOLUTE_MIN_SE,
        }
    }
}

/// The timer of one dialog.
#[derive(Debug)]
pub struct SessionTimer {
    wishes: Wishes,
    running: Option<Running>,
    output: VecDeque<Output>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    interval: u32,
    /// When we refresh; none if the other end does.
    refresh_at: Option<Instant>,
    expire_at: Instant,
    is_refreshing: bool,
}

/// A running timer as it outlives the control process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptTimer {
    interval: u32,
    /// When we refresh; none if the other end does.
    refresh_at: Option<UnixTime>,
    expire_at: UnixTime,
}

/// What is to be done about the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Refresh it with an UPDATE without a description, or a re-INVITE with the
    /// unchanged one.
    Refresh,
    /// Nobody refreshed it: end it with a BYE.
    Expired,
}

/// The interval of a request is less than we agree to: the answer is 422 with Min-SE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("session interval too small")]
pub struct TooSmall {
    /// What Min-SE says, in seconds.
    pub min_se: u32,
}

impl TooSmall {
    /// The answer, RFC 4028 §9.
    #[must_use]
    pub fn response(&self, request: &Request) -> Response {
        Response::to_request(request, StatusCode::SESSION_INTERVAL_TOO_SMALL)
            .with_typed(&MinSe(self.min_se))
    }
}

/// Which end sent the request whose answer sets the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Uac,
    Uas,
}

impl SessionTimer {
    /// A timer that does not run yet.
    #[must_use]
    pub fn new(wishes: Wishes) -> Self {
        let min_se = wishes.min_se.max(ABSOLUTE_MIN_SE);
        SessionTimer {
            wishes: Wishes {
                min_se,
                interval: wishes.interval.max(min_se),
            },
            running: None,
            output: VecDeque::new(),
        }
    }

    /// What is to be kept of it; none if the session does not expire, or while the wall
    /// clock is not set.
    pub(crate) fn record(&self, clock: &Clock) -> Option<KeptTimer> {
        let running = self.running?;
        Some(KeptTimer {
            interval: running.interval,
            refresh_at: running.refresh_at.and_then(|at| clock.wall(at)),
            expire_at: clock.wall(running.expire_at)?,
        })
    }

    /// Goes on with a kept timer. Whoever should have refreshed meanwhile has a little
    /// time left for it.
    pub(crate) fn restore(&mut self, kept: Option<KeptTimer>, clock: &Clock, now: Instant) {
        self.running = kept.map(|kept| {
            let at = |at: UnixTime| clock.instant(at).unwrap_or(now).max(now);
            Running {
                interval: kept.interval,
                refresh_at: kept.refresh_at.map(at),
                expire_at: at(kept.expire_at).max(now + LAST_CHANCE),
                is_refreshing: false,
            }
        });
    }

    /// The interval that holds, in seconds; none if the session does not expire.
    #[must_use]
    pub fn interval(&self) -> Option<u32> {
        self.running.map(|running| running.interval)
    }

    /// Whether it is on us to refresh.
    #[must_use]
    pub fn is_refresher(&self) -> bool {
        self.running
            .is_some_and(|running| running.refresh_at.is_some())
    }

    /// Puts our wishes into an INVITE, re-INVITE or UPDATE of ours, RFC 4028 §7.1 and
    /// §7.4. A refresh keeps the parts as they are.
    pub fn prepare_request(&self, request: &mut Request) {
        add_supported(&mut request.headers);
        let refresher = match self.running {
            None => None,
            Some(running) if running.refresh_at.is_some() => Some(Refresher::Uac),
            Some(_) => Some(Refresher::Uas),
        };
        let interval = self.interval().unwrap_or(self.wishes.interval);
        request.headers.set(&SessionExpires {
            interval: interval.max(self.wishes.min_se),
            refresher,
        });
        if self.wishes.min_se > ABSOLUTE_MIN_SE {
            request.headers.set(&MinSe(self.wishes.min_se));
        }
    }

    /// Takes a 422 to a request of ours; says whether trying again with
    /// [`SessionTimer::prepare_request`] has a point, RFC 4028 §7.3.
    pub fn handle_too_small(&mut self, response: &Response) -> bool {
        let Ok(Some(MinSe(min_se))) = response.headers.min_se() else {
            return false;
        };
        let has_point = min_se > self.wishes.min_se.max(ABSOLUTE_MIN_SE)
            || min_se > self.interval().unwrap_or(self.wishes.interval);
        self.wishes.min_se = self.wishes.min_se.max(min_se.min(MAX_INTERVAL));
        self.wishes.interval = self.wishes.interval.max(self.wishes.min_se);
        if let Some(running) = &mut self.running {
            running.interval = running.interval.max(self.wishes.min_se);
        }
        has_point
    }

    /// Takes a 2xx to a request of ours that [`SessionTimer::prepare_request`] went
    /// through, RFC 4028 §7.2. Without Session-Expires in it the session does not
    /// expire.
    pub fn handle_success(&mut self, response: &Response, now: Instant) {
        match response.headers.session_expires() {
            Ok(Some(agreed)) => self.run(agreed, Part::Uac, now),
            Ok(None) | Err(_) => self.running = None,
        }
    }

    /// Looks at an INVITE, re-INVITE or UPDATE that came, RFC 4028 §9.
    ///
    /// # Errors
    /// If its interval is less than we agree to.
    pub fn check_request(&self, request: &Request) -> Result<(), TooSmall> {
        match request.headers.session_expires() {
            // Who does not know the extension would not know a 422 either.
            Ok(Some(asked))
                if asked.interval < self.wishes.min_se && supports(&request.headers) =>
            {
                Err(TooSmall {
                    min_se: self.wishes.min_se,
                })
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Puts what holds into our 2xx to a request and starts the timer, RFC 4028 §9.
    pub fn prepare_response(&mut self, request: &Request, response: &mut Response, now: Instant) {
        let is_supported = supports(&request.headers);
        let asked = request.headers.session_expires().ok().flatten();
        let least = match request.headers.min_se() {
            Ok(Some(MinSe(min_se))) => min_se.clamp(self.wishes.min_se, MAX_INTERVAL),
            Ok(None) | Err(_) => self.wishes.min_se,
        };
        let interval = asked.map_or(self.wishes.interval, |asked| {
            asked.interval.min(MAX_INTERVAL)
        });
        let refresher = match asked.and_then(|asked| asked.refresher) {
            Some(refresher) if is_supported => refresher,
            // RFC 4028 §9: one that does not know the extension cannot be asked to
            // refresh; and of two that can, we know best that we are still there.
            Some(_) | None => Refresher::Uas,
        };
        let agreed = SessionExpires {
            interval: interval.max(least),
            refresher: Some(refresher),
        };
        add_supported(&mut response.headers);
        let names_require = response
            .headers
            .lists_token(&HeaderName::Require, OPTION_TAG);
        if refresher == Refresher::Uac && !names_require {
            response.headers.push_typed(&Require(OPTION_TAG.into()));
        }
        response.headers.set(&agreed);
        self.run(agreed, Part::Uas, now);
    }

    /// A refresh of ours failed in a way that does not end the session (such as 491):
    /// it is tried again soon, and the time of expiry stands.
    pub fn retry_refresh(&mut self, now: Instant) {
        if let Some(running) = &mut self.running {
            running.is_refreshing = false;
            running.refresh_at = Some(now + RETRY_AFTER);
        }
    }

    /// The session is over.
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.expire_at <= now {
            self.running = None;
            self.output.push_back(Output::Expired);
        } else if !running.is_refreshing && running.refresh_at.is_some_and(|at| at <= now) {
            running.is_refreshing = true;
            self.output.push_back(Output::Refresh);
        }
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// When [`SessionTimer::handle_timeout`] wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let running = self.running.as_ref()?;
        let refresh_at = running.refresh_at.filter(|_| !running.is_refreshing);
        Some(refresh_at.map_or(running.expire_at, |at| at.min(running.expire_at)))
    }

    fn run(&mut self, agreed: SessionExpires, part: Part, now: Instant) {
        let interval = agreed.interval.clamp(ABSOLUTE_MIN_SE, MAX_INTERVAL);
        let is_ours = matches!(
            (agreed.refresher, part),
            (Some(Refresher::Uac) | None, Part::Uac) | (Some(Refresher::Uas), Part::Uas)
        );
        // RFC 4028 §10: refresh at half the interval; end the session a little before
        // its end.
        let margin = (interval / 3).min(32);
        let seconds = |seconds| Duration::from_secs(u64::from(seconds));
        self.running = Some(Running {
            interval,
            refresh_at: is_ours.then(|| now + seconds(interval) / 2),
            expire_at: now + seconds(interval - margin),
            is_refreshing: false,
        });
    }
}

fn supports(headers: &Headers) -> bool {
    headers.lists_token(&HeaderName::Supported, OPTION_TAG)
        || headers.lists_token(&HeaderName::Require, OPTION_TAG)
}

fn add_supported(headers: &mut Headers) {
    if !headers.lists_token(&HeaderName::Supported, OPTION_TAG) {
        headers.push_typed(&Supported(OPTION_TAG.into()));
    }
}

/// RFC 4028 §5.
const ABSOLUTE_MIN_SE: u32 = 90;

/// A day: longer intervals are no protection, and would overflow timers.
const MAX_INTERVAL: u32 = 86_400;

/// How long a session lasts at least after a restart.
const LAST_CHANCE: Duration = Duration::from_secs(32);

/// Pause before a refresh is tried again; RFC 3261 §14.1 wants 2.1 to 4 seconds from
/// the one that owns the Call-ID, and the other end may as well wait that long.
const RETRY_AFTER: Duration = Duration::from_millis(3100);
