use std::future::Future;

use super::Error;
use crate::audit::{Filter, Order, Position, StoredRecord};
use crate::id::ChainId;

/// Records of the audit trail by what they say, and not by their place in a chain.
pub trait AuditSearch {
    /// Records that match, in `order`, behind the first position and up to the second with it, where these are given; at
    /// most `limit`.
    fn find_audit_records(
        &self,
        filter: &Filter,
        order: Order,
        range: (Option<Position>, Option<Position>),
        limit: u32,
    ) -> impl Future<Output = Result<Vec<StoredRecord>, Error>> + Send;

    /// The position of the record that is the `count`th behind `after` among those of the filter's tenant and time,
    /// whatever else it asks for; `None` if there are fewer.
    fn audit_slice(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Position>,
        count: u32,
    ) -> impl Future<Output = Result<Option<Position>, Error>> + Send;

    /// The first chain of which there is a record, by id, behind `after`.
    fn next_audit_chain(
        &self,
        after: Option<ChainId>,
    ) -> impl Future<Output = Result<Option<ChainId>, Error>> + Send;
}
