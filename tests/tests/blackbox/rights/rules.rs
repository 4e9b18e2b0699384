//! What each route must ask of its callers, written down a second time.

use cryptoserve_core::api::Operation;
use cryptoserve_core::auth::{Role, Scope};
use serde_json::{Value, json};

use super::case::Body;

/// What a route must ask for, and a request that shows who is let through and changes nothing.
pub(super) struct Rule {
    pub(super) asks: Asks,
    pub(super) query: &'static str,
    pub(super) body: Body,
    /// Status and code, of a success without one, for whoever is let through.
    pub(super) answer: (u16, &'static str),
    /// Whether the request needs a context that the token must be for.
    pub(super) in_context: bool,
    /// Whether a cookie does in place of the header, with a body of JSON from where no browser is.
    pub(super) takes_cookie: bool,
}

/// What a caller must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Nothing, or what the body has to show; a token makes no difference.
    Nothing,
    /// Nothing; but a token that it shows must be good.
    NothingOrAToken,
    /// A token with this scope, of an identity that has it.
    Token(Scope),
}

/// The roles that may have a scope.
pub(super) fn roles(scope: Scope) -> &'static [Role] {
    match scope {
        Scope::Encrypt
        | Scope::Decrypt
        | Scope::Rewrap
        | Scope::DataKey
        | Scope::Hash
        | Scope::Mac
        | Scope::Random
        | Scope::Sign
        | Scope::Verify
        | Scope::SignManage => &[Role::Admin, Role::Service],
        Scope::ContextsRead => &[Role::Operator, Role::Admin, Role::Service],
        Scope::ContextsManage | Scope::Rotate | Scope::KeysManage | Scope::KeysExport => &[Role::Admin],
        Scope::IdentitiesManage => &[Role::Operator, Role::Admin],
        Scope::Register => &[Role::Admin, Role::Service],
        Scope::LimitsManage | Scope::AuditRead => &[Role::Operator, Role::Admin],
        Scope::TenantsManage | Scope::LimitsDefaults | Scope::StatusRead => &[Role::Operator],
    }
}

