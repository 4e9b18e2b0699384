use std::sync::Arc;

use crate::contexts::{Context, KeyState, StoredVersion};
use crate::crypto::{KeyVersion, VersionKeys};
use crate::keyring::counter::MessageCounter;
use crate::keyring::usage::UsageCount;
use crate::keyring::{Error, Keks};

/// A key version in memory, with its context.
#[derive(Debug)]
pub struct LoadedKey {
    context: Context,
    version: KeyVersion,
    state: KeyState,
    /// `None` unless it may decrypt.
    keys: Option<VersionKeys>,
    counter: MessageCounter,
    usage: Arc<UsageCount>,
}

impl LoadedKey {
    pub(super) fn unwrap(stored: StoredVersion, keks: &Keks, usage: Arc<UsageCount>) -> Result<Self, Error> {
        let keys = match &stored.wrapped {
            Some(wrapped) if stored.version.state.decrypts() => {
                Some(VersionKeys::new(&stored.unwrap_key(keks.get(wrapped.kek_id)?)?))
            }
            _ => None,
        };
        Ok(Self {
            context: stored.context,
            version: stored.version.version,
            state: stored.version.state,
            keys,
            counter: MessageCounter::default(),
            usage,
        })
    }

    /// The context of the key, deleted or not.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Which version it is.
    pub fn version(&self) -> KeyVersion {
        self.version
    }

    /// The keys, if this version may decrypt.
    pub fn decryption_keys(&self) -> Option<&VersionKeys> {
        self.keys.as_ref()
    }

    /// The keys, if this version may encrypt.
    pub fn encryption_keys(&self) -> Option<&VersionKeys> {
        self.keys.as_ref().filter(|_| self.state == KeyState::Enabled)
    }

    /// Counts messages and MACs that were made with it.
    pub fn count_encrypts(&self, count: u64) {
        self.usage.add_encrypts(count);
    }

    /// Counts messages and MACs that were opened or verified with it.
    pub fn count_decrypts(&self, count: u64) {
        self.usage.add_decrypts(count);
    }

    pub(super) fn counter(&self) -> &MessageCounter {
        &self.counter
    }
}
