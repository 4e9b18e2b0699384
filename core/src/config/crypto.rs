//! What keys are wrapped with: `CRYPTOSERVE_MASTER_KEY`, `CRYPTOSERVE_MASTER_KEY_PREVIOUS`, `HKDF_SALT`.

use serde::Deserialize;

use super::environment::Environment;
use super::setting::{Parse, Setting};
use super::weakness;
use crate::secret::Secret;

/// The bytes of a master key; twice as many hexadecimal characters.
pub const MASTER_KEY_BYTES: usize = 32;
/// The fewest bytes of `HKDF_SALT`.
pub const MIN_HKDF_SALT_BYTES: usize = 16;

/// The variable that lists further master keys; with the embedded store also a line of its secrets file.
pub(crate) const MASTER_KEY_PREVIOUS: &str = "CRYPTOSERVE_MASTER_KEY_PREVIOUS";

pub(super) const VARIABLES: &[&str] = &["CRYPTOSERVE_MASTER_KEY", MASTER_KEY_PREVIOUS, "HKDF_SALT"];

/// What keys are wrapped with. Each `None` occurs only with the embedded store, which then keeps one in `DATA_DIR`.
#[derive(Clone, Debug)]
pub struct Crypto {
    /// The master key.
    pub master_key: Option<Secret<[u8; MASTER_KEY_BYTES]>>,
    /// Other master keys that are also known, older or newer.
    pub master_key_previous: Vec<Secret<[u8; MASTER_KEY_BYTES]>>,
    /// Unique to the deployment, never rotated.
    pub hkdf_salt: Option<Secret<Vec<u8>>>,
}

pub(super) struct MasterKey(pub(super) Secret<[u8; MASTER_KEY_BYTES]>);

impl Parse for MasterKey {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut key = Secret::<[u8; MASTER_KEY_BYTES]>::default();
        hex::decode_to_slice(text, key.expose_mut()).map_err(|_| "must be 64 hexadecimal characters")?;
        match weakness::of_text(text).or_else(|| weakness::of_bytes(key.expose())) {
            Some(weakness) => Err(weakness),
            None => Ok(Self(key)),
        }
    }
}

/// The bytes of the text itself.
pub(super) struct HkdfSalt(pub(super) Secret<Vec<u8>>);

impl Parse for HkdfSalt {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() < MIN_HKDF_SALT_BYTES {
            return Err("must have at least 16 bytes");
        }
        weakness::strong_text(text).map(Self)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    cryptoserve_master_key: Setting<MasterKey>,
    cryptoserve_master_key_previous: Setting<Vec<MasterKey>>,
    hkdf_salt: Setting<HkdfSalt>,
}

impl Crypto {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        let previous = env.list(MASTER_KEY_PREVIOUS, vars.cryptoserve_master_key_previous);
        Self {
            master_key: env.optional("CRYPTOSERVE_MASTER_KEY", vars.cryptoserve_master_key).map(|key| key.0),
            master_key_previous: previous.into_iter().map(|key| key.0).collect(),
            hkdf_salt: env.optional("HKDF_SALT", vars.hkdf_salt).map(|salt| salt.0),
        }
    }
}
