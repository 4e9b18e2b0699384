use std::collections::VecDeque;

use super::TAU;
use super::demand::Demand;
use crate::limits::bucket::{Quota, Ticks};

/// What a replica holds of one bucket. Knows neither Redis nor a clock; amounts and moments are in ticks, moments by
/// this process's clock unless they are said to be Redis'.
#[derive(Debug)]
pub(super) struct Holding {
    quota: Quota,
    demand: Demand,
    /// Those that expire first stand first.
    leases: VecDeque<Lease>,
    is_refilling: bool,
    dry_until: Ticks,
    seen: Option<Seen>,
}

#[derive(Debug)]
struct Lease {
    ticks: u64,
    expires: Ticks,
}

/// The bucket's state when Redis last told it.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sent: Ticks,
    redis_now: Ticks,
    full_at: Ticks,
}

/// What a holding says to a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Admitted.
    Taken(Taken),
    /// A refill must come first.
    Wait,
    /// There is nothing, neither here nor in Redis.
    Dry,
}

/// What a request took from leases.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    ticks: u64,
    /// When the first of the leases expires that it is from.
    expires: Ticks,
}

/// How urgent a refill is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    No,
    /// If Redis is asked anyway.
    Soon,
    Now,
}

/// What is asked of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::limits) struct Ask {
    pub(in crate::limits) sent: Ticks,
    pub(in crate::limits) want: u64,
    /// Less than this is of no use, nor what exceeds a multiple of it.
    pub(in crate::limits) unit: u64,
}

#[cfg(test)]
impl Ask {
    /// What Redis gives, and the bucket's state after that; refill.lua in Rust.
    pub(in crate::limits) fn given(&self, quota: Quota, full_at: Ticks, now: Ticks) -> (u64, Ticks) {
        let full = now.0 + quota.room_ticks();
        let before = full_at.0.min(full).max(now.0);
        let available = full - before;
        let given = self.want.min(available - available % self.unit);
        (given, Ticks(before + given))
    }
}

/// How long a bucket that ran dry is left alone. What flows in meanwhile fits in the room of any bucket that is leased.
const DRY: u64 = TAU - TAU / 4;
/// In the last part of that, it is asked if Redis is asked anyway.
const ALMOST_OVER: u64 = TAU / 4;
/// What expires within this counts as gone when it is asked what is needed.
const MARGIN: u64 = TAU / 10;

impl Holding {
    pub(super) fn new(quota: Quota) -> Self {
        Self {
            quota,
            demand: Demand::default(),
            leases: VecDeque::new(),
            is_refilling: false,
            dry_until: Ticks::default(),
            seen: None,
        }
    }

    pub(super) const fn quota(&self) -> Quota {
        self.quota
    }

    /// Counts a request; whether the bucket is so hot that leases can serve it.
    pub(super) fn count(&mut self, cost: u64, now: Ticks) -> bool {
        // A lease ends before the bucket gives more than this.
        cost <= TAU && self.demand.count(cost, now)
    }

    /// Counts what leases are to serve.
    pub(super) fn count_leased(&mut self, cost: u64) {
        self.demand.count_leased(cost);
    }

    /// As [`Holding::count`], of a request that may yet come.
    pub(super) fn is_hot(&mut self, cost: u64, now: Ticks) -> bool {
        cost <= TAU && self.demand.is_hot(cost, now)
    }

    /// Takes all of `cost`, or says what is to be done.
    pub(super) fn take(&mut self, cost: u64, now: Ticks) -> Answer {
        while self.leases.pop_front_if(|lease| lease.expires <= now).is_some() {}
        if self.held(now) < cost {
            return if self.is_dry(now) { Answer::Dry } else { Answer::Wait };
        }
        let taken = Taken { ticks: cost, expires: self.leases.front().map_or(now, |lease| lease.expires) };
        let mut missing = cost;
        while let Some(lease) = self.leases.front_mut() {
            let part = missing.min(lease.ticks);
            lease.ticks -= part;
            missing -= part;
            if lease.ticks > 0 {
                break;
            }
            self.leases.pop_front();
        }
        Answer::Taken(taken)
    }

