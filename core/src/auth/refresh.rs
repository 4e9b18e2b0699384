use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::auth::{DEFAULT_TTL, Identity, MAX_SERVICE_TTL, Narrowing};
use crate::clock::Timestamp;
use crate::crypto::{self, random};
use crate::id::{FamilyId, IdentityId, TenantId};
use crate::secret::Secret;

/// A family that was not used for so long is dead.
pub const FAMILY_TTL: Duration = Duration::from_secs(90 * 24 * 3600);
/// Families that an identity has at most.
pub const MAX_FAMILIES: u32 = 20;
/// How long a replaced token still gives its successor, to a client that did not get the reply.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(60);
/// How far the time of the last use of a family may lie behind.
pub const USED_AT_PRECISION: Duration = Duration::from_secs(24 * 3600);

/// How long a family that was revoked is remembered: longer than any access token of it, as the first may have been
/// issued for long, and though clocks differ.
pub const FAMILY_REVOKED_FOR: Duration = MAX_SERVICE_TTL.saturating_add(DEFAULT_TTL);

const PREFIX: &str = "csrt_";
const TENANT_LEN: usize = 16;
const SECRET_LEN: usize = 32;
const BYTES_LEN: usize = TENANT_LEN + SECRET_LEN;
const TEXT_LEN: usize = PREFIX.len() + BYTES_LEN / 3 * 4;
const SUCCESSOR_INFO: &[u8] = b"cryptoserve/v1/refresh-token";

/// A refresh token: `csrt_` and, in base64url without padding, the id of its tenant and 256 secret bits.
#[derive(Debug)]
pub struct RefreshToken {
    tenant: TenantId,
    // Boxed, so that moving it leaves no copies behind.
    secret: Box<Secret<[u8; SECRET_LEN]>>,
}

/// The text is no refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a refresh token")]
pub struct NotARefreshToken;

impl RefreshToken {
    /// A fresh one.
    ///
    /// # Errors
    ///
    /// [`crypto::Error::Internal`] if there is no randomness.
    pub fn generate(tenant: TenantId) -> Result<Self, crypto::Error> {
        let mut token = Self { tenant, secret: Box::default() };
        random::fill(token.secret.expose_mut())?;
        Ok(token)
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    ///
    /// [`NotARefreshToken`] unless it is exactly what [`RefreshToken::text`] writes.
    pub fn parse(text: &str) -> Result<Self, NotARefreshToken> {
        if text.len() != TEXT_LEN {
            return Err(NotARefreshToken);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(NotARefreshToken)?;
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(encoded).map_err(|_| NotARefreshToken)?;
        let bytes = Zeroizing::new(bytes);
        let (tenant, secret) = bytes.split_at_checked(TENANT_LEN).ok_or(NotARefreshToken)?;
        let tenant = TenantId(Uuid::from_slice(tenant).map_err(|_| NotARefreshToken)?);
        let mut token = Self { tenant, secret: Box::default() };
        if secret.len() != SECRET_LEN {
            return Err(NotARefreshToken);
        }
        token.secret.expose_mut().copy_from_slice(secret);
        Ok(token)
    }

    /// What the client keeps.
    pub fn text(&self) -> Secret<String> {
        let bytes = self.bytes();
        // Of its final length from the start: growing would leave copies behind.
        let mut text = String::with_capacity(TEXT_LEN);
        text.push_str(PREFIX);
        base64_simd::URL_SAFE_NO_PAD.encode_append(&bytes[..], &mut text);
        Secret::new(text)
    }

    /// Whose it says it is; true only if there is a row of its hash.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What the store keeps of it: its SHA-256. The secret is random, so nothing slower is called for.
    pub fn hash(&self) -> [u8; SHA256_OUTPUT_LEN] {
        digest(&SHA256, &self.bytes()[..]).as_ref().try_into().expect("SHA-256 has this length")
    }

    /// The token that replaces this one, by HKDF-SHA256 (RFC 5869): the same for whoever has the token and the salt, and
    /// with the salt alone nobody has it.
    ///
    /// # Errors
    ///
    /// [`crypto::Error::Internal`] if the library fails.
    pub fn successor(&self, salt: &[u8; 32]) -> Result<Self, crypto::Error> {
        let mut next = Self { tenant: self.tenant, secret: Box::default() };
        let prk = Salt::new(HKDF_SHA256, salt).extract(self.secret.expose());
        crypto::expand(&prk, &[SUCCESSOR_INFO], next.secret.expose_mut())?;
        Ok(next)
    }

    fn bytes(&self) -> Zeroizing<[u8; BYTES_LEN]> {
        let mut bytes = Zeroizing::new([0; BYTES_LEN]);
        bytes[..TENANT_LEN].copy_from_slice(self.tenant.as_bytes());
        bytes[TENANT_LEN..].copy_from_slice(self.secret.expose());
        bytes
    }
}

/// What one registration, or one request for a refresh token, began: a token, and in time its successors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshFamily {
    /// The `sid` of the access tokens that it makes.
    pub id: FamilyId,
    /// Whose.
    pub tenant: TenantId,
    /// Whose.
    pub identity: IdentityId,
    /// That of the identity when it began; another one ends the family.
    pub epoch: u32,
    /// What its access tokens narrow the identity to.
    pub narrowing: Narrowing,
    /// Whether each of its tokens is good for one use.
    pub rotates: bool,
    /// What it is for, in words.
    pub detail: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used, to the day.
    pub used_at: Timestamp,
}

impl RefreshFamily {
    /// A new one.
    pub fn new(identity: &Identity, narrowing: Narrowing, detail: String, now: Timestamp) -> Self {
        Self {
            id: FamilyId::random(),
            tenant: identity.tenant,
            identity: identity.id,
            epoch: identity.epoch,
            narrowing,
            rotates: identity.rotate_refresh_tokens,
            detail,
            created_at: now,
            used_at: now,
        }
    }

