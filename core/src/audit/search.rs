use std::str::FromStr;

use super::StoredRecord;
use crate::clock::Timestamp;
use crate::id::{ChainId, IdentityId, TenantId};
use crate::store::{self, Store};

/// Records that are looked at before the store is asked for the next ones, where a filter may match few of them.
const SLICE: u32 = 10_000;

/// Which records are asked for; all by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Recorded before this time.
    pub to: Option<Timestamp>,
    /// Of this operation.
    pub operation: Option<String>,
    /// That ended so.
    pub outcome: Option<OutcomeFilter>,
    /// Of this identity.
    pub identity: Option<IdentityId>,
    /// Of this context.
    pub context: Option<String>,
    /// Of this key version.
    pub key_version: Option<u32>,
    /// Of this request.
    pub request_id: Option<String>,
    /// Of this instance.
    pub instance: Option<String>,
}

/// How what is asked for ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// Refused or failed, however.
    Failure,
    /// With this code; `success` is one.
    Code(String),
}

/// In which order records are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the time at which they were recorded.
    OldestFirst,
    /// The other way round.
    NewestFirst,
}

/// The place of a record among all: by time, chain and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its chain.
    pub chain: ChainId,
    /// Its number there.
    pub seq: u64,
}

/// Some of the records that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub records: Vec<StoredRecord>,
    /// Behind which record the next page begins; `None` if there is none. Also there behind a page that is not full, when
    /// so many records did not match that others should have their turn.
    pub next: Option<Position>,
}

impl Filter {
    /// Whether records that are not asked for may lie between those that are.
    fn is_selective(&self) -> bool {
        let Self {
            tenant: _,
            from: _,
            to: _,
            operation,
            outcome,
            identity,
            context,
            key_version,
            request_id,
            instance,
        } = self;
        let texts = [operation, context, request_id, instance];
        texts.iter().any(|text| text.is_some())
            || outcome.is_some()
            || identity.is_some()
            || key_version.is_some()
    }

    /// Reads the next page of at most `limit` records behind `after`. Looks at no more than `slices` times ten thousand
    /// records, so that a filter that nothing matches costs a bounded time.
    ///
    /// # Errors
    ///
    /// As the store.
    pub async fn page<S: Store>(
        &self,
        store: &S,
        order: Order,
        after: Option<Position>,
        limit: u32,
        slices: u32,
    ) -> Result<Page, store::Error> {
        let (mut after, mut records) = (after, Vec::new());
        let mut left = limit;
        for _ in 0..slices {
            let until = match self.is_selective() {
                true => store.audit_slice(self, order, after, SLICE).await?,
                false => None,
            };
            let found = store.find_audit_records(self, order, (after, until), left).await?;
            left = left.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            records.extend(found);
            if left == 0 {
                after = records.last().map(StoredRecord::position);
                break;
            }
            if until.is_none() {
                return Ok(Page { records, next: None });
            }
            after = until;
        }
        Ok(Page { records, next: after })
    }
}

impl FromStr for OutcomeFilter {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(if text == "failure" { Self::Failure } else { Self::Code(text.to_owned()) })
    }
}

impl StoredRecord {
    /// Where it is among all.
    pub fn position(&self) -> Position {
        Position { recorded_at: self.recorded_at, chain: self.chain, seq: self.seq }
    }
}

/// The text is none that [`Position`] writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("take it from `next` of the page before, as it is")]
pub struct InvalidPosition;

impl std::fmt::Display for Position {
    /// 43 characters of base64url (RFC 4648 section 5), to be taken as they are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.recorded_at.as_micros().to_be_bytes());
        bytes[8..24].copy_from_slice(self.chain.as_bytes());
        bytes[24..].copy_from_slice(&self.seq.to_be_bytes());
        f.write_str(&base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes))
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).map_err(|_| InvalidPosition)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| InvalidPosition)?;
        let (time, rest) = bytes.split_first_chunk().ok_or(InvalidPosition)?;
        let (chain, seq) = rest.split_first_chunk().ok_or(InvalidPosition)?;
        let (recorded_at, seq) =
            (u64::from_be_bytes(*time), u64::from_be_bytes(seq.try_into().map_err(|_| InvalidPosition)?));
        // What no store holds is no place in one.
        if i64::try_from(seq).is_err() || i64::try_from(recorded_at).is_err() {
            return Err(InvalidPosition);
        }
        Ok(Self { recorded_at: Timestamp::from_micros(recorded_at), chain: ChainId::from_bytes(*chain), seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_read_as_they_are_written() {
        let position =
            Position { recorded_at: Timestamp::from_micros(7), chain: ChainId::from_bytes([3; 16]), seq: 9 };
        let text = position.to_string();
        assert_eq!((text.len(), text.parse()), (43, Ok(position)));
        for bad in ["", "AAAA", &text[1..], &format!("{text}A"), &"_".repeat(43), &text.replace('A', "=")] {
            assert_eq!(bad.parse::<Position>(), Err(InvalidPosition), "{bad}");
        }
    }

    #[test]
    fn a_filter_of_tenant_and_time_selects_nothing_in_between() {
        let of_time = Filter {
            from: Some(Timestamp::from_secs(1)),
            to: Some(Timestamp::from_secs(2)),
            ..Filter::default()
        };
        assert!(!of_time.is_selective());
        assert!(Filter { key_version: Some(1), ..Filter::default() }.is_selective());
        assert!(Filter { outcome: Some("failure".parse().unwrap()), ..Filter::default() }.is_selective());
    }
}
