//! The three secrets of a deployment, identical on every replica.

use std::fmt;

use zeroize::Zeroizing;

use super::auth::JwtKey;
use super::crypto::{HkdfSalt, MASTER_KEY_BYTES, MASTER_KEY_PREVIOUS, MasterKey};
use super::setting::Parse;
use super::{Auth, Crypto};
use crate::secret::Secret;

/// Every secret, complete; made by [`Secrets::resolve`].
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Wraps keys.
    pub master_key: Secret<[u8; MASTER_KEY_BYTES]>,
    /// Other master keys that are also known, older or newer.
    pub master_key_previous: Vec<Secret<[u8; MASTER_KEY_BYTES]>>,
    /// Signs and verifies tokens; at least 32 bytes.
    pub jwt_key: Secret<Vec<u8>>,
    /// Only verify tokens.
    pub jwt_key_previous: Vec<Secret<Vec<u8>>>,
    /// Salt of the derivation from the master key; at least 16 bytes.
    pub hkdf_salt: Secret<Vec<u8>>,
}

impl Secrets {
    /// The three, and the further master keys if there are any, as lines `NAME=value`; `None` if one holds a line break, which such lines cannot.
    pub fn env_lines(&self) -> Option<Secret<String>> {
        let master_key = Zeroizing::new(hex::encode(self.master_key.expose()));
        // Of its final size from the start: growing would leave a copy behind.
        let length = 256
            + 65 * (1 + self.master_key_previous.len())
            + self.jwt_key.expose().len()
            + self.hkdf_salt.expose().len();
        let mut lines = Zeroizing::new(String::with_capacity(length));
        for (name, value) in [
            (SecretName::MasterKey, master_key.as_str()),
            (SecretName::JwtKey, std::str::from_utf8(self.jwt_key.expose()).ok()?),
            (SecretName::HkdfSalt, std::str::from_utf8(self.hkdf_salt.expose()).ok()?),
        ] {
            if value.contains(['\r', '\n']) {
                return None;
            }
            lines.extend([name.variable(), "=", value, "\n"]);
        }
        for (i, key) in self.master_key_previous.iter().enumerate() {
            let key = Zeroizing::new(hex::encode(key.expose()));
            let before = if i == 0 { [MASTER_KEY_PREVIOUS, "="] } else { [",", ""] };
            lines.extend([before[0], before[1], &key]);
        }
        if !self.master_key_previous.is_empty() {
            lines.push('\n');
        }
        Some(Secret::new(std::mem::take(&mut *lines)))
    }
}

/// One of the three secrets that every deployment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretName {
    /// `CRYPTOSERVE_MASTER_KEY`.
    MasterKey,
    /// `JWT_SECRET_KEY`.
    JwtKey,
    /// `HKDF_SALT`.
    HkdfSalt,
}

impl SecretName {
    /// All three.
    pub const ALL: [Self; 3] = [Self::MasterKey, Self::JwtKey, Self::HkdfSalt];

    /// The variable that holds it.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::MasterKey => "CRYPTOSERVE_MASTER_KEY",
            Self::JwtKey => "JWT_SECRET_KEY",
            Self::HkdfSalt => "HKDF_SALT",
        }
    }

    /// What a value must be.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::MasterKey => "64 hexadecimal characters",
            Self::JwtKey => "at least 32 bytes",
            Self::HkdfSalt => "at least 16 bytes",
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.variable())
    }
}

/// Fresh values for `names`, as lines `NAME=value` that a shell, Docker and [`Secrets::resolve`] read. Each value is
/// 256 random bits in hexadecimal, so that no quoting is needed anywhere.
pub fn generate_env_lines(names: &[SecretName]) -> Secret<String> {
    let mut lines = String::with_capacity(128 * names.len());
    for name in names {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).expect("the generator is seeded by the kernel and does not fail");
        let value = Zeroizing::new(hex::encode(*bytes));
        lines.extend([name.variable(), "=", &value, "\n"]);
    }
    Secret::new(lines)
}

/// The secrets that the environment gives, and which it leaves to `DATA_DIR`.
#[derive(Clone, Debug)]
pub(crate) struct Partial {
    pub(crate) auth: Auth,
    pub(crate) crypto: Crypto,
}

impl Partial {
    /// Those that are not known yet.
    pub(crate) fn missing(&self) -> Vec<SecretName> {
        let is_missing = |name: &SecretName| match name {
            SecretName::MasterKey => self.crypto.master_key.is_none(),
            SecretName::JwtKey => self.auth.jwt_key.is_none(),
            SecretName::HkdfSalt => self.crypto.hkdf_salt.is_none(),
        };
        SecretName::ALL.into_iter().filter(is_missing).collect()
    }

    /// Fills one in from its text; the error continues the variable's name.
    pub(crate) fn fill(&mut self, name: SecretName, text: &str) -> Result<(), &'static str> {
        match name {
            SecretName::MasterKey => self.crypto.master_key = Some(MasterKey::parse(text)?.0),
            SecretName::JwtKey => self.auth.jwt_key = Some(JwtKey::parse(text)?.0),
            SecretName::HkdfSalt => self.crypto.hkdf_salt = Some(HkdfSalt::parse(text)?.0),
        }
        Ok(())
    }

    /// Adds further master keys from their list; the error continues the variable's name.
    pub(crate) fn add_master_keys(&mut self, text: &str) -> Result<(), &'static str> {
        let keys = Vec::<MasterKey>::parse(text)
            .map_err(|_| "is a comma-separated list of which every entry is a good master key")?;
        self.crypto.master_key_previous.extend(keys.into_iter().map(|key| key.0));
        Ok(())
    }

    /// The complete set, or which of them are missing.
    pub(crate) fn complete(self) -> Result<Secrets, Vec<SecretName>> {
        let missing = self.missing();
        match (self.crypto.master_key, self.auth.jwt_key, self.crypto.hkdf_salt) {
            (Some(master_key), Some(jwt_key), Some(hkdf_salt)) => Ok(Secrets {
                master_key,
                master_key_previous: self.crypto.master_key_previous,
                jwt_key,
                jwt_key_previous: self.auth.jwt_key_previous,
                hkdf_salt,
            }),
            _ => Err(missing),
        }
    }
}
