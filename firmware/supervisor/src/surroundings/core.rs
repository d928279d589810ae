//! How the IMS core treats the box, from what signaling tells and counts.

use board_core::condition::Core;
use signaling::counters::Counters;
use signaling::event::{Event, RegistrationFailure};
use signaling::reach::Standing;

/// What is known of the core.
#[derive(Clone, Debug, Default)]
pub(crate) struct CoreWatch {
    /// Messages of the core, and TLS handshakes with it that failed, at the last look.
    messages: u64,
    tls_failures: u64,
    has_spoken: bool,
    distrusted: bool,
    refused: bool,
    unresolved: bool,
}

impl CoreWatch {
    /// Learns from an event.
    pub(crate) fn handle_event(&mut self, event: &Event) {
        match event {
            Event::TrunkRegistered { .. } | Event::Registered { .. } => {
                self.refused = false;
                self.distrusted = false;
                self.unresolved = false;
            }
            Event::TrunkFailed {
                status: Some(401 | 403 | 407),
                ..
            }
            | Event::RegistrationFailed {
                reason: RegistrationFailure::CoreDistrusts,
                ..
            } => self.refused = true,
            Event::Insecure { .. } => self.distrusted = true,
            Event::NextHopUnresolved => self.unresolved = true,
            Event::NextHopStands {
                standing: Standing::Up,
                ..
            } => self.unresolved = false,
            _ => {}
        }
    }

    /// Looks at the figures, and says how things stand.
    pub(crate) fn look(&mut self, counters: &Counters, tls_failures: u64) -> Core {
        let has_spoken = counters.ims_messages > self.messages;
        let has_failed = tls_failures > self.tls_failures;
        (self.messages, self.tls_failures) = (counters.ims_messages, tls_failures);
        if has_spoken {
            self.has_spoken = true;
            self.unresolved = false;
        }
        match (has_spoken, has_failed) {
            // A secure connection is there, whatever others there are.
            (true, _) if tls_failures > 0 => self.distrusted = false,
            (false, true) => self.distrusted = true,
            _ => {}
        }
        let away = counters.next_hops_suspect + counters.next_hops_down;
        if self.distrusted {
            Core::Distrusted
        } else if self.unresolved || counters.next_hops_up == 0 && away > 0 {
            Core::Unreachable
        } else if self.refused {
            Core::Refuses
        } else if self.has_spoken {
            Core::Reachable
        } else {
            Core::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_core_is_unknown_until_it_speaks_and_unreachable_when_no_server_answers() {
        let mut watch = CoreWatch::default();
        assert_eq!(watch.look(&servers(0, 1, 0), 0), Core::Unknown);
        assert_eq!(watch.look(&servers(1, 1, 0), 0), Core::Reachable);
        assert_eq!(watch.look(&servers(1, 1, 1), 0), Core::Reachable);
        assert_eq!(watch.look(&servers(1, 0, 2), 0), Core::Unreachable);
        watch.handle_event(&Event::NextHopUnresolved);
        assert_eq!(watch.look(&servers(1, 1, 0), 0), Core::Unreachable);
        assert_eq!(watch.look(&servers(2, 1, 0), 0), Core::Reachable);
    }

    #[test]
    fn a_secure_connection_that_does_not_come_about_is_not_the_cable_s_fault() {
        let mut watch = CoreWatch::default();
        assert_eq!(watch.look(&servers(0, 0, 1), 1), Core::Distrusted);
        assert_eq!(watch.look(&servers(0, 0, 1), 1), Core::Distrusted);
        assert_eq!(watch.look(&servers(1, 1, 0), 1), Core::Reachable);
    }

    #[test]
    fn a_trunk_that_is_turned_away_is_refused_until_it_is_taken() {
        let mut watch = CoreWatch::default();
        watch.handle_event(&Event::TrunkFailed {
            tenant: "provider".to_owned(),
            status: Some(403),
            pause: Duration::from_secs(30),
        });
        assert_eq!(watch.look(&servers(1, 1, 0), 0), Core::Refuses);
        watch.handle_event(&Event::TrunkFailed {
            tenant: "provider".to_owned(),
            status: None,
            pause: Duration::from_secs(30),
        });
        watch.handle_event(&Event::TrunkRegistered {
            tenant: "provider".to_owned(),
            expires: Duration::from_secs(600),
        });
        assert_eq!(watch.look(&servers(2, 1, 0), 0), Core::Reachable);
    }

    fn servers(messages: u64, up: u64, down: u64) -> Counters {
        Counters {
            ims_messages: messages,
            next_hops_up: up,
            next_hops_down: down,
            ..Counters::default()
        }
    }
}
