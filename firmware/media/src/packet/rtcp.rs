//! Compound RTCP packets in place, RFC 3550 §6.
