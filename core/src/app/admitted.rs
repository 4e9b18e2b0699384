use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method, Response, header, request};
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::api::{self, Access, Call, Error, Facts, Operation, Reply, Route, TransferStream};
use crate::app::credential::{bearer, cookie};
use crate::app::request_line::{RequestLine, Split};
use crate::app::{BodyError, Origin, Sender, Shared};
use crate::audit::{Outcome, Permit, Record};
use crate::auth::{Principal, Scope, TokenError};
use crate::clock::Monotonic;
use crate::id::{IdentityId, TenantId};
use crate::limits::{Cost, NotTaken, Refusal, RefusalKind};
use crate::store::Store;
use crate::telemetry::{Done, Spent, Wait, traces, waiting_for};

/// The longest body of a request without a token, in bytes.
const MAX_CREDENTIAL_BODY: u64 = 8 * 1024;
/// Bodies from this length on are worked on outside the async workers.
const HEAVY: usize = 256 * 1024;

/// A request that may go on to its body.
pub struct Admitted<S> {
    app: Arc<Shared<S>>,
    head: Head,
    route: Option<&'static Route>,
    parameters: Vec<String>,
    principal: Option<Principal>,
    permit: Option<Permit>,
    facts: Facts,
    spent: Spent,
    /// When its head was settled; what comes from then until it runs is its body.
    admitted_at: Monotonic,
    reading_body: Duration,
    span: Span,
}

/// What is kept of a request's head.
struct Head {
    request_id: String,
    method: Method,
    query: String,
    /// Of public routes, which look at it if they like.
    token: Option<String>,
    /// Of streams, which have a header of their own.
    headers: HeaderMap,
    address: IpAddr,
    started: Monotonic,
}

