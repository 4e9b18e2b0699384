//! The HTTP interface: what routes there are, and what each does.
//!
//! [`ROUTES`] is the one list of them. A route names the scope that it needs, so one without a rule does not compile.

mod admin_contexts;
mod admin_identities;
mod batch;
mod body;
mod call;
mod contexts;
mod decrypt;
mod encrypt;
mod error;
mod extract;
mod health;
mod openapi;
mod respond;
mod router;
mod stream;

use http::Method;

use crate::auth::Scope;
use crate::store::Store;

pub(crate) use call::{Call, Facts};
pub use error::Error;
pub(crate) use health::DeepHealth;
pub(crate) use respond::{Reply, code, is_fault, reply, respond, write_common};
pub(crate) use router::{RouteMatch, Router};
pub(crate) use stream::open as open_stream;
pub use stream::{StreamError, TransferStream};

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its method; `GET` routes answer `HEAD` too.
    pub method: Method,
    /// Its path, with parameters in braces: what logs and metrics show.
    pub path: &'static str,
    /// What it does.
    pub operation: Operation,
    /// Who may use it.
    pub access: Access,
}

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone; no token is asked for and no limit applies.
    Public,
    /// A caller whose token and identity have this scope.
    Scope(Scope),
}

/// What a route does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Encrypt one message.
    Encrypt,
    /// Decrypt one message.
    Decrypt,
    /// Encrypt up to 1000 messages.
    BatchEncrypt,
    /// Decrypt up to 1000 messages.
    BatchDecrypt,
    /// Encrypt a body of any length.
    EncryptStream,
    /// Decrypt a body of any length.
    DecryptStream,
    /// List the contexts that the caller may use.
    ListContexts,
    /// List the tenant's contexts.
    AdminListContexts,
    /// Make a context.
    AdminCreateContext,
    /// Show a context.
    AdminGetContext,
    /// Change a context.
    AdminUpdateContext,
    /// Delete a context, reversibly.
    AdminDeleteContext,
    /// Restore a deleted context.
    AdminRestoreContext,
    /// List the tenant's identities.
    AdminListIdentities,
    /// Make an identity.
    AdminCreateIdentity,
    /// Show an identity.
    AdminGetIdentity,
    /// Change an identity.
    AdminUpdateIdentity,
    /// Delete an identity and with it all its tokens.
    AdminDeleteIdentity,
    /// Issue a token for an identity.
    AdminIssueToken,
    /// Revoke all tokens of an identity.
    AdminRevokeTokens,
    /// Whether the process runs.
    HealthLive,
    /// Whether the process should get requests.
    HealthReady,
    /// What the process depends on.
    HealthDeep,
    /// The short form of [`Operation::HealthLive`] that the Python service had.
    Health,
    /// The OpenAPI document.
    OpenApi,
    /// A page that shows the OpenAPI document.
    Docs,
}

/// The prefix of the data plane; each such route is served without its `/api` too.
pub const DATA_PLANE: &str = "/api/v1/";

/// Every route.
pub const ROUTES: &[Route] = &{
    use Access::Public;
    use Operation::*;
    const ENCRYPT: Access = Access::Scope(Scope::Encrypt);
    const DECRYPT: Access = Access::Scope(Scope::Decrypt);
    const READ: Access = Access::Scope(Scope::ContextsRead);
    const CONTEXTS: Access = Access::Scope(Scope::ContextsManage);
    const IDENTITIES: Access = Access::Scope(Scope::IdentitiesManage);
    [
        route(Method::POST, "/api/v1/crypto/encrypt", Encrypt, ENCRYPT),
        route(Method::POST, "/api/v1/crypto/decrypt", Decrypt, DECRYPT),
        route(Method::POST, "/api/v1/crypto/batch/encrypt", BatchEncrypt, ENCRYPT),
        route(Method::POST, "/api/v1/crypto/batch/decrypt", BatchDecrypt, DECRYPT),
        route(Method::POST, "/api/v1/crypto/encrypt/stream", EncryptStream, ENCRYPT),
        route(Method::POST, "/api/v1/crypto/decrypt/stream", DecryptStream, DECRYPT),
        route(Method::GET, "/api/v1/contexts", ListContexts, READ),
        route(Method::GET, "/api/admin/contexts", AdminListContexts, CONTEXTS),
        route(Method::POST, "/api/admin/contexts", AdminCreateContext, CONTEXTS),
        route(Method::GET, "/api/admin/contexts/{name}", AdminGetContext, CONTEXTS),
        route(Method::PUT, "/api/admin/contexts/{name}", AdminUpdateContext, CONTEXTS),
        route(Method::DELETE, "/api/admin/contexts/{name}", AdminDeleteContext, CONTEXTS),
        route(Method::POST, "/api/admin/contexts/{name}/restore", AdminRestoreContext, CONTEXTS),
        route(Method::GET, "/api/admin/identities", AdminListIdentities, IDENTITIES),
        route(Method::POST, "/api/admin/identities", AdminCreateIdentity, IDENTITIES),
        route(Method::GET, "/api/admin/identities/{id}", AdminGetIdentity, IDENTITIES),
        route(Method::PUT, "/api/admin/identities/{id}", AdminUpdateIdentity, IDENTITIES),
        route(Method::DELETE, "/api/admin/identities/{id}", AdminDeleteIdentity, IDENTITIES),
        route(Method::POST, "/api/admin/identities/{id}/tokens", AdminIssueToken, IDENTITIES),
        route(Method::DELETE, "/api/admin/identities/{id}/tokens", AdminRevokeTokens, IDENTITIES),
        route(Method::GET, "/health", Health, Public),
        route(Method::GET, "/health/live", HealthLive, Public),
        route(Method::GET, "/health/ready", HealthReady, Public),
        route(Method::GET, "/health/deep", HealthDeep, Public),
        route(Method::GET, "/openapi.json", OpenApi, Public),
        route(Method::GET, "/docs", Docs, Public),
    ]
};

