use std::borrow::Cow;
use std::sync::Arc;

use super::encoding::Encoder;
use super::{Record, chain::Mac};
use crate::clock::Timestamp;
use crate::id::{ChainId, IdentityId, TenantId};

/// A record in its place in a chain, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The chain that it belongs to.
    pub chain: ChainId,
    /// Its place there; 0 begins the chain.
    pub seq: u64,
    /// When it was written, by the database's clock as far as the instance knew it; never falls within a chain.
    pub recorded_at: Timestamp,
    /// When the operation ended, by the same clock; never after `recorded_at`.
    pub at: Timestamp,
    /// As in [`Record`], here and below.
    pub instance: Arc<str>,
    /// Empty for what no request caused.
    pub request_id: String,
    /// Whose data.
    pub tenant: Option<TenantId>,
    /// Who.
    pub identity: Option<IdentityId>,
    /// What.
    pub operation: Cow<'static, str>,
    /// The context, which need not be a valid name where somebody edited the row.
    pub context: Option<String>,
    /// The key version.
    pub key_version: Option<u64>,
    /// `success`, or the error code.
    pub outcome: Cow<'static, str>,
    /// Items asked for.
    pub items: u64,
    /// Items that failed.
    pub failed: u64,
    /// Plaintext bytes.
    pub bytes: u64,
    /// Where the request came from.
    pub address: Option<String>,
    /// What an administrator changed, and the like.
    pub detail: Option<String>,
    /// Of this record and, through the one before it, of all before it.
    pub mac: Mac,
}

/// The end of the year 9999, in microseconds: the last time that both stores can hold.
const LAST_TIME: u64 = 253_402_300_799_999_999;

impl StoredRecord {
    /// A record that has no place and no MAC yet. What no column can hold is made to fit, as what is authenticated must be
    /// what is read back: times and numbers are limited, and NUL is replaced in text.
    pub fn new(record: Record) -> Self {
        let at = storable(record.at);
        Self {
            chain: ChainId::from_bytes([0; 16]),
            seq: 0,
            recorded_at: at,
            at,
            instance: if record.instance.contains('\0') {
                text(&record.instance).into()
            } else {
                record.instance
            },
            request_id: owned(record.request_id),
            tenant: record.tenant,
            identity: record.identity,
            operation: record.operation.into(),
            context: record.context.map(|context| context.to_string()),
            key_version: record.key_version.map(|version| version.get().into()),
            outcome: record.outcome.code().into(),
            items: record.items.into(),
            failed: record.failed.into(),
            bytes: record.bytes.min(i64::MAX.unsigned_abs()),
            address: record.address.map(|address| address.to_string()),
            detail: record.detail.map(owned),
            mac: [0; 32],
        }
    }

    /// Gives it its place.
    pub fn place(&mut self, chain: ChainId, seq: u64, recorded_at: Timestamp) {
        self.chain = chain;
        self.seq = seq;
        self.recorded_at = storable(recorded_at).max(self.at);
    }

    /// What is authenticated: a version byte, then every column but the MAC in the order of the table. Integers have 8
    /// bytes, big endian; times are microseconds since 1970; a text is its length in 4 bytes and UTF-8; what may be null
    /// begins with a byte 0 or 1.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::with_capacity(256);
        out.byte(VERSION);
        out.raw(self.chain.as_bytes());
        out.integer(self.seq);
        out.time(self.recorded_at);
        out.time(self.at);
        out.text(&self.instance);
        out.text(&self.request_id);
        out.optional(self.tenant, |out, tenant| out.raw(tenant.as_bytes()));
        out.optional(self.identity, |out, identity| out.raw(identity.as_bytes()));
        out.text(&self.operation);
        out.optional(self.context.as_deref(), Encoder::text);
        out.optional(self.key_version, Encoder::integer);
        out.text(&self.outcome);
        out.integer(self.items);
        out.integer(self.failed);
        out.integer(self.bytes);
        out.optional(self.address.as_deref(), Encoder::text);
        out.optional(self.detail.as_deref(), Encoder::text);
        out.finish()
    }
}

const VERSION: u8 = 1;

fn storable(time: Timestamp) -> Timestamp {
    time.min(Timestamp::from_micros(LAST_TIME))
}

/// PostgreSQL refuses a NUL in text, and one bad record must not cost the others of its batch.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn owned(original: String) -> String {
    if original.contains('\0') { text(&original) } else { original }
}

#[cfg(test)]
mod tests;
