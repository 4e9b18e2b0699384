//! What the claims of an outside token say, by the rules of docs/identity-providers.md. A claim that is there and is not
//! what it should be makes the token worthless: left out, it could leave the token worth more than was meant.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::auth::{ContextGrant, DEFAULT_TENANT, Narrowing, Role, ScopeSet, TokenError};
use crate::clock::Timestamp;
use crate::name::Name;

const TENANT: &str = "cryptoserve_tenant";
const ROLE: &str = "cryptoserve_role";
const CONTEXTS: &str = "cryptoserve_contexts";
const SCOPES: &str = "cryptoserve_scopes";
/// Of OAuth 2.0 (RFC 9068 section 2.2.3), and what Entra and Okta call it: with names of others in it.
const SHARED_SCOPES: [&str; 2] = ["scope", "scp"];

/// The tenant of a token that names none.
/// How far the provider's clock may be ahead of ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// How long a token may still be valid.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// Longest text; OpenID Connect allows a `sub` no more.
const MAX_TEXT: usize = 255;
/// Longest `jti` by which a token can be revoked.
const MAX_ID: usize = 128;

/// What a good token of an outside identity provider says. What it is worth, the row of its identity decides.
#[derive(Clone, Debug)]
pub struct OutsideToken {
    /// The `sub`.
    pub subject: String,
    /// Whose it is.
    pub tenant: Name,
    /// `Service` or `Admin`.
    pub role: Role,
    /// The `jti`, by which it can be revoked; its SHA-256 in hexadecimal if that is missing, long or has spaces.
    pub id: String,
    /// The `iat`.
    pub issued_at: Timestamp,
    /// The `exp`.
    pub expires_at: Timestamp,
    /// What it may do, both never `None`.
    pub narrowing: Narrowing,
}

impl OutsideToken {
    /// Reads the claims of a token with that SHA-256, whose signature, issuer and audience are good.
    ///
    /// # Errors
    ///
    /// [`TokenError::Expired`]; [`TokenError::Invalid`] for all else.
    pub(super) fn read(claims: &Map<String, Value>, hash: &[u8], now: Timestamp) -> Result<Self, TokenError> {
        let expires_at = time(claims, "exp")?.ok_or(TokenError::Invalid)?;
        let issued_at = time(claims, "iat")?.ok_or(TokenError::Invalid)?;
        let not_before = time(claims, "nbf")?.unwrap_or(issued_at);
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        if expires_at > now + MAX_LIFETIME || issued_at.max(not_before) > now + CLOCK_SKEW {
            return Err(TokenError::Invalid);
        }
        let role = match text(claims, ROLE)? {
            None => Role::Service,
            Some(role) => match role.parse() {
                Ok(role @ (Role::Service | Role::Admin)) => role,
                Ok(Role::Operator) | Err(_) => return Err(TokenError::Invalid),
            },
        };
        let tenant = text(claims, TENANT)?.unwrap_or(DEFAULT_TENANT);
        Ok(Self {
            subject: text(claims, "sub")?.ok_or(TokenError::Invalid)?.to_owned(),
            tenant: tenant.parse().map_err(|_| TokenError::Invalid)?,
            role,
            id: token_id(claims, hash)?,
            issued_at,
            expires_at,
            narrowing: Narrowing {
                scopes: Some(scopes(claims, role)?.intersection(role.scopes())),
                contexts: Some(contexts(claims)?),
            },
        })
    }
}

/// The `jti`, if lists of revoked tokens can hold it.
fn token_id(claims: &Map<String, Value>, hash: &[u8]) -> Result<String, TokenError> {
    let usable = |id: &&str| id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic());
    Ok(text(claims, "jti")?.filter(usable).map_or_else(|| hex::encode(hash), str::to_owned))
}

/// A text that a row can hold.
fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let text = value.as_str().ok_or(TokenError::Invalid)?;
    let good = (1..=MAX_TEXT).contains(&text.len()) && !text.contains(char::is_control);
    if good { Ok(Some(text)) } else { Err(TokenError::Invalid) }
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519 section 2), which is dropped.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<Timestamp>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..9e15).contains(seconds))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "in range, fraction dropped"
        )]
        let whole = seconds as u64;
        Some(whole)
    });
    seconds.map(|seconds| Some(Timestamp::from_secs(seconds))).ok_or(TokenError::Invalid)
}

/// The words of a claim that is a list of texts, or one text with spaces between them.
fn words<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<Vec<&'a str>>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.split_ascii_whitespace().collect())),
        Some(Value::Array(list)) => list
            .iter()
            .map(|word| word.as_str().ok_or(TokenError::Invalid))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(TokenError::Invalid),
    }
}

fn contexts(claims: &Map<String, Value>) -> Result<ContextGrant, TokenError> {
    let names = words(claims, CONTEXTS)?.unwrap_or_default();
    if names == ["*"] {
        return Ok(ContextGrant::All);
    }
    let names = names.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    names.map(ContextGrant::Named).map_err(|_| TokenError::Invalid)
}

/// In a claim of our own every name must be one of ours. In those that we share, others' names are none of our business;
/// one that is there all the same says what its holder asked for.
fn scopes(claims: &Map<String, Value>, role: Role) -> Result<ScopeSet, TokenError> {
    let own = words(claims, SCOPES)?.map(|names| {
        names.into_iter().map(str::parse).collect::<Result<ScopeSet, _>>().map_err(|_| TokenError::Invalid)
    });
    let mut shared = None;
    for name in SHARED_SCOPES {
        if let Some(names) = words(claims, name)? {
            let ours = names.into_iter().filter_map(|name| name.parse().ok());
            shared = Some(ours.fold(shared.unwrap_or(ScopeSet::NONE), ScopeSet::with));
        }
    }
    Ok(match (own.transpose()?, shared) {
        (None, None) => role.default_scopes(),
        (None, Some(shared)) => shared,
        (Some(own), None | Some(ScopeSet::NONE)) => own,
        (Some(own), Some(shared)) => own.intersection(shared),
    })
}

#[cfg(test)]
mod tests;
