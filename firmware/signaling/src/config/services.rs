//! What the users of a tenant may do beside a plain call, and what the box does for them.

/// The services of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Preconditions of quality of service towards the core, RFC 3312.
    pub preconditions: PreconditionPolicy,
    /// Whether the core may refer a browser to somebody else (REFER, RFC 3515). Browsers
    /// may always refer their own calls.
    pub refer_from_ims: bool,
    /// Event packages (RFC 6665 §4.4) that users may subscribe to and publish. `refer` needs
    /// no entry: it lives inside calls.
    pub event_packages: Vec<String>,
    /// Whether users may publish (RFC 3903).
    pub publish: bool,
    /// Content types of messages (RFC 3428) that pass.
    pub message_types: Vec<String>,
    /// How many messages a user may send in a minute.
    pub messages_per_minute: u32,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        ServiceConfig {
            preconditions: PreconditionPolicy::default(),
            refer_from_ims: false,
            // `dialog` tells others whom a user talks to.
            event_packages: list(&["reg", "message-summary", "presence", "conference"]),
            publish: false,
            message_types: list(&["text/plain", "message/cpim"]),
            messages_per_minute: 60,
        }
    }
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
