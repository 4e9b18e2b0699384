use crate::contexts::{Context, KeyState, StoredVersion};
use crate::crypto::{KeyVersion, VersionKeys};
use crate::keyring::counter::MessageCounter;
use crate::keyring::{Error, Keks};

/// A key version in memory, with its context.
#[derive(Debug)]
pub struct LoadedKey {
    context: Context,
    version: KeyVersion,
    state: KeyState,
    /// `None` once destroyed.
    keys: Option<VersionKeys>,
    counter: MessageCounter,
}

impl LoadedKey {
    pub(super) fn unwrap(stored: StoredVersion, keks: &Keks) -> Result<Self, Error> {
        let keys = match &stored.wrapped {
            Some(wrapped) => Some(VersionKeys::new(&stored.unwrap_key(keks.get(wrapped.kek_id)?)?)),
            None => None,
        };
        Ok(Self {
            context: stored.context,
            version: stored.version.version,
            state: stored.version.state,
            keys,
            counter: MessageCounter::default(),
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
        self.keys.as_ref().filter(|_| self.state.decrypts())
    }

    /// The keys, if this version may encrypt.
    pub fn encryption_keys(&self) -> Option<&VersionKeys> {
        self.keys.as_ref().filter(|_| self.state == KeyState::Enabled)
    }

    pub(super) fn counter(&self) -> &MessageCounter {
        &self.counter
    }
}
