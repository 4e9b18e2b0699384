use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tracing::Instrument;

use super::{Error, Route};
use crate::app::{Sender, Shared};
use crate::auth::Principal;
use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::crypto::{Kek, KeyVersion};
use crate::id::{IdentityId, TenantId};
use crate::keyring::LoadedKey;
use crate::limits::{
    Cost, DefaultPolicies, Dimension, IdentityPolicies, Level, NotTaken, Refusal, RefusalKind, Selection,
};
use crate::name::Name;
use crate::store::Store;
use crate::telemetry::{Wait, traces, waiting_for};

/// One request under way: who asks what, and what is known so far of how it goes.
pub(crate) struct Call<'a, S> {
    pub(crate) app: &'a Arc<Shared<S>>,
    pub(crate) route: &'static Route,
    /// The values of the path's parameters, in their order.
    pub(crate) parameters: &'a [String],
    pub(crate) query: &'a str,
    pub(crate) request_id: &'a str,
    pub(crate) address: IpAddr,
    /// `None` on public routes.
    pub(crate) principal: Option<&'a Principal>,
    /// On public routes, the token that was sent all the same.
    pub(crate) token: Option<&'a str>,
    pub(crate) facts: &'a mut Facts,
}

/// What the log, the audit trail and the reply's headers say of a request.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) context: Option<Name>,
    pub(crate) key_version: Option<KeyVersion>,
    pub(crate) items: u32,
    pub(crate) failed: u32,
    pub(crate) bytes: u64,
    pub(crate) detail: Option<String>,
    /// Whom a request without a bearer token is about.
    pub(crate) subject: Option<(TenantId, IdentityId)>,
    /// Of a batch, the versions that items asked for and that may not decrypt.
    pub(crate) refused_versions: BTreeSet<KeyVersion>,
    pub(crate) levels: Vec<Level>,
    /// Whether the request has paid.
    pub(crate) charged: bool,
}

impl<S: Store> Call<'_, S> {
    /// The caller.
    ///
    /// # Panics
    ///
    /// On public routes, whose operations do not ask.
    pub(crate) fn principal(&self) -> &Principal {
        self.principal.expect("routes with a scope run with a principal")
    }

    /// Where the request comes from, for verifying a token that stands elsewhere than in the header.
    pub(crate) fn sender(&self) -> Sender<'_> {
        Sender { address: self.address, request_id: self.request_id }
    }

    /// A parameter of the path by its place; empty, which is the name of nothing, if the path has none there.
    pub(crate) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// The key-encryption key that wraps new keys.
    pub(crate) fn active_kek(&self) -> Result<&Kek, Error> {
        self.app.keyring.active_kek().map_err(|missing| Error::Internal(missing.into()))
    }

    /// The time by the database's clock, for what must not depend on that of one replica.
    pub(crate) async fn store_time(&self) -> Result<Timestamp, Error> {
        Ok(self.app.store.heartbeat(&self.app.replica).await?)
    }

    pub(crate) fn tenant(&self) -> TenantId {
        self.principal().identity().tenant
    }

    /// Takes `cost` from all limits that the caller, its address and, where one is used, the context have.
    pub(crate) async fn charge(&mut self, context: Option<&Context>, cost: Cost) -> Result<(), Error> {
        self.facts.charged = true;
        let stored = self.app.keyring.default_limits();
        let selection = self.selection(&stored, context, cost);
        let take = self.app.limits.take(&selection).instrument(traces::limits());
        match waiting_for(Wait::Limits, take).await {
            Ok(levels) => {
                self.facts.levels = levels;
                Ok(())
            }
            Err(NotTaken::Refused(refusal)) => {
                self.facts.levels.clone_from(&refusal.levels);
                if refusal.kind == RefusalKind::NeverFits {
                    // Waiting does not help, so nothing would stop its repetition: it costs as any request that fails.
                    let selection = self.selection(&stored, None, Cost::ONE);
                    let levels = waiting_for(Wait::Limits, self.app.limits.take(&selection)).await?;
                    if self.facts.levels.is_empty() {
                        self.facts.levels = levels;
                    }
                }
                Err(Error::RateLimited(refusal))
            }
            Err(NotTaken::Unavailable) => Err(Error::LimitsUnavailable),
        }
    }

    /// The buckets of a request like this one.
    pub(crate) fn selection<'a>(
        &'a self,
        stored: &'a DefaultPolicies,
        context: Option<&'a Context>,
        cost: Cost,
    ) -> Selection<'a> {
        // A stored limit must not stop whoever is to undo it.
        let undoes = self.route.operation.manages_limits();
        let stored = if undoes { self.app.limits.configured() } else { stored };
        let mut selection = self.app.limits.select(stored, self.route.operation.class(), cost);
        let Some(principal) = self.principal else {
            selection.add(Dimension::ip_of_stranger(self.address), None, 0);
            return selection;
        };
        let identity = principal.identity();
        if undoes {
            let generation = principal.limits().generation;
            selection.add_ip(identity.tenant, self.address);
            selection.add(Dimension::Identity(identity.tenant, identity.id), None, generation);
            return selection;
        }
        selection.add_ip(identity.tenant, self.address);
        let context_id = context.map(|context| context.id);
        selection.add_identity((identity.tenant, identity.id), principal.limits(), context_id);
        if let Some(context) = context {
            selection.in_context(&context.name);
            selection.add(Dimension::Context(context.tenant, context.id), context.limits.as_deref(), 0);
        }
        selection
    }

    /// Takes from the limit of the identity that a credential in the body is of. The address has paid already.
    pub(crate) async fn charge_identity(&mut self, tenant: TenantId, id: IdentityId) -> Result<(), Error> {
        let status = self.app.keyring.identity(tenant, id).await?;
        let none = IdentityPolicies::default();
        let policies = status.as_ref().map_or(&none, |status| &status.limits);
        let stored = self.app.keyring.default_limits();
        let mut selection = self.app.limits.select(&stored, self.route.operation.class(), Cost::ONE);
        selection.add_identity((tenant, id), policies, None);
        let taken = waiting_for(Wait::Limits, self.app.limits.take(&selection)).await;
        match &taken {
            Ok(levels) | Err(NotTaken::Refused(Refusal { levels, .. })) => {
                self.facts.levels.extend_from_slice(levels);
            }
            Err(NotTaken::Unavailable) => {}
        }
        Ok(taken.map(drop)?)
    }

    /// Takes from the limit of those who bring bad credentials, which refuses nobody else.
    pub(crate) async fn charge_failed_authentication(&mut self) -> Result<(), Error> {
        let taken = self.app.take_failed_authentication(self.address).await;
        if let Err(NotTaken::Refused(refusal)) = &taken {
            self.facts.levels.clone_from(&refusal.levels);
        }
        Ok(taken.map(drop)?)
    }

    /// The key with which the context of that name encrypts, if the caller may use it.
    pub(crate) async fn encryption_key(&mut self, context: &str) -> Result<Arc<LoadedKey>, Error> {
        let name: Name = context.parse().map_err(|_| Error::ContextNotFound)?;
        let allowed = self.principal().may_use(&name);
        self.facts.context = Some(name.clone());
        if !allowed {
            return Err(Error::ContextForbidden);
        }
        let key = self.app.keyring.encryption_key(self.tenant(), &name).await?;
        let key = key.ok_or(Error::ContextNotFound)?;
        self.facts.key_version = Some(key.version());
        Ok(key)
    }
}
