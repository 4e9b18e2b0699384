//! The HTTP interface: what routes there are, and what each does.
//!
//! [`ROUTES`] is the one list of them. A route names the scope that it needs, so one without a rule does not compile.

mod admin_contexts;
mod admin_identities;
mod admin_key_transport;
mod admin_keys;
mod batch;
mod body;
mod call;
mod contexts;
mod datakey;
mod decrypt;
mod encrypt;
mod error;
mod extract;
mod hash;
mod health;
mod mac;
mod openapi;
mod random;
mod respond;
mod rewrap;
mod router;
mod signatures;
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
    /// Encrypt one message again, with the newest key version.
    Rewrap,
    /// Encrypt up to 1000 messages.
    BatchEncrypt,
    /// Decrypt up to 1000 messages.
    BatchDecrypt,
    /// Encrypt up to 1000 messages again.
    BatchRewrap,
    /// Encrypt a body of any length.
    EncryptStream,
    /// Decrypt a body of any length.
    DecryptStream,
    /// Encrypt a body of any length again.
    RewrapStream,
    /// Make a data key.
    DataKey,
    /// Hash data.
    Hash,
    /// Compare data with a digest.
    VerifyHash,
    /// Compute a message authentication code.
    Mac,
    /// Compare data with a message authentication code.
    VerifyMac,
    /// Make a key for message authentication codes.
    GenerateMacKey,
    /// Give random bytes.
    Random,
    /// Make a signing key.
    GenerateSigningKey,
    /// List the signing keys that the caller may use.
    ListSigningKeys,
    /// Show a public key.
    GetPublicKey,
    /// Schedule a signing key for destruction.
    DeleteSigningKey,
    /// Cancel that.
    RestoreSigningKey,
    /// Sign a message.
    Sign,
    /// Verify a signature.
    Verify,
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
    /// Make a new version of a context's key.
    AdminRotateKey,
    /// List the versions of a context's key.
    AdminListKeys,
    /// Move a version of a context's key to another state.
    AdminSetKeyState,
    /// Make a key to which a key can be wrapped.
    AdminMakeTransportKey,
    /// Take a wrapped key as the next version of a context's key.
    AdminImportKey,
    /// Give a version of a context's key, wrapped.
    AdminExportKey,
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

/// Paths that clients of the Python service use, and which of [`ROUTES`] they mean.
pub const ALIASES: [(&str, &str); 2] = [
    ("/api/v1/crypto/sign", "/api/v1/signatures/sign"),
    ("/api/v1/crypto/verify", "/api/v1/signatures/verify"),
];

