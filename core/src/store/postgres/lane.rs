use std::fmt;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, Status, Transaction};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::PostgresOptions;
use super::connector::Connector;
use super::error::Failure;
use super::metrics::LaneMetrics;
use crate::store::sql::{Mutation, Statement, Value, revision};
use crate::store::{Error, PoolStatus};

/// How often a transaction is run that another one undoes.
const ATTEMPTS: usize = 3;
/// How long a connection beyond the pool's size may be idle.
const OVERFLOW_IDLE: Duration = Duration::from_secs(10);
const CLEANING_INTERVAL: Duration = Duration::from_secs(5);

/// The connections of one purpose, which nothing else can use up.
pub(super) struct Lane {
    pool: Pool,
    connector: Connector,
    pool_timeout: Duration,
    query_timeout: Duration,
    metrics: LaneMetrics,
    cleaner: AbortHandle,
}

impl Lane {
    /// PostgreSQL shows the name, behind `cryptoserve/`, as the connections' `application_name`.
    pub(super) fn new(
        connector: &Connector,
        options: &PostgresOptions,
        (name, metrics): (&str, LaneMetrics),
        size: u32,
        overflow: u32,
    ) -> Result<Self, Error> {
        let [size, most] =
            [size, size.saturating_add(overflow)].map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        let recycle = options.recycle;
        let too_old = Hook::sync_fn(move |_, metrics| match metrics.age() > recycle {
            true => Err(HookError::message("too old")),
            false => Ok(()),
        });
        let connector = connector.named(&format!("cryptoserve/{name}"));
        // The connector has the real configuration; the manager would only show its own.
        let nothing = tokio_postgres::Config::new();
        let manager = Manager::from_connect(nothing, connector.clone(), ManagerConfig::default());
        let pool = Pool::builder(manager)
            .max_size(most)
            .pre_recycle(too_old)
            .build()
            .map_err(|error| Error::Invalid(Box::new(error)))?;
        let cleaner = tokio::spawn(clean(pool.clone(), size, recycle)).abort_handle();
        let (pool_timeout, query_timeout) = (options.pool_timeout, options.query_timeout);
        Ok(Self { pool, connector, pool_timeout, query_timeout, metrics, cleaner })
    }

    /// Runs one statement.
    pub(super) async fn query(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        let values = typed(&statement.values);
        self.query_typed(statement.sql, &values).await
    }

    /// Runs one statement that may be run twice without harm: again, if its connection turns out to be dead, as all
    /// are after a failover.
    pub(super) async fn query_again(&self, statement: &Statement) -> Result<Vec<Row>, Failure> {
        match self.query(statement).await {
            Err(failure @ Failure::Statement(_)) if failure.lost_connection() => {
                self.pool.retain(|_, _| false);
                self.query(statement).await
            }
            result => result,
        }
    }

