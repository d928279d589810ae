//! The cases, each once with JsSIP and once with SIP.js.

mod calls;
mod core;
mod dialogs;
mod failures;
mod network;
mod registration;

use crate::lab::Stage;

/// A case: its name and what is done.
#[derive(Clone, Copy)]
pub struct Case {
    /// What `cargo xtask interop` calls it, after the client's name and a slash.
    pub name: &'static str,
    /// What is done; the check for leaks and leftovers follows by itself.
    pub run: fn(&mut Stage<'_>) -> anyhow::Result<()>,
}

/// The clients in the browser.
pub const CLIENTS: &[&str] = &["jssip", "sipjs"];

/// What the core and the telephones can do without a gateway: if these fail, look there first.
pub const CORE_CASES: &[Case] = &[
    Case {
        name: "telephones",
        run: core::telephones,
    },
    Case {
        name: "scripts",
        run: core::scripts,
    },
];

/// All cases of the gateway, simplest first.
pub const CASES: &[Case] = &[
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
