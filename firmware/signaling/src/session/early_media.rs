//! Early media of a call that forked, RFC 3960 and RFC 5009: a browser takes one
//! answer, so one fork is heard at a time until a fork wins the call.
//!
//! Left out: choosing by the first RTP packet, since the strict source check of the
//! media plane lets packets of the chosen fork in only.

use std::collections::BTreeMap;

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

/// Which fork is heard before the call is answered: the latest that the network vouches
/// for, else the first that has an answer.
#[derive(Clone, Debug, Default)]
pub(super) struct EarlyMedia {
    forks: BTreeMap<Fork, Branch>,
    heard: Option<Fork>,
    grants: u32,
    /// Whether only what is granted may be heard.
    is_gated: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Branch {
    has_answer: bool,
    authorization: Authorization,
    /// Which grant of the call was this fork's last.
    granted: u32,
}

impl EarlyMedia {
    /// From now on only what the network grants is heard.
    pub(super) fn gate(&mut self) {
        self.is_gated = true;
    }

    /// Whether a description came that may not be heard, nor any other.
    #[must_use]
    pub(super) fn is_withheld(&self) -> bool {
        self.is_gated && self.heard.is_none() && self.forks.values().any(|it| it.has_answer)
    }

    /// A fork gave its description.
    pub(super) fn answered(&mut self, fork: Fork) {
        self.forks.entry(fork).or_default().has_answer = true;
    }

    /// What came with a message of a fork; saying nothing changes nothing (RFC 5009 §6).
    pub(super) fn authorize(&mut self, fork: Fork, authorization: Authorization) {
        let branch = self.forks.entry(fork).or_default();
        if authorization == Authorization::Unspoken || authorization == branch.authorization {
            return;
        }
        branch.authorization = authorization;
        if authorization == Authorization::Granted {
            self.grants += 1;
            branch.granted = self.grants;
        }
    }

    /// A fork is over (199, RFC 6228).
    pub(super) fn ended(&mut self, fork: Fork) {
        self.forks.remove(&fork);
    }

    /// The fork that is to be heard from now on, if it is another one than before.
    pub(super) fn choose(&mut self) -> Option<Fork> {
        let best = self.granted().or_else(|| {
            let stays = self.heard.filter(|fork| self.is_audible(*fork));
            stays.or_else(|| self.forks.keys().copied().find(|it| self.is_audible(*it)))
        });
        let best = best.filter(|best| Some(*best) != self.heard)?;
        self.heard = Some(best);
        Some(best)
    }

    /// Whether the fork that was heard may not be heard any more, and none is in its place.
    #[must_use]
    pub(super) fn is_muted(&self) -> bool {
        self.heard.is_some_and(|heard| !self.is_audible(heard))
    }

    fn granted(&self) -> Option<Fork> {
        let vouched = self.forks.iter().filter(|(_, branch)| {
            branch.has_answer && branch.authorization == Authorization::Granted
        });
        vouched
            .max_by_key(|(_, branch)| branch.granted)
            .map(|(fork, _)| *fork)
    }

    fn is_audible(&self, fork: Fork) -> bool {
        self.forks.get(&fork).is_some_and(|branch| {
            branch.has_answer
                && match branch.authorization {
                    Authorization::Granted => true,
                    Authorization::Unspoken => !self.is_gated,
                    Authorization::Withheld => false,
                }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(early: &mut EarlyMedia, fork: u8, authorization: Authorization) -> Option<Fork> {
        early.answered(Fork(fork));
        early.authorize(Fork(fork), authorization);
        early.choose()
    }

    #[test]
    fn the_first_fork_is_heard_and_a_second_one_does_not_take_over() {
        let mut early = EarlyMedia::default();
        assert_eq!(
            answered(&mut early, 0, Authorization::Unspoken),
            Some(Fork(0))
        );
        assert_eq!(answered(&mut early, 1, Authorization::Unspoken), None);
        assert_eq!(answered(&mut early, 0, Authorization::Unspoken), None);
    }

    #[test]
    fn the_latest_fork_that_the_network_vouches_for_takes_over() {
        let mut early = EarlyMedia::default();
        answered(&mut early, 0, Authorization::Unspoken);
        assert_eq!(
            answered(&mut early, 2, Authorization::Granted),
            Some(Fork(2))
        );
        assert_eq!(
            answered(&mut early, 1, Authorization::Granted),
            Some(Fork(1))
        );
        // It said so before.
        assert_eq!(answered(&mut early, 2, Authorization::Granted), None);
    }

    #[test]
    fn a_withheld_fork_is_not_heard_until_it_is_granted() {
        let mut early = EarlyMedia::default();
        assert_eq!(answered(&mut early, 0, Authorization::Withheld), None);
        assert!(!early.is_muted());
        early.authorize(Fork(0), Authorization::Granted);
        assert_eq!(early.choose(), Some(Fork(0)));
        early.authorize(Fork(0), Authorization::Withheld);
        assert_eq!(early.choose(), None);
        assert!(early.is_muted());
    }

    #[test]
    fn the_next_fork_is_heard_when_one_is_over() {
        let mut early = EarlyMedia::default();
        answered(&mut early, 0, Authorization::Unspoken);
        answered(&mut early, 1, Authorization::Unspoken);
        early.ended(Fork(0));
        assert_eq!(early.choose(), Some(Fork(1)));
        early.ended(Fork(1));
        assert_eq!(early.choose(), None);
        assert!(early.is_muted());
    }
}
