use std::time::Duration;

use crate::clock::Timestamp;
use crate::contexts::{Context, Key, KeyState, KeyVersionRecord, StoredVersion};
use crate::crypto::{
    Algorithm, AlgorithmSet, ContextKey, Error, Kek, KeyId, KeyType, KeyVersion, Origin, Purpose,
};
use crate::id::{ContextId, TenantId};
use crate::name::Name;

/// Longest period of [`RotationPolicy::days`].
pub const MAX_ROTATION_DAYS: u32 = 3650;
/// The messages that count as encrypted under a key whose bytes are, or were, outside: half of what it may ever encrypt.
pub const KNOWN_ELSEWHERE: u64 = 1 << 31;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a context's key is rotated by itself, and what then becomes of older versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RotationPolicy {
    /// Days from one rotation to the next, at most [`MAX_ROTATION_DAYS`]; 0 for never.
    pub days: u32,
    /// How many versions may decrypt after a rotation, the enabled one among them; older ones become disabled,
    /// which is reversible. 0 for all.
    pub keep_last: u32,
}

impl RotationPolicy {
    /// When the next rotation is due if the last was at `at`.
    pub fn next_after(self, at: Timestamp) -> Option<Timestamp> {
        (self.days > 0).then(|| at + DAY * self.days)
    }
}

/// What a context is made of, apart from what is random.
#[derive(Clone, Debug)]
pub struct NewContext {
    /// Whose it will be.
    pub tenant: TenantId,
    /// Unique within the tenant.
    pub name: Name,
    /// For people.
    pub description: String,
    /// What encryption uses.
    pub algorithm: Algorithm,
    /// What callers may choose; `algorithm` is added.
    pub allowed_algorithms: AlgorithmSet,
    /// Whether its key may ever leave the service.
    pub exportable: bool,
    /// When its key is rotated.
    pub rotation: RotationPolicy,
}

/// A context with the first version of its key, ready to be stored together, so that no moment exists in which a
/// context has no key or two first keys.
///
/// # Errors
///
/// When no random bytes can be had or wrapping fails.
pub fn new_context(new: NewContext, kek: &Kek, now: Timestamp) -> Result<StoredVersion, Error> {
    let context = Context {
        id: ContextId::random(),
        tenant: new.tenant,
        name: new.name,
        description: new.description,
        algorithm: new.algorithm,
        allowed_algorithms: new.allowed_algorithms.with(new.algorithm),
        key_id: KeyId::random()?,
        exportable: new.exportable,
        rotation: new.rotation,
        limits: None,
        rotate_at: new.rotation.next_after(now),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    version(context, KeyVersion::FIRST, &ContextKey::generate()?, Origin::Generated, kek, now)
}

/// A new version of a context's key that is to take the place of the enabled one.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The version that must still be the enabled one.
    pub previous: KeyVersion,
    /// What takes its place.
    pub next: StoredVersion,
    /// Messages that count as encrypted with it already.
    pub messages_reserved: u64,
    /// The transport key that brought its bytes: it must still be usable, and is destroyed in the same moment.
    pub transport_key: Option<KeyId>,
}

/// The version that follows `current`, the enabled one, with the bytes of `imported`, or fresh ones.
///
/// # Errors
///
/// [`Error::Internal`] when no random bytes can be had, wrapping fails, or there are no more version numbers.
pub fn next_version(
    current: &StoredVersion,
    imported: Option<&ContextKey>,
    kek: &Kek,
    now: Timestamp,
) -> Result<Rotation, Error> {
    let previous = current.version.version;
    let number = previous.next().ok_or(Error::Internal)?;
    let mut context = current.context.clone();
    context.rotate_at = context.rotation.next_after(now);
    let next = match imported {
        Some(secret) => version(context, number, secret, Origin::Imported, kek, now)?,
        None => version(context, number, &ContextKey::generate()?, Origin::Generated, kek, now)?,
    };
    // Nobody here knows what was encrypted under a key that was elsewhere.
    let messages_reserved = if imported.is_some() { KNOWN_ELSEWHERE } else { 0 };
    Ok(Rotation { previous, next, messages_reserved, transport_key: None })
}

fn version(
    context: Context,
    number: KeyVersion,
    secret: &ContextKey,
    origin: Origin,
    kek: &Kek,
    now: Timestamp,
) -> Result<StoredVersion, Error> {
    let key = Key {
        id: context.key_id,
        purpose: Purpose::ContextKey,
        key_type: KeyType::Symmetric256,
        exportable: context.exportable,
    };
    let version = KeyVersionRecord { version: number, state: KeyState::Enabled, origin, created_at: now };
    StoredVersion::wrap(context, key, version, secret.expose(), secret.check_value()?, kek)
}
