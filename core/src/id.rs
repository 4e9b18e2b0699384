//! Identifiers of rows: UUIDs (RFC 9562), one type for each kind of row. They are random (version 4), but for those of
//! identities that are found again by what somebody else calls them: these are hashes of that (version 8).

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand;
use uuid::{Builder, Uuid};

/// A version 4 UUID from the process's one random generator.
///
/// # Panics
///
/// When the operating system gives no random bytes, as nothing secure can be done without them.
pub(crate) fn random_uuid() -> Uuid {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).expect("the operating system provides random bytes");
    Builder::from_random_bytes(bytes).into_uuid()
}

/// Half of the SHA-256 of `label`, which keeps hashes for different purposes apart, and of `parts`, which the caller writes
/// such that no two lists run together to the same bytes.
pub(crate) fn derive(label: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    context.update(label.as_bytes());
    parts.iter().for_each(|part| context.update(part));
    *context.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

macro_rules! uuid_types {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh random identifier.
            pub fn random() -> Self {
                Self(random_uuid())
            }

            /// The 16 bytes that are bound into wrapped keys.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }
        }

        impl std::fmt::Display for $name {
            /// 36 characters: lower-case hexadecimal with hyphens.
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

uuid_types! {
    /// A tenant: the outermost boundary; nothing of one tenant is visible to another.
    TenantId;
    /// A context of a tenant.
    ContextId;
    /// An identity of a tenant: the `sub` of its tokens.
    IdentityId;
    /// A family of refresh tokens: the `sid` of access tokens that it made.
    FamilyId;
    /// One run of a process that serves.
    ReplicaId;
    /// A chain of the audit trail.
    ChainId;
}

impl TenantId {
    /// Owns what belongs to the deployment and to no tenant: the keys of the audit trail. No interface shows it.
    pub const SYSTEM: Self = Self(Uuid::nil());
}

impl ContextId {
    /// The one context of [`TenantId::SYSTEM`].
    pub const SYSTEM: Self = Self(Uuid::nil());
}

impl ChainId {
    /// From its 16 bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl IdentityId {
    /// The id that is what [`derive`] says: a version 8 UUID.
    pub(crate) fn derived(hash: [u8; 16]) -> Self {
        Self(Builder::from_custom_bytes(hash).into_uuid())
    }
}
