//! What tokens are signed with: `JWT_SECRET_KEY`, `JWT_SECRET_KEY_PREVIOUS`.

use serde::Deserialize;

use super::environment::Environment;
use super::setting::{Parse, Setting};
use super::weakness;
use crate::secret::Secret;

/// The fewest bytes of `JWT_SECRET_KEY`: HS256's output, as RFC 7518 section 3.2 asks.
pub const MIN_JWT_KEY_BYTES: usize = 32;

pub(super) const VARIABLES: &[&str] = &["JWT_SECRET_KEY", "JWT_SECRET_KEY_PREVIOUS"];

/// What tokens are signed with.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Signs and verifies; `None` only with the embedded store, which then keeps one in `DATA_DIR`.
    pub jwt_key: Option<Secret<Vec<u8>>>,
    /// Only verify.
    pub jwt_key_previous: Vec<Secret<Vec<u8>>>,
}

/// The bytes of the text itself.
pub(super) struct JwtKey(pub(super) Secret<Vec<u8>>);

impl Parse for JwtKey {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() < MIN_JWT_KEY_BYTES {
            return Err("must have at least 32 bytes");
        }
        weakness::strong_text(text).map(Self)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    jwt_secret_key: Setting<JwtKey>,
    jwt_secret_key_previous: Setting<Vec<JwtKey>>,
}

impl Auth {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        let previous = env.list("JWT_SECRET_KEY_PREVIOUS", vars.jwt_secret_key_previous);
        Self {
            jwt_key: env.optional("JWT_SECRET_KEY", vars.jwt_secret_key).map(|key| key.0),
            jwt_key_previous: previous.into_iter().map(|key| key.0).collect(),
        }
    }
}
