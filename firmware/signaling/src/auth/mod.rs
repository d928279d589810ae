//! Who users are, and how the box proves it: the answers to a core's challenges that it
//! gives on a user's behalf.

pub mod aka;
pub mod credential;
pub mod digest;
mod milenage;

pub use credential::Credential;
