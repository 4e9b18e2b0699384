use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::auth::{ContextGrant, Credential, Identity, Role, ScopeSet, Verified};
use crate::clock::{Clock, Timestamp};
use crate::id::{FamilyId, random_uuid};
use crate::secret::Secret;

/// Longest lifetime of a service's token.
pub const MAX_SERVICE_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Longest lifetime of an administrator's or operator's token.
pub const MAX_ADMIN_TTL: Duration = Duration::from_secs(12 * 3600);
/// Lifetime of a token unless asked otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(3600);

/// Tokens of one identity that are remembered as revoked: every replica reads all of them at each change.
pub const MAX_REVOKED: u32 = 1000;
/// How far the clocks of replicas and database may differ before an expired token could come back.
pub const CLOCK_MARGIN: Duration = Duration::from_secs(3600);

const TYPE: &str = "at+jwt";
const ISSUER: &str = "cryptoserve";
const AUDIENCE: &str = "cryptoserve-api";
/// Longest token that is looked at, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// The longest id of a token that can be revoked, in bytes.
const MAX_ID_LENGTH: usize = 128;

/// Issues and verifies access tokens: JWTs (RFC 7519) of the profile RFC 9068, signed with HS256 and nothing else.
pub struct Tokens {
    encoding: EncodingKey,
    /// The current key, then previous ones.
    decoding: Vec<DecodingKey>,
    validation: Validation,
    clock: Clock,
}

/// What a token narrows its identity to; `None` leaves it as the identity's row says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Narrowing {
    /// Scopes, of which only those of the row count.
    pub scopes: Option<ScopeSet>,
    /// Contexts, of which only those of the row count.
    pub contexts: Option<ContextGrant>,
}

/// A token as issued.
#[derive(Debug)]
pub struct IssuedToken {
    /// Its `jti`, by which it can be revoked.
    pub id: String,
    /// What the client sends.
    pub token: Secret<String>,
    /// When it stops working.
    pub expires_at: Timestamp,
}

/// Why a token is refused. Says nothing that its sender does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No `Authorization` header.
    #[error("send `Authorization: Bearer <token>`; `cryptoserve token` or an administrator issues one")]
    Missing,
    /// Not a token of this service: its form, algorithm, type, issuer, audience, claims or signature.
    #[error(
        "the bearer token is not an access token of this service: it is not whole, or was issued elsewhere; \
         `cryptoserve token` or an administrator issues one"
    )]
    Invalid,
    /// Past its `exp`.
    #[error(
        "the access token has expired; get another as you got this one: from `cryptoserve token`, from an administrator, \
         or with a refresh token"
    )]
    Expired,
    /// It was revoked, or its identity or tenant was disabled or deleted.
    #[error(
        "the access token has been revoked, or its identity or tenant is disabled or deleted; ask an administrator"
    )]
    Revoked,
    /// Past its end, or of no identity that may use it.
    #[error(
        "the client certificate has expired, or no enabled identity has its subject or a URI of it; an administrator sets \
         `certificate` of an identity, or send `Authorization: Bearer <token>`"
    )]
    Certificate,
}

/// Why a token is not issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// Its lifetime.
    #[error(transparent)]
    Ttl(#[from] InvalidTtl),
    /// It would be longer than tokens may be.
    #[error("the token would name too many contexts; give them to the identity instead")]
    TooLong,
}

/// A lifetime that the identity's role does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token of this role lives at least 1 second and at most {} hours", .max.as_secs() / 3600)]
pub struct InvalidTtl {
    max: Duration,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    tid: String,
    jti: String,
    iat: u64,
    exp: u64,
    epoch: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contexts: Option<String>,
}

