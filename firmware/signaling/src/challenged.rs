//! Requests of calls that the core challenges (RFC 3261 §22.2, §22.3, TS 33.203 Annex N) for
//! a user whom the box registered: the box answers with the stored credentials and sends the
//! request again. The call does not see it, so from then on its requests are counted on
//! here: CSeq on the wire runs ahead of the call's own.

use std::collections::BTreeMap;

use iq::{Leg, Private, SessionId};

use crate::auth::digest::{Answer, Question, Verdict};
use crate::auth::{AuthenticationFailure, AuthenticationId};
use crate::config::TenantId;
use crate::identity::PrivateIdentity;
use crate::link::{Link, Owner};
use crate::message::headers::{CSeq, Digest};
use crate::message::{HeaderName, Method, Request, Response, StatusCode};
use crate::output::Output;
use crate::reaching::Spare;
use crate::registration::ImsPath;
use crate::transaction::ClientTransactionId;

/// What waits for its credentials, and how calls are numbered.
#[derive(Debug, Default)]
pub(crate) struct Challenged {
    /// Requests that were sent and have no final answer.
    sent: BTreeMap<ClientTransactionId, Resend>,
    held: BTreeMap<AuthenticationId, Held>,
    numbering: BTreeMap<SessionId, Numbering>,
}

/// A request as it can be sent again.
#[derive(Debug)]
struct Resend {
    session: SessionId,
    path: ImsPath,
    request: Request,
    user: PrivateIdentity,
    answers: u8,
}

#[derive(Debug)]
struct Held {
    first: ClientTransactionId,
    resend: Resend,
    /// The same, if it could go to another server as well.
    spare: Option<Box<Spare>>,
    /// Where the credentials go.
    header: HeaderName,
    is_cancelled: bool,
}

/// The numbers of one call towards the IMS.
#[derive(Debug, Default)]
struct Numbering {
    /// How far CSeq on the wire is ahead.
    ahead: u32,
    /// INVITEs, which ACKs belong to.
    invites: Vec<Invite>,
}

#[derive(Debug)]
struct Invite {
    own: u32,
    wire: u32,
    credentials: Option<(HeaderName, Digest)>,
}

/// What becomes of a final response.
#[derive(Debug)]
pub(crate) enum Challenge {
    /// It is none that the box answers.
    None,
    /// The request will be sent again.
    Answering,
    /// It was answered before, in vain: the call hears this.
    Refused(SessionId, ClientTransactionId, Box<Response>),
}

impl Link {
    /// Sends a request of a call towards the IMS for a user whom the box registered. With a
    /// tenant it begins the call, and any of his servers may take it.
    pub(crate) fn send_on_behalf(
        &mut self,
        session: SessionId,
        tenant: Option<TenantId>,
        path: &ImsPath,
        mut request: Request,
        user: PrivateIdentity,
    ) -> ClientTransactionId {
        let numbering = self.challenged.numbering.entry(session).or_default();
        numbering.number(&mut request);
        let owner = Owner::Session(session, Leg::Ims);
        let first = match tenant {
            Some(tenant) => self.send_call(owner, tenant, path, request.clone()),
            None => self.send_to_ims(owner, path, request.clone()),
        };
        let resend = Resend {
            session,
            path: *path,
            request,
            user,
            answers: 0,
        };
        self.challenged.sent.insert(first, resend);
        first
    }

    /// Gives an ACK to a 2xx the number and the credentials of its INVITE, RFC 3261
    /// §13.2.2.4.
    pub(crate) fn match_ack(&self, session: SessionId, ack: &mut Request) {
        let Some(numbering) = self.challenged.numbering.get(&session) else {
            return;
        };
        let Ok(CSeq { number, method }) = ack.headers.cseq() else {
            return;
        };
        let mut invites = numbering.invites.iter();
        let Some(invite) = invites.find(|invite| invite.own == number) else {
            return;
        };
        let number = invite.wire;
        set_cseq(ack, CSeq { number, method });
        if let Some((header, credentials)) = &invite.credentials {
            ack.headers.push(header.clone(), credentials.to_string());
        }
    }

    /// Looks at a response to a request of a call.
    pub(crate) fn take_challenge(
        &mut self,
        transaction: ClientTransactionId,
        response: &Response,
    ) -> Challenge {
        let Some(client) = self.client(transaction).filter(|it| !it.is_superseded) else {
            return Challenge::None;
        };
        let (first, hop) = (client.first, client.hop);
        let header = match response.status {
            status if status.is_provisional() => return Challenge::None,
            StatusCode::UNAUTHORIZED => HeaderName::Authorization,
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => HeaderName::ProxyAuthorization,
            _ => {
                self.challenged.sent.remove(&first);
                return Challenge::None;
            }
        };
        let Some(mut resend) = self.challenged.sent.remove(&first) else {
            return Challenge::None;
        };
        let spare = self.forget(transaction).and_then(|client| client.spare);
        if let Some(hop) = hop {
            self.hop_answered(hop, response);
        }
        if resend.answers >= ANSWERS_MAX {
            let refusal = Box::new(refusal(response));
            return Challenge::Refused(resend.session, first, refusal);
        }
        resend.answers += 1;
        self.counters.challenges_answered += 1;
        let challenges = if header == HeaderName::Authorization {
            let found = response.headers.www_authenticate().map(|it| it.0);
            found.take(CHALLENGES_MAX).collect()
        } else {
            let found = response.headers.proxy_authenticate().map(|it| it.0);
            found.take(CHALLENGES_MAX).collect()
        };
        let question = Question {
            method: resend.request.method.clone(),
            uri: Private::new(resend.request.uri.to_string()),
            challenges,
            count: 1,
            client_nonce: self.token(),
        };
        let id = self.authentication();
        let user = resend.user.clone();
        let held = Held {
            first,
            resend,
            spare,
            header,
            is_cancelled: false,
        };
        self.challenged.held.insert(id, held);
        self.push(Output::Authenticate {
            id,
            user,
            question: Box::new(question),
        });
        Challenge::Answering
    }

