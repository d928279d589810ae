//! The cases: groups of them, each with a lane of the test run and the client its tabs run.

mod calls;
mod core;
mod crash;
mod dialogs;
mod early;
mod evil;
mod failures;
mod identity;
mod ipsec;
mod kernel_crypto;
mod messages;
mod mw;
mod network;
mod pool;
mod registration;
mod tls;
mod token_logins;
mod trace;
mod transfers;
mod trunk;

use std::path::Path;

pub use ipsec::GuestWorld;

use crate::gateway::Way;
use crate::lab::{CORE_ALONE, Stage};

/// A case: its name and what is done.
#[derive(Clone, Copy)]
pub struct Case {
    /// What `cargo xtask interop` calls it, after the client's name and a slash.
    pub name: &'static str,
    /// What is done; the check for leaks and leftovers follows by itself.
    pub run: fn(&mut Stage<'_>) -> anyhow::Result<()>,
}

/// A case inside the guest.
#[derive(Clone, Copy)]
pub struct GuestCase {
    /// What `cargo xtask interop` calls it, after `guest/`.
    pub name: &'static str,
    /// What is done inside.
    pub run: fn(&mut GuestWorld) -> anyhow::Result<()>,
    /// What is looked at outside, once the guest is gone, in its folder.
    pub check: fn(&Path) -> anyhow::Result<()>,
}

/// Cases that are run the same way.
#[derive(Clone, Copy)]
pub struct Group {
    /// What precedes a case's name, before a slash.
    pub name: &'static str,
    /// Which lane of the test run they are in.
    pub lane: Lane,
    /// Which SIP client the tabs run.
    pub client: &'static str,
    /// How the gateway is joined to the core.
    pub way: Way,
    /// The cases.
    pub cases: &'static [Case],
}

/// The lanes of the test run that this program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lane {
    /// Browsers, telephones and a core around the gateway.
    Interop,
    /// The ways into the IMS: what the core and the gateway do on each.
    Ims,
}

/// All groups, in the order they run in.
pub const GROUPS: &[Group] = &[
    Group {
        name: "core",
        lane: Lane::Interop,
        client: CORE_ALONE,
        way: Way::Gm,
        cases: CORE_CASES,
    },
    Group {
        name: "jssip",
        lane: Lane::Interop,
        client: "jssip",
        way: Way::Gm,
        cases: CASES,
    },
    Group {
        name: "sipjs",
        lane: Lane::Interop,
        client: "sipjs",
        way: Way::Gm,
        cases: CASES,
    },
    Group {
        name: "ims",
        lane: Lane::Ims,
        client: CORE_ALONE,
        way: Way::Gm,
        cases: IMS_CASES,
    },
    Group {
        name: "trace-gm",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Gm,
        cases: TRACE_CASES,
    },
    Group {
        name: "trace-mw",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Mw,
        cases: TRACE_CASES,
    },
    Group {
        name: "trace-trunk",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Trunk,
        cases: TRACE_CASES,
    },
    Group {
        name: "trunk",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Trunk,
        cases: TRUNK_CASES,
    },
    Group {
        name: "trunk-sipjs",
        lane: Lane::Ims,
        client: "sipjs",
        way: Way::Trunk,
        cases: TRUNK_CALL_CASES,
    },
    Group {
        name: "mw",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Mw,
        cases: MW_CASES,
    },
    Group {
        name: "mw",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Mw,
        cases: SERVICE_CASES,
    },
    Group {
        name: "tls",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::GmByTls,
        cases: TLS_CASES,
    },
    Group {
        name: "tls",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::GmByTlsElsewhere,
        cases: &[Case {
            name: "other-name",
            run: tls::other_name,
        }],
    },
    Group {
        name: "token-gm",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::GmByToken,
        cases: TOKEN_CASES,
    },
    Group {
        name: "token-gm-sipjs",
        lane: Lane::Ims,
        client: "sipjs",
        way: Way::GmByToken,
        cases: TOKEN_CALL_CASES,
    },
    Group {
        name: "token-mw",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::MwByToken,
        cases: TOKEN_CASES,
    },
    Group {
        name: "token-mw",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::MwByToken,
        cases: &[Case {
            name: "word-not-taken",
            run: token_logins::word_not_taken,
        }],
    },
    Group {
        name: "token-mw-sipjs",
        lane: Lane::Ims,
        client: "sipjs",
        way: Way::MwByToken,
        cases: TOKEN_CALL_CASES,
    },
    Group {
        name: "services-jssip",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Gm,
        cases: SERVICE_CASES,
    },
    Group {
        name: "services-jssip",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Gm,
        cases: GM_SERVICE_CASES,
    },
    Group {
        name: "services-sipjs",
        lane: Lane::Ims,
        client: "sipjs",
        way: Way::Gm,
        cases: SERVICE_CASES,
    },
    Group {
        name: "services-sipjs",
        lane: Lane::Ims,
        client: "sipjs",
        way: Way::Gm,
        cases: GM_SERVICE_CASES,
    },
    Group {
        name: "planes",
        lane: Lane::Ims,
        client: "jssip",
        way: Way::Gm,
        cases: PLANES_CASES,
    },
];

