//! What the parser takes and what it refuses: the torture messages of RFC 4475 and RFC
//! 5118, the 25 messages that other parsers were measured with, round trips of random
//! messages, and a second opinion.

#![allow(clippy::unwrap_used, missing_docs)]

mod first_list;
mod round_trip;
mod second_opinion;
mod torture;
