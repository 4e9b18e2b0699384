//! How requests to each route can name something of another tenant.

use cryptoserve_core::api::{Operation, Route};
use serde_json::{Value, json};

use super::case::{Body, Request};
use super::things::Things;

/// What a request names, and where.
struct Named {
    /// Values of the path's parameters, in their order.
    path: Vec<String>,
    query: String,
    body: Body,
}

/// All requests to `route` that name things of `other`, beside such of the caller's `own` as they need. Without anything to
/// name, one that shows what the route says by itself.
pub(super) fn requests(route: &Route, own: &Things, other: &Things) -> Vec<Request> {
    let named = named(route.operation, own, other);
    named.into_iter().map(|named| named.request(route)).collect()
}

/// Whether those requests make something, so that they can be sent once.
pub(super) fn makes(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::AdminCreateContext | Operation::AdminCreateIdentity | Operation::RegisterApplication
    )
}

fn named(operation: Operation, own: &Things, other: &Things) -> Vec<Named> {
    use Operation::*;
    let Things { context, ciphertext, identity, signing_key, .. } = other;
    let item = |field: &str, value: &str| json!([{ "id": "1", field: value }]);
    let limits = || json!({ "requests_per_minute": 1, "burst_size": 1 });
    let opened = || {
        vec![
            json(json!({ "ciphertext": ciphertext })),
            json(json!({ "ciphertext": ciphertext, "context": context })),
            json(json!({ "ciphertext": ciphertext, "context": own.context })),
            json(json!({ "ciphertext": own.ciphertext, "context": context })),
        ]
    };
    let opened_in_batches = || {
        vec![
            json(json!({ "context": context, "items": item("ciphertext", ciphertext) })),
            json(json!({ "context": own.context, "items": item("ciphertext", ciphertext) })),
            json(json!({ "context": context, "items": item("ciphertext", &own.ciphertext) })),
        ]
    };
    let opened_as_streams = || {
        let stream = || Body::Bytes(other.stream.clone());
        vec![
            body(stream()),
            body(stream()).query("context", context),
            body(stream()).query("context", &own.context),
            body(Body::Bytes(own.stream.clone())).query("context", context),
        ]
    };
    match operation {
        Encrypt => vec![json(json!({ "context": context, "plaintext": "" }))],
        Decrypt | Rewrap => opened(),
        BatchEncrypt => vec![json(json!({ "context": context, "items": item("plaintext", "") }))],
        BatchDecrypt | BatchRewrap => opened_in_batches(),
        EncryptStream => vec![nothing().query("context", context)],
        DecryptStream | RewrapStream => opened_as_streams(),
        DataKey => vec![json(json!({ "context": context, "bits": 256 }))],
        Mac => vec![json(json!({ "context": context, "data": "" }))],
        VerifyMac => {
            let tag = &other.tag;
            vec![
                json(json!({ "context": context, "data": "", "expected_tag": tag })),
                json(json!({ "context": context, "data": "", "expected_tag": tag, "key_version": 1 })),
                json(json!({ "context": own.context, "data": "", "expected_tag": tag })),
            ]
        }
        GenerateSigningKey => vec![json(json!({ "context": context, "algorithm": "Ed25519" }))],
        GetPublicKey | RestoreSigningKey => vec![at([signing_key])],
        DeleteSigningKey => vec![at([signing_key]), at([signing_key]).query("waiting_days", "1")],
        Sign => vec![
            json(json!({ "message": "", "key_id": signing_key })),
            json(json!({ "message": "", "key_id": signing_key, "context": context })),
            json(json!({ "message": "", "key_id": own.signing_key, "context": context })),
            // Keys of other purposes are no signing keys, whoever's they are.
            json(json!({ "message": "", "key_id": other.key })),
            json(json!({ "message": "", "key_id": other.transport_key })),
        ],
        Verify => {
            let signature = &other.signature;
            vec![
                json(json!({ "message": "", "signature": signature, "key_id": signing_key })),
                json(
                    json!({ "message": "", "signature": signature, "key_id": signing_key, "context": context }),
                ),
                json(
                    json!({ "message": "", "signature": signature, "key_id": own.signing_key, "context": context }),
                ),
            ]
        }

        AdminListContexts => vec![
            nothing().query("after", context),
            nothing().query("deleted", "true").query("after", context),
            nothing().query("limit", "1000"),
        ],
        AdminCreateContext => vec![json(json!({ "name": other.taken }))],
        AdminGetContext
        | AdminDeleteContext
        | AdminRestoreContext
        | AdminRotateKey
        | AdminMakeTransportKey => vec![at([context])],
        AdminListKeys => vec![at([context]), at([context]).query("before", "2")],
        AdminUpdateContext => vec![at([context]).json(json!({ "description": "x" }))],
        AdminSetKeyState => ["1", "2"]
            .map(|version| at([context, &version.to_owned()]).json(json!({ "state": "disabled" })))
            .into(),
        AdminImportKey => {
            let import = |id: &str| json!({ "transport_key_id": id, "wrapped_key": "" });
            vec![
                at([context]).json(import(&own.transport_key)),
                at([context]).json(import(&other.transport_key)),
                at([&own.context]).json(import(&other.transport_key)),
                at([&own.context]).json(import(&other.key)),
            ]
        }
        AdminExportKey => ["1", "2"]
            .map(|version| at([context, &version.to_owned()]).json(json!({ "public_key_pem": RECIPIENT })))
            .into(),

        AdminListIdentities => vec![nothing().query("after", &other.taken), nothing().query("limit", "1000")],
        AdminCreateIdentity => vec![json(json!({ "name": other.taken, "contexts": [context] }))],
        AdminGetIdentity | AdminDeleteIdentity | AdminRevokeTokens => vec![at([identity])],
        AdminUpdateIdentity => vec![
            at([identity]).json(json!({ "enabled": false })),
            at([identity]).json(json!({ "contexts": [context], "scopes": [] })),
        ],
        AdminIssueToken => vec![
            at([identity]),
            at([identity]).json(json!({ "contexts": [context] })),
            at([&own.identity]).json(json!({ "contexts": [context], "ttl_seconds": 60 })),
        ],

        AdminListTokens => vec![at([identity]), at([&other.application])],
        AdminRevokeToken => vec![
            at([identity, &other.token_id]),
            at([&other.application, &other.family]),
            at([&own.identity, &other.token_id]),
            at([&own.application, &other.family]),
        ],

        RegisterApplication => {
            vec![json(json!({ "app_name": other.taken, "contexts": [context, own.context] }))]
        }
        // Whoever has a token is who it is of, whatever tenant that belongs to.
        RefreshToken | RevokeToken => vec![],

        // Of what each tenant has some.
        AdminListLimits | AdminListExhausted => vec![nothing()],
        AdminGetContextLimits | AdminClearContextLimits => vec![at([context])],
        AdminSetContextLimits => vec![at([context]).json(limits())],
        AdminGetIdentityLimits | AdminClearIdentityLimits | AdminResetLimits => vec![at([identity])],
        AdminSetIdentityLimits => vec![at([identity]).json(limits())],
        AdminGetIdentityContextLimits | AdminClearIdentityContextLimits => {
            vec![at([identity, context]), at([identity, &own.context]), at([&own.identity, context])]
        }
        AdminSetIdentityContextLimits => vec![
            at([identity, context]).json(limits()),
            at([identity, &own.context]).json(limits()),
            at([&own.identity, context]).json(limits()),
        ],

        // Limits of the deployment are there for operators and for nobody else.
        AdminGetIpLimits
        | AdminSetIpLimits
        | AdminClearIpLimits
        | AdminGetDefaultLimits
        | AdminSetDefaultLimits
        | AdminClearDefaultLimits
        | AdminGetTenantLimits
        | AdminSetTenantLimits
        | AdminClearTenantLimits => vec![],

        // Tenants are there for operators and for nobody else.
        AdminListTenants
        | AdminCreateTenant
        | AdminGetTenant
        | AdminUpdateTenant
        | AdminRevokeTenantTokens => vec![],

        // Operators see what every tenant did; that an administrator does not has a test of its own.
        AdminListAudit | AdminExportAudit => vec![],

        // Refused alike for every context.
        KeyBundle => vec![],

        // These name nothing.
        Hash | VerifyHash | GenerateMacKey | Random => vec![],
        ListSigningKeys | ListContexts => vec![nothing()],
        AdminStatus | Health | HealthLive | HealthReady | HealthDeep | OpenApi | Docs => vec![],
    }
}

