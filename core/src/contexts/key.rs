use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::crypto::{
    Algorithm, AlgorithmSet, ContextKey, Error, Kek, KekId, KeyId, KeyType, KeyVersion, Origin, Purpose,
    WrapContext,
};
use crate::id::{ContextId, TenantId};
use crate::name::Name;

/// What all versions of a key have in common; every field is bound into the wrap of each version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Random; names tenant and context.
    pub id: KeyId,
    /// What it may be used for.
    pub purpose: Purpose,
    /// What kind of key it is.
    pub key_type: KeyType,
    /// Where its bytes came from.
    pub origin: Origin,
    /// Whether its bytes may ever leave the service.
    pub exportable: bool,
}

/// The life of a key version. Exactly one version of a key is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Encrypts and decrypts.
    Enabled,
    /// Decrypts only.
    DecryptOnly,
    /// Does nothing, reversibly: the rehearsal of its destruction.
    Disabled,
    /// Does nothing, and will be destroyed when its waiting period ends; can be cancelled.
    Scheduled,
    /// Its bytes are gone.
    Destroyed,
}

impl KeyState {
    const ALL: [Self; 5] =
        [Self::Enabled, Self::DecryptOnly, Self::Disabled, Self::Scheduled, Self::Destroyed];

    /// As stored.
    pub const fn id(self) -> u8 {
        match self {
            Self::Enabled => 1,
            Self::DecryptOnly => 2,
            Self::Disabled => 3,
            Self::Scheduled => 4,
            Self::Destroyed => 5,
        }
    }

    /// From what is stored.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.id() == id)
    }

    /// Whether ciphertexts of this version may be opened.
    pub const fn decrypts(self) -> bool {
        matches!(self, Self::Enabled | Self::DecryptOnly)
    }
}

/// One version of a key, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyVersionRecord {
    /// Counts from 1.
    pub version: KeyVersion,
    /// What may be done with it.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
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
    /// Unwraps the key and compares its check value.
    ///
    /// # Errors
    ///
    /// [`Error::AuthenticationFailed`] when row and key-encryption key do not belong together,
    /// [`Error::WrongKey`] when the check value differs, and also when the key has been destroyed.
    pub fn unwrap_key(&self, kek: &Kek) -> Result<ContextKey, Error> {
        let wrapped = self.wrapped.as_ref().ok_or(Error::WrongKey)?;
        let bytes = kek.unwrap_key(&self.wrap_context(), &wrapped.bytes)?;
        let key = ContextKey::from_bytes(bytes.expose())?;
        key.verify_check_value(&wrapped.check_value)?;
        Ok(key)
    }

    fn wrap_context(&self) -> WrapContext {
        wrap_context(&self.context, &self.key, self.version.version)
    }
}

/// A context with the first version of its key, ready to be stored together, so that no moment exists in which a
/// context has no key or two first keys.
///
/// # Errors
///
/// When no random bytes can be had or wrapping fails.
pub fn new_context(
    tenant: TenantId,
    name: Name,
    description: String,
    (algorithm, allowed_algorithms): (Algorithm, AlgorithmSet),
    kek: &Kek,
    now: Timestamp,
) -> Result<StoredVersion, Error> {
    let context = Context {
        id: ContextId::random(),
        tenant,
        name,
        description,
        algorithm,
        allowed_algorithms: allowed_algorithms.with(algorithm),
        key_id: KeyId::random()?,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let key = Key {
        id: context.key_id,
        purpose: Purpose::ContextKey,
        key_type: KeyType::Symmetric256,
        origin: Origin::Generated,
        exportable: false,
    };
    let version = KeyVersionRecord { version: KeyVersion::FIRST, state: KeyState::Enabled, created_at: now };
    let secret = ContextKey::generate()?;
    let bytes = kek.wrap(&wrap_context(&context, &key, version.version), secret.expose())?;
    let wrapped = Some(WrappedKey { kek_id: kek.id(), bytes, check_value: secret.check_value()? });
    Ok(StoredVersion { context, key, version, wrapped })
}

fn wrap_context(context: &Context, key: &Key, version: KeyVersion) -> WrapContext {
    WrapContext {
        tenant: *context.tenant.as_bytes(),
        context: *context.id.as_bytes(),
        key_id: key.id,
        version,
        purpose: key.purpose,
        key_type: key.key_type,
        origin: key.origin,
        exportable: key.exportable,
    }
}