/// The rule of an operation. The path's parameters name nothing that exists.
pub(super) fn rule(operation: Operation) -> Rule {
    use Operation::*;
    const NO_ID: &str = "00000000-0000-4000-8000-000000000000";
    let general = json!({ "context": "general" });
    let limits = || json!({ "requests_per_minute": 1, "burst_size": 1 });
    let with = |field: &str, value: Value| {
        let mut body = general.clone();
        body[field] = value;
        body
    };
    match operation {
        Encrypt => needs(Scope::Encrypt).json(with("plaintext", json!(""))).in_context(),
        Decrypt => needs(Scope::Decrypt).json(json!({ "ciphertext": "" })).answers(400, "invalid_ciphertext"),
        Rewrap => needs(Scope::Rewrap).json(json!({ "ciphertext": "" })).answers(400, "invalid_ciphertext"),
        BatchEncrypt => {
            needs(Scope::Encrypt).json(with("items", json!([{ "id": "", "plaintext": "" }]))).in_context()
        }
        BatchDecrypt => {
            needs(Scope::Decrypt).json(with("items", json!([{ "id": "", "ciphertext": "" }]))).in_context()
        }
        BatchRewrap => {
            needs(Scope::Rewrap).json(with("items", json!([{ "id": "", "ciphertext": "" }]))).in_context()
        }
        EncryptStream => needs(Scope::Encrypt).query("context=general").in_context(),
        DecryptStream => needs(Scope::Decrypt).answers(400, "invalid_ciphertext"),
        RewrapStream => needs(Scope::Rewrap).answers(400, "invalid_ciphertext"),
        DataKey => needs(Scope::DataKey).json(with("bits", json!(128))).in_context(),
        KeyBundle => needs(Scope::Encrypt).json(general.clone()).answers(403, "key_export_forbidden"),
        Hash => needs(Scope::Hash).json(json!({ "data": "" })),
        VerifyHash => needs(Scope::Hash).json(json!({ "data": "", "expected_digest": "" })),
        Mac => needs(Scope::Mac).json(with("data", json!(""))).in_context(),
        VerifyMac => {
            let body = json!({ "data": "", "expected_tag": "00", "context": "general" });
            needs(Scope::Mac).json(body).in_context()
        }
        GenerateMacKey => needs(Scope::Mac).json(json!({})),
        Random => needs(Scope::Random).json(json!({ "bytes": 1 })),
        GenerateSigningKey => {
            let unknown = with("algorithm", json!("none"));
            needs(Scope::SignManage).json(unknown).answers(422, "unknown_algorithm").in_context()
        }
        ListSigningKeys => needs(Scope::Verify),
        GetPublicKey => needs(Scope::Verify).answers(404, "signing_key_not_found"),
        DeleteSigningKey | RestoreSigningKey => {
            needs(Scope::SignManage).answers(404, "signing_key_not_found")
        }
        Sign => {
            let body = json!({ "message": "", "key_id": NO_ID });
            needs(Scope::Sign).json(body).answers(404, "signing_key_not_found")
        }
        Verify => {
            let body = json!({ "message": "", "signature": "", "key_id": NO_ID });
            needs(Scope::Verify).json(body).answers(404, "signing_key_not_found")
        }
        ListContexts => needs(Scope::ContextsRead),

        AdminListContexts => needs(Scope::ContextsManage),
        AdminCreateContext => needs(Scope::ContextsManage).json(json!({})).answers(400, "invalid_request"),
        AdminGetContext | AdminDeleteContext | AdminRestoreContext => {
            needs(Scope::ContextsManage).answers(404, "context_not_found")
        }
        AdminUpdateContext => needs(Scope::ContextsManage).json(json!({})).answers(404, "context_not_found"),
        AdminRotateKey => needs(Scope::Rotate).answers(404, "context_not_found"),
        AdminListKeys => needs(Scope::KeysManage).answers(404, "context_not_found"),
        AdminSetKeyState => {
            needs(Scope::KeysManage).json(json!({ "state": "disabled" })).answers(404, "context_not_found")
        }
        AdminMakeTransportKey => needs(Scope::KeysManage).answers(404, "context_not_found").in_context(),
        AdminImportKey => {
            let body = json!({ "transport_key_id": NO_ID, "wrapped_key": "" });
            needs(Scope::KeysManage).json(body).answers(404, "context_not_found").in_context()
        }
        AdminExportKey => {
            let body = json!({ "public_key_pem": "" });
            needs(Scope::KeysExport).json(body).answers(400, "invalid_public_key")
        }

        AdminListIdentities => needs(Scope::IdentitiesManage),
        AdminCreateIdentity => needs(Scope::IdentitiesManage).json(json!({})).answers(400, "invalid_request"),
        AdminGetIdentity | AdminDeleteIdentity | AdminIssueToken | AdminListTokens | AdminRevokeToken
        | AdminRevokeTokens => needs(Scope::IdentitiesManage).answers(404, "identity_not_found"),
        AdminUpdateIdentity => {
            needs(Scope::IdentitiesManage).json(json!({})).answers(404, "identity_not_found")
        }

        AdminListTenants => needs(Scope::TenantsManage),
        AdminCreateTenant => needs(Scope::TenantsManage).json(json!({})).answers(400, "invalid_request"),
        AdminGetTenant | AdminRevokeTenantTokens => {
            needs(Scope::TenantsManage).answers(404, "tenant_not_found")
        }
        AdminUpdateTenant => needs(Scope::TenantsManage).json(json!({})).answers(404, "tenant_not_found"),

        AdminListLimits | AdminListExhausted => needs(Scope::LimitsManage),
        AdminGetContextLimits | AdminClearContextLimits => {
            needs(Scope::LimitsManage).answers(404, "context_not_found")
        }
        AdminSetContextLimits => needs(Scope::LimitsManage).json(limits()).answers(404, "context_not_found"),
        AdminGetIdentityLimits
        | AdminClearIdentityLimits
        | AdminGetIdentityContextLimits
        | AdminClearIdentityContextLimits
        | AdminResetLimits => needs(Scope::LimitsManage).answers(404, "identity_not_found"),
        AdminSetIdentityLimits | AdminSetIdentityContextLimits => {
            needs(Scope::LimitsManage).json(limits()).answers(404, "identity_not_found")
        }
        AdminStatus => needs(Scope::StatusRead),
        AdminGetIpLimits | AdminClearIpLimits => needs(Scope::LimitsDefaults),
        AdminSetIpLimits => needs(Scope::LimitsDefaults).json(json!({})).answers(422, "invalid_limit"),
        AdminGetDefaultLimits | AdminClearDefaultLimits => {
            needs(Scope::LimitsDefaults).answers(404, "not_found")
        }
        AdminSetDefaultLimits => needs(Scope::LimitsDefaults).json(limits()).answers(404, "not_found"),
        AdminGetTenantLimits | AdminClearTenantLimits => {
            needs(Scope::LimitsDefaults).answers(404, "tenant_not_found")
        }
        AdminSetTenantLimits => needs(Scope::LimitsDefaults).json(limits()).answers(404, "tenant_not_found"),

        AdminListAudit => needs(Scope::AuditRead).query("to=1970-01-01T00:00:00Z"),
        AdminExportAudit => needs(Scope::AuditRead).query("format=csv&to=1970-01-01T00:00:00Z"),

        RefreshToken => {
            asks(Asks::Nothing).json(json!({ "refresh_token": "" })).answers(401, "invalid_refresh_token")
        }
        RevokeToken => asks(Asks::Nothing).json(json!({ "token": "" })),
        RegisterApplication => {
            let rule = needs(Scope::Register).json(json!({ "app_name": "" }));
            Rule { takes_cookie: true, ..rule.answers(400, "invalid_request") }
        }

        Health | HealthLive | HealthReady | OpenApi | Docs => asks(Asks::Nothing),
        HealthDeep => asks(Asks::NothingOrAToken),
    }
}

fn needs(scope: Scope) -> Rule {
    asks(Asks::Token(scope))
}

fn asks(asks: Asks) -> Rule {
    Rule { asks, query: "", body: Body::Empty, answer: (200, ""), in_context: false, takes_cookie: false }
}

impl Rule {
    fn json(self, body: Value) -> Self {
        Self { body: Body::Json(body), ..self }
    }

    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    fn answers(self, status: u16, code: &'static str) -> Self {
        Self { answer: (status, code), ..self }
    }

    fn in_context(self) -> Self {
        Self { in_context: true, ..self }
    }
}
