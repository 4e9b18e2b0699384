use std::time::Duration;

use prometheus_client::registry::Registry;

use super::{
    Database, asymmetric, contexts, deployment, identities, keys, limits, replicas, restored, revision,
    tenants, usage,
};
use crate::auth::{CertificateName, Identity, IdentityStatus, MAX_REVOKED};
use crate::clock::Timestamp;
use crate::contexts::{Context, Destruction, KeySummary, KeyVersionStatus, Rotation, StoredVersion};
use crate::crypto::{KeyId, KeyVersion, Purpose};
use crate::id::{IdentityId, ReplicaId, TenantId};
use crate::name::Name;
use crate::store::{
    Bootstrap, Changes, ContextUpdate, Deployment, Error, Facts, Loaded, NewTenant, Outlook, PoolStatus,
    Position, Replica, ReplicaRecord, Revision, Revocation, StateChange, Store, TenantRecord, TenantUpdate,
    Usage,
};

use super::row::{Columns, damaged};

impl<D: Database> Store for D {
    async fn migrate(&self) -> Result<(), Error> {
        Database::migrate(self).await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        Database::check_schema(self).await
    }

    async fn bootstrap(&self, first: &Bootstrap) -> Result<Deployment, Error> {
        if let Some(deployment) = self.deployment().await? {
            return Ok(deployment);
        }
        // Whether this process or another did it, it is done afterwards.
        self.mutate(deployment::bootstrap(first), ignore).await?;
        self.deployment().await?.ok_or_else(|| damaged("deployment"))
    }

    async fn ping(&self, limit: Duration) -> Result<(), Error> {
        Database::ping(self, limit).await
    }

    fn pool(&self) -> Option<PoolStatus> {
        Database::pool(self)
    }

    fn register_metrics(&self, registry: &mut Registry) {
        Database::register_metrics(self, registry);
    }

    async fn position(&self) -> Result<Position, Error> {
        let mut rows = self.poll(revision::read_position(), revision::parse_position).await?;
        rows.pop().ok_or_else(|| damaged("value"))
    }

    async fn revision(&self) -> Result<Revision, Error> {
        let mut rows = self.poll(revision::read(), revision::parse).await?;
        rows.pop().ok_or_else(|| damaged("value"))
    }

    async fn changes_since(&self, seen: Revision) -> Result<Changes, Error> {
        let rows = self.poll(revision::since(seen), revision::parse_since).await?;
        revision::collect(seen, rows).ok_or_else(|| damaged("value"))
    }

    async fn enabled_version(
        &self,
        tenant: TenantId,
        context: &Name,
    ) -> Result<Loaded<StoredVersion>, Error> {
        only(self.read(keys::enabled_version(tenant, context), keys::parse_loaded).await)
    }

    async fn key_version(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
        purpose: Purpose,
    ) -> Result<Loaded<StoredVersion>, Error> {
        only(self.read(keys::key_version(tenant, key, version, purpose), keys::parse_loaded).await)
    }

    async fn key_versions(
        &self,
        tenant: TenantId,
        key: KeyId,
        before: Option<KeyVersion>,
        limit: u32,
    ) -> Result<Vec<KeyVersionStatus>, Error> {
        self.read(keys::list(tenant, key, before, limit), keys::parse_status).await
    }

    async fn rotate(&self, rotation: &Rotation) -> Result<bool, Error> {
        self.mutate(keys::rotate(rotation), ignore).await.map(|applied| applied.is_some())
    }

    async fn rotations_due(
        &self,
        now: Timestamp,
        worn: u64,
        limit: u32,
    ) -> Result<Vec<StoredVersion>, Error> {
        self.upkeep(vec![keys::rotations_due(now, worn, limit)], keys::parse_version).await
    }

    async fn set_key_state(
        &self,
        version: &StoredVersion,
        change: &StateChange,
        now: Timestamp,
    ) -> Result<Option<KeyVersionStatus>, Error> {
        self.mutate(keys::set_state(version, change, now), keys::parse_status).await
    }

    async fn create_key(&self, new: &StoredVersion, destroy_at: Option<Timestamp>) -> Result<(), Error> {
        let applied = self.mutate(asymmetric::create(new, destroy_at), ignore).await?;
        applied.ok_or(Error::KekNotActive)
    }

    async fn keys(
        &self,
        tenant: TenantId,
        purpose: Purpose,
        after: Option<KeyId>,
        limit: u32,
    ) -> Result<Vec<KeySummary>, Error> {
        self.read(asymmetric::list(tenant, purpose, after, limit), asymmetric::parse).await
    }

    async fn mark_exported(&self, version: &StoredVersion) -> Result<bool, Error> {
        self.write(keys::mark_exported(version), ignore).await.map(|marked| !marked.is_empty())
    }