impl Route {
    /// Whether it changes what is stored.
    pub(crate) fn is_change(&self) -> bool {
        self.path.starts_with("/api/admin/") && self.method != Method::GET
    }
}

const fn route(method: Method, path: &'static str, operation: Operation, access: Access) -> Route {
    Route { method, path, operation, access }
}

impl Operation {
    /// The stable name in audit records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::BatchEncrypt => "batch.encrypt",
            Self::BatchDecrypt => "batch.decrypt",
            Self::EncryptStream => "stream.encrypt",
            Self::DecryptStream => "stream.decrypt",
            Self::ListContexts => "contexts.list",
            Self::AdminListContexts => "admin.contexts.list",
            Self::AdminCreateContext => "admin.contexts.create",
            Self::AdminGetContext => "admin.contexts.get",
            Self::AdminUpdateContext => "admin.contexts.update",
            Self::AdminDeleteContext => "admin.contexts.delete",
            Self::AdminRestoreContext => "admin.contexts.restore",
            Self::AdminListIdentities => "admin.identities.list",
            Self::AdminCreateIdentity => "admin.identities.create",
            Self::AdminGetIdentity => "admin.identities.get",
            Self::AdminUpdateIdentity => "admin.identities.update",
            Self::AdminDeleteIdentity => "admin.identities.delete",
            Self::AdminIssueToken => "admin.identities.issue-token",
            Self::AdminRevokeTokens => "admin.identities.revoke-tokens",
            Self::Health => "health",
            Self::HealthLive => "health.live",
            Self::HealthReady => "health.ready",
            Self::HealthDeep => "health.deep",
            Self::OpenApi => "openapi",
            Self::Docs => "docs",
        }
    }

    /// Whether the body is a stream of bytes, and the reply too.
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::EncryptStream | Self::DecryptStream)
    }
}

/// Does what the route of `call` says. Streams are opened by [`open_stream`] instead.
pub(crate) async fn run<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    match call.route.operation {
        Operation::Encrypt => encrypt::encrypt(call, body).await,
        Operation::Decrypt => decrypt::decrypt(call, body).await,
        Operation::BatchEncrypt => batch::encrypt(call, body).await,
        Operation::BatchDecrypt => batch::decrypt(call, body).await,
        Operation::EncryptStream | Operation::DecryptStream => Err(Error::StreamingUnavailable),
        Operation::ListContexts => contexts::list(call).await,
        Operation::AdminListContexts => admin_contexts::list(call).await,
        Operation::AdminCreateContext => admin_contexts::create(call, body).await,
        Operation::AdminGetContext => admin_contexts::get(call).await,
        Operation::AdminUpdateContext => admin_contexts::update(call, body).await,
        Operation::AdminDeleteContext => admin_contexts::delete(call).await,
        Operation::AdminRestoreContext => admin_contexts::restore(call).await,
        Operation::AdminListIdentities => admin_identities::list(call).await,
        Operation::AdminCreateIdentity => admin_identities::create(call, body).await,
        Operation::AdminGetIdentity => admin_identities::get(call).await,
        Operation::AdminUpdateIdentity => admin_identities::update(call, body).await,
        Operation::AdminDeleteIdentity => admin_identities::delete(call).await,
        Operation::AdminIssueToken => admin_identities::issue_token(call, body).await,
        Operation::AdminRevokeTokens => admin_identities::revoke_tokens(call).await,
        Operation::Health => Ok(health::health()),
        Operation::HealthLive => Ok(health::live()),
        Operation::HealthReady => Ok(health::ready(call)),
        Operation::HealthDeep => health::deep(call).await,
        Operation::OpenApi => Ok(openapi::document()),
        Operation::Docs => Ok(openapi::page()),
    }
}
