//! A wrapper for what must not reach a log.

use serde::{Deserialize, Serialize};

/// An identity, a person's address, a key: `Debug` hides it, and the only way in
/// is called [`Private::reveal`], so that every look at it can be searched for.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Hides a value.
    pub const fn new(value: T) -> Self {
        Private(value)
    }

    /// Shows the value to code that needs it on the wire or in a comparison.
    pub const fn reveal(&self) -> &T {
        &self.0
    }

    /// Unwraps the value.
    pub fn into_revealed(self) -> T {
        self.0
    }
}

impl<T> From<T> for Private<T> {
    fn from(value: T) -> Self {
        Private(value)
    }
}

impl<T> std::fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<private>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_value_never_prints() {
        let number = Private::new("+390401234567");
        assert_eq!(format!("{number:?}"), "<private>");
        assert_eq!(*number.reveal(), "+390401234567");
    }
}
