use crate::clock::Timestamp;
use crate::crypto::{KekId, KeyVersion, Origin};

/// The life of a key version. Exactly one version of a context's key is enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Encrypts and decrypts.
    Enabled,
    /// Decrypts only.
    DecryptOnly,
    /// Does nothing, reversibly: the rehearsal of its destruction.
    Disabled,
    /// Does nothing, and will be destroyed when its waiting period ends; can be cancelled.
    Scheduled,
    /// Its bytes are gone.
    Destroyed,
}

impl KeyState {
    const ALL: [Self; 5] =
        [Self::Enabled, Self::DecryptOnly, Self::Disabled, Self::Scheduled, Self::Destroyed];

    /// As stored.
    pub const fn id(self) -> u8 {
        match self {
            Self::Enabled => 1,
            Self::DecryptOnly => 2,
            Self::Disabled => 3,
            Self::Scheduled => 4,
            Self::Destroyed => 5,
        }
    }

    /// From what is stored.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.id() == id)
    }

    /// As written in requests and replies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::DecryptOnly => "decrypt_only",
            Self::Disabled => "disabled",
            Self::Scheduled => "scheduled_for_destruction",
            Self::Destroyed => "destroyed",
        }
    }

    /// From what is written.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether ciphertexts of this version may be opened.
    pub const fn decrypts(self) -> bool {
        matches!(self, Self::Enabled | Self::DecryptOnly)
    }

    /// Whether a signing key may be moved from this state to `next`. It does all it can or nothing; time alone destroys it.
    pub const fn signing_key_may_become(self, next: Self) -> bool {
        matches!((self, next), (Self::Enabled, Self::Scheduled) | (Self::Scheduled, Self::Enabled))
    }

    /// Whether an administrator may move a version of a context's key from this state to `next`. Rotation alone
    /// enables a version and ends that, and time alone destroys one.
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::DecryptOnly | Self::Scheduled, Self::Disabled)
                | (Self::Disabled, Self::DecryptOnly | Self::Scheduled)
        )
    }
}

/// One version of a key, without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyVersionRecord {
    /// Counts from 1.
    pub version: KeyVersion,
    /// What may be done with it.
    pub state: KeyState,
    /// Where its bytes came from; bound into the wrap.
    pub origin: Origin,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What an operator wants to know of a version before its destruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyVersionStatus {
    /// The version.
    pub record: KeyVersionRecord,
    /// When it came to its state.
    pub state_changed_at: Timestamp,
    /// The end of the waiting period, while it is scheduled for destruction.
    pub destroy_at: Option<Timestamp>,
    /// Messages of algorithms with short nonces, counted before they are encrypted: at least as many as there were.
    pub messages_reserved: u64,
    /// Messages, MACs and signatures made with it, up to about ten seconds ago.
    pub encrypts: u64,
    /// Messages opened and MACs and signatures verified with it, up to about ten seconds ago.
    pub decrypts: u64,
    /// The last of `decrypts`, to about ten seconds.
    pub last_decrypt_at: Option<Timestamp>,
    /// Which key-encryption key it is wrapped under; `None` once destroyed.
    pub kek_id: Option<KekId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_keep_their_numbers_and_names() {
        for state in KeyState::ALL {
            assert_eq!(KeyState::from_id(state.id()), Some(state));
            assert_eq!(KeyState::from_name(state.name()), Some(state));
        }
        assert_eq!(KeyState::from_id(0), None);
        assert_eq!(KeyState::from_name("gone"), None);
    }

    #[test]
    fn nothing_becomes_enabled_and_nothing_returns_from_destruction() {
        for from in KeyState::ALL {
            assert!(!from.may_become(KeyState::Enabled) && !KeyState::Enabled.may_become(from), "{from:?}");
            assert!(
                !from.may_become(KeyState::Destroyed) && !KeyState::Destroyed.may_become(from),
                "{from:?}"
            );
            assert!(!from.may_become(from), "{from:?}");
        }
        assert!(!KeyState::DecryptOnly.may_become(KeyState::Scheduled), "the rehearsal comes first");
    }

    #[test]
    fn a_signing_key_is_scheduled_for_destruction_and_that_is_cancelled() {
        for from in KeyState::ALL {
            for to in KeyState::ALL {
                let pair = (from, to);
                let expected = pair == (KeyState::Enabled, KeyState::Scheduled)
                    || pair == (KeyState::Scheduled, KeyState::Enabled);
                assert_eq!(from.signing_key_may_become(to), expected, "{pair:?}");
            }
        }
    }
}
