use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::auth::{CertificateName, Scope, ScopeSet};
use crate::clock::Timestamp;
use crate::id::{IdentityId, TenantId};
use crate::limits::IdentityPolicies;
use crate::name::{InvalidName, Name};

/// The name of the first tenant, which is that of the operators.
pub const DEFAULT_TENANT: &str = "default";

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
    /// Whether each of its refresh tokens is good for one use.
    pub rotate_refresh_tokens: bool,
    /// The `sub` of its tokens at an outside identity provider; `None` if we issue them.
    pub subject: Option<String>,
    /// Tokens of an outside identity provider, which have no epoch, are refused if they are older.
    pub tokens_not_before: Option<Timestamp>,
    /// The certificate that stands for a token of it, where the listener asks for one; of services alone.
    pub certificate: Option<CertificateName>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Identity {
    /// A new identity with what its role gets unless told otherwise, and no context.
    pub fn new(tenant: TenantId, name: Name, role: Role, at: Timestamp) -> Self {
        Self {
            id: IdentityId::random(),
            tenant,
            name,
            role,
            scopes: role.default_scopes(),
            contexts: ContextGrant::Named(BTreeSet::new()),
            epoch: 0,
            enabled: true,
            rotate_refresh_tokens: false,
            subject: None,
            tokens_not_before: None,
            certificate: None,
            created_at: at,
            updated_at: at,
        }
    }
}

/// What decides whether a token of an identity counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityStatus {
    /// Its row.
    pub identity: Identity,
    /// The name of its tenant, which never changes.
    pub tenant_name: Name,
    /// No token of a disabled tenant counts.
    pub tenant_enabled: bool,
    /// Ids of tokens, and of families of refresh tokens, that were revoked one by one and have not expired.
    pub revoked: BTreeSet<String>,
    /// How much it may do.
    pub limits: IdentityPolicies,
}

/// What kind of work an identity does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs the deployment: tenants, defaults, status. Uses no key. Operators belong to the tenant `default`.
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

    /// The most that this role may ever do.
    pub fn scopes(self) -> ScopeSet {
        match self {
            Self::Operator => [
                Scope::ContextsRead,
                Scope::IdentitiesManage,
                Scope::TenantsManage,
                Scope::LimitsManage,
                Scope::LimitsDefaults,
                Scope::AuditRead,
                Scope::StatusRead,
            ]
            .into_iter()
            .collect(),
            Self::Admin => {
                let of_operators = [Scope::TenantsManage, Scope::LimitsDefaults, Scope::StatusRead];
                Scope::ALL.into_iter().filter(|scope| !of_operators.contains(scope)).collect()
            }
            Self::Service => Self::Service.default_scopes().with(Scope::Register),
        }
    }

    /// What an identity of this role gets unless told otherwise.
    pub fn default_scopes(self) -> ScopeSet {
        match self {
            Self::Operator | Self::Admin => self.scopes(),
            // One that registers others makes identities.
            Self::Service => Scope::ALL.into_iter().filter(|scope| scope.is_data_plane()).collect(),
        }
    }

    /// Whether one of this role makes, changes and deletes identities of `other`, given that it may do so at all.
    ///
    /// An operator runs the deployment and not what its tenants do with it: with an administrator of its making it could
    /// use their keys.
    pub const fn manages(self, other: Self) -> bool {
        matches!((self, other), (Self::Operator, Self::Operator) | (Self::Admin, Self::Admin | Self::Service))
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

    /// The names, or `*`.
    pub fn names(&self) -> Vec<String> {
        match self {
            Self::All => vec!["*".to_owned()],
            Self::Named(names) => names.iter().map(ToString::to_string).collect(),
        }
    }

    /// What both allow.
    pub fn intersection(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, grant) | (grant, Self::All) => grant.clone(),
            (Self::Named(names), Self::Named(others)) => {
                Self::Named(names.intersection(others).cloned().collect())
            }
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
