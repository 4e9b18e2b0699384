use std::sync::Arc;

use crate::auth::{
    ContextGrant, Credential, Identity, IdentityStatus, Role, Scope, ScopeSet, TokenError, Verified,
};
use crate::clock::Timestamp;
use crate::limits::IdentityPolicies;
use crate::name::Name;

/// A caller: an identity as its row says now, narrowed by the token that it sent.
#[derive(Clone, Debug)]
pub struct Principal {
    status: Arc<IdentityStatus>,
    verified: Arc<Verified>,
    scopes: ScopeSet,
}

impl Principal {
    /// What a verified token is worth, given the row of its identity.
    ///
    /// # Errors
    ///
    /// [`TokenError::Revoked`] when there is no row, it or its tenant is disabled, it belongs to another tenant than the
    /// token says, or the token was revoked, alone or with all others of the identity.
    pub fn new(verified: Arc<Verified>, status: Option<Arc<IdentityStatus>>) -> Result<Self, TokenError> {
        let status = status.ok_or(TokenError::Revoked)?;
        let identity = &status.identity;
        let enabled = identity.enabled && status.tenant_enabled;
        if !enabled || !status.leaves_valid(&verified) {
            return Err(TokenError::Revoked);
        }
        let role = role(identity, &verified);
        let granted = identity.scopes.intersection(identity.role.scopes()).intersection(role.scopes());
        let scopes = verified.narrowing.scopes.map_or(granted, |scopes| granted.intersection(scopes));
        Ok(Self { status, verified, scopes })
    }

    /// The row.
    pub fn identity(&self) -> &Identity {
        &self.status.identity
    }

    /// The name of its tenant.
    pub fn tenant_name(&self) -> &Name {
        &self.status.tenant_name
    }

    /// How much the caller may do.
    pub fn limits(&self) -> &IdentityPolicies {
        &self.status.limits
    }

    /// What the caller may do.
    pub fn scopes(&self) -> ScopeSet {
        self.scopes
    }

    /// What the caller is here: of the row's role and the one that a provider's token says, the lesser.
    pub fn role(&self) -> Role {
        role(self.identity(), &self.verified)
    }

    /// When the token stops working.
    pub fn expires_at(&self) -> Timestamp {
        self.verified.expires_at
    }

    /// Where the caller may do it.
    pub fn contexts(&self) -> ContextGrant {
        let granted = &self.identity().contexts;
        match &self.verified.narrowing.contexts {
            Some(narrowed) => granted.intersection(narrowed),
            None => granted.clone(),
        }
    }

    /// Whether the caller has `scope`.
    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(scope)
    }

    /// Whether the caller may use `context`.
    pub fn may_use(&self, context: &Name) -> bool {
        self.identity().contexts.allows(context)
            && self.verified.narrowing.contexts.as_ref().is_none_or(|narrowed| narrowed.allows(context))
    }

    /// Whether the caller may give `scopes` and `contexts` to others: nobody passes on more than he has.
    pub fn may_grant(&self, scopes: ScopeSet, contexts: &ContextGrant) -> bool {
        let narrowed = self.verified.narrowing.contexts.as_ref();
        scopes.intersection(self.scopes) == scopes
            && self.identity().contexts.covers(contexts)
            && narrowed.is_none_or(|narrowed| narrowed.covers(contexts))
    }
}

impl IdentityStatus {
    /// Whether a token counts once its identity and its tenant are enabled: one that does not never does again.
    pub fn leaves_valid(&self, verified: &Verified) -> bool {
        let identity = &self.identity;
        let current = match verified.credential {
            Credential::Own { epoch } => epoch == identity.epoch && identity.subject.is_none(),
            Credential::Outside { role, issued_at } => {
                // Who runs the deployment, nobody outside says.
                identity.subject.is_some()
                    && [role, identity.role].iter().all(|role| *role != Role::Operator)
                    && identity.tokens_not_before.is_none_or(|from| issued_at >= from)
            }
            // Who has more than a service's power shows a token, which does not last as long.
            Credential::Certificate => identity.role == Role::Service,
        };
        let revoked = self.revoked.contains(&verified.id)
            || verified.family.as_ref().is_some_and(|family| self.revoked.contains(family));
        current && !revoked && identity.tenant == verified.tenant
    }
}

