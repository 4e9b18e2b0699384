use std::sync::Arc;

use crate::auth::{ContextGrant, Identity, Narrowing, Scope, ScopeSet, TokenError, Verified};
use crate::clock::Timestamp;
use crate::name::Name;

/// A caller: an identity as its row says now, narrowed by the token that it sent.
#[derive(Clone, Debug)]
pub struct Principal {
    identity: Arc<Identity>,
    scopes: ScopeSet,
    narrowing: Narrowing,
    expires_at: Timestamp,
}

impl Principal {
    /// What a verified token is worth, given the row of its identity.
    ///
    /// # Errors
    ///
    /// [`TokenError::Revoked`] when there is no row, it is disabled, belongs to another tenant than the token says, or
    /// has another epoch.
    pub fn new(verified: Verified, identity: Option<Arc<Identity>>) -> Result<Self, TokenError> {
        let identity = identity.ok_or(TokenError::Revoked)?;
        if !identity.enabled || identity.epoch != verified.epoch || identity.tenant != verified.tenant {
            return Err(TokenError::Revoked);
        }
        let granted = identity.scopes.intersection(identity.role.scopes());
        let scopes = verified.narrowing.scopes.map_or(granted, |scopes| granted.intersection(scopes));
        Ok(Self { identity, scopes, narrowing: verified.narrowing, expires_at: verified.expires_at })
    }

    /// The row.
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// When the token stops working.
    pub fn expires_at(&self) -> Timestamp {
        self.expires_at
    }

    /// Whether the caller has `scope`.
    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether the caller may use `context`.
    pub fn may_use(&self, context: &Name) -> bool {
        self.identity.contexts.allows(context)
            && self.narrowing.contexts.as_ref().is_none_or(|narrowed| narrowed.allows(context))
    }

    /// Whether the caller may give `scopes` and `contexts` to others. A token that is narrowed passes on no more than it
    /// has, or it could widen itself.
    pub fn may_grant(&self, scopes: ScopeSet, contexts: &ContextGrant) -> bool {
        let Narrowing { scopes: narrowed, contexts: named } = &self.narrowing;
        narrowed.is_none_or(|narrowed| scopes.intersection(narrowed) == scopes)
            && named.as_ref().is_none_or(|named| named.covers(contexts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Role;
    use crate::id::{IdentityId, TenantId};

    fn identity() -> Identity {
        let now = Timestamp::from_secs(0);
        Identity {
            id: IdentityId::random(),
            tenant: TenantId::random(),
            name: "app".parse().unwrap(),
            role: Role::Service,
            scopes: Role::Service.scopes(),
            contexts: "a b".parse().unwrap(),
            epoch: 1,
            enabled: true,
            created_at: now,
            updated_at: now,
        }
    }

    fn principal(identity: Identity, narrowing: Narrowing) -> Result<Principal, TokenError> {
        let verified = Verified {
            identity: identity.id,
            tenant: identity.tenant,
            epoch: 1,
            narrowing,
            expires_at: Timestamp::from_secs(60),
        };
        Principal::new(verified, Some(Arc::new(identity)))
    }

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn claims_narrow_and_never_widen() {
        let claims =
            Narrowing { scopes: "decrypt contexts:manage".parse().ok(), contexts: "b c".parse().ok() };
        let principal = principal(identity(), claims).unwrap();
        assert!(principal.has_scope(Scope::Decrypt));
        assert!(!principal.has_scope(Scope::Encrypt) && !principal.has_scope(Scope::ContextsManage));
        assert!(principal.may_use(&name("b")));
        assert!(!principal.may_use(&name("a")) && !principal.may_use(&name("c")));
    }

    #[test]
    fn a_narrowed_token_passes_on_no_more_than_it_has() {
        let (all, both): (_, ContextGrant) = (Role::Admin.scopes(), "a b".parse().unwrap());
        let whole = principal(identity(), Narrowing::default()).unwrap();
        assert!(whole.may_grant(all, &ContextGrant::All));
        let claims = Narrowing { scopes: "decrypt encrypt".parse().ok(), contexts: "a".parse().ok() };
        let narrowed = principal(identity(), claims).unwrap();
        let decrypt = "decrypt".parse().unwrap();
        assert!(narrowed.may_grant(decrypt, &"a".parse().unwrap()));
        assert!(!narrowed.may_grant(all, &"a".parse().unwrap()));
        assert!(!narrowed.may_grant(decrypt, &both) && !narrowed.may_grant(decrypt, &ContextGrant::All));
    }

    #[test]
    fn a_row_never_grants_more_than_its_role() {
        let identity = Identity { scopes: Scope::ALL.into_iter().collect(), ..identity() };
        let principal = principal(identity, Narrowing::default()).unwrap();
        assert!(principal.has_scope(Scope::Encrypt) && !principal.has_scope(Scope::IdentitiesManage));
    }

    #[test]
    fn the_row_decides_whether_a_token_counts() {
        assert!(principal(identity(), Narrowing::default()).is_ok());
        for changed in [Identity { enabled: false, ..identity() }, Identity { epoch: 2, ..identity() }] {
            assert_eq!(principal(changed, Narrowing::default()).unwrap_err(), TokenError::Revoked);
        }
        let row = identity();
        let verified = Verified {
            identity: row.id,
            tenant: TenantId::random(),
            epoch: 1,
            narrowing: Narrowing::default(),
            expires_at: Timestamp::from_secs(60),
        };
        assert_eq!(Principal::new(verified.clone(), Some(Arc::new(row))).unwrap_err(), TokenError::Revoked);
        assert_eq!(Principal::new(verified, None).unwrap_err(), TokenError::Revoked);
    }
}
