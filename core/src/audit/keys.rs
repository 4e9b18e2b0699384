use aws_lc_rs::digest;

use super::ChainKey;
use crate::clock::{Clock, Timestamp};
use crate::contexts::{Context, Key, KeyState, KeyVersionRecord, RotationPolicy, StoredVersion};
use crate::crypto::sign::PublicKey;
use crate::crypto::{
    self, Algorithm, AlgorithmSet, ContextKey, Kek, KeyId, KeyType, KeyVersion, Origin, Purpose,
    SignatureAlgorithm, SigningKey,
};
use crate::id::{ChainId, ContextId, TenantId};
use crate::keyring::{Keks, MissingKek};
use crate::store::{self, Store};

/// How often the keys are looked for; more than once only while others make them, or change the master key.
const ATTEMPTS: usize = 4;

/// The deployment's audit keys: one that those of all chains are derived from, and one that signs checkpoints and cuts.
/// They are wrapped and kept like every other key, as those of [`TenantId::SYSTEM`].
pub struct Keys {
    audit_key: ContextKey,
    signing_key: SigningKey,
    signing_key_id: KeyId,
}

/// Why the audit keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// This process does not have the master key that they are wrapped under.
    #[error(transparent)]
    MissingKek(#[from] MissingKek),
    /// A row and its key do not belong together, or a key could not be made.
    #[error("an audit key cannot be used: {0}")]
    Crypto(#[from] crypto::Error),
    /// There is no deployment.
    #[error("the database has not been set up: start a server on it first, or run `cryptoserve migrate`")]
    NotSetUp,
    /// One of the two is missing.
    #[error("the rows of the audit keys in `keys`, of the tenant that is all zeroes, are damaged")]
    Damaged,
}

/// The audit keys as rows, to be stored together.
#[derive(Clone, Debug)]
pub struct KeysRow {
    /// Of type [`KeyType::Symmetric256`].
    pub audit_key: StoredVersion,
    /// Of type [`KeyType::Ed25519`].
    pub signing_key: StoredVersion,
}

impl Keys {
    /// The keys of the deployment, which are made if there are none; of many processes that do so at once, one does.
    ///
    /// # Errors
    ///
    /// [`KeysError`].
    pub async fn open<S: Store>(store: &S, keks: &Keks, clock: &Clock) -> Result<Self, KeysError> {
        for _ in 0..ATTEMPTS {
            let rows = store.audit_keys().await?;
            if !rows.is_empty() {
                return Self::unwrap(&rows, keks);
            }
            let deployment = store.deployment().await?.ok_or(KeysError::NotSetUp)?;
            let new = KeysRow::generate(keks.get(deployment.active_kek)?, clock.now())?;
            // If another process was faster, or has made another master key the active one, the rows say so.
            store.create_audit_keys(&new).await?;
        }
        Err(KeysError::Damaged)
    }

    fn unwrap(rows: &[StoredVersion], keks: &Keks) -> Result<Self, KeysError> {
        let of_type = |key_type| {
            let row = rows.iter().find(|row| row.key.key_type == key_type);
            let row = row.ok_or(KeysError::Damaged)?;
            let kek = keks.get(row.wrapped.as_ref().ok_or(KeysError::Damaged)?.kek_id)?;
            Ok::<_, KeysError>((row, kek))
        };
        let (row, kek) = of_type(KeyType::Symmetric256)?;
        let audit_key = row.unwrap_key(kek)?;
        let (row, kek) = of_type(KeyType::Ed25519)?;
        Ok(Self { audit_key, signing_key: row.unwrap_signing_key(kek)?, signing_key_id: row.key.id })
    }

    /// The key of a chain.
    ///
    /// # Errors
    ///
    /// When the library fails.
    pub fn chain_key(&self, chain: ChainId) -> Result<ChainKey, crypto::Error> {
        ChainKey::derive(self.audit_key.expose(), chain)
    }

    /// What verifies checkpoints and cuts.
    pub fn public_key(&self) -> &PublicKey {
        self.signing_key.public_key()
    }

    /// Names the signing key.
    pub fn signing_key_id(&self) -> KeyId {
        self.signing_key_id
    }

    /// SHA-256 of the public key as `SubjectPublicKeyInfo`.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest::digest(&digest::SHA256, self.public_key().spki()).as_ref());
        fingerprint
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<[u8; 64], crypto::Error> {
        self.signing_key.sign_raw(message)?.try_into().map_err(|_| crypto::Error::Internal)
    }

    /// Keys for tests, without a store.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let signing_key = SigningKey::generate(SignatureAlgorithm::Ed25519).unwrap();
        let audit_key = ContextKey::from_bytes(&[7; 32]).unwrap();
        Self { audit_key, signing_key, signing_key_id: KeyId([9; 16]) }
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl KeysRow {
    /// Fresh keys.
    ///
    /// # Errors
    ///
    /// When there is no randomness or wrapping fails.
    pub fn generate(kek: &Kek, now: Timestamp) -> Result<Self, crypto::Error> {
        let (audit_key, signing_key) =
            (ContextKey::generate()?, SigningKey::generate(SignatureAlgorithm::Ed25519)?);
        let audit_key_id = KeyId::random()?;
        let context = Context {
            id: ContextId::SYSTEM,
            tenant: TenantId::SYSTEM,
            name: "audit".parse().expect("a valid name"),
            description: String::new(),
            // Nothing is encrypted with it. One whose messages are not counted, so that it never wears.
            algorithm: Algorithm::Xaes256Gcm,
            allowed_algorithms: AlgorithmSet::default().with(Algorithm::Xaes256Gcm),
            key_id: audit_key_id,
            exportable: false,
            rotation: RotationPolicy::default(),
            limits: None,
            rotate_at: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        let wrap = |id, key_type, bytes: &[u8], check_value| {
            let key = Key { id, purpose: Purpose::AuditChain, key_type, exportable: false };
            let version = KeyVersionRecord {
                version: KeyVersion::FIRST,
                state: KeyState::Enabled,
                origin: Origin::Generated,
                created_at: now,
            };
            StoredVersion::wrap(context.clone(), key, version, bytes, check_value, kek)
        };
        Ok(Self {
            audit_key: wrap(
                audit_key_id,
                KeyType::Symmetric256,
                audit_key.expose(),
                audit_key.check_value()?,
            )?,
            signing_key: wrap(
                KeyId::random()?,
                KeyType::Ed25519,
                signing_key.to_pkcs8()?.expose(),
                signing_key.public_key().check_value(),
            )?,
        })
    }
}