/// Every route.
pub const ROUTES: &[Route] = &{
    use Access::Public;
    use Operation::*;
    const ENCRYPT: Access = Access::Scope(Scope::Encrypt);
    const DECRYPT: Access = Access::Scope(Scope::Decrypt);
    const REWRAP: Access = Access::Scope(Scope::Rewrap);
    const MAC: Access = Access::Scope(Scope::Mac);
    const VERIFY: Access = Access::Scope(Scope::Verify);
    const SIGN_MANAGE: Access = Access::Scope(Scope::SignManage);
    const READ: Access = Access::Scope(Scope::ContextsRead);
    const CONTEXTS: Access = Access::Scope(Scope::ContextsManage);
    const ROTATE: Access = Access::Scope(Scope::Rotate);
    const KEYS: Access = Access::Scope(Scope::KeysManage);
    const EXPORT: Access = Access::Scope(Scope::KeysExport);
    const IDENTITIES: Access = Access::Scope(Scope::IdentitiesManage);
    [
        route(Method::POST, "/api/v1/crypto/encrypt", Encrypt, ENCRYPT),
        route(Method::POST, "/api/v1/crypto/decrypt", Decrypt, DECRYPT),
        route(Method::POST, "/api/v1/crypto/rewrap", Rewrap, REWRAP),
        route(Method::POST, "/api/v1/crypto/batch/encrypt", BatchEncrypt, ENCRYPT),
        route(Method::POST, "/api/v1/crypto/batch/decrypt", BatchDecrypt, DECRYPT),
        route(Method::POST, "/api/v1/crypto/batch/rewrap", BatchRewrap, REWRAP),
        route(Method::POST, "/api/v1/crypto/encrypt/stream", EncryptStream, ENCRYPT),
        route(Method::POST, "/api/v1/crypto/decrypt/stream", DecryptStream, DECRYPT),
        route(Method::POST, "/api/v1/crypto/rewrap/stream", RewrapStream, REWRAP),
        route(Method::POST, "/api/v1/crypto/datakey", DataKey, Access::Scope(Scope::DataKey)),
        route(Method::POST, "/api/v1/crypto/hash", Hash, Access::Scope(Scope::Hash)),
        route(Method::POST, "/api/v1/crypto/hash/verify", VerifyHash, Access::Scope(Scope::Hash)),
        route(Method::POST, "/api/v1/crypto/mac", Mac, MAC),
        route(Method::POST, "/api/v1/crypto/mac/verify", VerifyMac, MAC),
        route(Method::POST, "/api/v1/crypto/mac/generate-key", GenerateMacKey, MAC),
        route(Method::POST, "/api/v1/crypto/random", Random, Access::Scope(Scope::Random)),
        route(Method::POST, "/api/v1/signatures/keys/generate", GenerateSigningKey, SIGN_MANAGE),
        route(Method::GET, "/api/v1/signatures/keys", ListSigningKeys, VERIFY),
        route(Method::GET, "/api/v1/signatures/keys/{id}/public", GetPublicKey, VERIFY),
        route(Method::DELETE, "/api/v1/signatures/keys/{id}", DeleteSigningKey, SIGN_MANAGE),
        route(Method::POST, "/api/v1/signatures/keys/{id}/restore", RestoreSigningKey, SIGN_MANAGE),
        route(Method::POST, "/api/v1/signatures/sign", Sign, Access::Scope(Scope::Sign)),
        route(Method::POST, "/api/v1/signatures/verify", Verify, VERIFY),
        route(Method::GET, "/api/v1/contexts", ListContexts, READ),
        route(Method::GET, "/api/admin/contexts", AdminListContexts, CONTEXTS),
        route(Method::POST, "/api/admin/contexts", AdminCreateContext, CONTEXTS),
        route(Method::GET, "/api/admin/contexts/{name}", AdminGetContext, CONTEXTS),
        route(Method::PUT, "/api/admin/contexts/{name}", AdminUpdateContext, CONTEXTS),
        route(Method::DELETE, "/api/admin/contexts/{name}", AdminDeleteContext, CONTEXTS),
        route(Method::POST, "/api/admin/contexts/{name}/restore", AdminRestoreContext, CONTEXTS),
        route(Method::POST, "/api/admin/contexts/{name}/rotate-key", AdminRotateKey, ROTATE),
        route(Method::GET, "/api/admin/contexts/{name}/keys", AdminListKeys, KEYS),
        route(Method::PUT, "/api/admin/contexts/{name}/keys/{version}", AdminSetKeyState, KEYS),
        route(Method::POST, "/api/admin/contexts/{name}/transport-key", AdminMakeTransportKey, KEYS),
        route(Method::POST, "/api/admin/contexts/{name}/keys/import", AdminImportKey, KEYS),
        route(Method::POST, "/api/admin/contexts/{name}/keys/{version}/export", AdminExportKey, EXPORT),
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
        let signing_keys =
            [Operation::GenerateSigningKey, Operation::DeleteSigningKey, Operation::RestoreSigningKey];
        self.path.starts_with("/api/admin/") && self.method != Method::GET
            || signing_keys.contains(&self.operation)
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
            Self::Rewrap => "rewrap",
            Self::BatchEncrypt => "batch.encrypt",
            Self::BatchDecrypt => "batch.decrypt",
            Self::BatchRewrap => "batch.rewrap",
            Self::EncryptStream => "stream.encrypt",
            Self::DecryptStream => "stream.decrypt",
            Self::RewrapStream => "stream.rewrap",
            Self::DataKey => "datakey",
            Self::Hash => "hash",
            Self::VerifyHash => "hash.verify",
            Self::Mac => "mac",
            Self::VerifyMac => "mac.verify",
            Self::GenerateMacKey => "mac.generate-key",
            Self::Random => "random",
            Self::GenerateSigningKey => "signatures.keys.generate",
            Self::ListSigningKeys => "signatures.keys.list",
            Self::GetPublicKey => "signatures.keys.public",
            Self::DeleteSigningKey => "signatures.keys.delete",
            Self::RestoreSigningKey => "signatures.keys.restore",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::ListContexts => "contexts.list",
            Self::AdminListContexts => "admin.contexts.list",
            Self::AdminCreateContext => "admin.contexts.create",
            Self::AdminGetContext => "admin.contexts.get",
            Self::AdminUpdateContext => "admin.contexts.update",
            Self::AdminDeleteContext => "admin.contexts.delete",
            Self::AdminRestoreContext => "admin.contexts.restore",
            Self::AdminRotateKey => "admin.keys.rotate",
            Self::AdminListKeys => "admin.keys.list",
            Self::AdminSetKeyState => "admin.keys.set-state",
            Self::AdminMakeTransportKey => "admin.keys.make-transport-key",
            Self::AdminImportKey => "admin.keys.import",
            Self::AdminExportKey => "admin.keys.export",
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
        matches!(self, Self::EncryptStream | Self::DecryptStream | Self::RewrapStream)
    }
}

