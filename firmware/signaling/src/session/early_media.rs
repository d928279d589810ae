//! Early media of a call that forked, RFC 3960 and RFC 5009: a browser takes one
//! answer, so one fork is chosen and kept until a fork wins the call.
//!
//! Left out: choosing by the first RTP packet, since the strict source check of the
//! media plane lets packets of the chosen fork in only.

/// A branch of the call beyond the core, numbered as its first response arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Fork(pub(super) u8);

/// What the network says about early media on a fork (P-Early-Media, RFC 5009).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Authorization {
    /// Nothing was said.
    #[default]
    Unspoken,
    /// `sendrecv` or `sendonly`: the far end's media may be heard.
    Granted,
    /// `inactive`, `recvonly` or `gated`: nothing to be heard for now.
    Withheld,
}

/// Which fork is heard before the call is answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct EarlyMedia {
    heard: Option<(Fork, Authorization)>,
}

impl EarlyMedia {
    /// A fork gave its description, or its authorisation changed. Yes if this fork
    /// is to be heard from now on and was not before.
    pub(super) fn offer(&mut self, fork: Fork, authorization: Authorization) -> bool {
        let chosen = match (self.heard, authorization) {
            (_, Authorization::Withheld) => false,
            (None, _) => true,
            (Some((heard, _)), _) if heard == fork => {
                self.heard = Some((fork, authorization));
                false
            }
            // The latest fork that the network vouches for; else the first one.
            (Some(_), Authorization::Granted) => true,
            (Some(_), Authorization::Unspoken) => false,
        };
        if chosen {
            self.heard = Some((fork, authorization));
        }
        chosen
    }

    /// The fork that is heard.
    #[must_use]
    pub(super) fn heard(&self) -> Option<Fork> {
        self.heard.map(|(fork, _)| fork)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fork_is_heard_and_a_second_one_does_not_take_over() {
        let mut early = EarlyMedia::default();
        assert!(early.offer(Fork(0), Authorization::Unspoken));
        assert!(!early.offer(Fork(1), Authorization::Unspoken));
        assert!(!early.offer(Fork(0), Authorization::Unspoken));
        assert_eq!(early.heard(), Some(Fork(0)));
    }

    #[test]
    fn a_fork_that_the_network_vouches_for_takes_over() {
        let mut early = EarlyMedia::default();
        early.offer(Fork(0), Authorization::Unspoken);
        assert!(early.offer(Fork(1), Authorization::Granted));
        assert!(early.offer(Fork(2), Authorization::Granted));
        assert_eq!(early.heard(), Some(Fork(2)));
    }

    #[test]
    fn a_withheld_fork_is_not_heard() {
        let mut early = EarlyMedia::default();
        assert!(!early.offer(Fork(0), Authorization::Withheld));
        assert_eq!(early.heard(), None);
    }
}
