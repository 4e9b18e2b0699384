use super::encoding::{Decoder, Encoder};
use super::{Head, Keys, Signature};
use crate::clock::Timestamp;
use crate::crypto;
use crate::id::ChainId;

/// A signed statement of what retention removed: the heads of chains, up to and with the named records. What is missing
/// and stands in no cut was removed by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Counts from 1.
    pub number: u64,
    /// When, by the database's clock.
    pub at: Timestamp,
    /// Nothing was removed that was recorded at this time or later.
    pub before: Timestamp,
    /// The chains that lost records, as [`CutEntry::encode_all`] writes them.
    pub entries: Vec<u8>,
    /// Of [`Cut::signed_bytes`].
    pub signature: Signature,
}

/// What one chain lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutEntry {
    /// Which chain.
    pub chain: ChainId,
    /// The last record that was removed.
    pub last: Head,
}

impl Cut {
    /// Signs what is to be stated.
    ///
    /// # Errors
    ///
    /// When the library fails.
    pub fn sign(
        keys: &Keys,
        number: u64,
        at: Timestamp,
        before: Timestamp,
        entries: &[CutEntry],
    ) -> Result<Self, crypto::Error> {
        let entries = CutEntry::encode_all(entries);
        let signature = Signature::new(keys, &signed_bytes(number, at, before, &entries))?;
        Ok(Self { number, at, before, entries, signature })
    }

    /// Confirms the signature.
    ///
    /// # Errors
    ///
    /// [`crypto::Error::WrongKey`], [`crypto::Error::AuthenticationFailed`].
    pub fn verify(&self, keys: &Keys) -> Result<(), crypto::Error> {
        self.signature.verify(keys, &self.signed_bytes())
    }

    /// What is signed: a label, the number, both times in microseconds, and the entries.
    pub fn signed_bytes(&self) -> Vec<u8> {
        signed_bytes(self.number, self.at, self.before, &self.entries)
    }

    /// The entries; `None` when the bytes are none.
    pub fn entries(&self) -> Option<Vec<CutEntry>> {
        CutEntry::decode_all(&self.entries)
    }
}

impl CutEntry {
    /// 56 bytes each: chain id (16), seq (8, big endian), MAC (32).
    pub fn encode_all(entries: &[Self]) -> Vec<u8> {
        let mut out = Encoder::with_capacity(entries.len() * 56);
        for Self { chain, last } in entries {
            out.raw(chain.as_bytes());
            out.integer(last.seq);
            out.raw(&last.mac);
        }
        out.finish()
    }

    /// What [`CutEntry::encode_all`] wrote.
    pub fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut bytes = Decoder(bytes);
        let mut entries = Vec::new();
        while !bytes.0.is_empty() {
            let chain = ChainId::from_bytes(bytes.array()?);
            entries.push(Self { chain, last: Head { seq: bytes.integer()?, mac: bytes.array()? } });
        }
        Some(entries)
    }
}

const LABEL: &[u8] = b"cryptoserve/v1/audit-cut\0";

fn signed_bytes(number: u64, at: Timestamp, before: Timestamp, entries: &[u8]) -> Vec<u8> {
    let mut out = Encoder::with_capacity(64 + entries.len());
    out.raw(LABEL);
    out.integer(number);
    out.time(at);
    out.time(before);
    out.raw(entries);
    out.finish()
}
