//! What is known of one direction of a leg: loss and jitter as RFC 3550 §A.1, §A.3 and §A.8.