    async fn destructions_due(&self, now: Timestamp, limit: u32) -> Result<Vec<StoredVersion>, Error> {
        self.upkeep(vec![keys::destructions_due(now, limit)], keys::parse_version).await
    }

    async fn destroy(&self, version: &StoredVersion, now: Timestamp) -> Result<bool, Error> {
        self.mutate(keys::destroy(version, now), ignore).await.map(|applied| applied.is_some())
    }

    async fn has_check_value(&self, tenant: TenantId, check_value: [u8; 16]) -> Result<bool, Error> {
        let found = self.read(keys::with_check_value(tenant, check_value), ignore).await?;
        Ok(!found.is_empty())
    }

    async fn record_usage(&self, usage: &[Usage], now: Timestamp) -> Result<(), Error> {
        let statements = usage.iter().map(|used| usage::record(used, now)).collect();
        self.upkeep(statements, ignore).await.map(drop)
    }

    async fn register(&self, replica: &Replica, now: Timestamp) -> Result<Timestamp, Error> {
        let seen = self.mutate(replicas::register(replica, now), replicas::parse_now).await?;
        seen.ok_or_else(|| damaged("seen_at"))
    }

    async fn heartbeat(&self, replica: &Replica) -> Result<Timestamp, Error> {
        // Not behind other upkeep, which may take longer than a replica may be silent.
        only(self.poll(replicas::heartbeat(replica), replicas::parse_now).await)
    }

    async fn remove_replica(&self, id: ReplicaId) -> Result<(), Error> {
        // Behind the last sign of life, which nobody may have waited for.
        self.poll(replicas::remove(id), ignore).await.map(drop)
    }

    async fn prune_replicas(&self, before: Timestamp) -> Result<(), Error> {
        self.upkeep(vec![replicas::prune(before)], ignore).await.map(drop)
    }

    async fn replicas(&self) -> Result<Vec<ReplicaRecord>, Error> {
        self.read(replicas::list(), replicas::parse).await
    }

    async fn deployment(&self) -> Result<Option<Deployment>, Error> {
        let limits = self.read(limits::defaults(), limits::parse_default).await?;
        let rows = self.read(deployment::read(), deployment::parse).await?;
        Ok(deployment::collect(rows, limits::collect_defaults(limits)))
    }

    async fn reserve_messages(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
        count: u64,
        limit: u64,
    ) -> Result<Option<u64>, Error> {
        if count > limit {
            return Ok(None);
        }
        let reserve = keys::reserve(tenant, key, version, count, limit);
        first(self.write(reserve, keys::parse_reserved).await)
    }

    async fn create_context(&self, new: &StoredVersion) -> Result<(), Error> {
        let applied = self.mutate(contexts::create(new), ignore).await?;
        applied.ok_or(Error::KekNotActive)
    }