impl Tokens {
    /// Signs with `key`; also verifies what one of `previous` signed.
    pub fn new(key: &Secret<Vec<u8>>, previous: &[Secret<Vec<u8>>], clock: Clock) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Expiry is checked against our own clock, which tests can hold.
        validation.validate_exp = false;
        Self {
            encoding: EncodingKey::from_secret(key.expose()),
            decoding: std::iter::once(key)
                .chain(previous)
                .map(|key| DecodingKey::from_secret(key.expose()))
                .collect(),
            validation,
            clock,
        }
    }

    /// A token of `identity` that lives for `ttl`, made by a refresh token of `family` if any.
    ///
    /// # Errors
    ///
    /// [`IssueError`] when the role does not allow that lifetime, or the narrowing is too long.
    ///
    /// # Panics
    ///
    /// When the operating system gives no random bytes.
    pub fn issue(
        &self,
        identity: &Identity,
        ttl: Duration,
        narrowing: &Narrowing,
        family: Option<FamilyId>,
    ) -> Result<IssuedToken, IssueError> {
        Self::check_ttl(identity.role, ttl)?;
        let now = self.clock.now();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: identity.id.to_string(),
            tid: identity.tenant.to_string(),
            jti: random_uuid().to_string(),
            iat: now.as_secs(),
            exp: (now + ttl).as_secs(),
            epoch: identity.epoch,
            sid: family.map(|family| family.to_string()),
            scope: narrowing.scopes.map(|scopes| scopes.to_string()),
            contexts: narrowing.contexts.as_ref().map(ContextGrant::to_string),
        };
        let header = Header { typ: Some(TYPE.to_owned()), ..Header::new(Algorithm::HS256) };
        let token = jsonwebtoken::encode(&header, &claims, &self.encoding)
            .expect("claims of strings and numbers serialise, and HMAC takes any key");
        if token.len() > MAX_LENGTH {
            return Err(IssueError::TooLong);
        }
        let expires_at = Timestamp::from_secs(claims.exp);
        Ok(IssuedToken { id: claims.jti, token: Secret::new(token), expires_at })
    }

    /// Whether a token of `role` may live for `ttl`.
    ///
    /// # Errors
    ///
    /// [`InvalidTtl`] with what it may.
    pub fn check_ttl(role: Role, ttl: Duration) -> Result<(), InvalidTtl> {
        let max = match role {
            Role::Service => MAX_SERVICE_TTL,
            Role::Admin | Role::Operator => MAX_ADMIN_TTL,
        };
        if (Duration::from_secs(1)..=max).contains(&ttl) { Ok(()) } else { Err(InvalidTtl { max }) }
    }

    /// Checks form, algorithm, signature, type, issuer, audience and expiry.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`] or [`TokenError::Expired`].
    pub fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > MAX_LENGTH {
            return Err(TokenError::Invalid);
        }
        let claims = self.decode(token)?;
        if self.clock.now().as_secs() >= claims.exp {
            return Err(TokenError::Expired);
        }
        Ok(Verified {
            identity: claims.sub.parse().map_err(|_| TokenError::Invalid)?,
            tenant: claims.tid.parse().map_err(|_| TokenError::Invalid)?,
            id: claims.jti,
            family: claims.sid,
            credential: Credential::Own { epoch: claims.epoch },
            expires_at: Timestamp::from_secs(claims.exp),
            narrowing: Narrowing {
                scopes: claims
                    .scope
                    .map(|scope| scope.parse())
                    .transpose()
                    .map_err(|_| TokenError::Invalid)?,
                contexts: claims
                    .contexts
                    .map(|names| names.parse())
                    .transpose()
                    .map_err(|_| TokenError::Invalid)?,
            },
        })
    }

    fn decode(&self, token: &str) -> Result<Claims, TokenError> {
        for key in &self.decoding {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(data) if data.header.typ.as_deref() == Some(TYPE) => return Ok(data.claims),
                Ok(_) => return Err(TokenError::Invalid),
                Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => {}
                Err(_) => return Err(TokenError::Invalid),
            }
        }
        Err(TokenError::Invalid)
    }
}

/// Whether a token can have this id: visible ASCII, and not more than is stored.
pub fn is_token_id(id: &str) -> bool {
    (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
