//! Media sockets and the threads that own them: W3 towards browsers, Mb towards the IMS.

mod ports;
mod socket;
mod worker;

pub use socket::raise_file_limit;
pub(crate) use socket::{keep_icmp_errors, take_icmp_error};
pub use worker::{Commands, Settings, Snapshot, Worker, WorkerCounters, WorkerError};
