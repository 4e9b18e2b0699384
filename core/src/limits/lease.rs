//! Leases: what a replica takes from a hot bucket in Redis ahead of the requests that will use it.
//!
//! Every taker of a leasable bucket has [`TAU`] less room than the bucket's burst. What is leased is used within [`TAU`] of
//! the sending. What is taken at once may find the bucket overfull by [`TAU`], as nothing is left of what was leased before
//! a rest of that length. So in any span of d no more is used than the burst and what flows in during d, whoever dies or
//! stalls: what is used from a on was taken upon a state of at least a − [`TAU`], and no take leaves a state beyond its own
//! time and the room.

mod demand;
mod holding;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::sync::Cache;
use tokio::sync::Notify;

pub(super) use self::holding::Ask;
use self::holding::{Answer, Due, Holding, Taken};
use super::bucket::{LEASE_TICKS, Quota, Ticks};
use super::{Bucket, Wanted};

/// How long before its use anything may be taken.
const TAU: u64 = LEASE_TICKS;
/// How far back demand is looked at: 50 ms.
const SPAN: u64 = TAU / 2;
/// Buckets that are looked at; who is forgotten loses only what it holds.
const CAPACITY: usize = 16_384;

/// What this replica holds of each bucket.
pub(super) struct Leases {
    accounts: Cache<Bucket, Arc<Account>>,
}

#[derive(Debug)]
struct Account {
    holding: Mutex<Holding>,
    refilled: Notify,
}

impl Account {
    fn lock(&self) -> MutexGuard<'_, Holding> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Leases {
    pub(super) fn new() -> Self {
        Self { accounts: Cache::new(CAPACITY) }
    }

    /// What one request may have of leases; nothing yet.
    pub(super) fn claim(&self, wanted: &[Wanted]) -> Claim {
        let part = |wanted: &Wanted| Part {
            bucket: wanted.bucket,
            cost: cost(wanted),
            is_shadow: wanted.shadow,
            account: (wanted.quota.slack_ticks() > 0).then(|| self.account(wanted)),
            share: Share::Open,
        };
        Claim { parts: wanted.iter().map(part).collect(), way: Way::Unknown }
    }

    /// Whether leases would serve a request.
    pub(super) fn serve(&self, wanted: &[Wanted], now: Ticks) -> bool {
        wanted.iter().all(|one| {
            let account = self.accounts.get(&one.bucket);
            account.is_some_and(|account| account.lock().is_hot(cost(one), now))
        })
    }

    /// The state and Redis' time when it was last asked, if a request that leases serve would find nothing, neither here nor
    /// there.
    pub(super) fn dry(&self, wanted: &Wanted, now: Ticks) -> Option<(Ticks, Ticks)> {
        let account = self.accounts.get(&wanted.bucket)?;
        let holding = account.lock();
        if holding.is_dry(now) && holding.held(now) < cost(wanted) { holding.state(now) } else { None }
    }

    /// Loses everything, also what is on its way.
    pub(super) fn clear(&self) {
        self.accounts.clear();
    }

    /// Whole tokens in leases.
    pub(super) fn outstanding(&self, now: Ticks) -> u64 {
        let tokens = |account: Arc<Account>| {
            let holding = account.lock();
            holding.held(now) / holding.quota().cost_ticks(1).max(1)
        };
        self.accounts.iter().map(|(_, account)| tokens(account)).sum()
    }

    fn account(&self, wanted: &Wanted) -> Arc<Account> {
        match self.accounts.get(&wanted.bucket) {
            Some(account) if account.lock().quota() == wanted.quota => account,
            // Of another quota than before a token is something else.
            _ => {
                let account = Arc::new(Account {
                    holding: Mutex::new(Holding::new(wanted.quota)),
                    refilled: Notify::new(),
                });
                self.accounts.insert(wanted.bucket, Arc::clone(&account));
                account
            }
        }
    }
}

/// In ticks; of what never fits no more than that it does not.
fn cost(wanted: &Wanted) -> u64 {
    wanted.quota.cost_ticks(wanted.cost.min(wanted.quota.burst() + 1))
}

/// What one request holds of its buckets; given back unless it is [kept](Claim::keep).
///
/// Leases pay for all buckets of a request, at one moment, or for none: what is leased could expire while Redis is asked
/// about the others.
#[derive(Debug)]
pub(super) struct Claim {
    parts: Vec<Part>,
    way: Way,
}

#[derive(Debug)]
struct Part {
    bucket: Bucket,
    cost: u64,
    is_shadow: bool,
    /// `None` if the bucket is not leasable.
    account: Option<Arc<Account>>,
    share: Share,
}

/// Who decides about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Unknown,
    /// Leases do, as all of its buckets are hot.
    Leases,
    Redis,
}

/// What a request has of one bucket.
#[derive(Debug, PartialEq, Eq)]
enum Share {
    /// Nothing yet.
    Open,
    /// What it costs.
    Leased(Taken),
    /// Nothing, and there is nothing.
    Dry,
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Leases have paid for it, but for dry buckets that only count.
    Paid,
    /// A refill must come first.
    Wait,
    /// A bucket has nothing.
    Dry,
    /// Redis is to be asked for this request.
    Direct,
}

