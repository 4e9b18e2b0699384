use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::Timestamp;
use crate::contexts::Context;
use crate::crypto::KekId;
use crate::keyring::{Keyring, LoadedKey};
use crate::store::{self, Change, Revision, Store};

/// What is known of the store.
pub(super) struct View {
    pub(super) seen: Revision,
    /// Which server `seen` is of.
    pub(super) server_started_at: Timestamp,
    /// Counts the polls that forgot something.
    pub(super) generation: u64,
}

impl<S: Store> Keyring<S> {
    /// Asks the store what changed and forgets it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read; the view then ages.
    pub async fn poll(&self) -> Result<(), store::Error> {
        let _one_at_a_time = self.polling.lock().await;
        let asked_at = self.clock.monotonic();
        let (seen, server_started_at) = {
            let view = self.view();
            (view.seen, view.server_started_at)
        };
        let position = self.store.position().await?;
        let other_server = position.server_started_at != server_started_at;
        if position.revision != seen || other_server {
            let mut changes = self.store.changes_since(seen).await?;
            if other_server {
                // It may have lost the last changes before a failover and have counted on from there.
                changes.changes = None;
                tracing::warn!("the database server was restarted or replaced; the view of it is read again");
            }
            if changes.revision < seen {
                tracing::warn!(
                    "the store's revision went backwards; all cached keys and identities are dropped"
                );
            }
            if changes.changes.as_ref().is_none_or(|changes| changes.contains(&Change::Deployment)) {
                // Before the changes count as seen: if this fails, it is tried again.
                let deployment = self.store.deployment().await?;
                let deployment = deployment.ok_or_else(|| store::Error::Unavailable("not set up".into()))?;
                self.set_active_kek(deployment.active_kek);
                self.default_limits.store(Arc::new(deployment.default_limits));
            }
            self.forget(&changes, position.server_started_at);
        }
        self.confirmed_at.store(asked_at.as_micros(), Ordering::Release);
        Ok(())
    }

    fn set_active_kek(&self, active: KekId) {
        let active_bits = u64::from_be_bytes(active.0);
        if self.active_kek.swap(active_bits, Ordering::AcqRel) == active_bits {
            return;
        }
        match self.keks.get(active) {
            Ok(_) => tracing::info!(
                master_key_fingerprint = %active,
                "another master key is the active one: new keys are wrapped under it"
            ),
            Err(error) => {
                tracing::error!(%error, "not ready: another master key is the active one, and this process lacks it");
            }
        }
    }

    fn forget(&self, changes: &store::Changes, server_started_at: Timestamp) {
        let mut view = self.view();
        view.server_started_at = server_started_at;
        view.generation += 1;
        view.seen = changes.revision;
        let Some(changes) = &changes.changes else {
            self.names.clear();
            self.versions.clear();
            self.signing_keys.clear();
            self.identities.clear();
            self.certificates.clear();
            self.tenants.clear();
            return;
        };
        let changed = |change: Change| changes.contains(&change);
        // What did not exist may exist now.
        let unchanged =
            |context: Option<&Context>| context.is_some_and(|c| !changed(Change::Context(c.tenant, c.id)));
        let unchanged_key =
            |entry: &Option<Arc<LoadedKey>>| unchanged(entry.as_ref().map(|key| key.context()));
        self.names.retain(|_, entry| unchanged_key(entry));
        self.versions.retain(|_, entry| unchanged_key(entry));
        self.signing_keys.retain(|_, entry| unchanged(entry.as_ref().map(|key| key.context())));
        // Which certificates a changed identity had, or has now, is not known here.
        if changes.iter().any(|change| matches!(change, Change::Identity(..))) {
            self.certificates.clear();
        }
        self.tenants.retain(|_, entry| entry.is_some_and(|tenant| !changed(Change::Tenant(tenant.id))));
        self.identities.retain(|_, entry| {
            entry.as_ref().is_some_and(|status| {
                let (tenant, id) = (status.identity.tenant, status.identity.id);
                !changed(Change::Identity(tenant, id)) && !changed(Change::Tenant(tenant))
            })
        });
    }
}
