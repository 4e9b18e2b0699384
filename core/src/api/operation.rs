use crate::limits::Class;

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
    /// Ask for a context's key in the clear, which is refused.
    KeyBundle,
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
    /// Make an access token with a refresh token.
    RefreshToken,
    /// Revoke the token that is sent.
    RevokeToken,
    /// Register an application.
    RegisterApplication,
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
    /// List the refresh tokens of an identity.
    AdminListTokens,
    /// Revoke one token of an identity.
    AdminRevokeToken,
    /// List the tenants.
    AdminListTenants,
    /// Make a tenant.
    AdminCreateTenant,
    /// Show a tenant.
    AdminGetTenant,
    /// Change a tenant.
    AdminUpdateTenant,
    /// Revoke all tokens of a tenant.
    AdminRevokeTenantTokens,
    /// Show the limits of a tenant.
    AdminListLimits,
    /// List the buckets of a tenant that are most exhausted.
    AdminListExhausted,
    /// Let an identity begin again with full buckets.
    AdminResetLimits,
    /// Show the limits of a context.
    AdminGetContextLimits,
    /// Store limits of a context.
    AdminSetContextLimits,
    /// Forget the limits of a context.
    AdminClearContextLimits,
    /// Show the limits of an identity.
    AdminGetIdentityLimits,
    /// Store limits of an identity.
    AdminSetIdentityLimits,
    /// Forget the limits of an identity.
    AdminClearIdentityLimits,
    /// Show the limits of an identity in a context.
    AdminGetIdentityContextLimits,
    /// Store limits of an identity in a context.
    AdminSetIdentityContextLimits,
    /// Forget the limits of an identity in a context.
    AdminClearIdentityContextLimits,
    /// Show the limits of client addresses.
    AdminGetIpLimits,
    /// Store limits of client addresses.
    AdminSetIpLimits,
    /// Forget the limits of client addresses.
    AdminClearIpLimits,
    /// Show the limits of all who have none of their own.
    AdminGetDefaultLimits,
    /// Store limits of all who have none of their own.
    AdminSetDefaultLimits,
    /// Forget the limits of all who have none of their own.
    AdminClearDefaultLimits,
    /// Show the limits of a tenant.
    AdminGetTenantLimits,
    /// Store limits of a tenant.
    AdminSetTenantLimits,
    /// Forget the limits of a tenant.
    AdminClearTenantLimits,
    /// List records of the audit trail.
    AdminListAudit,
    /// Give all records of the audit trail.
    AdminExportAudit,
    /// Show the replicas, and what they depend on.
    AdminStatus,
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
            Self::KeyBundle => "key-bundle",
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
            Self::RefreshToken => "auth.refresh",
            Self::RevokeToken => "auth.revoke",
            Self::RegisterApplication => "applications.register",
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
            Self::AdminListTokens => "admin.identities.list-tokens",
            Self::AdminRevokeToken => "admin.identities.revoke-token",
            Self::AdminListTenants => "admin.tenants.list",
            Self::AdminCreateTenant => "admin.tenants.create",
            Self::AdminGetTenant => "admin.tenants.get",
            Self::AdminUpdateTenant => "admin.tenants.update",
            Self::AdminRevokeTenantTokens => "admin.tenants.revoke-tokens",
            Self::AdminListLimits => "admin.limits.list",
            Self::AdminListExhausted => "admin.limits.list-exhausted",
            Self::AdminResetLimits => "admin.limits.reset",
            Self::AdminGetContextLimits => "admin.limits.get-context",
            Self::AdminSetContextLimits => "admin.limits.set-context",
            Self::AdminClearContextLimits => "admin.limits.clear-context",
            Self::AdminGetIdentityLimits => "admin.limits.get-identity",
            Self::AdminSetIdentityLimits => "admin.limits.set-identity",
            Self::AdminClearIdentityLimits => "admin.limits.clear-identity",
            Self::AdminGetIdentityContextLimits => "admin.limits.get-identity-context",
            Self::AdminSetIdentityContextLimits => "admin.limits.set-identity-context",
            Self::AdminClearIdentityContextLimits => "admin.limits.clear-identity-context",
            Self::AdminGetIpLimits => "admin.limits.get-ip",
            Self::AdminSetIpLimits => "admin.limits.set-ip",
            Self::AdminClearIpLimits => "admin.limits.clear-ip",
            Self::AdminGetDefaultLimits => "admin.limits.get-default",
            Self::AdminSetDefaultLimits => "admin.limits.set-default",
            Self::AdminClearDefaultLimits => "admin.limits.clear-default",
            Self::AdminGetTenantLimits => "admin.limits.get-tenant",
            Self::AdminSetTenantLimits => "admin.limits.set-tenant",
            Self::AdminClearTenantLimits => "admin.limits.clear-tenant",
            Self::AdminListAudit => "admin.audit.list",
            Self::AdminExportAudit => "admin.audit.export",
            Self::AdminStatus => "admin.status",
            Self::Health => "health",
            Self::HealthLive => "health.live",
            Self::HealthReady => "health.ready",
            Self::HealthDeep => "health.deep",
            Self::OpenApi => "openapi",
            Self::Docs => "docs",
        }
    }

    /// Whether the reply is a stream of bytes, and so is the body if there is one.
    pub const fn is_stream(self) -> bool {
        matches!(
            self,
            Self::EncryptStream | Self::DecryptStream | Self::RewrapStream | Self::AdminExportAudit
        )
    }

    /// Whether it shows or changes limits.
    pub const fn manages_limits(self) -> bool {
        matches!(
            self,
            Self::AdminListLimits
                | Self::AdminListExhausted
                | Self::AdminResetLimits
                | Self::AdminGetContextLimits
                | Self::AdminSetContextLimits
                | Self::AdminClearContextLimits
                | Self::AdminGetIdentityLimits
                | Self::AdminSetIdentityLimits
                | Self::AdminClearIdentityLimits
                | Self::AdminGetIdentityContextLimits
                | Self::AdminSetIdentityContextLimits
                | Self::AdminClearIdentityContextLimits
                | Self::AdminGetIpLimits
                | Self::AdminSetIpLimits
                | Self::AdminClearIpLimits
                | Self::AdminGetDefaultLimits
                | Self::AdminSetDefaultLimits
                | Self::AdminClearDefaultLimits
                | Self::AdminGetTenantLimits
                | Self::AdminSetTenantLimits
                | Self::AdminClearTenantLimits
        )
    }

    /// Whose budget it is of, beside those that are for all; [`Class::Admin`] are those of `/api/admin`.
    pub const fn class(self) -> Option<Class> {
        match self {
            Self::Encrypt
            | Self::Rewrap
            | Self::BatchEncrypt
            | Self::BatchRewrap
            | Self::EncryptStream
            | Self::RewrapStream
            | Self::DataKey => Some(Class::Encrypt),
            Self::Decrypt | Self::BatchDecrypt | Self::DecryptStream => Some(Class::Decrypt),
            Self::Sign | Self::Mac | Self::GenerateSigningKey => Some(Class::Sign),
            Self::KeyBundle
            | Self::Hash
            | Self::VerifyHash
            | Self::VerifyMac
            | Self::GenerateMacKey
            | Self::Random
            | Self::ListSigningKeys
            | Self::GetPublicKey
            | Self::DeleteSigningKey
            | Self::RestoreSigningKey
            | Self::Verify
            | Self::ListContexts
            | Self::RefreshToken
            | Self::RevokeToken
            | Self::RegisterApplication
            | Self::Health
            | Self::HealthLive
            | Self::HealthReady
            | Self::HealthDeep
            | Self::OpenApi
            | Self::Docs => None,
            Self::AdminListContexts
            | Self::AdminCreateContext
            | Self::AdminGetContext
            | Self::AdminUpdateContext
            | Self::AdminDeleteContext
            | Self::AdminRestoreContext
            | Self::AdminRotateKey
            | Self::AdminListKeys
            | Self::AdminSetKeyState
            | Self::AdminMakeTransportKey
            | Self::AdminImportKey
            | Self::AdminExportKey
            | Self::AdminListIdentities
            | Self::AdminCreateIdentity
            | Self::AdminGetIdentity
            | Self::AdminUpdateIdentity
            | Self::AdminDeleteIdentity
            | Self::AdminIssueToken
            | Self::AdminRevokeTokens
            | Self::AdminListTokens
            | Self::AdminRevokeToken
            | Self::AdminListTenants
            | Self::AdminCreateTenant
            | Self::AdminGetTenant
            | Self::AdminUpdateTenant
            | Self::AdminRevokeTenantTokens
            | Self::AdminListLimits
            | Self::AdminListExhausted
            | Self::AdminResetLimits
            | Self::AdminGetContextLimits
            | Self::AdminSetContextLimits
            | Self::AdminClearContextLimits
            | Self::AdminGetIdentityLimits
            | Self::AdminSetIdentityLimits
            | Self::AdminClearIdentityLimits
            | Self::AdminGetIdentityContextLimits
            | Self::AdminSetIdentityContextLimits
            | Self::AdminClearIdentityContextLimits
            | Self::AdminGetIpLimits
            | Self::AdminSetIpLimits
            | Self::AdminClearIpLimits
            | Self::AdminGetDefaultLimits
            | Self::AdminSetDefaultLimits
            | Self::AdminClearDefaultLimits
            | Self::AdminGetTenantLimits
            | Self::AdminSetTenantLimits
            | Self::AdminClearTenantLimits
            | Self::AdminListAudit
            | Self::AdminExportAudit
            | Self::AdminStatus => Some(Class::Admin),
        }
    }
}
