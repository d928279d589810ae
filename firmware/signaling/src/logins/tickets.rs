//! Tickets: a token is exchanged over HTTPS for a word that may stand in the WebSocket's
//! URL, because it is worth nothing the second time and after a minute.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use iq::Private;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::auth::Token;
use crate::deadlines::Deadlines;

/// Tickets that were given out and not used.
#[derive(Debug, Default)]
pub(super) struct Tickets {
    table: BTreeMap<Private<String>, (u64, Token)>,
    by_number: BTreeMap<u64, Private<String>>,
    deadlines: Deadlines<u64>,
    given: u64,
}

impl Tickets {
    /// Gives a ticket for a token that is believed.
    pub(super) fn give(
        &mut self,
        token: Token,
        now: Instant,
        rng: &mut ChaCha20Rng,
    ) -> Private<String> {
        if self.table.len() >= MOST
            && let Some(oldest) = self.by_number.keys().next().copied()
        {
            self.drop_number(oldest);
        }
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        let ticket = random.iter().map(|octet| format!("{octet:02x}"));
        let ticket = Private::new(ticket.collect::<String>());
        self.given += 1;
        self.table.insert(ticket.clone(), (self.given, token));
        self.by_number.insert(self.given, ticket.clone());
        self.deadlines.set(self.given, Some(now + LIFE));
        ticket
    }

    /// Takes a ticket back for its token.
    pub(super) fn redeem(&mut self, ticket: &Private<String>) -> Option<Token> {
        let (number, token) = self.table.remove(ticket)?;
        self.by_number.remove(&number);
        self.deadlines.set(number, None);
        Some(token)
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(number) = self.deadlines.take_due(now) {
            self.drop_number(number);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn drop_number(&mut self, number: u64) {
        if let Some(ticket) = self.by_number.remove(&number) {
            self.table.remove(&ticket);
        }
        self.deadlines.set(number, None);
    }
}

/// How long a ticket is good.
pub(super) const LIFE: Duration = Duration::from_secs(60);
/// More than the pages that load in a minute.
const MOST: usize = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn a_ticket_is_good_once_and_for_a_minute() {
        let (start, mut rng) = (Instant::now(), ChaCha20Rng::seed_from_u64(1));
        let mut tickets = Tickets::default();
        let token = Token::parse("abc").unwrap();
        let one = tickets.give(token.clone(), start, &mut rng);
        let other = tickets.give(token.clone(), start, &mut rng);
        assert_ne!(one, other);
        assert_eq!(tickets.redeem(&one), Some(token));
        assert_eq!(tickets.redeem(&one), None);
        tickets.handle_timeout(start + LIFE);
        assert_eq!(tickets.redeem(&other), None);
        assert_eq!(tickets.poll_timeout(), None);
    }

    #[test]
    fn the_oldest_ticket_goes_when_there_are_too_many() {
        let (start, mut rng) = (Instant::now(), ChaCha20Rng::seed_from_u64(1));
        let mut tickets = Tickets::default();
        let token = Token::parse("abc").unwrap();
        let first = tickets.give(token.clone(), start, &mut rng);
        for _ in 0..MOST {
            tickets.give(token.clone(), start, &mut rng);
        }
        assert_eq!(tickets.table.len(), MOST);
        assert_eq!(tickets.redeem(&first), None);
    }
}
