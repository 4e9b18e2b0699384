use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::{Admission, DimensionKind, NotTaken, Wanted};

/// Upper bounds of Redis' answer times, in seconds.
const ANSWER_TIMES: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1];

/// What limits decided.
pub(super) struct Counters {
    requests: Family<Labels, Counter>,
    /// Of `requests`, by dimension and outcome: found without a lock.
    decided: [[Counter; OUTCOMES.len()]; DimensionKind::ALL.len()],
}

/// How Redis does, and what is done without it.
pub(super) struct RedisCounters {
    /// Decided by this replica alone, though they are to be shared.
    local: Family<[(&'static str, &'static str); 1], Counter>,
    /// Tokens that were leased and are neither used nor expired.
    pub(super) lease_tokens: Gauge,
    /// Times at which Redis had lost the buckets.
    pub(super) losses: Counter,
    answers: Histogram,
    up: Gauge,
    transitions: Family<[(&'static str, &'static str); 1], Counter>,
}

#[derive(Clone, Copy)]
enum Outcome {
    Allowed,
    Refused,
    ShadowRefused,
}

/// The names of [`Outcome`], in its order.
const OUTCOMES: [&str; 3] = ["allowed", "refused", "shadow_refused"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    dimension: &'static str,
    outcome: &'static str,
}

impl Counters {
    pub(super) fn new() -> Self {
        let requests = Family::<Labels, Counter>::default();
        let decided = DimensionKind::ALL.map(|kind| {
            OUTCOMES.map(|outcome| requests.get_or_create_owned(&Labels { dimension: kind.name(), outcome }))
        });
        Self { requests, decided }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Requests that a limit of the dimension admitted, refused, or would have refused";
        registry.register("limit_requests", help, self.requests.clone());
    }

    /// Counts a request once in each of its dimensions or, if it was refused, in the one that refused it.
    pub(super) fn count(&self, wanted: &[Wanted], taken: Result<&Admission, &NotTaken>) {
        let kind = |wanted: &Wanted| wanted.bucket.dimension.kind();
        match taken {
            Ok(admission) => {
                for (place, one) in wanted.iter().enumerate() {
                    // The windows of a policy are one limit.
                    if wanted[..place].iter().any(|other| kind(other) == kind(one)) {
                        continue;
                    }
                    let shadow = admission.shadow_refused.iter().any(|refused| kind(refused) == kind(one));
                    self.inc(kind(one), if shadow { Outcome::ShadowRefused } else { Outcome::Allowed });
                }
            }
            Err(NotTaken::Refused(refusal)) => {
                self.inc(refusal.level.bucket.dimension.kind(), Outcome::Refused);
            }
            Err(NotTaken::Unavailable) => {}
        }
    }

    fn inc(&self, kind: DimensionKind, outcome: Outcome) {
        self.decided[kind as usize][outcome as usize].inc();
    }
}

impl RedisCounters {
    pub(super) fn new() -> Self {
        let this = Self {
            local: Family::default(),
            lease_tokens: Gauge::default(),
            losses: Counter::default(),
            answers: Histogram::new(ANSWER_TIMES),
            up: Gauge::default(),
            transitions: Family::default(),
        };
        for kind in DimensionKind::ALL {
            drop(this.local.get_or_create(&[("dimension", kind.name())]));
        }
        for to in ["up", "down"] {
            drop(this.transitions.get_or_create(&[("to", to)]));
        }
        this
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let help = "Requests that this replica limited on its own, as Redis was not used";
        registry.register("limit_local_requests", help, self.local.clone());
        let help = "Tokens that this replica has leased and neither used nor lost";
        registry.register("limit_lease_tokens", help, self.lease_tokens.clone());
        let help = "Time from asking Redis for tokens to its answer, or to giving up";
        registry.register_with_unit("redis_request", help, Unit::Seconds, self.answers.clone());
        registry.register("redis_up", "Whether limits are shared through Redis", self.up.clone());
        let help = "How often Redis came into use, and went out of use";
        registry.register("redis_transitions", help, self.transitions.clone());
        let help = "How often Redis had lost its state";
        registry.register("redis_state_losses", help, self.losses.clone());
    }

