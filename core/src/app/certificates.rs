use std::sync::Arc;

use crate::api::Error;
use crate::app::Shared;
use crate::auth::{
    ClientCertificate, Credential, IdentityStatus, Narrowing, Principal, TokenError, Verified,
};
use crate::keyring;
use crate::store::Store;

impl<S: Store> Shared<S> {
    /// Whom a client's certificate stands for: the one identity that has a name of it.
    pub(super) async fn authenticate_certificate(
        &self,
        certificate: &ClientCertificate,
    ) -> Result<Principal, Error> {
        // A connection may outlive what it began with.
        if self.clock.now() > certificate.not_after() {
            return Err(TokenError::Certificate.into());
        }
        match self.principal_of(certificate).await? {
            Some(principal) => Ok(principal),
            None => {
                certificate.tell_unknown();
                Err(TokenError::Certificate.into())
            }
        }
    }

    async fn principal_of(
        &self,
        certificate: &ClientCertificate,
    ) -> Result<Option<Principal>, keyring::Error> {
        let mut found: Option<Arc<IdentityStatus>> = None;
        for name in certificate.names() {
            let Some((tenant, identity)) = self.keyring.certificate(name).await? else { continue };
            let status = self.keyring.identity(tenant, identity).await?;
            // What was known of the two may be of different moments.
            let Some(status) = status.filter(|status| status.identity.certificate.as_ref() == Some(name))
            else {
                continue;
            };
            let same = |other: &Arc<IdentityStatus>| other.identity.id == status.identity.id;
            if found.as_ref().is_some_and(|other| !same(other)) {
                // Else whoever writes down one of its other names first would take it over.
                tracing::warn!(
                    identity_id = %status.identity.id,
                    "a client certificate has names of several identities, and stands for none"
                );
                return Ok(None);
            }
            found = Some(status);
        }
        let Some(status) = found else { return Ok(None) };
        let verified = Verified {
            identity: status.identity.id,
            tenant: status.identity.tenant,
            id: String::new(),
            family: None,
            credential: Credential::Certificate,
            narrowing: Narrowing::default(),
            expires_at: certificate.not_after(),
        };
        Ok(Principal::new(Arc::new(verified), Some(status)).ok())
    }
}
