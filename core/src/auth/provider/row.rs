//! Which identity a token of a provider stands for.

use crate::auth::{ContextGrant, Credential, Identity, OutsideToken, Provider, Verified};
use crate::clock::Timestamp;
use crate::id::{self, IdentityId, TenantId, random_uuid};
use crate::name::Name;

/// Keeps these ids apart from any others that are hashes.
const LABEL: &str = "cryptoserve/v1/outside";

impl Provider {
    /// What `token` is, whose tenant's id is `tenant`.
    pub fn verified(&self, token: &OutsideToken, tenant: TenantId) -> Verified {
        Verified {
            identity: IdentityId::derived(self.hash(tenant, &token.subject)),
            tenant,
            id: token.id.clone(),
            family: None,
            credential: Credential::Outside { role: token.role, issued_at: token.issued_at },
            narrowing: token.narrowing.clone(),
            expires_at: token.expires_at,
        }
    }

    /// The identity that is made when its first token comes, under the first of two names that is free. What tokens say
    /// narrows it; what an administrator changes of it bounds them.
    ///
    /// # Panics
    ///
    /// When the operating system gives no random bytes.
    pub fn identities(&self, token: &OutsideToken, tenant: TenantId, at: Timestamp) -> [Identity; 2] {
        let hash = self.hash(tenant, &token.subject);
        // The first can be foreseen, and taken by others to keep this one out.
        let names = [name(&hash[..8]), name(random_uuid().as_bytes())];
        names.map(|name| Identity {
            id: IdentityId::derived(hash),
            contexts: ContextGrant::All,
            subject: Some(token.subject.clone()),
            ..Identity::new(tenant, name, token.role, at)
        })
    }

    /// Of fixed width, then of ASCII without control characters, then the rest: no two triples are written alike.
    fn hash(&self, tenant: TenantId, subject: &str) -> [u8; 16] {
        id::derive(LABEL, &[tenant.as_bytes(), self.issuer.as_bytes(), &[0], subject.as_bytes()])
    }
}

fn name(digits: &[u8]) -> Name {
    format!("outside-{}", hex::encode(digits)).parse().expect("at most 40 letters, digits and a hyphen")
}
