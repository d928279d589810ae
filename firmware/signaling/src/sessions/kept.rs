//! Calls over a restart of the control plane: what is kept of them, and how they are taken up
//! again once the media plane has said what it still holds.

use std::collections::BTreeSet;
use std::time::Duration;

use iq::SessionId;
use serde::{Deserialize, Serialize};

use crate::event::EndReason;
use crate::kept::Clock;
use crate::link::Link;
use crate::reach::Hop;
use crate::registration::{Binding, BindingId, Registrations};
use crate::session::{Device, KeptSession, Session};
use crate::visited::Visited;

use super::view::View;
use super::{Entry, Sessions};

impl Sessions {
    /// The calls that may have changed since the last time.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<SessionId> {
        std::mem::take(&mut self.touched)
    }

    /// Has every call looked at again.
    pub(crate) fn touch_all(&mut self) {
        self.touched.extend(self.table.keys());
    }

    /// What is to be kept of a call; none unless it is up.
    pub(crate) fn record(&self, id: SessionId, clock: &Clock) -> Option<KeptCall> {
        let entry = self.table.get(&id)?;
        Some(KeptCall {
            binding: entry.binding().0,
            visited: entry.visited.clone(),
            hop: entry.hop,
            session: entry.session.record(clock)?,
        })
    }

    /// Takes up a call of an earlier life. No if its registration is not there any more.
    pub(crate) fn restore(
        &mut self,
        kept: KeptCall,
        link: &mut Link,
        registrations: &Registrations,
    ) -> bool {
        let (id, binding) = (kept.session.id, BindingId(kept.binding));
        let Some(tenant) = registrations.get(binding).map(Binding::tenant) else {
            return false;
        };
        if self.table.contains_key(&id) {
            return false;
        }
        let clock = link.clock;
        let mut view = View {
            session: id,
            tenant,
            visited: kept.visited.as_ref(),
            devices: &[binding],
            device: Device::default(),
            hop: kept.hop,
            link,
            registrations,
        };
        let Some(session) = Session::restore(kept.session, &clock, &mut view) else {
            return false;
        };
        let entry = Entry {
            session,
            tenant,
            visited: kept.visited,
            devices: vec![binding],
            tags: Vec::new(),
            hop: kept.hop,
        };
        self.insert(id, entry);
        self.unaudited.insert(id);
        self.audit_by = Some(link.instant() + AUDIT_PATIENCE);
        self.tidy(id);
        true
    }

    /// Media says what it holds: calls of an earlier life that it does not hold are over.
    pub(super) fn handle_audit(
        &mut self,
        held: &[SessionId],
        link: &mut Link,
        registrations: &Registrations,
    ) {
        self.audit_by = None;
        for id in std::mem::take(&mut self.unaudited) {
            if !held.contains(&id) {
                self.with(id, link, registrations, |session, view| {
                    session.end(EndReason::MediaFailed, view);
                });
            }
        }
    }
}

/// What is kept of a call over a restart.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptCall {
    binding: u64,
    /// What is said of it in the core, where the box is a part of that.
    #[serde(default)]
    visited: Option<Visited>,
    /// The server that it went or came through.
    #[serde(default)]
    hop: Option<Hop>,
    session: KeptSession,
}

/// How long the media plane may be away when the control plane starts.
const AUDIT_PATIENCE: Duration = Duration::from_secs(15);