fn role(identity: &Identity, verified: &Verified) -> Role {
    match verified.credential {
        Credential::Own { .. } | Credential::Certificate => identity.role,
        Credential::Outside { role: Role::Admin, .. } => identity.role,
        Credential::Outside { role, .. } => role,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Narrowing;
    use crate::id::TenantId;

    const NOW: Timestamp = Timestamp::from_secs(50);

    fn identity() -> Identity {
        let new = Identity::new(TenantId::random(), "app".parse().unwrap(), Role::Service, NOW);
        Identity { contexts: "a b".parse().unwrap(), epoch: 1, ..new }
    }

    fn status(identity: Identity) -> IdentityStatus {
        let revoked = ["x".to_owned()].into();
        let limits = IdentityPolicies::default();
        IdentityStatus { identity, tenant_name: name("default"), tenant_enabled: true, revoked, limits }
    }

    fn verified(identity: &Identity) -> Verified {
        Verified {
            identity: identity.id,
            tenant: identity.tenant,
            id: "token".to_owned(),
            family: Some("family".to_owned()),
            credential: Credential::Own { epoch: 1 },
            narrowing: Narrowing::default(),
            expires_at: Timestamp::from_secs(60),
        }
    }

    fn principal(identity: Identity, narrowing: Narrowing) -> Result<Principal, TokenError> {
        let verified = Verified { narrowing, ..verified(&identity) };
        Principal::new(Arc::new(verified), Some(Arc::new(status(identity))))
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
    fn nobody_passes_on_more_than_he_has() {
        let (all, both): (_, ContextGrant) = (Role::Service.default_scopes(), "a b".parse().unwrap());
        let whole = principal(identity(), Narrowing::default()).unwrap();
        assert!(whole.may_grant(all, &both));
        assert!(!whole.may_grant(Role::Admin.scopes(), &both) && !whole.may_grant(all, &ContextGrant::All));
        let claims = Narrowing { scopes: "decrypt encrypt".parse().ok(), contexts: "a".parse().ok() };
        let narrowed = principal(identity(), claims).unwrap();
        let decrypt = "decrypt".parse().unwrap();
        assert!(narrowed.may_grant(decrypt, &"a".parse().unwrap()));
        assert!(!narrowed.may_grant(all, &"a".parse().unwrap()));
        assert!(!narrowed.may_grant(decrypt, &both) && !narrowed.may_grant(decrypt, &ContextGrant::All));
    }

    #[test]
    fn of_two_roles_the_lesser_counts() {
        for (row, said, role) in [
            (Role::Service, Role::Service, Role::Service),
            (Role::Service, Role::Admin, Role::Service),
            (Role::Admin, Role::Service, Role::Service),
            (Role::Admin, Role::Admin, Role::Admin),
        ] {
            let scopes = Scope::ALL.into_iter().collect();
            let row = Identity { role: row, scopes, subject: Some("sub".to_owned()), ..identity() };
            let credential = Credential::Outside { role: said, issued_at: NOW };
            let verified = Verified { credential, ..verified(&row) };
            let principal = Principal::new(Arc::new(verified), Some(Arc::new(status(row)))).unwrap();
            assert_eq!(principal.role(), role);
            assert_eq!(principal.has_scope(Scope::IdentitiesManage), role == Role::Admin);
        }
    }

    #[test]
    fn a_row_never_grants_more_than_its_role() {
        let identity = Identity { scopes: Scope::ALL.into_iter().collect(), ..identity() };
        let principal = principal(identity, Narrowing::default()).unwrap();
        assert!(principal.has_scope(Scope::Encrypt) && !principal.has_scope(Scope::IdentitiesManage));
    }

    #[test]
    fn the_row_decides_whether_a_token_counts() {
        let row = identity();
        type Change<'a> = &'a dyn Fn(&mut Verified, &mut IdentityStatus);
        let check = |change: Change<'_>| {
            let (mut verified, mut status) = (verified(&row), status(row.clone()));
            change(&mut verified, &mut status);
            Principal::new(Arc::new(verified), Some(Arc::new(status))).map(drop)
        };
        let outside = |issued_at| Credential::Outside { role: Role::Service, issued_at };
        assert_eq!(check(&|_, _| {}), Ok(()));
        assert_eq!(
            check(&|verified, status| {
                verified.credential = outside(NOW);
                status.identity.subject = Some("sub".to_owned());
                status.identity.tokens_not_before = Some(NOW);
                status.identity.epoch = 7;
            }),
            Ok(())
        );
        assert_eq!(check(&|verified, _| verified.credential = Credential::Certificate), Ok(()));
        let refused: [Change<'_>; 12] = [
            &|_, status| status.identity.enabled = false,
            &|_, status| status.tenant_enabled = false,
            &|_, status| status.identity.epoch = 2,
            &|verified, _| verified.tenant = TenantId::random(),
            &|verified, _| verified.id = "x".to_owned(),
            &|verified, _| verified.family = Some("x".to_owned()),
            // Neither stands in for the other: one has an epoch, the other a time.
            &|verified, _| verified.credential = outside(NOW),
            &|_, status| status.identity.subject = Some("sub".to_owned()),
            &|verified, status| {
                verified.credential = outside(Timestamp::from_secs(49));
                status.identity.subject = Some("sub".to_owned());
                status.identity.tokens_not_before = Some(NOW);
            },
            &|verified, status| {
                verified.credential = Credential::Certificate;
                status.identity.role = Role::Admin;
            },
            &|verified, status| {
                verified.credential = Credential::Certificate;
                status.tenant_enabled = false;
            },
            &|verified, status| {
                verified.credential = Credential::Outside { role: Role::Admin, issued_at: NOW };
                status.identity.subject = Some("sub".to_owned());
                status.identity.role = Role::Operator;
            },
        ];
        for change in refused {
            assert_eq!(check(change), Err(TokenError::Revoked));
        }
        assert_eq!(Principal::new(Arc::new(verified(&row)), None).unwrap_err(), TokenError::Revoked);
    }
}
