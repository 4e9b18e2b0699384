//! Identifiers of rows: random UUIDs (RFC 9562, version 4), one type for each kind of row.

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
    /// One run of a process that serves.
    ReplicaId;
}
