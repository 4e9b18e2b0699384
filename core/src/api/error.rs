use http::Method;

use crate::auth::{IssueError, MAX_FAMILIES, MAX_REVOKED, ProviderError, Scope, TokenError};
use crate::contexts::KeyState;
use crate::crypto::{self, Algorithm, AlgorithmSet};
use crate::keyring;
use crate::limits::{Counts, InvalidDocument, Level, NotTaken, Refusal, RefusalKind, WindowId};
use crate::store;

/// Why a request was not done. What each means in HTTP stands in `respond.rs` alone.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such path.
    #[error("there is nothing at this path; GET /openapi.json lists what there is")]
    NotFound,
    /// The path has other methods.
    #[error("this path does not have that method")]
    MethodNotAllowed(Vec<Method>),
    /// No token that counts.
    #[error(transparent)]
    Unauthenticated(#[from] TokenError),
    /// No refresh token that counts.
    #[error(
        "the refresh token is none of this service, was replaced, revoked or not used for 90 days, or its identity or \
         tenant is disabled or deleted; register again, or ask an administrator for another"
    )]
    InvalidRefreshToken,
    /// As many families of refresh tokens as an identity may have.
    #[error(
        "this identity has {} refresh tokens, which is as many as it may; an administrator lists them with \
         GET /api/admin/identities/{{id}}/tokens and revokes those that nobody uses",
        MAX_FAMILIES
    )]
    TooManyRefreshTokens,
    /// As many revoked tokens as are remembered of an identity.
    #[error(
        "{} tokens of this identity are revoked, which is as many as are remembered; an administrator revokes all of them \
         with DELETE /api/admin/identities/{{id}}/tokens",
        MAX_REVOKED
    )]
    TooManyRevokedTokens,
    /// No such token.
    #[error("there is no such token; GET /api/admin/identities/{{id}}/tokens lists refresh tokens")]
    TokenNotFound,
    /// The identity that an application would get is not an application's.
    #[error("{0}")]
    NotAnApplication(String),
    /// The identity's tokens come from a provider, so deleting it would end nothing.
    #[error(
        "the tokens of this identity come from the outside identity provider, and the next one would make it again with \
         all rights; disable it with PUT /api/admin/identities/{{id}} and `{{\"enabled\": false}}`"
    )]
    IdentityOfProvider,
    /// The caller lacks the route's scope.
    #[error(
        "this needs the scope `{}`, which the token or its identity does not have; GET /api/v1/contexts lists those that it \
         has, and an administrator gives others",
        .0.name()
    )]
    ScopeMissing(Scope),
    /// The caller may not use the context.
    #[error(
        "this identity, or its token, may not use that context; GET /api/v1/contexts lists those that it may use, and an \
         administrator gives others"
    )]
    ContextForbidden,
    /// The caller's role may not do this.
    #[error("{0}")]
    RoleForbidden(&'static str),
    /// No such context.
    #[error(
        "there is no such context; GET /api/v1/contexts lists those that this identity may use, and an administrator makes \
         others"
    )]
    ContextNotFound,
    /// The context's key has no such version.
    #[error("the context's key has no such version; GET /api/admin/contexts/{{name}}/keys lists them")]
    KeyVersionNotFound,
    /// A version cannot come from its state to that one.
    #[error("{}", state_conflict(*.from, *.to))]
    KeyStateConflict {
        /// The state that it has.
        from: KeyState,
        /// The state that was asked for.
        to: KeyState,
    },
    /// No such signing key, or of another tenant, or of a deleted context.
    #[error(
        "there is no such signing key; GET /api/v1/signatures/keys lists those that this identity may use"
    )]
    SigningKeyNotFound,
    /// The signing key is not enabled.
    #[error(
        "this signing key is scheduled for destruction or destroyed; \
         POST /api/v1/signatures/keys/{{id}}/restore brings it back before it is destroyed"
    )]
    SigningKeyDisabled,
    /// A signing key cannot come from its state to the one that was asked for.
    #[error("{}", signing_key_conflict(*.0))]
    SigningKeyConflict(KeyState),
    /// The signing key is of another context than the caller says.
    #[error("the signing key belongs to another context than `context` says")]
    SigningContextMismatch,
    /// No such transport key, or of another context, or used, or expired.
    #[error(
        "this context has no such transport key, or it was used or has expired; \
         POST /api/admin/contexts/{{name}}/transport-key makes another"
    )]
    TransportKeyNotFound,
    /// The context's key may not leave.
    #[error("the keys of this context may not leave the service: it was not created with `exportable`")]
    KeyExportForbidden,
    /// A key in the clear, which nobody gets.
    #[error(
        "keys do not leave the service in the clear: encrypt and decrypt here, or get keys of your own from \
         POST /api/v1/crypto/datakey"
    )]
    ClearKeyForbidden,
    /// A key that was brought does not unwrap, or is not what the context needs.
    #[error("`wrapped_key` cannot be taken: {0}")]
    InvalidWrappedKey(&'static str),
    /// A key that was brought was never random.
    #[error("the key in `wrapped_key` repeats one byte; bring one from a random generator")]
    WeakKey,
    /// A key that was brought is here already.
    #[error("the key in `wrapped_key` is here already, as a version of a context's key; bring a fresh one")]
    KeyKnown,
    /// A public key that cannot be used.
    #[error("the public key cannot be used: {0}")]
    InvalidPublicKey(&'static str),
    /// No such identity.
    #[error("there is no such identity")]
    IdentityNotFound,
    /// No such tenant.
    #[error("there is no such tenant; GET /api/admin/tenants lists them")]
    TenantNotFound,
    /// The body is not what the route takes.
    #[error("{0}")]
    InvalidRequest(String),
    /// The body is JSON, and no policy.
    #[error(transparent)]
    InvalidLimit(InvalidDocument),
    /// A binary field is not base64.
    #[error(
        "`{0}` is not standard base64 (RFC 4648 section 4): A-Z, a-z, 0-9, `+` and `/`, filled up with `=` to a multiple of 4 \
         characters, without line breaks"
    )]
    InvalidBase64(&'static str),
    /// Longer than `MAX_BODY_BYTES`.
    #[error("the body is longer than this server takes (MAX_BODY_BYTES); use a stream route for large data")]
    BodyTooLarge,
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body broke off.
    #[error("the body broke off")]
    BodyIncomplete,
    /// Not a ciphertext of this service, or of a key that does not exist here.
    #[error(
        "this is not a ciphertext that your tenant can open: {0}; send it whole, as encryption returned it"
    )]
    InvalidCiphertext(&'static str),
    /// The ciphertext was altered, or other associated data was given.
    #[error(
        "the ciphertext was altered, or `associated_data` is not what it was encrypted with; send both exactly as they were \
         then"
    )]
    AuthenticationFailed,
    /// The ciphertext is of another context than the caller says.
    #[error(
        "the ciphertext belongs to another context than `context` says; name its own, or, but for batches, leave it out"
    )]
    ContextMismatch,
    /// The key version may not be used.
    #[error(
        "this key version may not decrypt: it is disabled, scheduled for destruction or destroyed; an administrator sees \
         which with GET /api/admin/contexts/{{name}}/keys"
    )]
    KeyVersionDisabled,
    /// The key version has encrypted as much as its algorithm allows.
    #[error("this context's key has encrypted as many messages as its algorithm allows; rotate it")]
    KeyExhausted,
    /// The context does not allow the algorithm.
    #[error(
        "this context does not allow {asked}; it allows {}, and without `algorithm_override` it chooses by itself",
        list(*allowed)
    )]
    AlgorithmNotAllowed {
        /// What the caller asked for.
        asked: Algorithm,
        /// What it may ask for.
        allowed: AlgorithmSet,
    },
    /// No such algorithm.
    #[error("there is no such algorithm; the algorithms are {}", list(AlgorithmSet::ALL))]
    UnknownAlgorithm,
    /// No such algorithm of another kind.
    #[error("there is no such {kind}; there are {known}")]
    UnknownAlgorithmOf {
        /// What was asked for.
        kind: &'static str,
        /// The names of those that there are.
        known: String,
    },
    /// More items than a batch may have.
    #[error("a batch has 1 to {0} items; send more in several batches")]
    BatchSize(usize),
    /// Refused by a limit.
    #[error("{}", refusal(.0))]
    RateLimited(Refusal),
    /// Limits cannot be asked, and nothing is to be admitted without them.
    #[error("rate limits cannot be checked at the moment; try again")]
    LimitsUnavailable,
    /// The name is taken.
    #[error("that name is taken{0}")]
    NameTaken(&'static str),
    /// Another identity of the deployment has that certificate.
    #[error("that certificate is another identity's")]
    CertificateTaken,
    /// What was to be changed changed meanwhile.
    #[error("this was changed by someone else meanwhile; read it again")]
    Conflict,
    /// A lifetime that the role does not allow, or a token that would be too long.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// The store does not answer.
    #[error("the database cannot be reached at the moment; try again")]
    StoreUnavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The keys of the identity provider are not known.
    #[error(
        "the keys of the identity provider cannot be fetched at the moment, so its tokens cannot be verified; try again; \
         tokens that this service issued work"
    )]
    IdentityProviderUnavailable,
    /// The audit trail cannot be written.
    #[error("the audit trail cannot be written at the moment, so nothing may be done; try again")]
    AuditUnavailable,
    /// Too much at once.
    #[error("the server has as many requests in memory as it may; try again")]
    Overloaded,
    /// Another version of HTTP.
    #[error("this server speaks HTTP/1.1")]
    VersionNotSupported,
    /// This front has no streams.
    #[error("this deployment does not stream; send smaller messages to the other routes")]
    StreamingUnavailable,
    /// A fault of ours; the log says which.
    #[error("an internal error; the log has the details under this request id")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn list(algorithms: AlgorithmSet) -> String {
    algorithms.iter().map(Algorithm::name).collect::<Vec<_>>().join(", ")
}

