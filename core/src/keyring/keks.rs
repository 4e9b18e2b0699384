use crate::contexts::StoredVersion;
use crate::crypto::{self, ContextKey, Kek, KekId};
use crate::keyring::Error;
use crate::secret::Secret;
use crate::store::Deployment;

/// The key-encryption keys of this process: that of the master key, then those of the previous ones.
pub struct Keks(Vec<Kek>);

/// A key-encryption key that the store needs and this process does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the database needs the master key with fingerprint {missing}, and this process has only {}. \
     Either CRYPTOSERVE_MASTER_KEY or HKDF_SALT is not the one of this deployment; if the master key is being \
     rotated, add the other one to CRYPTOSERVE_MASTER_KEY_PREVIOUS",
    list(known)
)]
pub struct MissingKek {
    missing: KekId,
    known: Vec<KekId>,
}

fn list(ids: &[KekId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Keks {
    /// Derives all of them.
    ///
    /// # Errors
    ///
    /// When the derivation fails, which a correct library never does.
    pub fn derive(
        master_key: &Secret<[u8; 32]>,
        previous: &[Secret<[u8; 32]>],
        salt: &Secret<Vec<u8>>,
    ) -> Result<Self, crate::crypto::Error> {
        std::iter::once(master_key)
            .chain(previous)
            .map(|master_key| Kek::derive(master_key, salt.expose()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The key-encryption key of the current master key.
    pub fn current(&self) -> &Kek {
        &self.0[0]
    }

    /// The fingerprints of all of them.
    pub fn ids(&self) -> Vec<KekId> {
        self.0.iter().map(Kek::id).collect()
    }

    /// The one of that fingerprint.
    ///
    /// # Errors
    ///
    /// [`MissingKek`], with what this process has instead.
    pub fn get(&self, id: KekId) -> Result<&Kek, MissingKek> {
        self.0.iter().find(|kek| kek.id() == id).ok_or_else(|| MissingKek { missing: id, known: self.ids() })
    }

    /// The key of a row, which proves at the same time that nobody changed what the row says of it.
    ///
    /// # Errors
    ///
    /// [`Error::MissingKek`]; [`Error::Key`] when row and key do not belong together, or the bytes are gone.
    pub fn unwrap(&self, stored: &StoredVersion) -> Result<ContextKey, Error> {
        let wrapped = stored.wrapped.as_ref().ok_or(crypto::Error::WrongKey)?;
        Ok(stored.unwrap_key(self.get(wrapped.kek_id)?)?)
    }

    /// Whether this process has every key that the deployment needs; each is compared by its check value too.
    ///
    /// # Errors
    ///
    /// [`MissingKek`] for the first that it lacks.
    pub fn check(&self, deployment: &Deployment) -> Result<(), MissingKek> {
        self.get(deployment.active_kek)?;
        for record in &deployment.keks {
            if self.get(record.id)?.check_value() != record.check_value {
                return Err(MissingKek { missing: record.id, known: self.ids() });
            }
        }
        Ok(())
    }
}