fn nothing() -> Named {
    Named { path: Vec::new(), query: String::new(), body: Body::Empty }
}

fn json(value: Value) -> Named {
    nothing().json(value)
}

fn body(body: Body) -> Named {
    Named { body, ..nothing() }
}

fn at<const N: usize>(path: [&String; N]) -> Named {
    Named { path: path.map(String::clone).into(), ..nothing() }
}

impl Named {
    fn json(self, value: Value) -> Self {
        Self { body: Body::Json(value), ..self }
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        let mark = if self.query.is_empty() { '?' } else { '&' };
        self.query += &format!("{mark}{name}={value}");
        self
    }

    fn request(self, route: &Route) -> Request {
        let mut path = String::new();
        let mut values = self.path.iter();
        for segment in route.path.split('/').skip(1) {
            path.push('/');
            match segment.starts_with('{') {
                true => {
                    path += values.next().unwrap_or_else(|| panic!("{}: a value of {segment}", route.path))
                }
                false => path += segment,
            }
        }
        let path = path + &self.query;
        Request { method: route.method.clone(), path, headers: Vec::new(), body: self.body }
    }
}

/// Somebody's RSA key of 3072 bits.
const RECIPIENT: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEAmHirPH7ENUci6odC6SOB\n\
JssmGo65WXu6qvwKC6CbWINbKuapjx90TrVNy/fKwQW9q3NRJ0CLHbOzwgSk0NzW\n\
PJ+/LR4DrDj7gIfu08o98epy+ZpAJLNJoELXgPaF1Q+vdDkePTUECQevEWOaClhA\n\
QF6K5yyy2WTXlN9kngcO9C0YZgFPJ3TT8NFZQiDaQqi6aO1Y2O0vCX/xwMaHi6R+\n\
TT5Gj17ub+fawU3RQ5piV3tVfCUNFH8E4/77lMcEqGubBPkGTlOAYq5vw4eA2MP7\n\
ktsaE3YlFiSfsOLoRqn0hsHBIKXydbNy1jRS0BS99v71IEfUSwPrztgAUxZHZwAM\n\
uzkQtgZXawe/QTg6vF0UFBvlta2hrinTeJ6FFJAE+LWKVLQS8TfUQrUcCNOmd41N\n\
3dOB626nmJN8Y5sVJ4Y2OUtHVXnMYmCoYLKgg7yqQLMioHABSqkAG0UijomocbLF\n\
7ex84+YGIVKJklFBzqTmzURMioGrVnKkVMrRCB1yfuM/AgMBAAE=\n\
-----END PUBLIC KEY-----\n";
