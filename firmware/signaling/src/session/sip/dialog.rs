//! Dialogs, RFC 3261 §12.
use crate::message::{HeaderName, Headers, Method, NameAddr, Request, Response, StatusCode, Uri};
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    call_id: String,
    local: NameAddr,
    remote: NameAddr,
    target: Uri,
    routes: Vec<NameAddr>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}
impl Dialog {
    pub(super) fn of_caller(request: &Request, response: &Response) -> Option<Self> {
        let mut routes = response.headers.record_routes().ok()?;
        routes.reverse();
        let target = response
            .headers
            .contacts()
            .ok()?
            .first()
            .and_then(|c| c.address().map(|a| a.uri.clone()))
            .unwrap_or_else(|| request.uri.clone());
        Some(Dialog {
            call_id: request.headers.call_id().ok()?.to_string(),
            local: request.headers.from().ok()?,
            remote: response.headers.to().ok()?,
            target,
            routes,
            local_cseq: request.headers.cseq().ok()?.number,
            remote_cseq: None,
        })
    }
    pub(super) fn of_callee(request: &Request, tag: &str) -> Option<Self> {
        let target = request
            .headers
            .contacts()
            .ok()?
            .first()?
            .address()?
            .uri
            .clone();
        Some(Dialog {
            call_id: request.headers.call_id().ok()?.to_string(),
            local: request.headers.to().ok()?.with_tag(tag),
            remote: request.headers.from().ok()?,
            target,
            routes: request.headers.record_routes().ok()?,
            local_cseq: 0,
            remote_cseq: Some(request.headers.cseq().ok()?.number),
        })
    }
    pub(super) fn confirm(&mut self, response: &Response) {
        if let Ok(mut routes) = response.headers.record_routes() {
            routes.reverse();
            self.routes = routes;
        }
        self.refresh_target(&response.headers);
    }
    pub(super) fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }
    pub(super) fn is_of(&self, request: &Request) -> bool {
        request
            .headers
            .call_id()
            .is_ok_and(|c| c.as_str() == self.call_id)
            && request
                .headers
                .to()
                .is_ok_and(|t| t.tag() == self.local.tag())
            && request
                .headers
                .from()
                .is_ok_and(|t| t.tag() == self.remote.tag())
    }
    pub(super) fn request(&mut self, method: Method) -> Request {
        self.local_cseq += 1;
        self.build(method, self.local_cseq)
    }
    pub(super) fn ack(&self, invite: &Request) -> Request {
        self.build(
            Method::Ack,
            invite.headers.cseq().map(|c| c.number).unwrap_or(1),
        )
    }
    fn build(&self, method: Method, n: u32) -> Request {
        let mut r = Request::new(method.clone(), self.target.clone());
        for route in &self.routes {
            r.headers.push(HeaderName::Route, route.to_string());
        }
        r.headers.push(HeaderName::From, self.local.to_string());
        r.headers.push(HeaderName::To, self.remote.to_string());
        r.headers.push(HeaderName::CallId, self.call_id.as_str());
        r.headers.push(HeaderName::CSeq, format!("{n} {method}"));
        r
    }
    pub(super) fn handle_request(&mut self, request: &Request) -> Result<(), StatusCode> {
        let n = request
            .headers
            .cseq()
            .map_err(|_| StatusCode::BAD_REQUEST)?
            .number;
        if self.remote_cseq.is_some_and(|last| n <= last) {
            return Err(StatusCode::SERVER_INTERNAL_ERROR);
        }
        self.remote_cseq = Some(n);
        if matches!(request.method, Method::Invite | Method::Update) {
            self.refresh_target(&request.headers);
        }
        Ok(())
    }
    pub(super) fn refresh_target(&mut self, headers: &Headers) {
        if let Ok(c) = headers.contacts()
            && let Some(a) = c.first().and_then(|c| c.address())
        {
            self.target = a.uri.clone();
        }
    }
}
