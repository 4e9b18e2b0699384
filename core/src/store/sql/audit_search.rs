//! Records of the audit trail by what they say.

use super::audit::columns;
use super::{Columns, Database, Statement, Value};
use crate::audit::{Filter, Order, OutcomeFilter, Position, StoredRecord};
use crate::clock::Timestamp;
use crate::id::ChainId;
use crate::store::{AuditSearch, Error};

/// Later than any record: the end of the year 9999.
const END: Timestamp = Timestamp::from_secs(253_402_300_800);

impl<D: Database> AuditSearch for D {
    async fn find_audit_records(
        &self,
        filter: &Filter,
        order: Order,
        range: (Option<Position>, Option<Position>),
        limit: u32,
    ) -> Result<Vec<StoredRecord>, Error> {
        self.read(find(filter, order, range, limit), super::audit::parse_record).await
    }

    async fn audit_slice(
        &self,
        filter: &Filter,
        order: Order,
        after: Option<Position>,
        count: u32,
    ) -> Result<Option<Position>, Error> {
        let rows = self.read(slice(filter, order, after, count), parse_position).await?;
        Ok(rows.into_iter().next())
    }

    async fn next_audit_chain(&self, after: Option<ChainId>) -> Result<Option<ChainId>, Error> {
        const FIRST: &str = "SELECT chain_id FROM audit_records ORDER BY chain_id LIMIT 1";
        const NEXT: &str = "SELECT chain_id FROM audit_records WHERE chain_id > $1 ORDER BY chain_id LIMIT 1";
        // Not a lower bound that no chain has: somebody who tampers writes one that has it.
        let statement =
            after.map_or_else(|| Statement::new(FIRST, []), |after| Statement::new(NEXT, [after.into()]));
        let rows = self.read(statement, |row| Ok(ChainId(row.uuid("chain_id")?))).await?;
        Ok(rows.into_iter().next())
    }
}

/// `$1` is the tenant, `$2` to `$4` the lower and `$5` to `$7` the upper end. Their times stand there once more, as by them
/// alone partitions are passed over.
macro_rules! within {
    ($tenant:literal, $low:literal, $high:literal) => {
        concat!(
            " FROM audit_records WHERE ",
            $tenant,
            " AND recorded_at >= $2 AND recorded_at <= $5 AND (recorded_at, chain_id, seq) ",
            $low,
            " ($2, $3, $4) AND (recorded_at, chain_id, seq) ",
            $high,
            " ($5, $6, $7)"
        )
    };
}

macro_rules! find {
    ($tenant:literal, $low:literal, $high:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            within!($tenant, $low, $high),
            " AND ($8 IS NULL OR operation = $8) AND ($9 IS NULL OR outcome = $9) AND (NOT $10 OR outcome <> 'success') \
             AND ($11 IS NULL OR identity_id = $11) AND ($12 IS NULL OR context = $12) \
             AND ($13 IS NULL OR key_version = $13) AND ($14 IS NULL OR request_id = $14) \
             AND ($15 IS NULL OR instance = $15) ORDER BY recorded_at ",
            $order,
            ", chain_id ",
            $order,
            ", seq ",
            $order,
            " LIMIT $16"
        )
    };
}

macro_rules! slice {
    ($tenant:literal, $low:literal, $high:literal, $order:literal) => {
        concat!(
            "SELECT recorded_at, chain_id, seq",
            within!($tenant, $low, $high),
            " ORDER BY recorded_at ",
            $order,
            ", chain_id ",
            $order,
            ", seq ",
            $order,
            " LIMIT 1 OFFSET $8"
        )
    };
}

/// One text for each kind of search, so that each has the plan that it needs.
macro_rules! choose {
    ($what:ident, $filter:expr, $order:expr) => {
        match ($filter.tenant.is_some(), $order) {
            (true, Order::OldestFirst) => $what!("tenant_id = $1", ">", "<=", "ASC"),
            (true, Order::NewestFirst) => $what!("tenant_id = $1", ">=", "<", "DESC"),
            (false, Order::OldestFirst) => $what!("$1 IS NULL", ">", "<=", "ASC"),
            (false, Order::NewestFirst) => $what!("$1 IS NULL", ">=", "<", "DESC"),
        }
    };
}

fn find(
    filter: &Filter,
    order: Order,
    (after, until): (Option<Position>, Option<Position>),
    limit: u32,
) -> Statement {
    let mut values = ends(filter, order, after, until);
    let (code, failure) = match &filter.outcome {
        None => (None, false),
        Some(OutcomeFilter::Code(code)) => (Some(code.clone()), false),
        Some(OutcomeFilter::Failure) => (None, true),
    };
    values.extend([
        filter.operation.clone().into(),
        code.into(),
        failure.into(),
        filter.identity.map(|identity| identity.0).into(),
        filter.context.clone().into(),
        filter.key_version.into(),
        filter.request_id.clone().into(),
        filter.instance.clone().into(),
        limit.into(),
    ]);
    Statement { sql: choose!(find, filter, order), values, optional: false }
}

fn slice(filter: &Filter, order: Order, after: Option<Position>, count: u32) -> Statement {
    let mut values = ends(filter, order, after, None);
    values.push(count.saturating_sub(1).into());
    Statement { sql: choose!(slice, filter, order), values, optional: false }
}

/// The tenant, and both ends. No chain has the id that is all zeroes, so such an end stands before all records of its time.
fn ends(filter: &Filter, order: Order, after: Option<Position>, until: Option<Position>) -> Vec<Value> {
    let at = |recorded_at| Position { recorded_at, chain: ChainId::from_bytes([0; 16]), seq: 0 };
    let first = at(filter.from.unwrap_or(Timestamp::from_micros(0)));
    let last = at(filter.to.unwrap_or(END).min(END));
    let (low, high) = match order {
        Order::OldestFirst => (after.unwrap_or(first), until.unwrap_or(last)),
        Order::NewestFirst => (until.unwrap_or(first), after.unwrap_or(last)),
    };
    // A position that the filter does not reach must not widen it.
    let (low, high) = (low.max(first), high.min(last));
    let mut values = vec![filter.tenant.map(|tenant| tenant.0).into()];
    for Position { recorded_at, chain, seq } in [low, high] {
        values.extend([recorded_at.into(), chain.into(), seq.into()]);
    }
    values
}

fn parse_position(row: &dyn Columns) -> Result<Position, Error> {
    Ok(Position {
        recorded_at: row.time("recorded_at")?,
        chain: ChainId(row.uuid("chain_id")?),
        seq: row.integer("seq")?,
    })
}