impl<S: Store> Admitted<S> {
    pub(super) fn new(app: &Arc<Shared<S>>, head: &request::Parts) -> Self {
        let peer = head.extensions.get::<Origin>().map_or(Ipv4Addr::UNSPECIFIED.into(), |origin| origin.peer);
        let request_id = head
            .headers
            .get("x-request-id")
            .filter(|value| is_request_id(value.as_bytes()))
            .and_then(|value| value.to_str().ok())
            .map_or_else(|| app.request_ids.next(), str::to_owned);
        let started = app.clock.monotonic();
        let span = traces::request(head, &request_id);
        Self {
            app: app.clone(),
            span,
            head: Head {
                request_id,
                method: head.method.clone(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                token: None,
                headers: HeaderMap::new(),
                address: app.proxies.client(peer, &head.headers),
                started,
            },
            route: None,
            parameters: Vec::new(),
            principal: None,
            permit: None,
            facts: Facts { items: 1, ..Facts::default() },
            spent: Spent::default(),
            admitted_at: started,
            reading_body: Duration::ZERO,
        }
    }

    /// What it waits for is counted there.
    pub(super) fn spent(&self) -> Spent {
        self.spent.clone()
    }

    /// What its time is spent on is recorded beneath this.
    pub(super) fn span(&self) -> Span {
        self.span.clone()
    }

    /// The head is settled, and the body may come.
    pub(super) fn await_body(&mut self) {
        self.admitted_at = self.app.clock.monotonic();
    }

    /// Takes the route, and of the head what it will need.
    pub(super) fn set_route(&mut self, route: &'static Route, parameters: Vec<String>, headers: &HeaderMap) {
        self.route = Some(route);
        traces::set_route(&self.span, route.method.as_str(), route.path);
        self.parameters = parameters;
        if route.access == Access::Public {
            self.head.token = bearer(headers).map(str::to_owned);
        }
        if route.operation.is_stream() {
            self.head.headers = headers.clone();
        }
    }

    /// Who asks, and the longest body that is read from them, in bytes; `None` on public routes, whose body is of no use.
    /// All who bring their credential in the body are one.
    pub fn sender(&self) -> Option<(IdentityId, u64)> {
        match self.route?.access {
            Access::Public => None,
            Access::Credential => Some((IdentityId(Uuid::nil()), MAX_CREDENTIAL_BODY)),
            Access::Scope(_) => Some((self.principal.as_ref()?.identity().id, u64::MAX)),
        }
    }

    /// Whether the body is a stream, for [`Admitted::run_stream`].
    pub fn is_stream(&self) -> bool {
        self.route.is_some_and(|route| route.operation.is_stream())
    }

    /// Does what was asked with the whole body.
    pub async fn run(mut self, body: Bytes) -> Response<Bytes> {
        self.reading_body = self.app.clock.monotonic().since(self.admitted_at);
        let work = if body.len() >= HEAVY {
            let runtime = tokio::runtime::Handle::current();
            // A few at once: the threads are also what an embedded store works on, and must never all wait for it.
            let turn = self.app.heavy.clone().acquire_owned().await.expect("never closed");
            tokio::task::spawn_blocking(move || {
                let response = runtime.block_on(self.run_here(&body));
                drop(turn);
                response
            })
        } else if self.route.is_some_and(Route::is_change) {
            // In a task of its own: a client that goes away must not stop a change between doing and recording it.
            tokio::spawn(async move { self.run_here(&body).await })
        } else {
            return self.run_here(&body).await;
        };
        match work.await {
            Ok(response) => response,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn run_here(self, body: &[u8]) -> impl Future<Output = Response<Bytes>> {
        let (spent, span) = (self.spent(), self.span());
        spent.within(self.answer(body).instrument(span))
    }

    async fn answer(mut self, body: &[u8]) -> Response<Bytes> {
        let app = self.app.clone();
        let result = match self.call(&app) {
            Some(mut call) => {
                let result = api::run(&mut call, body).await;
                charge_failure(&mut call, result).await
            }
            None => Err(Error::NotFound),
        };
        self.finish(result).await
    }

    /// Does what was asked with a body that is read as the reply is sent.
    ///
    /// # Errors
    ///
    /// The reply, when it is settled before the stream begins.
    pub async fn run_stream<B>(
        mut self,
        length: Option<u64>,
        body: B,
    ) -> Result<Response<TransferStream>, Response<Bytes>>
    where
        B: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static,
    {
        let app = self.app.clone();
        let headers = std::mem::take(&mut self.head.headers);
        let (spent, span) = (self.spent(), self.span());
        let opened = match self.call(&app) {
            Some(mut call) => {
                let open = async {
                    let opened = api::open_stream(&mut call, &headers, length, body).await;
                    charge_failure(&mut call, opened).await
                };
                spent.within(open.instrument(span)).await
            }
            None => Err(Error::NotFound),
        };
        let (opened, permit) = match (opened, self.permit.take()) {
            (Ok(opened), Some(permit)) => (opened, permit),
            (Ok(_), None) => return Err(self.finish(Err(Error::AuditUnavailable)).await),
            (Err(error), permit) => {
                self.permit = permit;
                return Err(self.finish(Err(error)).await);
            }
        };
        let record = self.record(Outcome::Success);
        let mut response = opened.into_response(permit, record, app.metrics.clone());
        let headers = response.headers_mut();
        api::write_common(headers, &self.head.request_id, &self.facts, app.clock.now());
        self.tell(response.status().as_u16(), None);
        Ok(response)
    }

    /// Replies that the body could not be read.
    pub async fn reject(mut self, error: BodyError) -> Response<Bytes> {
        let app = self.app.clone();
        let refused = match self.call(&app) {
            Some(mut call) => charge_failure(&mut call, Err(error.into())).await,
            None => Err(error.into()),
        };
        self.finish(refused).await
    }

    /// Verifies the token, or where there is none the client's certificate.
    pub(super) async fn authenticate(&mut self, head: &request::Parts) -> Result<(), Error> {
        let headers = &head.headers;
        let certificate = head.extensions.get::<Origin>().and_then(|origin| origin.certificate.as_deref());
        // Browsers show certificates unasked, and so say `Origin`: what a page makes them send does not count.
        let certificate = certificate.filter(|_| !headers.contains_key(header::ORIGIN));
        let in_cookie = self.route.is_some_and(|route| route.operation == Operation::RegisterApplication);
        let token = bearer(headers).or_else(|| if in_cookie { cookie(headers) } else { None });
        let result = match token {
            Some(token) => {
                let sender = Sender { address: self.head.address, request_id: &self.head.request_id };
                self.app.authenticate(token, sender).await
            }
            None if headers.contains_key(header::AUTHORIZATION) => Err(TokenError::Invalid.into()),
            None => match certificate {
                Some(certificate) => self.app.authenticate_certificate(certificate).await,
                None => Err(TokenError::Missing.into()),
            },
        };
        match result {
            Ok(principal) => {
                self.principal = Some(principal);
                Ok(())
            }
            Err(error) => {
                match error {
                    Error::Unauthenticated(_) => self.count_failed_authentication().await?,
                    Error::RateLimited(refusal) => return Err(self.refused(NotTaken::Refused(refusal))),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    /// Failures have a limit of their own, which refuses further failures and never a valid token.
    async fn count_failed_authentication(&mut self) -> Result<(), Error> {
        let taken = self.app.take_failed_authentication(self.head.address).await;
        taken.map_err(|not_taken| self.refused(not_taken))?;
        self.reserve_audit()
    }

    pub(super) fn peek_limits(&mut self) -> Result<(), Error> {
        let app = self.app.clone();
        let stored = app.keyring.default_limits();
        let peeked = match self.call(&app) {
            Some(call) => app.limits.peek(&call.selection(&stored, None, Cost::ONE)),
            None => Ok(()),
        };
        peeked.map_err(|not_taken| self.refused(not_taken))
    }

    pub(super) fn reserve_audit(&mut self) -> Result<(), Error> {
        self.permit = Some(self.app.audit.reserve()?);
        Ok(())
    }

    /// Whether the caller has `scope`. One who has not pays for asking.
    pub(super) async fn require(&mut self, scope: Scope) -> Result<(), Error> {
        if self.principal.as_ref().is_some_and(|principal| principal.has_scope(scope)) {
            return Ok(());
        }
        let app = self.app.clone();
        let refused = Err(Error::ScopeMissing(scope));
        match self.call(&app) {
            Some(mut call) => charge_failure(&mut call, refused).await,
            None => Err(Error::NotFound),
        }
    }

    /// Replies that the request goes no further.
    pub(super) async fn refuse(self, error: Error) -> Response<Bytes> {
        self.finish(Err(error)).await
    }

    fn refused(&mut self, not_taken: NotTaken) -> Error {
        if let NotTaken::Refused(refusal) = &not_taken {
            self.facts.levels.clone_from(&refusal.levels);
        }
        not_taken.into()
    }

    fn call<'a>(&'a mut self, app: &'a Arc<Shared<S>>) -> Option<Call<'a, S>> {
        Some(Call {
            app,
            route: self.route?,
            parameters: &self.parameters,
            query: &self.head.query,
            request_id: &self.head.request_id,
            address: self.head.address,
            principal: self.principal.as_ref(),
            token: self.head.token.as_deref(),
            facts: &mut self.facts,
        })
    }

    /// Records, counts, logs and answers.
    async fn finish(mut self, mut result: Result<Reply, Error>) -> Response<Bytes> {
        // Refusals by limits can be many and are cheap; a record of each would let them crowd out all others.
        let exhausted =
            matches!(&result, Err(Error::RateLimited(Refusal { kind: RefusalKind::Exhausted { .. }, .. })));
        if let Some(permit) = self.permit.take().filter(|_| !exhausted) {
            let outcome = match &result {
                Ok(_) => Outcome::Success,
                Err(error) => Outcome::Failure(api::code(error)),
            };
            if let Err(error) = waiting_for(Wait::Audit, permit.record(self.record(outcome))).await {
                result = Err(error.into());
            }
        }
        let now = self.app.clock.now();
        let response = api::respond(&result, &self.head.request_id, &self.facts, now);
        self.tell(response.status().as_u16(), result.err().as_ref());
        response
    }

    fn record(&self, outcome: Outcome) -> Record {
        let subject = self.subject();
        Record {
            at: self.app.clock.now(),
            instance: self.app.instance.clone(),
            request_id: self.head.request_id.clone(),
            tenant: subject.map(|(tenant, _)| tenant),
            identity: subject.map(|(_, identity)| identity),
            operation: self.route.map_or("none", |route| route.operation.name()),
            context: self.facts.context.clone(),
            key_version: self.facts.key_version,
            outcome,
            items: self.facts.items,
            failed: self.facts.failed,
            bytes: self.facts.bytes,
            address: Some(self.head.address),
            detail: self.facts.detail.clone(),
        }
    }

    /// Who asks, or whom a request without a bearer token is about.
    fn subject(&self) -> Option<(TenantId, IdentityId)> {
        let caller = self.principal.as_ref().map(Principal::identity);
        caller.map(|identity| (identity.tenant, identity.id)).or(self.facts.subject)
    }

    /// Counts and logs.
    fn tell(&self, status: u16, error: Option<&Error>) {
        let latency = self.app.clock.monotonic().since(self.head.started);
        traces::set_status(&self.span, status);
        let metrics = &self.app.metrics;
        metrics.requests.record(self.route, &self.head.method, status, latency);
        // A stream is counted when it ends.
        if let Some(route) = self.route.filter(|route| error.is_some() || !route.operation.is_stream()) {
            let Facts { items, failed, bytes, .. } = self.facts;
            metrics.operations.record(route, Done { items, failed, bytes, error: error.map(api::code) });
        }
        let is_slow = latency >= self.app.slow_request;
        if error.is_none() && !self.app.sampler.sample() && !is_slow {
            return;
        }
        RequestLine {
            request_id: &self.head.request_id,
            method: &self.head.method,
            route: self.route,
            status,
            latency,
            identity: self.subject().map(|(_, identity)| identity),
            context: self.facts.context.as_ref(),
            split: is_slow.then(|| Split::of(latency, self.reading_body, &self.spent)),
        }
        .write(error);
    }
}

/// A failed request pays too, though not to a context that it may not have been allowed to use.
async fn charge_failure<S: Store, T>(call: &mut Call<'_, S>, result: Result<T, Error>) -> Result<T, Error> {
    if result.is_err() && !call.facts.charged && call.route.access != Access::Public {
        call.charge(None, Cost::ONE).await?;
    }
    result
}

/// 1 to 128 characters of `[A-Za-z0-9._-]`.
pub(super) fn is_request_id(bytes: &[u8]) -> bool {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&bytes.len()) && bytes.iter().all(allowed)
}
