//! A core that has lost what it knew of a user: an S-CSCF that was started again, or one that
//! took over, asks for an initial registration in a 504 (TS 24.229 §5.4.3.2, §5.1.2A.1.6). For
//! a user whom the box keeps registered it registers afresh by itself; who keeps himself
//! registered is told so by the close of his connection, and his calls have the grace.

use iq::Leg;

use crate::Signaling;
use crate::event::Event;
use crate::flow::Closing;
use crate::link::{Link, Owner};
use crate::message::{Host, NameAddr, Response, SipUri, StatusCode};
use crate::transaction::ClientTransactionId;
use crate::xml::AlternativeService;

use super::attempt::Origin;
use super::binding::{Binding, BindingId, State};
use super::on_behalf::OnBehalf;
use super::{Change, Registrations};

impl Signaling {
    /// Whose request outside a registration it was that the core answers.
    pub(crate) fn user_of(&self, owner: Owner, sent: ClientTransactionId) -> Option<BindingId> {
        match owner {
            Owner::Session(session, Leg::Ims) => self.sessions.user_of(session),
            Owner::Exchange => self.exchanges.user_of(sent),
            Owner::Session(_, Leg::Access)
            | Owner::Subscription(_)
            | Owner::Watch(_)
            | Owner::Binding(_)
            | Owner::Probe => None,
        }
    }
}

impl Registrations {
    /// Takes the core's answer to a request of a user, which may say that it has lost him.
    pub(crate) fn heed_restoration(&mut self, id: BindingId, response: &Response, link: &mut Link) {
        let Some(binding) = self.table.get_mut(&id) else {
            return;
        };
        let is_idle = binding.registered().is_some() && binding.attempt.is_none();
        if !is_idle || !wants_registration(response) || !binding.is_from_his_core(response) {
            return;
        }
        let kept = binding.on_behalf.as_ref().and_then(OnBehalf::asked);
        let flow = match &binding.state {
            State::Registered(_) => binding.flow,
            _ => None, // Who comes back registers anyway.
        };
        if kept.is_none() && flow.is_none() {
            return;
        }
        link.counters.registrations_lost_by_core += 1;
        link.event(Event::CoreForgot {
            endpoint: binding.endpoint,
            identity: binding.key.identity.clone(),
            is_kept: kept.is_some(),
        });
        if let Some(asked) = kept {
            binding.forget_proof();
            if let Some(security) = &mut binding.security {
                security.forget();
            }
            self.begin(id, Origin::Refresh, asked, link);
            self.reschedule(id);
        } else if let Some(flow) = flow {
            self.changes
                .push_back(Change::Close(flow, Closing::RegisterAgain));
        }
    }
}

/// Whether an answer asks for an initial registration, TS 24.229 §7.6.
fn wants_registration(response: &Response) -> bool {
    let content_type = response.headers.content_type().ok().flatten();
    response.status == StatusCode::SERVER_TIME_OUT
        && content_type.is_some_and(|it| it.is(AlternativeService::MEDIA_TYPE))
        && AlternativeService::parse(&response.body)
            .is_some_and(|service| service.wants_registration())
}

impl Binding {
    /// Whether an answer is signed by a server of the user's way into the core. The far end of
    /// a call could write the rest, but P-Asserted-Identity is the core's own to say.
    fn is_from_his_core(&self, response: &Response) -> bool {
        let host_of = |address: &NameAddr| address.uri.as_sip().map(SipUri::host);
        let routes = self.registered().map(|it| it.service_route.iter());
        let route_hosts = routes.into_iter().flatten().filter_map(host_of);
        let hop = self.next_hop.map(|hop| Host::from(hop.address.ip()));
        let own: Vec<Host> = route_hosts.chain(hop).collect();
        let asserted = response.headers.p_asserted_identities();
        let mut hosts = asserted.iter().flatten().filter_map(host_of);
        hosts.any(|host| own.contains(&host))
    }
}
