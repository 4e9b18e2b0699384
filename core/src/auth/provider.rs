//! Access tokens of an outside identity provider: signed with RS256, ES256 or EdDSA by a key that it publishes.
//!
//! The header of a token only says where to look. Which algorithm verifies it follows from the key, and no key here is a
//! secret, so neither `none` nor an HMAC under a public key can ever pass.

mod claims;
mod endpoint;
mod jwks;
mod key_set;
mod row;

use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode_header};
use serde_json::{Map, Value};

pub use claims::OutsideToken;

use crate::auth::verified::hash;
use crate::auth::{TokenError, VerifiedTokens};
use crate::clock::Clock;
use crate::config::IdentityProvider;
use jwks::{Generation, Keys, NoKeys};

/// Longest token that is looked at, in bytes.
const MAX_LENGTH: usize = 8 * 1024;
/// What the header of an access token may say that it is: what RFC 9068 asks for, and what most providers write.
const TYPES: [&str; 3] = ["at+jwt", "application/at+jwt", "JWT"];

/// Verifies the tokens of one identity provider.
pub struct Provider {
    issuer: String,
    audience: String,
    keys: Keys,
    clock: Clock,
    /// With the set of keys that one of verified them.
    verified: VerifiedTokens<(Generation, Arc<OutsideToken>)>,
}

/// Why a token of a provider is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The provider's keys are not known, so nothing can be said about the token.
    #[error("the keys of the identity provider are not known")]
    Unavailable,
}

impl From<NoKeys> for ProviderError {
    fn from(_: NoKeys) -> Self {
        Self::Unavailable
    }
}

impl Provider {
    /// Knows no keys until [`Provider::refresh_keys`] runs.
    pub fn new(config: &IdentityProvider, clock: Clock) -> Self {
        Self {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            keys: Keys::new(&config.jwks_url, clock.clone()),
            clock,
            verified: VerifiedTokens::default(),
        }
    }

    /// Whether `token` says that it is signed as a provider's are, and not as ours.
    pub fn is_addressed(token: &str) -> bool {
        token.len() <= MAX_LENGTH
            && decode_header(token).is_ok_and(|header| {
                matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA)
            })
    }

    /// Keeps the keys fresh, for ever.
    pub async fn refresh_keys(&self) {
        self.keys.refresh().await;
    }

    /// Checks form, algorithm, type, signature, issuer, audience and times, and reads the claims. The signature of a token
    /// that was good is not checked again while the provider's keys stay the same.
    ///
    /// # Errors
    ///
    /// [`ProviderError::Unavailable`] when no keys are known, or those that are known are too old.
    pub async fn verify(&self, token: &str) -> Result<Arc<OutsideToken>, ProviderError> {
        let hash = hash(token);
        if let Some((generation, known)) = self.verified.get(&hash, self.clock.now())?
            && self.keys.generation() == Some(generation)
        {
            return Ok(known);
        }
        let kid = kid(token)?;
        let decoded = self.keys.with(&kid, |algorithm, key, generation| {
            self.decode(token, &hash, algorithm, key).map(|token| (generation, Arc::new(token)))
        });
        let (generation, verified) = decoded.await?.ok_or(TokenError::Invalid)??;
        self.verified.insert(hash, verified.expires_at, (generation, verified.clone()));
        Ok(verified)
    }

    fn decode(
        &self,
        token: &str,
        hash: &[u8],
        algorithm: Algorithm,
        key: &DecodingKey,
    ) -> Result<OutsideToken, TokenError> {
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are checked against our own clock, which tests can hold.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation);
        let claims = decoded.map_err(|_| TokenError::Invalid)?.claims;
        // A list of issuers would pass above if ours is among them.
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(TokenError::Invalid);
        }
        OutsideToken::read(&claims, hash, self.clock.now())
    }
}

/// The id of the key that verifies a token, from a header that allows it to be an access token.
fn kid(token: &str) -> Result<String, TokenError> {
    let Header { kid, typ, crit, .. } = decode_header(token).map_err(|_| TokenError::Invalid)?;
    let known_type = typ.is_none_or(|typ| TYPES.iter().any(|known| known.eq_ignore_ascii_case(&typ)));
    // What is critical to its maker, and we do not know, we would get wrong (RFC 7515 section 4.1.11).
    if !known_type || crit.is_some() {
        return Err(TokenError::Invalid);
    }
    kid.ok_or(TokenError::Invalid)
}

#[cfg(test)]
mod tests;
