use crate::id::TenantId;
use crate::keyring::lookups::Kind;
use crate::keyring::{Error, Keyring};
use crate::name::Name;
use crate::store::Store;

/// A tenant as callers name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTenant {
    /// Which.
    pub id: TenantId,
    /// No token of a disabled tenant counts.
    pub enabled: bool,
}

impl<S: Store> Keyring<S> {
    /// The tenant of that name; `None` for no such tenant.
    ///
    /// # Errors
    ///
    /// As [`Keyring::encryption_key`].
    pub async fn tenant(&self, name: &Name) -> Result<Option<KnownTenant>, Error> {
        self.check_staleness()?;
        if let Some(entry) = self.lookups.count(Kind::Tenant, self.tenants.get(name)) {
            return Ok(entry);
        }
        let load = async {
            let record = self.store.tenant(name).await?;
            Ok(record.map(|record| KnownTenant { id: record.tenant.id, enabled: record.enabled }))
        };
        self.load(&self.tenants, name, load, |_| {}).await
    }
}
