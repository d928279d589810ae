//! Lists of option tags, RFC 3261 §19.2: Require, Proxy-Require, Supported,
//! Unsupported; and of methods: Allow.

use std::fmt;

use super::Typed;
use crate::message::header_name::HeaderName;
use crate::message::method::Method;
use crate::message::scan::is_token;

/// The name of an extension, such as `100rel`; compared without regard to case.
#[derive(Clone, Debug)]
pub struct OptionTag(Box<str>);

impl OptionTag {
    /// The tag.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is this extension.
    #[must_use]
    pub fn is(&self, tag: &str) -> bool {
        self.0.eq_ignore_ascii_case(tag)
    }
}

impl PartialEq for OptionTag {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for OptionTag {}

impl From<&str> for OptionTag {
    fn from(tag: &str) -> Self {
        OptionTag(tag.into())
    }
}

macro_rules! option_tags {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $name(pub OptionTag);

            impl $name {
                /// Whether it is this extension.
                #[must_use]
                pub fn is(&self, tag: &str) -> bool {
                    self.0.is(tag)
                }
            }

            impl Typed for $name {
                const NAME: HeaderName = HeaderName::$name;
                const MAY_BE_EMPTY: bool = true;

                fn parse(value: &str) -> Option<Self> {
                    is_token(value).then(|| $name(value.into()))
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str(&self.0.0)
                }
            }
        )*
    };
}

option_tags! {
    /// RFC 3261 §20.32.
    Require;
    /// RFC 3261 §20.29.
    ProxyRequire;
    /// RFC 3261 §20.37.
    Supported;
    /// RFC 3261 §20.40.
    Unsupported;
}

/// RFC 3261 §20.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow(pub Method);

impl Typed for Allow {
    const NAME: HeaderName = HeaderName::Allow;
    const MAY_BE_EMPTY: bool = true;

    fn parse(value: &str) -> Option<Self> {
        Method::parse(value).map(Allow)
    }
}

impl fmt::Display for Allow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
