use std::sync::Arc;

use super::SharedBuckets;
use super::key::key;
use super::link::Connection;
use crate::limits::bucket::{Ticks, Verdict, seconds_until};
use crate::limits::lease::{Claim, Next, Refill};
use crate::limits::verdict::level;
use crate::limits::{Admission, Level, Refusal, RefusalKind, Wanted};

/// How often a request waits for a refill before it asks Redis itself.
const PATIENCE: u32 = 2;

impl SharedBuckets {
    /// Takes from leases what they are to serve, and waits for their refills, which are bounded in time. `None` if Redis
    /// cannot be used.
    pub(super) async fn ask_leases(self: &Arc<Self>, claim: &mut Claim) -> Option<Next> {
        let mut waits = 0;
        loop {
            let connection = self.link.connection()?;
            let now = self.now();
            let next = claim.ask(now, waits < PATIENCE);
            self.refill(connection, claim.refills(now));
            if next != Next::Wait {
                return Some(next);
            }
            claim.refilled().await;
            waits += 1;
        }
    }

    /// Asks Redis beside the requests.
    fn refill(self: &Arc<Self>, connection: Connection, refills: Vec<Refill>) {
        let Some(first) = refills.first().map(|refill| key(&refill.bucket)) else { return };
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let asks: Vec<_> =
                refills.iter().map(|refill| (refill.bucket, refill.quota(), refill.ask)).collect();
            // It has the buckets of all others too, as they are of one request.
            let node = connection.nodes.serving(&first);
            match this.link.in_time(this.refill_script.ask(&mut node.redis(), asks)).await {
                Ok(given) => {
                    for (refill, given) in refills.into_iter().zip(given) {
                        refill.done(given.ticks, given.full_at, given.now);
                    }
                }
                // Those who wait for the refills hear of it when they are dropped.
                Err(trouble) => this.fall_back(&connection, &node.blame(trouble)),
            }
        });
    }

    /// What is said of a request for which leases and Redis have paid.
    pub(super) fn admitted(&self, wanted: &[Wanted], claim: Claim, direct: Admission) -> Admission {
        let levels = self.levels(wanted, &claim, &direct.levels);
        let mut shadow_refused = direct.shadow_refused;
        let dry = wanted.iter().enumerate().filter(|(place, _)| claim.is_dry(*place));
        shadow_refused.extend(dry.map(|(_, one)| *one));
        claim.keep();
        Admission { levels, shadow_refused }
    }

    /// What is said of a request that Redis refused, or would; it gets back what it took from leases.
    pub(super) fn refused(&self, wanted: &[Wanted], mut claim: Claim, refusal: Refusal) -> Refusal {
        claim.release();
        Refusal { levels: self.levels(wanted, &claim, &refusal.levels), ..refusal }
    }

    /// The refusal by the bucket that has nothing or, of several, takes longest.
    pub(super) fn dry(&self, wanted: &[Wanted], claim: &Claim) -> Option<Refusal> {
        let now = self.now();
        let dry = wanted.iter().enumerate().filter(|(place, one)| claim.is_dry(*place) && !one.shadow);
        let dry = dry.filter_map(|(place, one)| Some((one, claim.state(place, now)?)));
        let refused = dry.map(|(one, (full_at, redis_now))| exhausted(one, full_at, redis_now));
        let (retry_after_secs, level) = refused.max_by_key(|(secs, _)| *secs)?;
        let kind = RefusalKind::Exhausted { retry_after_secs };
        Some(Refusal { kind, level: level.into(), levels: self.levels(wanted, claim, &[]) })
    }

    /// # Errors
    ///
    /// The refusal, if leases and Redis have nothing, as far as is known.
    pub(super) fn peek_shared(&self, wanted: &[Wanted]) -> Result<(), Refusal> {
        let now = self.now();
        for one in wanted.iter().filter(|one| !one.shadow) {
            if let Some((full_at, redis_now)) = self.leases.dry(one, now) {
                let (retry_after_secs, level) = exhausted(one, full_at, redis_now);
                let kind = RefusalKind::Exhausted { retry_after_secs };
                return Err(Refusal { kind, level: level.into(), levels: vec![level] });
            }
        }
        let rest = |one: &&Wanted| !self.leases.can_pay(one, now);
        let rest: Vec<_> = wanted.iter().filter(rest).copied().collect();
        self.refusals.check(&rest, self.clock.monotonic())
    }

    /// In the order of `wanted`, of all that are known and could refuse. Those of leases may lag by one refill.
    fn levels(&self, wanted: &[Wanted], claim: &Claim, direct: &[Level]) -> Vec<Level> {
        let now = self.now();
        let of = |(place, one): (usize, &Wanted)| {
            let told = direct.iter().find(|level| level.bucket == one.bucket).copied();
            let lease = || claim.state(place, now).map(|(full_at, now)| level(one, full_at, now));
            told.or_else(lease).filter(|_| !one.shadow)
        };
        wanted.iter().enumerate().filter_map(of).collect()
    }

    pub(super) fn now(&self) -> Ticks {
        Ticks::monotonic(self.clock.monotonic())
    }
}

/// How long to wait, in seconds, and the level of a bucket that had too little when it was last asked.
fn exhausted(wanted: &Wanted, full_at: Ticks, now: Ticks) -> (u64, Level) {
    let retry_after_secs = match wanted.quota.take(full_at, now, wanted.cost) {
        Verdict::RefusedUntil(until) => seconds_until(until, now).max(1),
        Verdict::Admitted(_) | Verdict::NeverFits => 1,
    };
    (retry_after_secs, level(wanted, full_at, now))
}
