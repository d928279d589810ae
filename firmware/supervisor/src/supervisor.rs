//! Keeps a service running: one that fails or panics is started again after a pause that
//! grows; one that fails too often takes the process down, and systemd decides.

use std::collections::VecDeque;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

/// Runs a service until it ends well. The error is the last of too many failures.
pub(crate) async fn keep_running<Start, Run>(name: &'static str, start: Start) -> anyhow::Result<()>
where
    Start: FnMut() -> Run,
    Run: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    keep(name, start, Failures::default()).await
}

async fn keep<Start, Run>(
    name: &'static str,
    mut start: Start,
    mut failures: Failures,
) -> anyhow::Result<()>
where
    Start: FnMut() -> Run,
    Run: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    loop {
        let task = AbortOnDrop(tokio::spawn(start()));
        let failure = match task.join().await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            // Its message may quote what came from a network.
            Err(error) if error.is_panic() => anyhow!("it panicked"),
            Err(_) => anyhow!("it was taken down"),
        };
        tracing::error!(
            service = name,
            error = format!("{failure:#}"),
            "service failed"
        );
        match failures.pause(Instant::now()) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(failure).with_context(|| format!("{name} failed too often")),
        }
        tracing::warn!(service = name, "service starts again");
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The failures of one service within the last while.
#[derive(Debug)]
pub(crate) struct Failures {
    at: VecDeque<Instant>,
    first_pause: Duration,
}

impl Default for Failures {
    fn default() -> Self {
        Failures {
            at: VecDeque::new(),
            first_pause: FIRST_PAUSE,
        }
    }
}

impl Failures {
    /// How long to wait after one more failure; `None` if it was one too many.
    pub(crate) fn pause(&mut self, now: Instant) -> Option<Duration> {
        while self
            .at
            .front()
            .is_some_and(|&at| now.duration_since(at) > REMEMBERED)
        {
            self.at.pop_front();
        }
        self.at.push_back(now);
        if self.at.len() > TOO_MANY {
            return None;
        }
        let doublings = u32::try_from(self.at.len() - 1).unwrap_or(u32::MAX);
        Some(self.first_pause * 2_u32.saturating_pow(doublings))
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Failures within [`REMEMBERED`] that are forgiven.
const TOO_MANY: usize = 6;
const REMEMBERED: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn pauses_grow_and_old_failures_are_forgiven() {
        let mut failures = Failures::default();
        let start = Instant::now();
        let pauses: Vec<_> = (0..7).map(|_| failures.pause(start)).collect();
        assert_eq!(pauses[0], Some(Duration::from_millis(100)));
        assert_eq!(pauses[5], Some(Duration::from_millis(3200)));
        assert_eq!(pauses[6], None);
        let later = start + REMEMBERED + Duration::from_secs(1);
        assert_eq!(failures.pause(later), Some(Duration::from_millis(100)));
    }

    #[tokio::test]
    async fn a_service_that_panics_is_started_again() {
        let starts = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&starts);
        let start = move || {
            let start = counted.fetch_add(1, Ordering::Relaxed);
            async move {
                assert!(start > 1, "the first two do not work");
                Ok(())
            }
        };
        keep("test", start, quick()).await.unwrap();
        assert_eq!(starts.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn a_service_that_fails_too_often_gives_up_with_its_error() {
        let error = keep("test", || async { anyhow::bail!("no luck") }, quick())
            .await
            .unwrap_err();
        assert_eq!(format!("{error:#}"), "test failed too often: no luck");
    }

    fn quick() -> Failures {
        Failures {
            first_pause: Duration::from_micros(10),
            ..Failures::default()
        }
    }
}