    /// Counts a request that this replica decided alone once in each of its dimensions.
    pub(super) fn count_local(&self, wanted: &[Wanted]) {
        for (place, one) in wanted.iter().enumerate() {
            let kind = one.bucket.dimension.kind();
            // The windows of a policy are one limit.
            if wanted[..place].iter().all(|other| other.bucket.dimension.kind() != kind) {
                self.local.get_or_create(&[("dimension", kind.name())]).inc();
            }
        }
    }

    pub(super) fn answered(&self, after: Duration) {
        self.answers.observe(after.as_secs_f64());
    }

    pub(super) fn went_up(&self) {
        self.up.set(1);
        self.transitions.get_or_create(&[("to", "up")]).inc();
    }

    pub(super) fn went_down(&self) {
        self.up.set(0);
        self.transitions.get_or_create(&[("to", "down")]).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text;

    use super::*;
    use crate::config::RateLimit;
    use crate::id::{ContextId, TenantId};
    use crate::limits::{Bucket, Dimension, Level, Quota, Refusal, RefusalKind, WindowId};

    fn wanted(dimension: Dimension, seconds: u32) -> Wanted {
        let window = WindowId { seconds, ..WindowId::MAIN };
        let quota = Quota::new(RateLimit { requests_per_minute: 60, burst: 6 });
        Wanted { bucket: Bucket { dimension, window, generation: 0 }, quota, cost: 1, shadow: false }
    }

    #[test]
    fn a_request_counts_once_in_each_dimension_or_in_the_one_that_refused_it() {
        let (counters, redis) = (Counters::new(), RedisCounters::new());
        let ip = Dimension::ip_of_stranger([192, 0, 2, 1].into());
        let context = Dimension::Context(TenantId::random(), ContextId::random());
        let all = [wanted(ip, 60), wanted(ip, 3600), wanted(context, 60), wanted(context, 3600)];
        let shadow = Admission { shadow_refused: vec![all[3]], ..Admission::default() };
        counters.count(&all, Ok(&Admission::default()));
        counters.count(&all, Ok(&shadow));
        let Wanted { bucket, quota, cost, .. } = all[2];
        let level = Level { bucket, quota, cost, remaining: 0, full_in_secs: 1 };
        let refusal = Refusal {
            kind: RefusalKind::Exhausted { retry_after_secs: 1 },
            level: level.into(),
            levels: vec![],
        };
        let refused = NotTaken::Refused(refusal);
        counters.count(&all, Err(&refused));
        counters.count(&all, Err(&refused));
        counters.count(&all, Err(&NotTaken::Unavailable));
        redis.count_local(&all);
        redis.went_down();
        redis.went_up();
        redis.went_down();

        let mut registry = Registry::default();
        counters.register(&mut registry);
        redis.register(&mut registry);
        let mut shown = String::new();
        text::encode(&mut shown, &registry).unwrap();
        for (series, value) in [
            (r#"limit_requests_total{dimension="ip",outcome="allowed"}"#, 2),
            (r#"limit_requests_total{dimension="ip",outcome="refused"}"#, 0),
            (r#"limit_requests_total{dimension="context",outcome="allowed"}"#, 1),
            (r#"limit_requests_total{dimension="context",outcome="refused"}"#, 2),
            (r#"limit_requests_total{dimension="context",outcome="shadow_refused"}"#, 1),
            (r#"limit_requests_total{dimension="failed-authentication",outcome="refused"}"#, 0),
            (r#"limit_local_requests_total{dimension="ip"}"#, 1),
            (r#"redis_transitions_total{to="up"}"#, 1),
            (r#"redis_transitions_total{to="down"}"#, 2),
            ("redis_up", 0),
        ] {
            let line = format!("{series} {value}");
            assert!(shown.lines().any(|shown| shown == line), "{line} in\n{shown}");
        }
    }
}