/// Writes `tests/fixtures/jssip-3.13.8/calls.json`; run by `--record` alone.
pub const RECORDING: Group = Group {
    name: "record",
    lane: Lane::Ims,
    client: "jssip",
    way: Way::Gm,
    cases: &[Case {
        name: "calls",
        run: trace::record,
    }],
};

/// The recorded browser on each way into the IMS.
const TRACE_CASES: &[Case] = &[Case {
    name: "calls",
    run: trace::replay,
}];

/// What a browser does through a gateway at the end of a SIP trunk.
const TRUNK_CALL_CASES: &[Case] = &[Case {
    name: "calls",
    run: trunk::calls,
}];

/// The same, and what a user with several browsers does.
const TRUNK_CASES: &[Case] = &[
    Case {
        name: "calls",
        run: trunk::calls,
    },
    Case {
        name: "several-browsers",
        run: trunk::several_browsers,
    },
];

/// What the core and the telephones can do without a gateway: if these fail, look there first.
const CORE_CASES: &[Case] = &[
    Case {
        name: "telephones",
        run: core::telephones,
    },
    Case {
        name: "scripts",
        run: core::scripts,
    },
];

/// What the core does on Mw without a gateway.
const IMS_CASES: &[Case] = &[
    Case {
        name: "trusted-node",
        run: mw::trusted_node,
    },
    Case {
        name: "trusted-node-refused",
        run: mw::trusted_node_refused,
    },
    Case {
        name: "digest-on-mw",
        run: mw::digest_on_mw,
    },
    Case {
        name: "identity-provider",
        run: identity::identity_provider,
    },
    Case {
        name: "tokens",
        run: identity::tokens,
    },
    Case {
        name: "opaque-tokens",
        run: identity::opaque_tokens,
    },
];

/// What a browser does through a gateway that is the P-CSCF.
const MW_CASES: &[Case] = &[
    Case {
        name: "register",
        run: registration::register,
    },
    Case {
        name: "wrong-password",
        run: registration::wrong_password,
    },
    Case {
        name: "deregister",
        run: registration::deregister,
    },
    Case {
        name: "ended-by-network",
        run: registration::ended_by_network,
    },
    Case {
        name: "call-out",
        run: calls::call_out,
    },
    Case {
        name: "call-in",
        run: calls::call_in,
    },
    Case {
        name: "two-users",
        run: calls::two_users,
    },
    Case {
        name: "browser-to-browser",
        run: calls::browser_to_browser,
    },
    Case {
        name: "hold-by-telephone",
        run: dialogs::hold_by_telephone,
    },
    Case {
        name: "offerless",
        run: calls::offerless,
    },
    Case {
        name: "reliable-provisional",
        run: calls::reliable_provisional,
    },
];

/// What a browser does through a gateway that talks TLS to the P-CSCF.
const TLS_CASES: &[Case] = &[
    Case {
        name: "register",
        run: tls::register,
    },
    Case {
        name: "deregister",
        run: tls::deregister,
    },
    Case {
        name: "call-out",
        run: tls::call_out,
    },
    Case {
        name: "call-in",
        run: tls::call_in,
    },
];

/// What a user who logs in by token does, and what is refused him.
const TOKEN_CASES: &[Case] = &[
    Case {
        name: "register",
        run: token_logins::register,
    },
    Case {
        name: "deregister",
        run: registration::deregister,
    },
    Case {
        name: "in-every-request",
        run: token_logins::in_every_request,
    },
    Case {
        name: "call-in",
        run: calls::call_in,
    },
    Case {
        name: "carriers",
        run: token_logins::carriers,
    },
    Case {
        name: "identities",
        run: token_logins::identities,
    },
    Case {
        name: "pool",
        run: pool::pool,
    },
    Case {
        name: "expiry",
        run: token_logins::expiry,
    },
    Case {
        name: "revocation",
        run: token_logins::revocation,
    },
    Case {
        name: "provider-away",
        run: token_logins::provider_away,
    },
    Case {
        name: "evil-tokens",
        run: token_logins::evil_tokens,
    },
];

