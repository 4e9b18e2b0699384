use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use quick_cache::sync::Cache;

use crate::auth::{Narrowing, Role, TokenError};
use crate::clock::Timestamp;
use crate::id::{IdentityId, TenantId};

/// Most tokens whose signatures are remembered.
const CAPACITY: usize = 10_000;

/// The claims of a token whose signature and times are good. What they are worth, the identity's row decides.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The `sub`.
    pub identity: IdentityId,
    /// The `tid`.
    pub tenant: TenantId,
    /// The `jti`, or what stands for it if an outside identity provider gave none.
    pub id: String,
    /// The `sid`: the family of refresh tokens that made it, if one did.
    pub family: Option<String>,
    /// Who vouches for it, and what tells that it was revoked with all others.
    pub credential: Credential,
    /// What the token narrows the identity to.
    pub narrowing: Narrowing,
    /// The `exp`.
    pub expires_at: Timestamp,
}

/// Who vouches for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// We do.
    Own {
        /// The `epoch`, which must be the identity's.
        epoch: u32,
    },
    /// An outside identity provider does.
    Outside {
        /// What it says its identity is: never an operator.
        role: Role,
        /// The `iat`, which must not lie before the last revocation.
        issued_at: Timestamp,
    },
    /// The authority of a client certificate does, and that the row still names it was seen.
    Certificate,
}

/// The full SHA-256 of a token: two tokens with one key would be one caller with the rights of another.
pub(super) type TokenHash = [u8; SHA256_OUTPUT_LEN];

/// Under what a token is remembered.
pub(super) fn hash(token: &str) -> TokenHash {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().expect("SHA-256 has this length")
}

/// Tokens whose signatures were found good, so that each is verified once, with what was found. Holds neither tokens nor
/// what they are worth now: expiry and the identity's row are looked at each time.
pub struct VerifiedTokens<T>(Cache<TokenHash, (Timestamp, T)>);

impl<T: Clone> Default for VerifiedTokens<T> {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

impl<T: Clone> VerifiedTokens<T> {
    /// What was found of a token before; [`TokenError::Expired`] if it has expired since.
    pub(super) fn get(&self, hash: &TokenHash, now: Timestamp) -> Result<Option<T>, TokenError> {
        match self.0.get(hash) {
            Some((expires_at, _)) if now >= expires_at => {
                self.0.remove(hash);
                Err(TokenError::Expired)
            }
            known => Ok(known.map(|(_, found)| found)),
        }
    }

    /// Remembers what was found of a token.
    pub(super) fn insert(&self, hash: TokenHash, expires_at: Timestamp, found: T) {
        self.0.insert(hash, (expires_at, found));
    }
}

impl VerifiedTokens<Arc<Verified>> {
    /// The claims of `token`, by `verify` the first time; not past its expiry.
    ///
    /// # Errors
    ///
    /// What `verify` says, which is not remembered; [`TokenError::Expired`].
    pub fn get_or_verify(
        &self,
        token: &str,
        now: Timestamp,
        verify: impl FnOnce() -> Result<Verified, TokenError>,
    ) -> Result<Arc<Verified>, TokenError> {
        let hash = hash(token);
        if let Some(verified) = self.get(&hash, now)? {
            return Ok(verified);
        }
        let verified = Arc::new(verify()?);
        self.insert(hash, verified.expires_at, verified.clone());
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(expires_at: u64) -> Verified {
        Verified {
            identity: IdentityId::random(),
            tenant: TenantId::random(),
            id: String::new(),
            family: None,
            credential: Credential::Own { epoch: 0 },
            narrowing: Narrowing::default(),
            expires_at: Timestamp::from_secs(expires_at),
        }
    }

    #[test]
    fn a_good_token_is_verified_once_and_expires_all_the_same() {
        let tokens = VerifiedTokens::default();
        let first = tokens.get_or_verify("a", Timestamp::from_secs(1), || Ok(verified(10))).unwrap();
        let again = || panic!("verified twice");
        let second = tokens.get_or_verify("a", Timestamp::from_secs(9), again).unwrap();
        assert_eq!(first.identity, second.identity);
        let late = tokens.get_or_verify("a", Timestamp::from_secs(10), again);
        assert_eq!(late.unwrap_err(), TokenError::Expired);
        let other = tokens.get_or_verify("b", Timestamp::from_secs(1), || Ok(verified(10))).unwrap();
        assert_ne!(first.identity, other.identity);
    }

    #[test]
    fn a_bad_token_is_looked_at_each_time() {
        let tokens = VerifiedTokens::default();
        let now = Timestamp::from_secs(1);
        assert_eq!(
            tokens.get_or_verify("a", now, || Err(TokenError::Invalid)).unwrap_err(),
            TokenError::Invalid
        );
        assert!(tokens.get_or_verify("a", now, || Ok(verified(10))).is_ok());
    }
}
