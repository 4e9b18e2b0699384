use std::net::IpAddr;
use std::sync::Arc;

use crate::api::Error;
use crate::app::Shared;
use crate::auth::{IdentityStatus, OutsideToken, Principal, Provider, TokenError, Verified};
use crate::store::Store;

/// Who sends a token, as far as that is known before it is verified.
#[derive(Clone, Copy)]
pub(crate) struct Sender<'a> {
    pub(crate) address: IpAddr,
    pub(crate) request_id: &'a str,
}

/// A token whose signature, form and times are good.
struct Known {
    verified: Arc<Verified>,
    /// If a provider vouches for it.
    outside: Option<(Arc<Provider>, Arc<OutsideToken>)>,
}

impl<S: Store> Shared<S> {
    /// Verifies a token and looks up what it is worth now.
    pub(crate) async fn authenticate(
        self: &Arc<Self>,
        token: &str,
        sender: Sender<'_>,
    ) -> Result<Principal, Error> {
        let (verified, status) = self.look_up(token, sender).await?;
        Ok(Principal::new(verified, status)?)
    }

    /// Verifies a token and looks up its identity, if there is one, whatever it is worth now.
    pub(crate) async fn look_up(
        self: &Arc<Self>,
        token: &str,
        sender: Sender<'_>,
    ) -> Result<(Arc<Verified>, Option<Arc<IdentityStatus>>), Error> {
        let Known { verified, outside } = self.know(token).await?;
        let mut status = self.keyring.identity(verified.tenant, verified.identity).await?;
        if let (None, Some((provider, token))) = (&status, outside) {
            let (app, verified) = (self.clone(), verified.clone());
            let (address, request_id) = (sender.address, sender.request_id.to_owned());
            // In a task of its own: a client that goes away must not stop it between making and recording.
            let made = tokio::spawn(async move {
                app.introduce(&provider, &token, &verified, Sender { address, request_id: &request_id }).await
            });
            status = Some(made.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?);
        }
        Ok((verified, status))
    }

    /// Verifies a token, ours or a provider's.
    async fn know(&self, token: &str) -> Result<Known, Error> {
        match &self.provider {
            Some(provider) if Provider::is_addressed(token) => {
                let token = provider.verify(token).await?;
                let tenant = self.keyring.tenant(&token.tenant).await?.ok_or(TokenError::Invalid)?;
                // Before anything is asked or made for a subject that nobody knows.
                if !tenant.enabled {
                    return Err(TokenError::Revoked.into());
                }
                let verified = Arc::new(provider.verified(&token, tenant.id));
                Ok(Known { verified, outside: Some((provider.clone(), token)) })
            }
            _ => {
                let verify = || self.tokens.verify(token);
                let verified = self.verified_tokens.get_or_verify(token, self.clock.now(), verify)?;
                Ok(Known { verified, outside: None })
            }
        }
    }
}