    /// When it dies unless it is used before.
    pub fn expires_at(&self) -> Timestamp {
        self.used_at + FAMILY_TTL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> RefreshToken {
        RefreshToken::generate(TenantId::random()).unwrap()
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let token = token();
        let text = token.text();
        assert!(text.expose().starts_with("csrt_") && text.expose().len() == 69);
        let read = RefreshToken::parse(text.expose()).unwrap();
        assert_eq!((read.tenant(), read.hash()), (token.tenant(), token.hash()));
        assert_eq!(read.text(), text);
        assert!(!format!("{token:?}").contains(&text.expose()[30..]));
    }

    #[test]
    fn whatever_differs_is_no_token_or_another_one() {
        let token = token();
        let text = token.text();
        let text = text.expose().as_str();
        for end in 0..text.len() {
            assert!(RefreshToken::parse(&text[..end]).is_err(), "{end}");
        }
        for position in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(bytes).unwrap();
            assert!(
                RefreshToken::parse(&other).is_ok_and(|other| other.hash() != token.hash())
                    == (position >= 5)
            );
        }
        let long = "csrt_".to_owned() + &"A".repeat(10_000);
        for bad in
            ["", "csrt_", &format!("{text}="), &format!(" {text}"), &text.replace("csrt_", "CSRT_"), &long]
        {
            assert_eq!(RefreshToken::parse(bad).unwrap_err(), NotARefreshToken);
        }
        for odd in ['+', '/', '=', ' ', 'é'] {
            assert!(RefreshToken::parse(&format!("{}{odd}", &text[..68])).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_successor_follows_from_token_and_salt() {
        let token = token();
        let next = token.successor(&[1; 32]).unwrap();
        assert_eq!(next.text(), token.successor(&[1; 32]).unwrap().text());
        assert_eq!(next.tenant(), token.tenant());
        for other in
            [&token, &token.successor(&[2; 32]).unwrap(), &super::tests::token().successor(&[1; 32]).unwrap()]
        {
            assert_ne!(next.hash(), other.hash());
        }
    }

    /// Checked with another implementation: `hashlib` and `hmac` of Python.
    #[test]
    fn hash_and_successor_are_as_documented() {
        let tenant = TenantId(Uuid::from_bytes([0x11; 16]));
        let token = RefreshToken { tenant, secret: Box::new(Secret::new([0x22; 32])) };
        assert_eq!(
            token.text().expose(),
            "csrt_ERERERERERERERERERERESIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIi"
        );
        assert_eq!(
            hex::encode(token.hash()),
            "59d8a7f6dbdb620c9594dd93d88e59897843aa8a90b030893f6920dd6bf0ef4e"
        );
        let next = token.successor(&[0x33; 32]).unwrap();
        assert_eq!(
            hex::encode(next.secret.expose()),
            "c64238601c59c501ad85dc8dbef6439b83e1c42e77fa83198ff685ddebc5bfb0"
        );
    }
}
