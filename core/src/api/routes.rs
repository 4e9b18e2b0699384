use http::Method;

use super::Operation;
use crate::auth::Scope;

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
    /// Who brings a credential in the body: a short one, and failures count as failed authentication.
    Credential,
    /// A caller whose token and identity have this scope.
    Scope(Scope),
}

/// The prefix of the data plane; each such route is served without its `/api` too.
pub const DATA_PLANE: &str = "/api/v1/";

/// Paths that clients of the Python service use, and which of [`ROUTES`] they mean.
pub const ALIASES: [(&str, &str); 5] = [
    ("/api/health", "/health"),
    ("/api/v1/crypto/sign", "/api/v1/signatures/sign"),
    ("/api/v1/crypto/verify", "/api/v1/signatures/verify"),
    ("/api/api/v1/auth/refresh", "/api/v1/auth/refresh"),
    ("/api/api/v1/applications/sdk/register", "/api/v1/applications/sdk/register"),
];

/// Every route.
pub const ROUTES: &[Route] = &{
    use Access::{Credential, Public};
    use Operation::*;
    const ENCRYPT: Access = Access::Scope(Scope::Encrypt);
    const DECRYPT: Access = Access::Scope(Scope::Decrypt);
    const REWRAP: Access = Access::Scope(Scope::Rewrap);
    const MAC: Access = Access::Scope(Scope::Mac);
    const VERIFY: Access = Access::Scope(Scope::Verify);
    const SIGN_MANAGE: Access = Access::Scope(Scope::SignManage);
    const READ: Access = Access::Scope(Scope::ContextsRead);
    const REGISTER: Access = Access::Scope(Scope::Register);
    const CONTEXTS: Access = Access::Scope(Scope::ContextsManage);
    const ROTATE: Access = Access::Scope(Scope::Rotate);
    const KEYS: Access = Access::Scope(Scope::KeysManage);
    const EXPORT: Access = Access::Scope(Scope::KeysExport);
    const IDENTITIES: Access = Access::Scope(Scope::IdentitiesManage);
    const TENANTS: Access = Access::Scope(Scope::TenantsManage);
    const STATUS: Access = Access::Scope(Scope::StatusRead);
    const LIMITS: Access = Access::Scope(Scope::LimitsManage);
    const LIMIT_DEFAULTS: Access = Access::Scope(Scope::LimitsDefaults);
    const AUDIT: Access = Access::Scope(Scope::AuditRead);
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
        route(Method::POST, "/api/v1/crypto/key-bundle", KeyBundle, ENCRYPT),
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
        route(Method::POST, "/api/v1/auth/refresh", RefreshToken, Credential),
        route(Method::POST, "/api/v1/auth/revoke", RevokeToken, Credential),
        route(Method::POST, "/api/v1/applications/sdk/register", RegisterApplication, REGISTER),
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
        route(Method::GET, "/api/admin/identities/{id}/tokens", AdminListTokens, IDENTITIES),
        route(Method::DELETE, "/api/admin/identities/{id}/tokens/{token_id}", AdminRevokeToken, IDENTITIES),
        route(Method::GET, "/api/admin/tenants", AdminListTenants, TENANTS),
        route(Method::POST, "/api/admin/tenants", AdminCreateTenant, TENANTS),
        route(Method::GET, "/api/admin/tenants/{name}", AdminGetTenant, TENANTS),
        route(Method::PUT, "/api/admin/tenants/{name}", AdminUpdateTenant, TENANTS),
        route(Method::DELETE, "/api/admin/tenants/{name}/tokens", AdminRevokeTenantTokens, TENANTS),
        route(Method::GET, "/api/admin/rate-limits", AdminListLimits, LIMITS),
        route(Method::GET, "/api/admin/rate-limits/exhausted", AdminListExhausted, LIMITS),
        route(Method::POST, "/api/admin/rate-limits/reset/{identity_id}", AdminResetLimits, LIMITS),
        route(Method::GET, "/api/admin/rate-limits/context/{name}", AdminGetContextLimits, LIMITS),
        route(Method::PUT, "/api/admin/rate-limits/context/{name}", AdminSetContextLimits, LIMITS),
        route(Method::DELETE, "/api/admin/rate-limits/context/{name}", AdminClearContextLimits, LIMITS),
        route(Method::GET, "/api/admin/rate-limits/identity/{id}", AdminGetIdentityLimits, LIMITS),
        route(Method::PUT, "/api/admin/rate-limits/identity/{id}", AdminSetIdentityLimits, LIMITS),
        route(Method::DELETE, "/api/admin/rate-limits/identity/{id}", AdminClearIdentityLimits, LIMITS),
        route(
            Method::GET,
            "/api/admin/rate-limits/identity/{id}/context/{name}",
            AdminGetIdentityContextLimits,
            LIMITS,
        ),
        route(
            Method::PUT,
            "/api/admin/rate-limits/identity/{id}/context/{name}",
            AdminSetIdentityContextLimits,
            LIMITS,
        ),
        route(
            Method::DELETE,
            "/api/admin/rate-limits/identity/{id}/context/{name}",
            AdminClearIdentityContextLimits,
            LIMITS,
        ),
        route(Method::GET, "/api/admin/rate-limits/ip", AdminGetIpLimits, LIMIT_DEFAULTS),
        route(Method::PUT, "/api/admin/rate-limits/ip", AdminSetIpLimits, LIMIT_DEFAULTS),
        route(Method::DELETE, "/api/admin/rate-limits/ip", AdminClearIpLimits, LIMIT_DEFAULTS),
        route(
            Method::GET,
            "/api/admin/rate-limits/defaults/{dimension}",
            AdminGetDefaultLimits,
            LIMIT_DEFAULTS,
        ),
        route(
            Method::PUT,
            "/api/admin/rate-limits/defaults/{dimension}",
            AdminSetDefaultLimits,
            LIMIT_DEFAULTS,
        ),
        route(
            Method::DELETE,
            "/api/admin/rate-limits/defaults/{dimension}",
            AdminClearDefaultLimits,
            LIMIT_DEFAULTS,
        ),
        route(Method::GET, "/api/admin/rate-limits/tenant/{name}", AdminGetTenantLimits, LIMIT_DEFAULTS),
        route(Method::PUT, "/api/admin/rate-limits/tenant/{name}", AdminSetTenantLimits, LIMIT_DEFAULTS),
        route(Method::DELETE, "/api/admin/rate-limits/tenant/{name}", AdminClearTenantLimits, LIMIT_DEFAULTS),
        route(Method::GET, "/api/admin/audit", AdminListAudit, AUDIT),
        route(Method::GET, "/api/admin/audit/export", AdminExportAudit, AUDIT),
        route(Method::GET, "/api/admin/status", AdminStatus, STATUS),
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
        let changes = [
            Operation::GenerateSigningKey,
            Operation::DeleteSigningKey,
            Operation::RestoreSigningKey,
            Operation::RefreshToken,
            Operation::RevokeToken,
            Operation::RegisterApplication,
        ];
        self.path.starts_with("/api/admin/") && self.method != Method::GET
            || changes.contains(&self.operation)
    }
}

const fn route(method: Method, path: &'static str, operation: Operation, access: Access) -> Route {
    Route { method, path, operation, access }
}
