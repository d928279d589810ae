//! Behaviours that can be taken out of the tree, each with the test that must notice.

/// One behaviour: what to change to be without it.
pub(super) struct Switch {
    /// The clause, as the mark above the test has it.
    pub(super) clause: &'static str,
    /// The test that shows the behaviour.
    pub(super) test: &'static str,
    /// The package that the test is in.
    pub(super) package: &'static str,
    /// Where the behaviour is, from the root of the tree.
    pub(super) file: &'static str,
    /// What stands there, once.
    pub(super) from: &'static str,
    /// What stands there without the behaviour.
    pub(super) to: &'static str,
}

/// All of them; the first is the quickest to build.
pub(super) const SWITCHES: [Switch; 12] = [
    Switch {
        clause: "RFC 3711 §3.3.2",
        test: "an_index_passes_once_and_only_inside_the_window",
        package: "media",
        file: "firmware/media/src/srtp/replay.rs",
        from: "highest - index < Self::SIZE && !self.is_seen(index)",
        to: "highest - index < Self::SIZE",
    },
    Switch {
        clause: "RFC 7675 §5.1",
        test: "nothing_is_sent_thirty_seconds_after_the_last_check",
        package: "media",
        file: "firmware/media/src/peer/ice.rs",
        from: ".position(|pair| pair.checked + CONSENT <= now)?;",
        to: ".position(|pair| pair.checked + 100 * CONSENT <= now)?;",
    },
    Switch {
        clause: "RFC 5763 §5",
        test: "another_certificate_or_none_gives_no_keys",
        package: "media",
        file: "firmware/media/src/peer/dtls.rs",
        from: "Some(keys) if is_promised =>",
        to: "Some(keys) if is_promised || true =>",
    },
    Switch {
        clause: "RFC 8489 §6.3.1",
        test: "unknown_attributes_are_named_in_the_answer",
        package: "media",
        file: "firmware/media/src/packet/stun.rs",
        from: "self.unknown_count += 1;",
        to: "",
    },
    Switch {
        clause: "RFC 7983 §7",
        test: "the_first_octets_tell_the_protocol",
        package: "media",
        file: "firmware/media/src/demux.rs",
        from: "20..=63 if datagram.len()",
        to: "20..=22 if datagram.len()",
    },
    Switch {
        clause: "RFC 3261 §18.1.1",
        test: "a_long_invite_goes_by_tcp_and_falls_back_to_udp",
        package: "signaling",
        file: "firmware/signaling/src/link.rs",
        from: "const DATAGRAM_MAX: usize = 1300;",
        to: "const DATAGRAM_MAX: usize = 65_000;",
    },
    Switch {
        clause: "RFC 6026 §7.2",
        test: "every_fork_may_accept_while_copies_can_come",
        package: "signaling",
        file: "firmware/signaling/src/transaction/invite_client.rs",
        from: "State::Accepted if response.is_success() => self.deliver(response),",
        to: "State::Accepted if response.is_success() => {}",
    },
    Switch {
        clause: "RFC 4028 §10",
        test: "a_core_that_refreshes_itself_and_stops_loses_the_call",
        package: "signaling",
        file: "firmware/signaling/src/dialog/session_timer.rs",
        from: "expire_at: now + seconds(interval - margin),",
        to: "expire_at: now + seconds(interval - margin) * 100,",
    },
    Switch {
        clause: "TS 24.229 §4.4",
        test: "every_row_does_what_it_says_with_a_harmless_value",
        package: "signaling",
        file: "firmware/signaling/src/policy/gm.rs",
        from: "row(HeaderName::PAssertedIdentity, Strip,",
        to: "row(HeaderName::PAssertedIdentity, Pass,",
    },
    Switch {
        clause: "RFC 3325 §9.3",
        test: "who_wants_privacy_gets_it_at_the_border",
        package: "signaling",
        file: "firmware/signaling/src/policy/mod.rs",
        from: "Check::UnlessPrivate => (!is_private).then(",
        to: "Check::UnlessPrivate => (!is_private || true).then(",
    },
    Switch {
        clause: "RFC 5626 §3.5.1",
        test: "keepalives_are_answered",
        package: "signaling",
        file: "firmware/signaling/src/dispatch.rs",
        from: r#"self.link.deliver(&peer, Bytes::from_static(b"\r\n"));"#,
        to: "",
    },
    Switch {
        clause: "RFC 3261 §16.3",
        test: "what_is_not_served_is_refused_by_its_reason",
        package: "signaling",
        file: "firmware/signaling/src/dispatch.rs",
        from: ".is_some_and(|hops| hops.0 == 0)",
        to: ".is_some_and(|hops| hops.0 == 255)",
    },
];
