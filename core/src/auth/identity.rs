use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::auth::{Scope, ScopeSet};
use crate::clock::Timestamp;

use crate::id::{IdentityId, TenantId};
use crate::name::{InvalidName, Name};

/// An application or a person, to whom tokens are issued. A token is worth what this row says when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The `sub` of its tokens.
    pub id: IdentityId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Unique within the tenant.
    pub name: Name,
    /// What kind of work it does.
    pub role: Role,
    /// What it may do.
    pub scopes: ScopeSet,
    /// Where it may do it.
    pub contexts: ContextGrant,
    /// Tokens of another epoch are refused: raising it revokes all that were issued.
    pub epoch: u32,
    /// A disabled identity's tokens are refused until it is enabled again.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What kind of work an identity does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the deployment: tenants, defaults, status. Uses no key.
    Operator,
    /// Runs a tenant: its contexts and identities, and whatever its services may do.
    Admin,
    /// Uses contexts.
    Service,
}

impl Role {
    const ALL: [Self; 3] = [Self::Operator, Self::Admin, Self::Service];

    /// As written in rows and requests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::Service => "service",
        }
    }

    /// The most that this role may ever do; also what an identity of this role gets unless told otherwise.
    pub fn scopes(self) -> ScopeSet {
        match self {
            Self::Operator => [Scope::ContextsRead, Scope::IdentitiesManage].into_iter().collect(),
            Self::Admin => Scope::ALL.into_iter().collect(),
            Self::Service => Scope::ALL.into_iter().filter(|scope| scope.is_data_plane()).collect(),
        }
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Self::ALL.into_iter().find(|role| role.name() == text).ok_or(UnknownRole)
    }
}

/// The text names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of operator, admin, service")]
pub struct UnknownRole;

/// The contexts that an identity, or a token of it, may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContextGrant {
    /// Every context of the tenant, also those made later. Written `*`.
    All,
    /// These, by name. Written as names separated by single spaces.
    Named(BTreeSet<Name>),
}

impl ContextGrant {
    /// Whether `context` may be used.
    pub fn allows(&self, context: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(context),
        }
    }
}

impl ContextGrant {
    /// Whether everything that `other` allows is allowed.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Named(_), Self::All) => false,
            (Self::Named(names), Self::Named(others)) => others.is_subset(names),
        }
    }
}

impl FromStr for ContextGrant {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text == "*" {
            return Ok(Self::All);
        }
        text.split_ascii_whitespace().map(str::parse).collect::<Result<_, _>>().map(Self::Named)
    }
}

impl fmt::Display for ContextGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Named(names) => {
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { " " })?;
                }
                Ok(())
            }
        }
    }
}
