//! Where the time of a request goes, at the price of reading the clock around what it waits for.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static SPENT: Spent;
}

/// What one request has waited for so far. Clones are handles to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spent(Arc<Times>);

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Its tokens, in this process or in Redis.
    Limits,
    /// The database, or another request that loads the same row.
    Store,
    /// Its audit record becoming durable.
    Audit,
}

/// In microseconds, by [`Wait`].
#[derive(Debug, Default)]
struct Times {
    waited: [AtomicU64; 3],
    /// Whether it is waiting: what is waited for meanwhile is part of that.
    is_waiting: AtomicBool,
}

impl Spent {
    /// Runs `work`, whose waits are those of this request.
    pub(crate) fn within<F: Future>(&self, work: F) -> TaskLocalFuture<Self, F> {
        SPENT.scope(self.clone(), work)
    }

    /// How long it has waited for that.
    pub(crate) fn waiting_for(&self, wait: Wait) -> Duration {
        Duration::from_micros(self.0.waited[wait as usize].load(Ordering::Relaxed))
    }

    fn begin(self, wait: Wait) -> Option<Waiting> {
        let is_part = self.0.is_waiting.swap(true, Ordering::Relaxed);
        (!is_part).then(|| Waiting { spent: self, wait, since: Instant::now() })
    }
}

/// Counts until it is dropped, also when nobody waits any longer.
struct Waiting {
    spent: Spent,
    wait: Wait,
    since: Instant,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let micros = u64::try_from(self.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.spent.0.waited[self.wait as usize].fetch_add(micros, Ordering::Relaxed);
        self.spent.0.is_waiting.store(false, Ordering::Relaxed);
    }
}

/// Runs `work`, and counts how long that takes from now to the request that this task works on, if it does on one.
// No `async fn`, which would keep room for its argument and for what it awaits: futures that hold each other would double.
pub(crate) fn waiting_for<F: Future>(wait: Wait, work: F) -> impl Future<Output = F::Output> {
    let waiting = SPENT.try_with(Spent::clone).ok().and_then(|spent| spent.begin(wait));
    work.map(move |output| {
        drop(waiting);
        output
    })
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;

    const PAUSE: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn each_wait_counts_once_to_its_own_request_also_one_that_is_given_up() {
        let (one, other) = (Spent::default(), Spent::default());
        waiting_for(Wait::Store, sleep(PAUSE)).await;
        let nested =
            async { waiting_for(Wait::Store, async { waiting_for(Wait::Limits, sleep(PAUSE)).await }).await };
        one.within(nested).await;
        assert!(one.waiting_for(Wait::Store) >= PAUSE);
        assert_eq!(one.waiting_for(Wait::Limits), Duration::ZERO, "it was part of the other");
        assert_eq!(other.waiting_for(Wait::Store), Duration::ZERO);

        let given_up = async { timeout(PAUSE, waiting_for(Wait::Audit, std::future::pending::<()>())).await };
        assert!(other.within(given_up).await.is_err());
        assert!(other.waiting_for(Wait::Audit) >= PAUSE);
        other.within(async { waiting_for(Wait::Limits, sleep(PAUSE)).await }).await;
        assert!(other.waiting_for(Wait::Limits) >= PAUSE);
    }
}
