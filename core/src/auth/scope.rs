use std::fmt;
use std::str::FromStr;

/// One permission. Every route names the scope that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Scope {
    /// Encrypt, one item or a batch or a stream.
    Encrypt,
    /// Decrypt, one item or a batch or a stream.
    Decrypt,
    /// Encrypt again under the newest key version, one item or a batch or a stream, without seeing the plaintext.
    Rewrap,
    /// Get data keys, which callers encrypt with themselves.
    DataKey,
    /// Compute hashes.
    Hash,
    /// Compute and verify message authentication codes, and make keys for them.
    Mac,
    /// Get random bytes.
    Random,
    /// Sign.
    Sign,
    /// Verify signatures and read public keys.
    Verify,
    /// Make and delete signing keys.
    SignManage,
    /// List the contexts that the caller may use.
    ContextsRead,
    /// Register applications, which then have identities of their own.
    Register,
    /// Manage contexts.
    ContextsManage,
    /// Rotate a context's key.
    Rotate,
    /// Change the states of key versions, and bring keys.
    KeysManage,
    /// Take out the keys of contexts that allow it.
    KeysExport,
    /// Manage identities and issue tokens for them.
    IdentitiesManage,
    /// Manage tenants.
    TenantsManage,
    /// Manage the limits of contexts and identities.
    LimitsManage,
    /// Manage the limits of tenants, and of all who have none of their own.
    LimitsDefaults,
    /// Read the audit trail.
    AuditRead,
    /// See the replicas, and what they depend on.
    StatusRead,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 22] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Rewrap,
        Self::DataKey,
        Self::Hash,
        Self::Mac,
        Self::Random,
        Self::Sign,
        Self::Verify,
        Self::SignManage,
        Self::ContextsRead,
        Self::Register,
        Self::ContextsManage,
        Self::Rotate,
        Self::KeysManage,
        Self::KeysExport,
        Self::IdentitiesManage,
        Self::TenantsManage,
        Self::LimitsManage,
        Self::LimitsDefaults,
        Self::AuditRead,
        Self::StatusRead,
    ];

    /// As written in tokens, rows and requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Rewrap => "rewrap",
            Self::DataKey => "datakey",
            Self::Hash => "hash",
            Self::Mac => "mac",
            Self::Random => "random",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::SignManage => "sign:manage",
            Self::ContextsRead => "contexts:read",
            Self::Register => "register",
            Self::ContextsManage => "contexts:manage",
            Self::Rotate => "rotate",
            Self::KeysManage => "keys:manage",
            Self::KeysExport => "keys:export",
            Self::IdentitiesManage => "identities:manage",
            Self::TenantsManage => "tenants:manage",
            Self::LimitsManage => "limits:manage",
            Self::LimitsDefaults => "limits:defaults",
            Self::AuditRead => "audit:read",
            Self::StatusRead => "status:read",
        }
    }

    /// Whether it is about using keys, and not about administering them or those who use them.
    pub const fn is_data_plane(self) -> bool {
        match self {
            Self::Encrypt
            | Self::Decrypt
            | Self::Rewrap
            | Self::DataKey
            | Self::Hash
            | Self::Mac
            | Self::Random
            | Self::Sign
            | Self::Verify
            | Self::SignManage
            | Self::ContextsRead => true,
            Self::Register
            | Self::ContextsManage
            | Self::Rotate
            | Self::KeysManage
            | Self::KeysExport
            | Self::IdentitiesManage
            | Self::TenantsManage
            | Self::LimitsManage
            | Self::LimitsDefaults
            | Self::AuditRead
            | Self::StatusRead => false,
        }
    }
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or(UnknownScope)
    }
}

/// The text names no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown scope")]
pub struct UnknownScope;

/// A set of scopes, written as in OAuth 2.0 (RFC 6749 section 3.3): names separated by single spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScopeSet(u32);

impl ScopeSet {
    /// No scope.
    pub const NONE: Self = Self(0);

    /// Whether `scope` is in the set.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// The set with `scope`.
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | Self::bit(scope))
    }

    /// What is in both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The scopes, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |&scope| self.contains(scope))
    }

    const fn bit(scope: Scope) -> u32 {
        1 << scope as u8
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::NONE, Self::with)
    }
}

impl FromStr for ScopeSet {
    type Err = UnknownScope;

    fn from_str(text: &str) -> Result<Self, UnknownScope> {
        text.split_ascii_whitespace().map(str::parse::<Scope>).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { "" } else { " " }, scope.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set finds a scope by its number, and `ALL` is how names are read.
    #[test]
    fn all_scopes_are_listed_in_the_order_of_their_numbers() {
        for (index, scope) in Scope::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(scope as u8), index);
            assert_eq!(scope.name().parse(), Ok(scope));
        }
    }

    #[test]
    fn sets_are_written_as_oauth_scopes() {
        let set: ScopeSet = [Scope::Decrypt, Scope::Encrypt].into_iter().collect();
        assert_eq!(set.to_string(), "encrypt decrypt");
        assert_eq!("decrypt  encrypt".parse(), Ok(set));
        assert_eq!("".parse(), Ok(ScopeSet::NONE));
        assert_eq!("encrypt sudo".parse::<ScopeSet>(), Err(UnknownScope));
        assert!(!set.contains(Scope::ContextsManage));
    }
}