fn state_conflict(from: KeyState, to: KeyState) -> String {
    let advice = match (from, to) {
        (KeyState::Destroyed, _) => "its bytes are gone for good",
        (KeyState::Enabled, _) => "rotate the key first; then this version only decrypts and can be disabled",
        (_, KeyState::Enabled) => "only a new version is ever enabled; rotate the key",
        (_, KeyState::Destroyed) => "time alone destroys a version; schedule its destruction",
        (KeyState::DecryptOnly, KeyState::Scheduled) => {
            "disable it first, to see whether anybody still needs it"
        }
        (KeyState::Scheduled, _) => "cancel its destruction by setting it to `disabled` first",
        _ => "it is in that state already",
    };
    format!("this version is `{}` and cannot become `{}`: {advice}", from.name(), to.name())
}

const fn signing_key_conflict(state: KeyState) -> &'static str {
    match state {
        KeyState::Destroyed => "this signing key is destroyed: its bytes are gone for good",
        KeyState::Scheduled => {
            "this signing key is scheduled for destruction already; restore it first to choose another time"
        }
        _ => "this signing key is enabled: there is nothing to restore",
    }
}

fn refusal(refusal: &Refusal) -> String {
    let Level { bucket, quota, .. } = *refusal.level;
    let dimension = bucket.dimension.kind().name();
    let (limit, seconds, burst) = (quota.limit(), quota.seconds(), quota.burst());
    let what = match bucket.window.counts {
        Counts::Items => "items",
        Counts::Requests => "requests",
        Counts::Bytes => "bytes",
    };
    match refusal.kind {
        RefusalKind::Exhausted { retry_after_secs } if bucket.window == WindowId::MAIN => format!(
            "the limit per {dimension} is exhausted ({limit} requests per minute, burst {burst}); try again in \
             {retry_after_secs} s"
        ),
        RefusalKind::Exhausted { retry_after_secs } => {
            let of = bucket.window.class.map_or(String::new(), |class| format!("{} ", class.name()));
            format!(
                "the {of}limit per {dimension} is exhausted ({limit} {what} per {seconds} s, burst {burst}); try again \
                 in {retry_after_secs} s"
            )
        }
        RefusalKind::NeverFits if bucket.window.counts == Counts::Bytes => format!(
            "this is more plaintext than the limit per {dimension} ever allows at once; send at most {burst} bytes, and \
             with Content-Length"
        ),
        RefusalKind::NeverFits => format!(
            "this costs more than the limit per {dimension} ever allows at once; send at most {burst} items in a batch"
        ),
    }
}

