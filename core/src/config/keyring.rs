//! How old this replica's view of the store may be: `KEYRING_MAX_STALENESS`.

use std::time::Duration;

use serde::Deserialize;

use super::environment::Environment;
use super::setting::Setting;

/// `KEYRING_MAX_STALENESS`.
pub const DEFAULT_KEYRING_MAX_STALENESS: Duration = Duration::from_secs(180);

/// Below a few polls of the store (each 500 ms), one late answer would stop all work.
const MIN_STALENESS: Duration = Duration::from_secs(2);
const MAX_STALENESS: Duration = Duration::from_secs(24 * 3600);

pub(super) const VARIABLES: &[&str] = &["KEYRING_MAX_STALENESS"];

/// The in-memory view of the store.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// How long authority that cannot be confirmed is still acted on; after it, 503.
    pub max_staleness: Duration,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    keyring_max_staleness: Setting<Duration>,
}

impl Keyring {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        Self {
            max_staleness: env.within(
                "KEYRING_MAX_STALENESS",
                vars.keyring_max_staleness,
                DEFAULT_KEYRING_MAX_STALENESS,
                MIN_STALENESS..=MAX_STALENESS,
            ),
        }
    }
}
