//! What the control plane counts.

iq::counters! {
    /// Every figure of the control plane. Counters only grow; gauges are marked so.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Counters {
        /// Gauge: WebSocket connections that are open.
        pub flows: u64,
        /// Gauge: connections with a registration.
        pub flows_registered: u64,
        /// Gauge: registrations, also those that wait for their browser to come back.
        pub registrations: u64,
        /// Gauge: registrations whose browser is away.
        pub registrations_in_grace: u64,
        /// Gauge: ports held towards the IMS.
        pub endpoints: u64,
        /// Gauge: identities of pools that are lent.
        pub identities_lent: u64,
        /// Gauge: calls.
        pub sessions: u64,
        /// Gauge: subscriptions.
        pub subscriptions: u64,
        /// Gauge: servers of the next hop that answer.
        pub next_hops_up: u64,
        /// Gauge: servers of the next hop that did not answer lately.
        pub next_hops_suspect: u64,
        /// Gauge: servers of the next hop that are down, or asked to be left alone.
        pub next_hops_down: u64,
        /// Gauge: trunks whose peer holds their registration.
        pub trunks_registered: u64,
        /// Gauge: trunks whose peer does not hold the registration that it should.
        pub trunks_unregistered: u64,

        /// NOTIFYs about users' registrations that the core sent.
        pub reg_events: u64,
        /// Subscriptions to users' registrations that the core did not take.
        pub watches_refused: u64,
        /// Registrations that the network ended by itself.
        pub deregistered_by_network: u64,
        /// Registrations that the network gave less time.
        pub registrations_shortened: u64,
        /// REGISTERs of trunks that came to nothing.
        pub trunk_failures: u64,
        /// Connections that were opened.
        pub flows_opened: u64,
        /// Connections that ended, whoever ended them.
        pub flows_closed: u64,
        /// Connections closed because nobody logged in in time (4001).
        pub flows_unauthenticated_timeout: u64,
        /// Connections closed for too many failed requests or malformed messages (1008).
        pub flows_flooded: u64,
        /// Connections closed because the browser came back on another one (4002).
        pub flows_superseded: u64,
        /// Keepalives that a browser sent as CRLF.
        pub keepalives: u64,

        /// SIP messages from browsers.
        pub access_messages: u64,
        /// SIP messages from the IMS.
        pub ims_messages: u64,
        /// Messages of browsers that did not parse.
        pub access_malformed: u64,
        /// Messages of the IMS that did not parse.
        pub ims_malformed: u64,
        /// Messages on an endpoint from an address that is not the next hop's.
        pub ims_untrusted: u64,
        /// Responses that belong to no transaction.
        pub stray_responses: u64,
        /// ACKs that belong to no call.
        pub stray_acks: u64,
        /// Requests turned away because their connection has no registration.
        pub requests_unregistered: u64,
        /// Requests turned away because of their method (405).
        pub requests_method_not_allowed: u64,
        /// Requests turned away because they demand an unknown extension (420).
        pub requests_bad_extension: u64,
        /// Requests turned away because they went in circles (483).
        pub requests_too_many_hops: u64,
        /// Requests inside a dialog that does not exist (481).
        pub requests_no_dialog: u64,
        /// Requests turned away because their sender sends too many (503).
        pub requests_too_many: u64,
        /// Requests turned away because the box is short of time (503).
        pub requests_shed: u64,
        /// Gauge: how short of time the box is, from 0 to 3.
        pub pressure: u64,
        /// OPTIONS answered.
        pub options_answered: u64,

        /// Challenges of the core that the box answered with stored credentials.
        pub challenges_answered: u64,
        /// Sets of IPsec associations that were made.
        pub security_agreements: u64,
        /// REGISTERs that failed because there were none.
        pub security_failures: u64,
        /// REGISTERs from browsers that were relayed.
        pub registers_relayed: u64,
        /// Challenges relayed to browsers.
        pub challenges: u64,
        /// Challenges that came twice in a row and were marked stale for the client to try again.
        pub challenges_repeated: u64,
        /// New registrations that the core accepted.
        pub registrations_made: u64,
        /// Registrations that the core accepted again.
        pub registrations_refreshed: u64,
        /// REGISTERs that ended in a failure other than a challenge.
        pub registrations_failed: u64,
        /// Wrong passwords.
        pub passwords_wrong: u64,
        /// Log-ins that were turned away after too many wrong passwords.
        pub log_ins_locked: u64,
        /// Registrations that waited for their turn.
        pub registrations_queued: u64,
        /// Registrations that were told to come later, the queue being too long.
        pub registrations_put_off: u64,
        /// Browsers that came back to their registration.
        pub registrations_reattached: u64,
        /// Attempts on another connection's registration that were turned away.
        pub reattachments_refused: u64,
        /// Registrations ended by the browser.
        pub deregistered_by_browser: u64,
        /// Registrations that were not refreshed in time.
        pub deregistered_by_expiry: u64,
        /// Registrations whose browser did not come back in time.
        pub deregistered_by_grace: u64,
        /// Registrations that the core ended.
        pub deregistered_by_core: u64,
        /// Times that the core had lost a user and asked for a new registration.
        pub registrations_lost_by_core: u64,
        /// Registrations ended because their token was revoked.
        pub registrations_revoked: u64,
        /// Questions to identity providers without a usable answer.
        pub providers_unanswered: u64,
        /// Tickets given for tokens.
        pub tickets_given: u64,
        /// Connections with a ticket that was worth nothing, and pages that got none.
        pub tickets_refused: u64,
        /// De-registrations by the box that the core challenged: they end by expiring.
        pub deregistrations_unconfirmed: u64,

        /// Requests that went by TCP because of their size (RFC 3261 §18.1.1).
        pub requests_moved_to_stream: u64,
        /// Of those, the ones that fell back to UDP.
        pub requests_moved_back: u64,
        /// Times that a request went to another server of the next hop.
        pub next_hop_failovers: u64,
        /// OPTIONS that asked a server of the next hop whether it is there.
        pub probes_sent: u64,
        /// Of those, the ones that were not answered.
        pub probes_unanswered: u64,

        /// Calls begun by a browser.
        pub calls_from_access: u64,
        /// Calls begun by the IMS.
        pub calls_from_ims: u64,
        /// Calls that were answered.
        pub calls_answered: u64,
        /// Times that another dialog took the place of a call's (Replaces).
        pub calls_replaced: u64,
        /// REFERs that were handed on.
        pub referrals: u64,
        /// Messages and other requests outside calls that were handed on.
        pub exchanges: u64,
        /// Subscriptions that were handed on.
        pub subscriptions_made: u64,
        /// Calls turned away for lack of capacity or by a limit.
        pub calls_refused: u64,
        /// Calls turned away because the dial plan does not allow their number.
        pub calls_barred: u64,
        /// Calls turned away because their user began too many in a minute.
        pub calls_too_fast: u64,
    }
}