impl Claim {
    /// Takes from all leases at once, or from none. Without `patience` a request that would have to wait is left to Redis.
    pub(super) fn ask(&mut self, now: Ticks, patience: bool) -> Next {
        if self.way == Way::Unknown {
            self.way = if self.count(now) { Way::Leases } else { Way::Redis };
        }
        if self.way == Way::Redis {
            return Next::Direct;
        }
        let mut waits = false;
        for (part, account) in leasable(&mut self.parts) {
            match account.lock().take(part.cost, now) {
                Answer::Taken(taken) => part.share = Share::Leased(taken),
                Answer::Dry => part.share = Share::Dry,
                Answer::Wait => waits = true,
            }
        }
        if self.parts.iter().any(|part| part.share == Share::Dry && !part.is_shadow) {
            self.release();
            return Next::Dry;
        }
        if !waits {
            return Next::Paid;
        }
        for (part, account) in leasable(&mut self.parts) {
            if let Share::Leased(taken) = std::mem::replace(&mut part.share, Share::Open) {
                account.lock().give_back(&taken);
            }
        }
        if patience {
            return Next::Wait;
        }
        self.way = Way::Redis;
        Next::Direct
    }

    /// Counts the request in each of its buckets; whether all are so hot that leases are to serve it.
    fn count(&mut self, now: Ticks) -> bool {
        let mut hot = true;
        for part in &self.parts {
            hot &= part.account.as_ref().is_some_and(|account| account.lock().count(part.cost, now));
        }
        if hot {
            leasable(&mut self.parts).for_each(|(part, account)| account.lock().count_leased(part.cost));
        }
        hot
    }

    /// The refills that are due, if any is, and those that soon will be. All are for one question to Redis.
    pub(super) fn refills(&self, now: Ticks) -> Vec<Refill> {
        if self.way != Way::Leases {
            return Vec::new();
        }
        let due = |part: &Part| {
            part.account.as_ref().map_or(Due::No, |account| {
                let mut holding = account.lock();
                if part.share == Share::Open { holding.due_for(part.cost, now) } else { holding.due(now) }
            })
        };
        if self.parts.iter().all(|part| due(part) < Due::Now) {
            return Vec::new();
        }
        let refill = |part: &Part| {
            let account = part.account.as_ref().filter(|_| due(part) > Due::No)?;
            let ask = account.lock().begin_refill(now)?;
            Some(Refill { bucket: part.bucket, ask, account: Arc::clone(account), is_over: false })
        };
        self.parts.iter().filter_map(refill).collect()
    }

    /// Waits for the refills under way that the request needs.
    pub(super) async fn refilled(&self) {
        for part in self.parts.iter().filter(|part| part.share == Share::Open) {
            if let Some(account) = &part.account {
                // Hears also what happens from here on, before it is awaited.
                let refilled = account.refilled.notified();
                let is_refilling = account.lock().is_refilling();
                if is_refilling {
                    refilled.await;
                }
            }
        }
    }

    /// Whether this bucket has nothing, by its place among those wanted.
    pub(super) fn is_dry(&self, place: usize) -> bool {
        self.parts[place].share == Share::Dry
    }

    /// The state of a bucket that leases serve, by its place among those wanted, and Redis' time; `None` if Redis was not
    /// asked yet.
    pub(super) fn state(&self, place: usize, now: Ticks) -> Option<(Ticks, Ticks)> {
        self.parts[place].account.as_ref()?.lock().state(now)
    }

    /// Gives back what it has, as another bucket refuses.
    fn release(&mut self) {
        if self.way != Way::Leases {
            return;
        }
        for (part, account) in leasable(&mut self.parts) {
            match &part.share {
                Share::Leased(taken) => account.lock().undo(taken),
                Share::Open => account.lock().forget(part.cost),
                Share::Dry => continue,
            }
            part.share = Share::Open;
        }
        self.way = Way::Redis;
    }

    /// The request is admitted.
    pub(super) fn keep(mut self) {
        self.parts.clear();
    }
}

/// Those that can be leased, with where that is done.
fn leasable(parts: &mut [Part]) -> impl Iterator<Item = (&mut Part, Arc<Account>)> {
    parts.iter_mut().filter_map(|part| {
        let account = part.account.clone()?;
        Some((part, account))
    })
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.release();
    }
}

/// A refill under way; one that is dropped has failed.
#[derive(Debug)]
pub(super) struct Refill {
    pub(super) bucket: Bucket,
    pub(super) ask: Ask,
    account: Arc<Account>,
    is_over: bool,
}

impl Refill {
    /// The quota by which the bucket is asked.
    pub(super) fn quota(&self) -> Quota {
        self.account.lock().quota()
    }

    /// Redis gave `given` ticks, and the bucket's state after that was `full_at`.
    pub(super) fn done(mut self, given: u64, full_at: Ticks, redis_now: Ticks) {
        self.account.lock().refilled(self.ask, given, full_at, redis_now);
        self.is_over = true;
    }
}

impl Drop for Refill {
    fn drop(&mut self) {
        if !self.is_over {
            self.account.lock().refill_failed();
        }
        self.account.refilled.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
