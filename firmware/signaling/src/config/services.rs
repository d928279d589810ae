//! What the users of a tenant may do beside a plain call, and what the box does for them.

/// The services of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Preconditions of quality of service towards the core, RFC 3312.
    pub preconditions: PreconditionPolicy,
    /// Whether the core may refer a browser to somebody else (REFER, RFC 3515). Browsers
    /// may always refer their own calls.
    pub refer_from_ims: bool,
}

/// What the box does about preconditions of quality of service (RFC 3312, RFC 4032).
/// Browsers know nothing of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PreconditionPolicy {
    /// A call that demands them is turned away with 420; those of others are ignored.
    None,
    /// The box answers them: a browser is not alerted before the caller's side is ready.
    #[default]
    Answer,
    /// It answers them, and its own calls say that its side is ready.
    Offer,
}
