use std::sync::Arc;

use crate::clock::Timestamp;
use crate::contexts::{Context, KeyState, StoredVersion};
use crate::crypto::{KeyId, KeyVersion, Purpose, SigningKey};
use crate::id::TenantId;
use crate::keyring::lookups::Kind;
use crate::keyring::usage::UsageCount;
use crate::keyring::{Error, Keks, Keyring};
use crate::store::Store;

/// A signing key in memory, with its context.
#[derive(Debug)]
pub struct LoadedSigningKey {
    context: Context,
    id: KeyId,
    created_at: Timestamp,
    /// `None` unless it is enabled.
    key: Option<SigningKey>,
    usage: Arc<UsageCount>,
}

impl LoadedSigningKey {
    fn unwrap(stored: StoredVersion, keks: &Keks, usage: Arc<UsageCount>) -> Result<Self, Error> {
        let key = match &stored.wrapped {
            Some(wrapped) if stored.version.state == KeyState::Enabled => {
                Some(stored.unwrap_signing_key(keks.get(wrapped.kek_id)?)?)
            }
            _ => None,
        };
        let (id, created_at) = (stored.key.id, stored.version.created_at);
        Ok(Self { context: stored.context, id, created_at, key, usage })
    }

    /// The context of the key, deleted or not.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// When it was made.
    pub fn created_at(&self) -> Timestamp {
        self.created_at
    }

    /// The key, if it is enabled.
    pub fn key(&self) -> Option<&SigningKey> {
        self.key.as_ref()
    }

    /// Counts a signature that was made with it.
    pub fn count_signature(&self) {
        self.usage.add_encrypts(1);
    }

    /// Counts a signature that was verified with it, whether good or not.
    pub fn count_verification(&self) {
        self.usage.add_decrypts(1);
    }
}

impl<S: Store> Keyring<S> {
    /// A signing key, whatever its state and that of its context; `None` for no such key.
    ///
    /// # Errors
    ///
    /// As [`Keyring::encryption_key`].
    pub async fn signing_key(
        &self,
        tenant: TenantId,
        id: KeyId,
    ) -> Result<Option<Arc<LoadedSigningKey>>, Error> {
        self.check_staleness()?;
        let known = self.signing_keys.get(&(tenant, id));
        if let Some(entry) = self.lookups.count(Kind::SigningKey, known) {
            return Ok(entry);
        }
        let load = async {
            let query = self.store.key_version(tenant, id, KeyVersion::FIRST, Purpose::Signing);
            let unwrap = |stored: StoredVersion| {
                let usage = self.usage.open(tenant, id, KeyVersion::FIRST);
                LoadedSigningKey::unwrap(stored, &self.keks, usage).map(Arc::new)
            };
            self.read(query).await?.map(unwrap).transpose()
        };
        self.load(&self.signing_keys, &(tenant, id), load, |_| {}).await
    }
}
