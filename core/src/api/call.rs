use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Error, Route};
use crate::app::Shared;
use crate::auth::Principal;
use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::crypto::{Kek, KeyVersion};
use crate::id::TenantId;
use crate::keyring::LoadedKey;
use crate::limits::{Dimension, Level, RefusalKind};
use crate::name::Name;
use crate::store::Store;

/// One request under way: who asks what, and what is known so far of how it goes.
pub(crate) struct Call<'a, S> {
    pub(crate) app: &'a Arc<Shared<S>>,
    pub(crate) route: &'static Route,
    /// The values of the path's parameters, in their order.
    pub(crate) parameters: &'a [String],
    pub(crate) query: &'a str,
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

    /// Takes `cost` from the limits per address, identity and, where one is used, context.
    pub(crate) fn charge(&mut self, context: Option<&Context>, cost: u32) -> Result<(), Error> {
        self.facts.charged = true;
        let identity = self.principal().identity();
        let ip = Dimension::ip(self.address);
        let who = Dimension::Identity(identity.tenant, identity.id);
        let limits = &self.app.limits;
        let taken = match context {
            Some(context) => limits.take(&[ip, who, Dimension::Context(context.tenant, context.id)], cost),
            None => limits.take(&[ip, who], cost),
        };
        match taken {
            Ok(levels) => {
                self.facts.levels = levels;
                Ok(())
            }
            Err(refusal) => {
                self.facts.levels.clone_from(&refusal.levels);
                if refusal.kind == RefusalKind::NeverFits {
                    // Waiting does not help, so nothing would stop its repetition: it costs as any request that fails.
                    limits.take(&[ip, who], 1).map_err(Error::RateLimited)?;
                }
                Err(Error::RateLimited(refusal))
            }
        }
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
