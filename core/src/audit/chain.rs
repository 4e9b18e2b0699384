use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::hmac;

use super::StoredRecord;
use crate::clock::Timestamp;
use crate::crypto::{self, expand};
use crate::id::{ChainId, ReplicaId};
use crate::secret::Secret;

/// HMAC-SHA256 of a record, RFC 2104.
pub(super) type Mac = [u8; 32];

/// What authenticates the records of one chain: an HMAC key derived from the deployment's audit key, wiped from memory by
/// the library when dropped.
pub struct ChainKey(hmac::Key);

/// How far a chain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of its last record.
    pub seq: u64,
    /// Of its last record.
    pub mac: Mac,
}

/// Who begins a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Its `INSTANCE_ID`.
    pub instance: String,
    /// The run of its process.
    pub replica: ReplicaId,
}

/// How a chain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Its process said so.
    Clean,
    /// Its process went silent, and another one ended it.
    Crashed,
}

/// Records to append to a chain, with their MACs; at least one.
#[derive(Clone, Debug)]
pub struct Append {
    /// Which chain.
    pub chain: ChainId,
    /// What it must end with; unless it begins.
    pub after: After,
    /// In order, without gaps.
    pub records: Vec<StoredRecord>,
    /// Whether it ends with them.
    pub ends: bool,
}

/// What a chain must be like before something is appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// Not there.
    Nothing(Opening),
    /// Open, and so far.
    Head(Head),
}

/// What came of an [`Append`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The records are durable, written now or by an earlier attempt whose answer was lost.
    Written,
    /// Nothing was written: somebody ended the chain, or it is not what this process left.
    Refused,
}

/// A chain as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainRow {
    /// Which.
    pub id: ChainId,
    /// Who wrote it: its `INSTANCE_ID`.
    pub instance: String,
    /// The run of that process.
    pub replica: ReplicaId,
    /// When it began, by the database's clock.
    pub started_at: Timestamp,
    /// When something was last appended, by the database's clock.
    pub appended_at: Timestamp,
    /// The first record that retention left; if beyond `head`, none.
    pub first_seq: u64,
    /// Its last record.
    pub head: Head,
    /// How it ended; `None` while it is open.
    pub ended: Option<Ended>,
    /// When, by the database's clock.
    pub ended_at: Option<Timestamp>,
}

impl ChainKey {
    /// HKDF-Expand (RFC 5869) with SHA-256 of `audit_key`, the info `cryptoserve/v1/audit-chain` ‖ 0x00 ‖ chain id.
    ///
    /// # Errors
    ///
    /// When the library fails.
    pub fn derive(audit_key: &[u8; 32], chain: ChainId) -> Result<Self, crypto::Error> {
        let prk = Prk::new_less_safe(HKDF_SHA256, audit_key);
        let mut key = Secret::new([0; 32]);
        expand(&prk, &[LABEL, &[0], chain.as_bytes()], key.expose_mut())?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
    }

    /// The MAC of a record: of `previous`, which is all zeroes for the first one, followed by what
    /// [`StoredRecord::encode`] says.
    pub fn mac(&self, previous: &[u8; 32], record: &StoredRecord) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(previous);
        context.update(&record.encode());
        let mut mac = [0; 32];
        mac.copy_from_slice(context.sign().as_ref());
        mac
    }
}

impl std::fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChainKey(..)")
    }
}

impl Append {
    /// How far the chain is afterwards; `None` without records.
    pub fn head(&self) -> Option<Head> {
        self.records.last().map(|last| Head { seq: last.seq, mac: last.mac })
    }
}

impl Ended {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Crashed => "crashed",
        }
    }

    /// From what is stored.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Clean, Self::Crashed].into_iter().find(|ended| ended.name() == name)
    }
}

const LABEL: &[u8] = b"cryptoserve/v1/audit-chain";
