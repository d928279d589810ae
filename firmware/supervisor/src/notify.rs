//! What systemd is told (sd_notify(3)); nothing happens without systemd.

use std::time::Duration;

use sd_notify::NotifyState;

/// Everything is up.
pub(crate) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// One line for `systemctl status`.
pub(crate) fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The end has begun, and takes at most this long.
pub(crate) fn stopping(longest: Duration) {
    let micros = u32::try_from(longest.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(micros),
        NotifyState::Status("stopping: waiting for calls to end"),
    ]);
}

/// All services are alive.
pub(crate) fn pet_watchdog() {
    tell(&[NotifyState::Watchdog]);
}

/// How often systemd wants to hear that.
pub(crate) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
