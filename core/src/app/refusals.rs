use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use crate::app::Shared;
use crate::audit::{Outcome, Record};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::limits::{Dimension, Refused, RefusedBy, Tally};
use crate::store::Store;

const SECOND: Duration = Duration::from_secs(1);
/// Refusals take no more than this part of the audit queue, so that what is done can be recorded whatever is refused.
const PART_OF_QUEUE: usize = 4;
/// Between two looks for room in the queue at the end.
const PAUSE: Duration = Duration::from_millis(20);

impl<S: Store> Shared<S> {
    /// Writes each second's refusals to the audit trail, until the other end of `stopped` is dropped; then the last.
    pub(super) async fn record_refusals(&self, mut stopped: watch::Receiver<()>) {
        let Some(tally) = self.limits.tally() else { return };
        let mut ticks = interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stopped.changed() => break,
                _ = ticks.tick() => self.record_those(tally, Some(self.clock.now())),
            };
        }
        while !self.record_those(tally, None) {
            sleep(PAUSE).await;
        }
    }

    /// Whether there was room for the refusals of all seconds but `now`. What has none is kept.
    pub(super) fn record_those(&self, tally: &Tally, now: Option<Timestamp>) -> bool {
        let mut refused = tally.take(now).into_iter();
        while let Some(one) = refused.next() {
            let (waiting, room) = self.audit.depth();
            let permit = (waiting < room.div_ceil(PART_OF_QUEUE)).then(|| self.audit.reserve());
            let Some(Ok(permit)) = permit else {
                tally.put_back(std::iter::once(one).chain(refused));
                return false;
            };
            permit.record_later(self.record_of_refusals(one));
        }
        true
    }

    fn record_of_refusals(&self, refused: Refused) -> Record {
        let Refused { second, by, shadow, count } = refused;
        let mut record = Record {
            at: Timestamp::from_secs(second),
            instance: self.instance.clone(),
            request_id: String::new(),
            tenant: None,
            identity: None,
            operation: "limit.refused",
            context: None,
            key_version: None,
            outcome: if shadow { Outcome::Success } else { Outcome::Failure("rate_limited") },
            items: u32::try_from(count).unwrap_or(u32::MAX),
            failed: 0,
            bytes: 0,
            address: None,
            detail: None,
        };
        let detail = match by {
            RefusedBy::Bucket { bucket, quota, context } => {
                record.context = context;
                match bucket.dimension {
                    Dimension::Ip(tenant, address) => {
                        record.tenant = (tenant != TenantId(Uuid::nil())).then_some(tenant);
                        record.address = Some(address);
                    }
                    Dimension::Identity(tenant, identity)
                    | Dimension::IdentityContext(tenant, identity, _) => {
                        (record.tenant, record.identity) = (Some(tenant), Some(identity));
                    }
                    Dimension::Context(tenant, _) | Dimension::Tenant(tenant) => record.tenant = Some(tenant),
                    Dimension::FailedAuthentication(address) => record.address = Some(address),
                }
                format!("{}, {} per {} s", bucket.name(), quota.limit(), quota.seconds())
            }
            RefusedBy::Others(kind) => format!("{}, of further buckets", kind.name()),
        };
        record.detail = Some(if shadow { detail + ", shadow" } else { detail });
        record
    }
}