    async fn contexts(
        &self,
        tenant: TenantId,
        deleted: bool,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<Context>, Error> {
        self.read(contexts::list(tenant, deleted, after, limit), contexts::parse).await
    }

    async fn context(&self, tenant: TenantId, name: &Name) -> Result<Option<Context>, Error> {
        first(self.read(contexts::by_name(tenant, name), contexts::parse).await)
    }

    async fn update_context(
        &self,
        tenant: TenantId,
        name: &Name,
        update: &ContextUpdate,
        now: Timestamp,
    ) -> Result<Option<Context>, Error> {
        // The id of a name never changes, so it can be looked up before the transaction.
        match self.context(tenant, name).await? {
            Some(context) => {
                self.mutate(contexts::update(tenant, context.id, update, now), contexts::parse).await
            }
            None => Ok(None),
        }
    }

    async fn set_context_deleted(
        &self,
        tenant: TenantId,
        name: &Name,
        deleted: bool,
        now: Timestamp,
    ) -> Result<Option<Context>, Error> {
        match self.context(tenant, name).await? {
            Some(context) => {
                let mutation = contexts::set_deleted(tenant, context.id, deleted, now);
                self.mutate(mutation, contexts::parse).await
            }
            None => Ok(None),
        }
    }

    async fn create_tenant(&self, new: &NewTenant) -> Result<(), Error> {
        let applied = self.mutate(tenants::create(new), ignore).await?;
        applied.ok_or(Error::KekNotActive)
    }

    async fn tenant(&self, name: &Name) -> Result<Option<TenantRecord>, Error> {
        first(self.read(tenants::by_name(name), tenants::parse).await)
    }

    async fn tenants(&self, after: Option<&Name>, limit: u32) -> Result<Vec<TenantRecord>, Error> {
        self.read(tenants::list(after, limit), tenants::parse).await
    }

    async fn update_tenant(
        &self,
        tenant: TenantId,
        update: &TenantUpdate,
        now: Timestamp,
    ) -> Result<Option<TenantRecord>, Error> {
        self.mutate(tenants::update(tenant, update, now), tenants::parse).await
    }

    async fn revoke_tokens_of_tenant(&self, tenant: TenantId, now: Timestamp) -> Result<(), Error> {
        self.mutate(tenants::revoke_tokens(tenant, now), ignore).await.map(drop)
    }

    async fn identity_status(
        &self,
        tenant: TenantId,
        id: IdentityId,
        now: Timestamp,
    ) -> Result<Loaded<IdentityStatus>, Error> {
        let rows = self.read(identities::status(tenant, id, now), identities::parse_loaded_status).await?;
        identities::collect_status(rows).ok_or_else(|| damaged("value"))
    }

    async fn revoke_token(
        &self,
        tenant: TenantId,
        id: IdentityId,
        token: &str,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<Revocation, Error> {
        let revoke = identities::revoke_token(tenant, id, token, expires_at, now, MAX_REVOKED);
        if self.mutate(revoke, ignore).await?.is_some() {
            return Ok(Revocation::Done);
        }
        let there = Store::identity(self, tenant, id).await?.value.is_some();
        Ok(if there { Revocation::TooMany } else { Revocation::NoIdentity })
    }

    async fn prune_revoked_tokens(&self, now: Timestamp) -> Result<(), Error> {
        self.upkeep(vec![identities::prune_revoked_tokens(now)], ignore).await.map(drop)
    }

    async fn identity(&self, tenant: TenantId, id: IdentityId) -> Result<Loaded<Identity>, Error> {
        only(self.read(identities::by_id(tenant, id), identities::parse_loaded).await)
    }

    async fn identity_by_name(&self, tenant: TenantId, name: &Name) -> Result<Option<Identity>, Error> {
        first(self.read(identities::by_name(tenant, name), identities::parse).await)
    }

    async fn identity_by_certificate(
        &self,
        name: &CertificateName,
    ) -> Result<Loaded<(TenantId, IdentityId)>, Error> {
        only(self.read(identities::by_certificate(name), identities::parse_loaded_id).await)
    }

    async fn create_identity(&self, identity: &Identity) -> Result<(), Error> {
        self.mutate(identities::create(identity), ignore).await.map(drop)
    }

    async fn identities(
        &self,
        tenant: TenantId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<Identity>, Error> {
        self.read(identities::list(tenant, after, limit), identities::parse).await
    }

    async fn update_identity(
        &self,
        identity: &Identity,
        raise_epoch: bool,
        now: Timestamp,
    ) -> Result<Option<Identity>, Error> {
        self.mutate(identities::update(identity, raise_epoch, now), identities::parse).await
    }

    async fn delete_identity(&self, tenant: TenantId, id: IdentityId, now: Timestamp) -> Result<bool, Error> {
        let deleted = self.mutate(identities::delete(tenant, id, now), ignore).await?;
        Ok(deleted.is_some())
    }

    async fn outlook(&self) -> Result<Outlook, Error> {
        only(self.read(restored::outlook(), restored::parse_outlook).await)
    }

    async fn invalidate(&self, now: Timestamp) -> Result<Revision, Error> {
        let revision = self.mutate(restored::invalidate(now), revision::parse).await?;
        revision.ok_or_else(|| damaged("value"))
    }

    async fn recorded_version(&self, destruction: &Destruction) -> Result<Option<StoredVersion>, Error> {
        first(self.read(restored::recorded(destruction), keys::parse_version).await)
    }

    async fn destroy_again(
        &self,
        version: &StoredVersion,
        destroyed_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, Error> {
        let mutation = restored::destroy_again(version, destroyed_at, now);
        self.mutate(mutation, ignore).await.map(|applied| applied.is_some())
    }

    async fn destroyed(&self, after: Option<&Destruction>, limit: u32) -> Result<Vec<Destruction>, Error> {
        self.read(restored::destroyed(after, limit), restored::parse_destroyed).await
    }

    async fn facts(&self) -> Result<Facts, Error> {
        Database::facts(self).await
    }

    async fn close(&self) {
        Database::close(self).await;
    }
}

/// For statements that return at most one row.
pub(super) fn first<T>(rows: Result<Vec<T>, Error>) -> Result<Option<T>, Error> {
    rows.map(|rows| rows.into_iter().next())
}

/// For statements that always return one row.
pub(super) fn only<T>(rows: Result<Vec<T>, Error>) -> Result<T, Error> {
    first(rows)?.ok_or_else(|| damaged("value"))
}

/// For mutations of which only success matters.
pub(super) fn ignore(_: &dyn Columns) -> Result<(), Error> {
    Ok(())
}
