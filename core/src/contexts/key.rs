use crate::contexts::{Context, KeyVersionRecord};
use crate::crypto::{ContextKey, Error, Kek, KekId, KeyId, KeyType, Purpose, WrapContext};
use crate::secret::Secret;

/// What all versions of a key have in common; every field is bound into the wrap of each version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Random; names tenant and context.
    pub id: KeyId,
    /// What it may be used for.
    pub purpose: Purpose,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// Whether its bytes may ever leave the service.
    pub exportable: bool,
}

/// The bytes of one key version, encrypted under a key-encryption key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which key-encryption key opens it.
    pub kek_id: KekId,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
    /// What the unwrapped key must check to.
    pub check_value: [u8; 16],
}

/// A key version as read from the store, with the context that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredVersion {
    /// The context of the key, deleted or not.
    pub context: Context,
    /// The key of which this is a version.
    pub key: Key,
    /// The version itself.
    pub version: KeyVersionRecord,
    /// Its bytes; `None` once destroyed.
    pub wrapped: Option<WrappedKey>,
}

impl StoredVersion {
    /// A version whose bytes are `secret`.
    ///
    /// # Errors
    ///
    /// When no random bytes can be had or wrapping fails.
    pub fn wrap(
        context: Context,
        key: Key,
        version: KeyVersionRecord,
        secret: &[u8],
        check_value: [u8; 16],
        kek: &Kek,
    ) -> Result<Self, Error> {
        let mut stored = Self { context, key, version, wrapped: None };
        let bytes = kek.wrap(&stored.wrap_context(), secret)?;
        stored.wrapped = Some(WrappedKey { kek_id: kek.id(), bytes, check_value });
        Ok(stored)
    }

    /// Unwraps the key and compares its check value.
    ///
    /// # Errors
    ///
    /// [`Error::AuthenticationFailed`] when row and key-encryption key do not belong together,
    /// [`Error::WrongKey`] when the check value differs, and also when the key has been destroyed.
    pub fn unwrap_key(&self, kek: &Kek) -> Result<ContextKey, Error> {
        let (bytes, check_value) = self.unwrap_bytes(kek)?;
        let key = ContextKey::from_bytes(bytes.expose())?;
        key.verify_check_value(check_value)?;
        Ok(key)
    }

    /// The same key wrapped under `to`.
    ///
    /// # Errors
    ///
    /// As [`StoredVersion::unwrap_key`], and when no random bytes can be had or wrapping fails.
    pub fn rewrap(&self, from: &Kek, to: &Kek) -> Result<WrappedKey, Error> {
        let wrapped = self.wrapped.as_ref().ok_or(Error::WrongKey)?;
        let bytes = from.unwrap_key(&self.wrap_context(), &wrapped.bytes)?;
        // Only of these does the key itself tell its check value. The bytes of all are authenticated.
        if self.key.purpose == Purpose::ContextKey {
            ContextKey::from_bytes(bytes.expose())?.verify_check_value(&wrapped.check_value)?;
        }
        let bytes = to.wrap(&self.wrap_context(), bytes.expose())?;
        Ok(WrappedKey { kek_id: to.id(), bytes, check_value: wrapped.check_value })
    }

    /// The key's bytes, and what it must check to.
    pub(super) fn unwrap_bytes(&self, kek: &Kek) -> Result<(Secret<Vec<u8>>, &[u8; 16]), Error> {
        let wrapped = self.wrapped.as_ref().ok_or(Error::WrongKey)?;
        Ok((kek.unwrap_key(&self.wrap_context(), &wrapped.bytes)?, &wrapped.check_value))
    }

    /// What the wrapped bytes are bound to.
    pub fn wrap_context(&self) -> WrapContext {
        WrapContext {
            tenant: *self.context.tenant.as_bytes(),
            context: *self.context.id.as_bytes(),
            key_id: self.key.id,
            version: self.version.version,
            purpose: self.key.purpose,
            key_type: self.key.key_type,
            origin: self.version.origin,
            exportable: self.key.exportable,
        }
    }
}