/// What every client does that logs in by token.
const TOKEN_CALL_CASES: &[Case] = &[
    Case {
        name: "register",
        run: token_logins::register,
    },
    Case {
        name: "call-out",
        run: calls::call_out,
    },
    Case {
        name: "call-in",
        run: calls::call_in,
    },
];

/// What a call, a message and a subscription go through beyond the plain call, whatever
/// the gateway is to the core.
const SERVICE_CASES: &[Case] = &[
    Case {
        name: "forks",
        run: early::forks,
    },
    Case {
        name: "preconditions",
        run: early::preconditions,
    },
    Case {
        name: "anonymous",
        run: calls::anonymous,
    },
    Case {
        name: "message",
        run: messages::message,
    },
    Case {
        name: "message-between-browsers",
        run: messages::browser_to_browser,
    },
    Case {
        name: "subscription",
        run: messages::subscription,
    },
    Case {
        name: "refer-by-browser",
        run: transfers::refer_by_browser,
    },
    Case {
        name: "refer-forbidden",
        run: transfers::refer_forbidden,
    },
    Case {
        name: "attended-transfer",
        run: transfers::attended,
    },
    Case {
        name: "replaced",
        run: transfers::replaced,
    },
];

/// What the gateway lets a core do where it is a terminal to it.
const GM_SERVICE_CASES: &[Case] = &[Case {
    name: "refer-by-telephone",
    run: transfers::refer_by_telephone,
}];

/// What is left when the gateway's processes end badly.
const PLANES_CASES: &[Case] = &[
    Case {
        name: "control-killed",
        run: network::control_killed,
    },
    Case {
        name: "media-killed",
        run: network::media_killed,
    },
    Case {
        name: "aborted",
        run: crash::aborted,
    },
];

/// The cases inside the guest; all are of the lane `ims`.
pub const GUEST_CASES: &[GuestCase] = &[
    GuestCase {
        name: "sec-agree",
        run: ipsec::sec_agree,
        check: |folder| ipsec::was_protected(folder, "sec-agree"),
    },
    GuestCase {
        name: "ipsec-call",
        run: ipsec::call,
        check: |folder| ipsec::was_protected(folder, "ipsec-call"),
    },
    GuestCase {
        name: "kernel-crypto",
        run: kernel_crypto::conforms,
        check: |_| Ok(()),
    },
];

/// All cases of the gateway, simplest first.
const CASES: &[Case] = &[
    Case {
        name: "register",
        run: registration::register,
    },
    Case {
        name: "wrong-password",
        run: registration::wrong_password,
    },
    Case {
        name: "deregister",
        run: registration::deregister,
    },
    Case {
        name: "call-out",
        run: calls::call_out,
    },
    Case {
        name: "call-in",
        run: calls::call_in,
    },
    Case {
        name: "browser-to-browser",
        run: calls::browser_to_browser,
    },
    Case {
        name: "two-users",
        run: calls::two_users,
    },
    Case {
        name: "early-media",
        run: calls::early_media,
    },
    Case {
        name: "offerless",
        run: calls::offerless,
    },
    Case {
        name: "reliable-provisional",
        run: calls::reliable_provisional,
    },
    Case {
        name: "hold-by-browser",
        run: dialogs::hold_by_browser,
    },
    Case {
        name: "hold-by-telephone",
        run: dialogs::hold_by_telephone,
    },
    Case {
        name: "dtmf-out",
        run: dialogs::dtmf_out,
    },
    Case {
        name: "dtmf-in",
        run: dialogs::dtmf_in,
    },
    Case {
        name: "dtmf-info-out",
        run: dialogs::dtmf_info_out,
    },
    Case {
        name: "dtmf-info-in",
        run: dialogs::dtmf_info_in,
    },
    Case {
        name: "cancel-before-ringing",
        run: failures::cancel_before_ringing,
    },
    Case {
        name: "cancel-after-ringing",
        run: failures::cancel_after_ringing,
    },
    Case {
        name: "caller-gives-up",
        run: failures::caller_gives_up,
    },
    Case {
        name: "busy",
        run: failures::busy,
    },
    Case {
        name: "busy-browser",
        run: failures::busy_browser,
    },
    Case {
        name: "no-answer",
        run: failures::no_answer,
    },
    Case {
        name: "websocket-lost",
        run: network::websocket_lost,
    },
    Case {
        name: "tab-closed",
        run: network::tab_closed,
    },
    Case {
        name: "loss-on-access",
        run: network::loss_on_access,
    },
    Case {
        name: "loss-on-ims",
        run: network::loss_on_ims,
    },
    Case {
        name: "core-restarted",
        run: network::core_restarted,
    },
    Case {
        name: "ice-restarted",
        run: network::ice_restarted,
    },
    Case {
        name: "gateway-leaves",
        run: network::gateway_leaves,
    },
];