impl From<keyring::Error> for Error {
    fn from(error: keyring::Error) -> Self {
        match error {
            keyring::Error::Store(error) => error.into(),
            stale @ keyring::Error::Stale(_) => Self::StoreUnavailable(stale.into()),
            broken @ (keyring::Error::Key(_) | keyring::Error::MissingKek(_)) => {
                Self::Internal(broken.into())
            }
        }
    }
}

impl From<keyring::CounterError> for Error {
    fn from(error: keyring::CounterError) -> Self {
        match error {
            keyring::CounterError::Exhausted => Self::KeyExhausted,
            keyring::CounterError::Store(error) => error.into(),
        }
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            unavailable @ store::Error::Unavailable(_) => Self::StoreUnavailable(unavailable.into()),
            other => Self::Internal(other.into()),
        }
    }
}

impl From<crypto::Error> for Error {
    fn from(error: crypto::Error) -> Self {
        match error {
            crypto::Error::Malformed(reason) => Self::InvalidCiphertext(reason),
            crypto::Error::AuthenticationFailed => Self::AuthenticationFailed,
            other => Self::Internal(other.into()),
        }
    }
}

impl From<ProviderError> for Error {
    fn from(error: ProviderError) -> Self {
        match error {
            ProviderError::Token(error) => error.into(),
            ProviderError::Unavailable => Self::IdentityProviderUnavailable,
        }
    }
}

impl From<NotTaken> for Error {
    fn from(not_taken: NotTaken) -> Self {
        match not_taken {
            NotTaken::Refused(refusal) => Self::RateLimited(refusal),
            NotTaken::Unavailable => Self::LimitsUnavailable,
        }
    }
}

impl From<crate::audit::AuditUnavailable> for Error {
    fn from(_: crate::audit::AuditUnavailable) -> Self {
        Self::AuditUnavailable
    }
}