    /// Takes back what a request did not use, to live no longer than before.
    pub(super) fn give_back(&mut self, taken: &Taken) {
        self.add(taken.ticks, taken.expires);
    }

    /// As if a request that leases were to serve had not come: what another bucket refuses is no demand for this one.
    pub(super) fn forget(&mut self, cost: u64) {
        self.demand.forget(cost);
    }

    /// Both.
    pub(super) fn undo(&mut self, taken: &Taken) {
        self.give_back(taken);
        self.forget(taken.ticks);
    }

    pub(super) fn due(&mut self, now: Ticks) -> Due {
        let demand = self.demand.leased(now);
        if self.is_refilling || demand == 0 || self.dry_until.0 > now.0 + ALMOST_OVER {
            return Due::No;
        }
        let (left, target) = (self.lasting(now), target(demand));
        if !self.is_dry(now) && left < 2 * self.demand.largest() {
            Due::Now
        } else if left < target {
            Due::Soon
        } else {
            Due::No
        }
    }

    /// As [`Holding::due`], with a request that waits for `cost`.
    pub(super) fn due_for(&mut self, cost: u64, now: Ticks) -> Due {
        if self.is_refilling || self.is_dry(now) || self.held(now) >= cost { self.due(now) } else { Due::Now }
    }

    /// Begins a refill, which [`Holding::refilled`] or [`Holding::refill_failed`] ends; `None` if there is one.
    pub(super) fn begin_refill(&mut self, now: Ticks) -> Option<Ask> {
        if std::mem::replace(&mut self.is_refilling, true) {
            return None;
        }
        let demand = self.demand.leased(now);
        let unit = self.demand.largest().max(1);
        Some(Ask { sent: now, want: target(demand).saturating_sub(self.lasting(now)).max(unit), unit })
    }

    pub(super) const fn is_refilling(&self) -> bool {
        self.is_refilling
    }

    /// Redis gave `given`, and after that the bucket's state was `full_at`.
    pub(super) fn refilled(&mut self, ask: Ask, given: u64, full_at: Ticks, redis_now: Ticks) {
        self.is_refilling = false;
        // Counted from the sending, as nobody knows how long the answer took.
        self.add(given, Ticks(ask.sent.0 + TAU));
        self.dry_until = if given < ask.want { Ticks(ask.sent.0 + DRY) } else { Ticks(0) };
        self.seen = Some(Seen { sent: ask.sent, redis_now, full_at });
    }

    pub(super) fn refill_failed(&mut self) {
        self.is_refilling = false;
    }

    /// The bucket's state, with what is held here counted as if it were there, and Redis' time; of a dry bucket as it was
    /// when it was asked, as nothing of what flows in since can be had yet.
    pub(super) fn state(&self, now: Ticks) -> Option<(Ticks, Ticks)> {
        let seen = self.seen?;
        let passed = if self.is_dry(now) { 0 } else { now.0.saturating_sub(seen.sent.0) };
        Some((Ticks(seen.full_at.0.saturating_sub(self.held(now))), Ticks(seen.redis_now.0 + passed)))
    }

    /// What is in leases.
    pub(super) fn held(&self, now: Ticks) -> u64 {
        self.leases.iter().filter(|lease| lease.expires > now).map(|lease| lease.ticks).sum()
    }

    pub(super) fn is_dry(&self, now: Ticks) -> bool {
        self.dry_until > now
    }

    /// What is in leases that do not expire at once.
    fn lasting(&self, now: Ticks) -> u64 {
        self.held(Ticks(now.0 + MARGIN))
    }

    fn add(&mut self, ticks: u64, expires: Ticks) {
        let place = self.leases.partition_point(|lease| lease.expires < expires);
        match self.leases.get_mut(place) {
            Some(lease) if lease.expires == expires => lease.ticks += ticks,
            _ if ticks > 0 => self.leases.insert(place, Lease { ticks, expires }),
            _ => {}
        }
    }
}

/// What should be held after a refill for a `demand` per span: a third more than one span's, which a lease outlives.
const fn target(demand: u64) -> u64 {
    demand.saturating_add(demand / 3)
}
