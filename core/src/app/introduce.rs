use std::sync::Arc;

use crate::api::{self, Error};
use crate::app::{Sender, Shared};
use crate::audit::{Outcome, Permit, Record};
use crate::auth::{Identity, IdentityStatus, OutsideToken, Provider, TokenError, Verified};
use crate::limits::Cost;
use crate::store::{self, Store};

impl<S: Store> Shared<S> {
    /// Makes the identity of a provider's token that is the first of its subject here. It costs the sender one of what the
    /// limit per address allows: who has tokens of many subjects does not fill the store at once.
    pub(super) async fn introduce(
        &self,
        provider: &Provider,
        token: &OutsideToken,
        verified: &Verified,
        sender: Sender<'_>,
    ) -> Result<Arc<IdentityStatus>, Error> {
        let stored = self.keyring.default_limits();
        let mut selection = self.limits.select(&stored, None, Cost::ONE);
        self.limits.take(selection.add_ip(verified.tenant, sender.address)).await?;
        for identity in provider.identities(token, verified.tenant, self.clock.now()) {
            let made = self.make(&identity, self.audit.reserve()?, sender).await?;
            self.changed().await;
            match self.keyring.identity(verified.tenant, verified.identity).await? {
                Some(status) => return Ok(status),
                None if made => {
                    return Err(Error::StoreUnavailable("it was stored and cannot be read".into()));
                }
                // Another identity has the name.
                None => {}
            }
        }
        Err(TokenError::Revoked.into())
    }

    /// Stores the identity, and records it; `false` when the name is taken, or another request was faster.
    async fn make(&self, identity: &Identity, permit: Permit, sender: Sender<'_>) -> Result<bool, Error> {
        let result = match self.store.create_identity(identity).await {
            Ok(()) => Ok(true),
            Err(store::Error::Exists) => return Ok(false),
            Err(error) => Err(Error::from(error)),
        };
        // What failed may have been done all the same.
        let outcome = match &result {
            Ok(_) => Outcome::Success,
            Err(error) => Outcome::Failure(api::code(error)),
        };
        let (name, id, role) = (&identity.name, identity.id, identity.role.name());
        let record = Record {
            at: self.clock.now(),
            instance: self.instance.clone(),
            request_id: sender.request_id.to_owned(),
            tenant: Some(identity.tenant),
            identity: Some(id),
            operation: "identities.introduce",
            context: None,
            key_version: None,
            outcome,
            items: 1,
            failed: 0,
            bytes: 0,
            address: Some(sender.address),
            detail: Some(format!(
                "identity {name} ({id}), {role}, by its first token of the identity provider"
            )),
        };
        permit.record(record).await?;
        if result.is_ok() {
            let tenant_id = identity.tenant;
            tracing::info!(%tenant_id, identity_id = %id, role, "an identity of the identity provider was made");
        }
        result
    }
}
