//! The application: the one way from a request to its reply, the same on every front.
//!
//! A front hands over the head of a request to [`App::admit`], which settles everything that needs no body. Then it
//! reads the body, within its limits, and gets the reply from [`Admitted::run`]. [`App::handle`] does both at once for
//! a body that is in memory.

mod admitted;
mod authenticate;
mod body_error;
mod certificates;
mod credential;
mod destructions;
mod forwarded;
mod introduce;
mod origin;
mod refusals;
mod request_line;
mod setup;
mod shared;
mod trail;
mod upkeep;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, request};
use tracing::Instrument;

use crate::api::{Access, Error, RouteMatch};
use crate::store::Store;
use crate::telemetry::Metrics;

pub use admitted::Admitted;
pub(crate) use authenticate::Sender;
pub use body_error::BodyError;
pub use origin::Origin;
pub use setup::{Background, SetupError, set_up};
pub(crate) use shared::Shared;

/// The application. Clones are handles to the same one.
pub struct App<S> {
    shared: Arc<Shared<S>>,
}

impl<S> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<S: Store> App<S> {
    /// Replies to a request. Never fails: what goes wrong is a reply too.
    pub async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        match self.admit(&head).await {
            Ok(admitted) => admitted.run(body).await,
            Err(response) => response,
        }
    }

    /// Finds the route, verifies the token and looks at the limits that need no body.
    ///
    /// The request's extensions must hold an [`Origin`].
    ///
    /// # Errors
    ///
    /// The reply, when it is settled without the body.
    pub async fn admit(&self, head: &request::Parts) -> Result<Admitted<S>, Response<Bytes>> {
        let mut admitted = Admitted::new(&self.shared, head);
        let (spent, span) = (admitted.spent(), admitted.span());
        match spent.within(self.check(head, &mut admitted).instrument(span)).await {
            Ok(()) => {
                admitted.await_body();
                Ok(admitted)
            }
            Err(error) => Err(spent.within(admitted.refuse(error)).await),
        }
    }

    /// Replies that the request's version of HTTP is not spoken here.
    pub async fn version_not_supported(&self, head: &request::Parts) -> Response<Bytes> {
        Admitted::new(&self.shared, head).refuse(Error::VersionNotSupported).await
    }

    /// No new requests should come: readiness says so from now on.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// What this process counts and measures. Whoever holds it does not hold the application.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.shared.metrics.clone()
    }

    async fn check(&self, head: &request::Parts, admitted: &mut Admitted<S>) -> Result<(), Error> {
        let (route, parameters) = match self.shared.router.find(&head.method, head.uri.path()) {
            RouteMatch::Found(route, parameters) => (route, parameters),
            RouteMatch::MethodNotAllowed(methods) => return Err(Error::MethodNotAllowed(methods)),
            RouteMatch::NotFound => return Err(Error::NotFound),
        };
        admitted.set_route(route, parameters, &head.headers);
        if let Access::Scope(scope) = route.access {
            admitted.authenticate(head).await?;
            admitted.peek_limits()?;
            admitted.reserve_audit()?;
            admitted.require(scope).await?;
        } else if route.access == Access::Credential {
            admitted.peek_limits()?;
            admitted.reserve_audit()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
