//! Wrapping: how keys are stored, encrypted under the key-encryption key and bound to what their row says.

use zeroize::Zeroizing;

use super::aead::TAG_LEN;
use super::xaes::NONCE_LEN;
use super::{Error, Kek, KeyId, KeyVersion, random};
use crate::secret::Secret;

/// Everything about a stored key that is not secret, authenticated with it: a row whose columns were edited, or
/// whose wrapped key was taken from another row, does not unwrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapContext {
    /// The tenant that owns the key.
    pub tenant: [u8; 16],
    /// The context that the key belongs to.
    pub context: [u8; 16],
    /// The key's name.
    pub key_id: KeyId,
    /// The key's version.
    pub version: KeyVersion,
    /// What the key is for.
    pub purpose: Purpose,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// Where it came from.
    pub origin: Origin,
    /// Whether it may leave the service.
    pub exportable: bool,
}

/// What a stored key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Purpose {
    /// Encryption: the root of a context's key version.
    ContextKey = 1,
    /// Signatures.
    Signing = 2,
    /// Authentication of audit records.
    AuditChain = 3,
    /// Transport: keys that others bring arrive encrypted to it.
    Transport = 4,
}

impl Purpose {
    /// Every purpose, by number.
    pub const ALL: [Self; 4] = [Self::ContextKey, Self::Signing, Self::AuditChain, Self::Transport];

    /// The number stored and authenticated.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The purpose of this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.id() == id)
    }
}

/// What kind of key is stored: numbers below 16 are symmetric, those from 16 on are private keys in PKCS #8
/// (RFC 5958).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum KeyType {
    /// 32 bytes.
    Symmetric256 = 1,
    /// Ed25519, RFC 8032.
    Ed25519 = 16,
    /// ECDSA with curve P-256, FIPS 186-5.
    EcdsaP256 = 17,
    /// ECDSA with curve P-384, FIPS 186-5.
    EcdsaP384 = 18,
    /// RSASSA-PSS with a modulus of 3072 bits, RFC 8017.
    RsaPss3072 = 19,
    /// ML-DSA-65, FIPS 204.
    MlDsa65 = 20,
    /// ML-DSA-87, FIPS 204.
    MlDsa87 = 21,
    /// RSAES-OAEP with a modulus of 3072 bits, RFC 8017: for transport.
    RsaOaep3072 = 22,
}

impl KeyType {
    /// Every type, by number.
    pub const ALL: [Self; 8] = [
        Self::Symmetric256,
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::RsaPss3072,
        Self::MlDsa65,
        Self::MlDsa87,
        Self::RsaOaep3072,
    ];

    /// The number stored and authenticated.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The type of this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|key_type| key_type.id() == id)
    }
}

/// Where a stored key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Origin {
    /// Made here.
    Generated = 1,
    /// Brought by its owner.
    Imported = 2,
}

impl Origin {
    /// The number stored and authenticated.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The origin of this number.
    pub fn from_id(id: u8) -> Option<Self> {
        [Self::Generated, Self::Imported].into_iter().find(|origin| origin.id() == id)
    }
}

impl Kek {
    /// Wraps `key` for storage: a random nonce (24 bytes), the encrypted key, and a tag (16 bytes).
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails or has no randomness.
    pub fn wrap(&self, context: &WrapContext, key: &[u8]) -> Result<Vec<u8>, Error> {
        let nonce = random::array()?;
        // Of its final size from the start: growing would leave a copy of the key behind.
        let mut wrapped = Zeroizing::new(vec![0; NONCE_LEN + key.len() + TAG_LEN]);
        let (front, sealed) = wrapped.split_at_mut(NONCE_LEN);
        front.copy_from_slice(&nonce);
        sealed[..key.len()].copy_from_slice(key);
        self.cipher().seal_in_place(&nonce, &self.associated_data(context), sealed)?;
        Ok(std::mem::take(&mut *wrapped))
    }

    /// The key that [`Kek::wrap`] wrapped with the same context.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if anything differs: the key-encryption key, a field of the context, a
    /// stored byte; [`Error::Malformed`] if `wrapped` is too short to hold a key.
    pub fn unwrap_key(&self, context: &WrapContext, wrapped: &[u8]) -> Result<Secret<Vec<u8>>, Error> {
        let (nonce, sealed) = wrapped.split_first_chunk().ok_or(Error::Malformed("wrapped key too short"))?;
        let mut key = Secret::new(sealed.to_vec());
        let length =
            self.cipher().open_in_place(nonce, &self.associated_data(context), key.expose_mut())?.len();
        key.expose_mut().truncate(length);
        Ok(key)
    }

    /// Fields of fixed widths, so that no two contexts look alike.
    fn associated_data(&self, context: &WrapContext) -> [u8; ASSOCIATED_DATA_LEN] {
        let fields: [&[u8]; 10] = [
            LABEL,
            &self.id().0,
            &context.tenant,
            &context.context,
            &context.key_id.0,
            &context.version.get().to_be_bytes(),
            &[context.purpose.id()],
            &[context.key_type.id()],
            &[context.origin.id()],
            &[u8::from(context.exportable)],
        ];
        let mut bytes = [0; ASSOCIATED_DATA_LEN];
        bytes.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

const LABEL: &[u8] = b"cryptoserve/wrap/v1";
const ASSOCIATED_DATA_LEN: usize = LABEL.len() + 8 + 3 * 16 + 4 + 4;

#[cfg(test)]
mod tests;
