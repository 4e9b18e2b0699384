use crate::auth::CertificateName;
use crate::id::{IdentityId, TenantId};
use crate::keyring::{Error, Keyring};
use crate::store::Store;

impl<S: Store> Keyring<S> {
    /// The identity that has a certificate of that name; `None` for no such identity.
    ///
    /// # Errors
    ///
    /// As [`Keyring::encryption_key`].
    pub async fn certificate(&self, name: &CertificateName) -> Result<Option<(TenantId, IdentityId)>, Error> {
        self.check_staleness()?;
        if let Some(entry) = self.certificates.get(name) {
            return Ok(entry);
        }
        let load = async { Ok(self.read(self.store.identity_by_certificate(name)).await?) };
        self.load(&self.certificates, name, load, |_| {}).await
    }
}
