//! Contexts: the names that applications use, and the keys behind them.

mod asymmetric;
mod default;
mod destruction;
mod key;
mod rotation;
mod version;

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::crypto::{Algorithm, AlgorithmSet, KeyId};
use crate::id::{ContextId, TenantId};
use crate::limits::Policy;
use crate::name::Name;

pub use asymmetric::{KeySummary, TRANSPORT_KEY_LIFETIME};
pub use default::default_contexts;
pub use destruction::{Destruction, DestructionList, DestructionListError};
pub use key::{Key, StoredVersion, WrappedKey};
pub use rotation::{
    KNOWN_ELSEWHERE, MAX_ROTATION_DAYS, NewContext, Rotation, RotationPolicy, new_context, next_version,
};
pub use version::{KeyState, KeyVersionRecord, KeyVersionStatus};

/// A context: what an application names when it encrypts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// Bound into every wrapped key of this context.
    pub id: ContextId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Unique within the tenant, also among deleted contexts.
    pub name: Name,
    /// For people; at most [`MAX_DESCRIPTION`] bytes.
    pub description: String,
    /// What encryption uses unless the caller overrides it.
    pub algorithm: Algorithm,
    /// What a caller may choose; always contains `algorithm`.
    pub allowed_algorithms: AlgorithmSet,
    /// Names the context's key in every ciphertext; its versions are rows of their own.
    pub key_id: KeyId,
    /// Whether the key's bytes may ever leave the service; chosen when the context is made, and for good.
    pub exportable: bool,
    /// When its key is rotated, and what then becomes of older versions.
    pub rotation: RotationPolicy,
    /// How much it may be used, by all together; `None` leaves that to the default.
    pub limits: Option<Arc<Policy>>,
    /// When its key is next rotated by itself.
    pub rotate_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Set while the context is deleted: it answers as if it did not exist, its keys are kept, and it can be
    /// restored.
    pub deleted_at: Option<Timestamp>,
}

/// Longest description, in bytes of UTF-8.
pub const MAX_DESCRIPTION: usize = 1024;