/// Does what the route of `call` says. Streams are opened by [`open_stream`] instead.
pub(crate) async fn run<S: Store>(call: &mut Call<'_, S>, body: &[u8]) -> Result<Reply, Error> {
    match call.route.operation {
        Operation::Encrypt => encrypt::encrypt(call, body).await,
        Operation::Decrypt => decrypt::decrypt(call, body).await,
        Operation::Rewrap => rewrap::rewrap(call, body).await,
        Operation::BatchEncrypt => batch::encrypt(call, body).await,
        Operation::BatchDecrypt => batch::decrypt(call, body).await,
        Operation::BatchRewrap => batch::rewrap(call, body).await,
        Operation::EncryptStream | Operation::DecryptStream | Operation::RewrapStream => {
            Err(Error::StreamingUnavailable)
        }
        Operation::DataKey => datakey::datakey(call, body).await,
        Operation::Hash => hash::hash(call, body).await,
        Operation::VerifyHash => hash::verify(call, body).await,
        Operation::Mac => mac::mac(call, body).await,
        Operation::VerifyMac => mac::verify(call, body).await,
        Operation::GenerateMacKey => mac::generate_key(call, body).await,
        Operation::Random => random::random(call, body).await,
        Operation::GenerateSigningKey => signatures::keys::generate(call, body).await,
        Operation::ListSigningKeys => signatures::keys::list(call).await,
        Operation::GetPublicKey => signatures::keys::public(call).await,
        Operation::DeleteSigningKey => signatures::keys::delete(call).await,
        Operation::RestoreSigningKey => signatures::keys::restore(call).await,
        Operation::Sign => signatures::sign::sign(call, body).await,
        Operation::Verify => signatures::verify::verify(call, body).await,
        Operation::ListContexts => contexts::list(call).await,
        Operation::AdminListContexts => admin_contexts::list(call).await,
        Operation::AdminCreateContext => admin_contexts::create(call, body).await,
        Operation::AdminGetContext => admin_contexts::get(call).await,
        Operation::AdminUpdateContext => admin_contexts::update(call, body).await,
        Operation::AdminDeleteContext => admin_contexts::delete(call).await,
        Operation::AdminRestoreContext => admin_contexts::restore(call).await,
        Operation::AdminRotateKey => admin_keys::rotate(call).await,
        Operation::AdminListKeys => admin_keys::list(call).await,
        Operation::AdminSetKeyState => admin_keys::set_state(call, body).await,
        Operation::AdminMakeTransportKey => admin_key_transport::make_transport_key(call).await,
        Operation::AdminImportKey => admin_key_transport::import(call, body).await,
        Operation::AdminExportKey => admin_key_transport::export(call, body).await,
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
