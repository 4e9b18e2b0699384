use super::{Database, contexts, deployment, identities, revision};
use crate::audit;
use crate::auth::Identity;
use crate::clock::Timestamp;
use crate::contexts::{Context, StoredVersion};
use crate::crypto::{KeyId, KeyVersion};
use crate::id::{IdentityId, TenantId};
use crate::name::Name;
use crate::store::{Bootstrap, Changes, ContextUpdate, Deployment, Error, Revision, Store};

use super::row::{Columns, damaged};

impl<D: Database> Store for D {
    async fn migrate(&self) -> Result<(), Error> {
        Database::migrate(self).await
    }

    async fn check_schema(&self) -> Result<(), Error> {
        Database::check_schema(self).await
    }

    async fn bootstrap(&self, first: &Bootstrap) -> Result<Deployment, Error> {
        let read = async || self.read(deployment::read(), deployment::parse).await.map(deployment::collect);
        if let Some(deployment) = read().await? {
            return Ok(deployment);
        }
        // Whether this process or another did it, it is done afterwards.
        self.mutate(deployment::bootstrap(first), ignore).await?;
        read().await?.ok_or_else(|| damaged("deployment"))
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
    ) -> Result<Option<StoredVersion>, Error> {
        first(self.read(contexts::enabled_version(tenant, context), contexts::parse_version).await)
    }

    async fn key_version(
        &self,
        tenant: TenantId,
        key: KeyId,
        version: KeyVersion,
    ) -> Result<Option<StoredVersion>, Error> {
        first(self.read(contexts::key_version(tenant, key, version), contexts::parse_version).await)
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
        let reserve = contexts::reserve(tenant, key, version, count, limit);
        first(self.write(reserve, contexts::parse_reserved).await)
    }

    async fn create_context(&self, new: &StoredVersion) -> Result<(), Error> {
        self.mutate(contexts::create(new), ignore).await.map(drop)
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

    async fn identity(&self, tenant: TenantId, id: IdentityId) -> Result<Option<Identity>, Error> {
        first(self.read(identities::by_id(tenant, id), identities::parse).await)
    }

    async fn identity_by_name(&self, tenant: TenantId, name: &Name) -> Result<Option<Identity>, Error> {
        first(self.read(identities::by_name(tenant, name), identities::parse).await)
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

    async fn append_audit(&self, records: &[audit::Record]) -> Result<(), Error> {
        if records.is_empty() { Ok(()) } else { Database::append_audit(self, records).await }
    }

    async fn close(&self) {
        Database::close(self).await;
    }
}

/// For statements that return at most one row.
fn first<T>(rows: Result<Vec<T>, Error>) -> Result<Option<T>, Error> {
    rows.map(|rows| rows.into_iter().next())
}

/// For mutations of which only success matters.
fn ignore(_: &dyn Columns) -> Result<(), Error> {
    Ok(())
}
