//! Names of sessions and of their two sides.

use serde::{Deserialize, Serialize};

/// One call across both legs, unique over restarts of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionId {
    /// Which life of the controller made this session.
    pub epoch: u64,
    /// Counts up within that life.
    pub n: u64,
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.n)
    }
}

/// One side of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Leg {
    /// The browser's side, W2 and W3.
    Access,
    /// The operator's side, Gm or Mw, and Mb.
    Ims,
}

impl Leg {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Leg::Access => Leg::Ims,
            Leg::Ims => Leg::Access,
        }
    }
}
