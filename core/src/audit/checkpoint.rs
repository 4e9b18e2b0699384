use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use super::encoding::{Decoder, Encoder};
use super::{Ended, Head, Keys, Signature};
use crate::clock::Timestamp;
use crate::crypto;
use crate::id::ChainId;
use crate::store::{self, Store};

/// A signed statement of how far the chains were. Its [hash](Checkpoint::hash), kept elsewhere, is an anchor: whoever
/// removes the end of a chain that it names is found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Counts from 1.
    pub number: u64,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// The hash of the one before it; zeroes for the first.
    pub previous: [u8; 32],
    /// Every chain that is open, or that ended since the one before it, as [`CheckpointEntry::encode_all`] writes them.
    pub entries: Vec<u8>,
    /// Of [`Checkpoint::signed_bytes`].
    pub signature: Signature,
}

/// How far one chain was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// Which chain.
    pub chain: ChainId,
    /// Its last record then.
    pub head: Head,
    /// Whether it was open.
    pub state: ChainState,
}

/// Whether a chain is open, or how it ended.
pub type ChainState = Option<Ended>;

/// Why there is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The library failed.
    #[error("a checkpoint could not be signed: {0}")]
    Crypto(#[from] crypto::Error),
}

impl Checkpoint {
    /// Signs and stores how far the chains are; `None` if another process did at the same moment, or nothing was written
    /// since the last one, or that is younger than `age`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`].
    pub async fn take<S: Store>(
        store: &S,
        keys: &Keys,
        age: Duration,
    ) -> Result<Option<Self>, CheckpointError> {
        let now = store.database_time().await?;
        let last = store.last_audit_checkpoint().await?;
        let signed = last.as_ref().is_none_or(|last| last.verify(keys).is_ok());
        let ahead = last.as_ref().is_some_and(|last| last.at > now + AHEAD);
        let believed = signed && !ahead;
        if believed && last.as_ref().is_some_and(|last| now.since(last.at) < age) {
            return Ok(None);
        }
        let entries = store.unfinished_audit_chains().await?;
        let mut known = last.as_ref().filter(|_| signed).and_then(Self::entries).unwrap_or_default();
        known.retain(|entry| entry.state.is_none());
        if believed && entries == known {
            return Ok(None);
        }
        // Each is said once: what is signed next is the last one then.
        if let Some(last) = last.as_ref().filter(|_| !believed) {
            let why = if signed { "its time lies ahead" } else { "its signature is not ours" };
            tracing::error!(number = last.number, why, "the last audit checkpoint cannot be right");
        }
        for lost in known.iter().filter(|known| known.is_lost_in(&entries)) {
            tracing::error!(
                chain = %lost.chain,
                last_seq = lost.head.seq,
                "an audit chain is not as far as the last checkpoint says: its row was changed or removed"
            );
        }
        let (number, previous) = last.as_ref().map_or((1, [0; 32]), |last| (last.number + 1, last.hash()));
        let checkpoint = Self::sign(keys, number, now, previous, &entries)?;
        Ok(store.add_audit_checkpoint(&checkpoint, &entries).await?.then_some(checkpoint))
    }

    /// Signs what is to be stated.
    ///
    /// # Errors
    ///
    /// When the library fails.
    pub fn sign(
        keys: &Keys,
        number: u64,
        at: Timestamp,
        previous: [u8; 32],
        entries: &[CheckpointEntry],
    ) -> Result<Self, crypto::Error> {
        let entries = CheckpointEntry::encode_all(entries);
        let signature = Signature::new(keys, &signed_bytes(number, at, &previous, &entries))?;
        Ok(Self { number, at, previous, entries, signature })
    }

    /// Confirms the signature.
    ///
    /// # Errors
    ///
    /// [`crypto::Error::WrongKey`], [`crypto::Error::AuthenticationFailed`].
    pub fn verify(&self, keys: &Keys) -> Result<(), crypto::Error> {
        self.signature.verify(keys, &self.signed_bytes())
    }

    /// What is signed: a label, the number, the time in microseconds, the previous hash, and the entries.
    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(self.number, self.at, &self.previous, &self.entries)
    }

    /// SHA-256 of [`Checkpoint::signed_bytes`].
    pub fn hash(&self) -> [u8; 32] {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.signed_bytes()).as_ref());
        hash
    }

    /// The entries; `None` when the bytes are none.
    pub fn entries(&self) -> Option<Vec<CheckpointEntry>> {
        CheckpointEntry::decode_all(&self.entries)
    }
}

impl CheckpointEntry {
    /// Whether a chain is missing from what is there now, or is shorter there. None gets shorter.
    fn is_lost_in(&self, entries: &[Self]) -> bool {
        let now = entries.iter().find(|entry| entry.chain == self.chain);
        now.is_none_or(|now| now.head.seq < self.head.seq)
    }

    /// 57 bytes each: chain id (16), seq (8, big endian), MAC (32), state (0 open, 1 clean, 2 crashed).
    pub fn encode_all(entries: &[Self]) -> Vec<u8> {
        let mut out = Encoder::with_capacity(entries.len() * 57);
        for Self { chain, head, state } in entries {
            out.raw(chain.as_bytes());
            out.integer(head.seq);
            out.raw(&head.mac);
            out.byte(match state {
                None => 0,
                Some(Ended::Clean) => 1,
                Some(Ended::Crashed) => 2,
            });
        }
        out.finish()
    }

    /// What [`CheckpointEntry::encode_all`] wrote.
    pub fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut bytes = Decoder(bytes);
        let mut entries = Vec::new();
        while !bytes.0.is_empty() {
            let chain = ChainId::from_bytes(bytes.array()?);
            let head = Head { seq: bytes.integer()?, mac: bytes.array()? };
            let state = match bytes.array()? {
                [0] => None,
                [1] => Some(Ended::Clean),
                [2] => Some(Ended::Crashed),
                _ => return None,
            };
            entries.push(Self { chain, head, state });
        }
        Some(entries)
    }
}

/// The last checkpoint may be this far ahead, as clocks are set back.
const AHEAD: Duration = Duration::from_secs(60);
const LABEL: &[u8] = b"cryptoserve/v1/audit-checkpoint\0";

fn signed_bytes(number: u64, at: Timestamp, previous: &[u8; 32], entries: &[u8]) -> Vec<u8> {
    let mut out = Encoder::with_capacity(128 + entries.len());
    out.raw(LABEL);
    out.integer(number);
    out.time(at);
    out.raw(previous);
    out.raw(entries);
    out.finish()
}
