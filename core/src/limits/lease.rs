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
        Claim { parts: wanted.iter().map(part).collect() }
    }

    /// The state and Redis' time when it was last asked, if a request would find nothing, neither here nor there.
    pub(super) fn dry(&self, wanted: &Wanted, now: Ticks) -> Option<(Ticks, Ticks)> {
        let account = self.accounts.get(&wanted.bucket)?;
        let holding = account.lock();
        if holding.is_dry(now) && holding.held(now) < cost(wanted) { holding.state(now) } else { None }
    }

    /// Whether a request would find here what it needs.
    pub(super) fn can_pay(&self, wanted: &Wanted, now: Ticks) -> bool {
        let account = self.accounts.get(&wanted.bucket);
        account.is_some_and(|account| account.lock().held(now) >= cost(wanted))
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
#[derive(Debug)]
pub(super) struct Claim {
    parts: Vec<Part>,
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

/// What a request has of one bucket.
#[derive(Debug, PartialEq, Eq)]
enum Share {
    /// Nothing yet.
    Open,
    /// Nothing until a refill came.
    Waits,
    /// What it costs.
    Leased(Taken),
    /// What Redis says.
    Direct,
    /// Nothing, and there is nothing.
    Dry,
}

/// How a request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It has what leases give; of the rest Redis decides.
    Go,
    /// A refill must come first.
    Wait,
    /// A bucket has nothing.
    Dry,
}

impl Claim {
    /// Takes from all leases at once, or from none. Without `patience` what would have to wait is left to Redis.
    pub(super) fn ask(&mut self, now: Ticks, patience: bool) -> Next {
        for part in &mut self.parts {
            let Some(account) = &part.account else { continue };
            let answer = match part.share {
                Share::Open => account.lock().ask(part.cost, now),
                Share::Waits => account.lock().ask_again(part.cost, now),
                Share::Leased(_) | Share::Direct | Share::Dry => continue,
            };
            part.share = match answer {
                Answer::Taken(taken) => Share::Leased(taken),
                Answer::Wait if patience => Share::Waits,
                Answer::Wait | Answer::Direct => Share::Direct,
                Answer::Dry => Share::Dry,
            };
        }
        if self.parts.iter().any(|part| part.share == Share::Dry && !part.is_shadow) {
            self.release();
            return Next::Dry;
        }
        if self.parts.iter().all(|part| part.share != Share::Waits) {
            return Next::Go;
        }
        for part in &mut self.parts {
            if let (Some(account), Share::Leased(taken)) = (&part.account, &part.share) {
                account.lock().give_back(taken);
                part.share = Share::Waits;
            }
        }
        Next::Wait
    }

    /// The refills that are due, if any is, and those that soon will be. All are for one question to Redis.
    pub(super) fn refills(&self, now: Ticks) -> Vec<Refill> {
        let due = |part: &Part| {
            part.account.as_ref().map_or(Due::No, |account| {
                let mut holding = account.lock();
                match part.share {
                    Share::Waits => holding.due_for(part.cost, now),
                    Share::Leased(_) | Share::Dry => holding.due(now),
                    Share::Open | Share::Direct => Due::No,
                }
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
        for part in self.parts.iter().filter(|part| part.share == Share::Waits) {
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

    /// Whether leases have paid for this bucket, by its place among those wanted.
    pub(super) fn is_leased(&self, place: usize) -> bool {
        matches!(self.parts[place].share, Share::Leased(_))
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
    pub(super) fn release(&mut self) {
        for part in &mut self.parts {
            let Some(account) = &part.account else { continue };
            match &part.share {
                Share::Leased(taken) => account.lock().undo(taken),
                Share::Waits => account.lock().forget(part.cost),
                Share::Open | Share::Direct | Share::Dry => continue,
            }
            part.share = Share::Open;
        }
    }

    /// The request is admitted.
    pub(super) fn keep(mut self) {
        self.parts.clear();
    }
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