    /// Runs one statement with values of any type.
    pub(super) async fn query_typed(
        &self,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Failure> {
        let client = self.client().await?;
        // Unnamed: parsed, run and forgotten in one exchange, on whichever connection a pooler gives.
        let started = Instant::now();
        let result = in_time(self.query_timeout, client.query_typed(sql, values)).await;
        self.settle(client, started, result)
    }

    /// Runs the least statement, all within `limit`; again, as [`Lane::query_again`].
    pub(super) async fn ping(&self, limit: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + limit;
        match self.ping_once(deadline).await {
            Err(failure @ Failure::Statement(_)) if failure.lost_connection() => {
                self.ping_once(deadline).await
            }
            result => result,
        }
    }

    async fn ping_once(&self, deadline: Instant) -> Result<(), Failure> {
        let client = timeout_at(deadline, self.pool.get()).await.map_err(|_| Failure::PoolTimeout)??;
        let started = Instant::now();
        let left = deadline.saturating_duration_since(started);
        let result = in_time(left, client.query_typed("SELECT 1", &[])).await;
        self.settle(client, started, result).map(drop)
    }

    /// How many connections there are.
    pub(super) fn status(&self) -> PoolStatus {
        status(&self.pool)
    }

    /// The connections themselves, for whoever counts them.
    pub(super) fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// Runs statements in one transaction; returns the rows of all of them.
    pub(super) async fn query_all(&self, statements: &[Statement]) -> Result<Vec<Row>, Failure> {
        if let [only] = statements {
            return self.query(only).await;
        }
        let mut client = self.client().await?;
        let started = Instant::now();
        let result = run_all(&mut client, statements, self.query_timeout).await;
        self.settle(client, started, result)
    }

    /// Runs a mutation in one transaction, a few times if others undo it.
    pub(super) async fn mutate(&self, mutation: &Mutation) -> Result<Option<Row>, Failure> {
        for _ in 1..ATTEMPTS {
            match self.mutate_once(mutation).await {
                Err(failure) if failure.is_conflict() => {
                    tracing::debug!(mutation = mutation.name, "running a transaction again");
                }
                result => return result,
            }
        }
        self.mutate_once(mutation).await
    }

    async fn mutate_once(&self, mutation: &Mutation) -> Result<Option<Row>, Failure> {
        let mut client = self.client().await?;
        let started = Instant::now();
        let result = run(&mut client, mutation, self.query_timeout).await;
        self.settle(client, started, result)
    }

    /// Gives the connection back, or drops it when nobody can know what it is still busy with.
    pub(super) fn settle<T>(
        &self,
        client: Object,
        started: Instant,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.metrics.queried(started.elapsed());
        if let Err(failure) = &result {
            self.metrics.failed(failure);
        }
        match &result {
            Err(Failure::QueryTimeout) => {
                // Else the server would go on, and a lock that it waits for would hold ever more of its connections. A
                // pooler takes a cancellation only as long as its connection is there.
                let (client, connector, limit) =
                    (Object::take(client), self.connector.clone(), self.query_timeout);
                tokio::spawn(async move {
                    let _ = timeout(limit, connector.cancel(&client)).await;
                });
            }
            Err(failure) if failure.lost_connection() => drop(Object::take(client)),
            _ => {}
        }
        result
    }

    /// Closes every connection as it becomes idle; what comes later fails.
    pub(super) fn close(&self) {
        self.cleaner.abort();
        self.pool.close();
    }

    pub(super) async fn client(&self) -> Result<Object, Failure> {
        // Covers waiting, connecting and checking together.
        let started = Instant::now();
        let client = match timeout(self.pool_timeout, self.pool.get()).await {
            Ok(client) => client.map_err(Failure::from),
            Err(_) => Err(Failure::PoolTimeout),
        };
        self.metrics.waited(started.elapsed());
        client.inspect_err(|failure| self.metrics.failed(failure))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.cleaner.abort();
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the pool, which holds the configuration.
        f.debug_struct("Lane").field("status", &self.pool.status()).finish_non_exhaustive()
    }
}

pub(super) fn status(pool: &Pool) -> PoolStatus {
    let Status { max_size: max, size, available, waiting } = pool.status();
    PoolStatus { size, in_use: size.saturating_sub(available), waiting, max }
}

async fn run(client: &mut Object, mutation: &Mutation, limit: Duration) -> Result<Option<Row>, Failure> {
    // Dropped without a commit, it rolls back.
    let transaction = in_time(limit, client.transaction()).await?;
    let raised = step(&transaction, &revision::raise(mutation), limit).await?;
    let last = raised.first().and_then(|row| revision::parse(row).ok()).ok_or(Failure::NoRevision)?;
    let mut returned = None;
    for statement in &mutation.statements {
        returned = step(&transaction, statement, limit).await?.pop();
        if returned.is_none() && !statement.optional {
            in_time(limit, transaction.rollback()).await?;
            return Ok(None);
        }
    }
    for statement in revision::record(mutation, last) {
        step(&transaction, &statement, limit).await?;
    }
    in_time(limit, transaction.commit()).await?;
    Ok(returned)
}

async fn run_all(
    client: &mut Object,
    statements: &[Statement],
    limit: Duration,
) -> Result<Vec<Row>, Failure> {
    let transaction = in_time(limit, client.transaction()).await?;
    let mut rows = Vec::new();
    for statement in statements {
        rows.extend(step(&transaction, statement, limit).await?);
    }
    in_time(limit, transaction.commit()).await?;
    Ok(rows)
}

pub(super) async fn step(
    transaction: &Transaction<'_>,
    statement: &Statement,
    limit: Duration,
) -> Result<Vec<Row>, Failure> {
    in_time(limit, transaction.query_typed(statement.sql, &typed(&statement.values))).await
}

async fn in_time<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, Failure> {
    Ok(timeout(limit, work).await.map_err(|_| Failure::QueryTimeout)??)
}

async fn clean(pool: Pool, size: usize, recycle: Duration) {
    let mut ticks = interval(CLEANING_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        sweep(&pool, size, recycle, OVERFLOW_IDLE);
    }
}

/// Closes connections that are older than `recycle`, and those beyond `size` that have been idle for `idle`.
fn sweep(pool: &Pool, size: usize, recycle: Duration, idle: Duration) {
    let mut surplus = pool.status().size.saturating_sub(size);
    pool.retain(|_, metrics| {
        let idle_surplus = surplus > 0 && metrics.last_used() >= idle;
        let keep = metrics.age() <= recycle && !idle_surplus;
        surplus = surplus.saturating_sub(usize::from(!keep));
        keep
    });
}

fn typed(values: &[Value]) -> Vec<(&(dyn ToSql + Sync), Type)> {
    values.iter().map(|value| (value as &(dyn ToSql + Sync), value.postgres_type())).collect()
}

#[cfg(test)]
impl Lane {
    /// Takes a connection away.
    pub(super) async fn hold(&self) -> Object {
        self.client().await.expect("a connection")
    }

    /// Connections that are open.
    pub(super) fn size(&self) -> usize {
        self.pool.status().size
    }

    /// What happens every few seconds, to connections that were ever so briefly idle.
    pub(super) fn sweep(&self, size: usize, recycle: Duration) {
        sweep(&self.pool, size, recycle, Duration::ZERO);
    }
}
