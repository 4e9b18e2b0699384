use std::sync::Arc;

use tokio::time::Instant;

use super::SharedBuckets;
use super::key::key;
use super::link::{Connection, Trouble};
use crate::limits::bucket::{Ticks, Verdict, seconds_until};
use crate::limits::lease::{Claim, Next, Refill};
use crate::limits::verdict::level;
use crate::limits::{Admission, Level, Refusal, RefusalKind, Wanted};

/// How often a request waits for a refill before it asks Redis itself.
const PATIENCE: u32 = 2;

impl SharedBuckets {
    /// Lets leases pay for a request if they are to, and waits for their refills until `deadline`.
    ///
    /// # Errors
    ///
    /// Why Redis cannot be used.
    pub(super) async fn ask_leases(
        self: &Arc<Self>,
        claim: &mut Claim,
        connection: &Connection,
        deadline: Instant,
    ) -> Result<Next, Trouble> {
        let mut waits = 0;
        loop {
            let now = self.now();
            let next = claim.ask(now, waits < PATIENCE);
            self.refill(connection.clone(), claim.refills(now));
            if next != Next::Wait {
                return Ok(next);
            }
            self.link
                .by(deadline, async {
                    claim.refilled().await;
                    Ok::<_, Trouble>(())
                })
                .await?;
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
            let sent = this.clock.monotonic();
            let answer = this.link.in_time(this.refill_script.ask(&mut node.redis(), asks)).await;
            this.counters.answered(this.clock.monotonic().since(sent));
            match answer {
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

    /// What is said of a request for which leases have paid.
    pub(super) fn paid(&self, wanted: &[Wanted], claim: Claim) -> Admission {
        let levels = self.levels(wanted, &claim);
        let dry = wanted.iter().enumerate().filter(|(place, _)| claim.is_dry(*place));
        let shadow_refused = dry.map(|(_, one)| *one).collect();
        claim.keep();
        Admission { levels, shadow_refused }
    }

    /// The refusal by the bucket that has nothing or, of several, takes longest.
    pub(super) fn dry(&self, wanted: &[Wanted], claim: &Claim) -> Option<Refusal> {
        let now = self.now();
        let dry = wanted.iter().enumerate().filter(|(place, one)| claim.is_dry(*place) && !one.shadow);
        let dry = dry.filter_map(|(place, one)| Some((one, claim.state(place, now)?)));
        let refused = dry.map(|(one, (full_at, redis_now))| exhausted(one, full_at, redis_now));
        let (retry_after_secs, level) = refused.max_by_key(|(secs, _)| *secs)?;
        let kind = RefusalKind::Exhausted { retry_after_secs };
        Some(Refusal { kind, level: level.into(), levels: self.levels(wanted, claim) })
    }

    /// # Errors
    ///
    /// The refusal, if leases and Redis have nothing, as far as is known.
    pub(super) fn peek_shared(&self, wanted: &[Wanted]) -> Result<(), Refusal> {
        let now = self.now();
        if !self.leases.serve(wanted, now) {
            return self.refusals.check(wanted, self.clock.monotonic());
        }
        for one in wanted.iter().filter(|one| !one.shadow) {
            if let Some((full_at, redis_now)) = self.leases.dry(one, now) {
                let (retry_after_secs, level) = exhausted(one, full_at, redis_now);
                let kind = RefusalKind::Exhausted { retry_after_secs };
                return Err(Refusal { kind, level: level.into(), levels: vec![level] });
            }
        }
        Ok(())
    }

    /// In the order of `wanted`, of all that are known and could refuse; they may lag by one refill.
    fn levels(&self, wanted: &[Wanted], claim: &Claim) -> Vec<Level> {
        let now = self.now();
        let of = |(place, one): (usize, &Wanted)| {
            let (full_at, now) = claim.state(place, now).filter(|_| !one.shadow)?;
            Some(level(one, full_at, now))
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
