//! The cipher behind SRTP: a trait for whole batches, and the CPU's own.
