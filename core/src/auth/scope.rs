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
    /// List the contexts that the caller may use.
    ContextsRead,
    /// Manage contexts.
    ContextsManage,
    /// Manage identities and issue tokens for them.
    IdentitiesManage,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] =
        [Self::Encrypt, Self::Decrypt, Self::ContextsRead, Self::ContextsManage, Self::IdentitiesManage];

    /// As written in tokens, rows and requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::ContextsRead => "contexts:read",
            Self::ContextsManage => "contexts:manage",
            Self::IdentitiesManage => "identities:manage",
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
