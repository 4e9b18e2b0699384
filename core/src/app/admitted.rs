use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, Method, Response, header, request};
use uuid::Uuid;

use crate::api::{self, Access, Call, Error, Facts, Operation, Reply, Route, TransferStream};
use crate::app::credential::{bearer, cookie};
use crate::app::request_line::RequestLine;
use crate::app::{Origin, Sender, Shared};
use crate::audit::{Outcome, Permit, Record};
use crate::auth::{Principal, Scope, TokenError};
use crate::clock::Monotonic;
use crate::id::{IdentityId, TenantId};
use crate::limits::{Cost, NotTaken, Refusal, RefusalKind};
use crate::store::Store;

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

/// Why a front could not read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than allowed.
    #[error("too large")]
    TooLarge,
    /// Too slow.
    #[error("too slow")]
    Timeout,
    /// Broken off.
    #[error("broken off")]
    Incomplete,
    /// No memory left for it.
    #[error("no memory left")]
    Overloaded,
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Timeout => Self::BodyTimeout,
            BodyError::Incomplete => Self::BodyIncomplete,
            BodyError::Overloaded => Self::Overloaded,
        }
    }
}

impl<S: Store> Admitted<S> {
    pub(super) fn new(app: &Arc<Shared<S>>, head: &request::Parts) -> Self {
        let origin = head.extensions.get::<Origin>().copied();
        let origin = origin.unwrap_or(Origin { peer: Ipv4Addr::UNSPECIFIED.into() });
        let request_id = head
            .headers
            .get("x-request-id")
            .filter(|value| is_request_id(value.as_bytes()))
            .and_then(|value| value.to_str().ok())
            .map_or_else(|| app.request_ids.next(), str::to_owned);
        Self {
            app: app.clone(),
            head: Head {
                request_id,
                method: head.method.clone(),
                query: head.uri.query().unwrap_or_default().to_owned(),
                token: None,
                headers: HeaderMap::new(),
                address: app.proxies.client(origin, &head.headers),
                started: app.clock.monotonic(),
            },
            route: None,
            parameters: Vec::new(),
            principal: None,
            permit: None,
            facts: Facts { items: 1, ..Facts::default() },
        }
    }

    /// Takes the route, and of the head what it will need.
    pub(super) fn set_route(&mut self, route: &'static Route, parameters: Vec<String>, headers: &HeaderMap) {
        self.route = Some(route);
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
    pub async fn run(self, body: Bytes) -> Response<Bytes> {
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

    async fn run_here(mut self, body: &[u8]) -> Response<Bytes> {
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
        let opened = match self.call(&app) {
            Some(mut call) => {
                let opened = api::open_stream(&mut call, &headers, length, body).await;
                charge_failure(&mut call, opened).await
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
        let mut response = opened.into_response(permit, self.record(Outcome::Success));
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

    /// Verifies the token.
    pub(super) async fn authenticate(&mut self, headers: &HeaderMap) -> Result<(), Error> {
        let in_cookie = self.route.is_some_and(|route| route.operation == Operation::RegisterApplication);
        let token = bearer(headers).or_else(|| if in_cookie { cookie(headers) } else { None });
        let result = match token {
            Some(token) => {
                let sender = Sender { address: self.head.address, request_id: &self.head.request_id };
                self.app.authenticate(token, sender).await
            }
            None if headers.contains_key(header::AUTHORIZATION) => Err(TokenError::Invalid.into()),
            None => Err(TokenError::Missing.into()),
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
            if let Err(error) = permit.record(self.record(outcome)).await {
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
        self.app.metrics.requests.record(self.route, &self.head.method, status, latency);
        if error.is_none() && !self.app.sampler.sample() {
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