    /// Sends what waited for these credentials. If it cannot be sent, says what the call
    /// hears instead.
    pub(crate) fn handle_authenticated(
        &mut self,
        id: AuthenticationId,
        answer: Result<Box<Answer>, AuthenticationFailure>,
    ) -> Option<(SessionId, ClientTransactionId, Response)> {
        let held = self.challenged.held.remove(&id)?;
        let Held {
            first,
            mut resend,
            mut spare,
            header,
            is_cancelled,
        } = held;
        let session = resend.session;
        let failed = |status| {
            Some((
                session,
                first,
                Response::to_request(&resend.request, status),
            ))
        };
        if is_cancelled {
            return failed(StatusCode::REQUEST_TERMINATED);
        }
        let credentials = match answer.map(|answer| *answer) {
            Ok(answer) if answer.verdict != Verdict::ForeignNetwork => answer.credentials,
            Ok(_) | Err(_) => return failed(StatusCode::FORBIDDEN),
        };
        // Only this one knows which server it was led to.
        let request = match &mut spare {
            Some(spare) => spare.request(),
            None => &mut resend.request,
        };
        for name in [HeaderName::Authorization, HeaderName::ProxyAuthorization] {
            request.headers.remove(&name);
        }
        request
            .headers
            .push(header.clone(), credentials.to_string());
        let numbering = self.challenged.numbering.entry(session).or_default();
        numbering.number_again(request, (header, credentials));
        let owner = Owner::Session(session, Leg::Ims);
        match spare {
            Some(spare) => self.send_spare(owner, spare, Some(first)),
            None => self.send_again(owner, &resend.path, resend.request.clone(), first),
        };
        self.challenged.sent.insert(first, resend);
        None
    }

    /// Whether an INVITE that is cancelled waits for its credentials: it is not sent then.
    pub(crate) fn cancel_held(&mut self, invite: ClientTransactionId) -> bool {
        let mut held = self.challenged.held.values_mut();
        let found = held.find(|held| held.first == invite);
        found.map(|held| held.is_cancelled = true).is_some()
    }

    /// Nobody waits any more for a request that waits for its credentials.
    pub(crate) fn abandon_held(&mut self, first: ClientTransactionId) {
        self.challenged.sent.remove(&first);
        self.challenged.held.retain(|_, held| held.first != first);
    }

    /// A call is over.
    pub(crate) fn forget_session(&mut self, session: SessionId) {
        self.challenged.numbering.remove(&session);
        let is_his = |resend: &Resend| resend.session == session;
        self.challenged.sent.retain(|_, it| !is_his(it));
        self.challenged.held.retain(|_, it| !is_his(&it.resend));
    }
}

impl Numbering {
    fn number(&mut self, request: &mut Request) {
        let Ok(CSeq { number, method }) = request.headers.cseq() else {
            return;
        };
        let wire = number.saturating_add(self.ahead);
        if request.method == Method::Invite {
            if self.invites.len() == INVITES_MAX {
                self.invites.remove(0);
            }
            self.invites.push(Invite {
                own: number,
                wire,
                credentials: None,
            });
        }
        if self.ahead > 0 {
            let number = wire;
            set_cseq(request, CSeq { number, method });
        }
    }

    /// RFC 3261 §22.2: a request that is sent anew counts on.
    fn number_again(&mut self, request: &mut Request, credentials: (HeaderName, Digest)) {
        let Ok(CSeq { number, method }) = request.headers.cseq() else {
            return;
        };
        self.ahead = self.ahead.saturating_add(1);
        let wire = number.saturating_add(1);
        let mut invites = self.invites.iter_mut();
        if method == Method::Invite
            && let Some(invite) = invites.find(|invite| invite.wire == number)
        {
            invite.wire = wire;
            invite.credentials = Some(credentials);
        }
        let number = wire;
        set_cseq(request, CSeq { number, method });
    }
}

/// What a browser hears of a challenge that it cannot answer: it never saw it.
fn refusal(response: &Response) -> Response {
    let mut refusal = response.clone();
    refusal.status = StatusCode::FORBIDDEN;
    refusal.reason = "Credentials Not Accepted".into();
    for name in [HeaderName::WwwAuthenticate, HeaderName::ProxyAuthenticate] {
        refusal.headers.remove(&name);
    }
    refusal
}

fn set_cseq(request: &mut Request, cseq: CSeq) {
    request.headers.set(&cseq);
}

/// Answers to one request: the first, and one for a nonce that was stale.
const ANSWERS_MAX: u8 = 2;

/// More challenges than a server has algorithms are not looked at.
const CHALLENGES_MAX: usize = 8;

/// INVITEs of one call whose ACK may still be repeated.
const INVITES_MAX: usize = 8;
