use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use redis::AsyncCommands;
use uuid::Uuid;

use super::key::key;
use super::refill::Given;
use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::config::{Config, RateLimit};
use crate::id::{ContextId, IdentityId, TenantId};
use crate::limits::lease::Ask;
use crate::limits::verdict::judge;
use crate::limits::{Bucket, Dimension, Quota, RefusalKind, WindowId};

async fn redis() -> redis::aio::MultiplexedConnection {
    let url = std::env::var("CRYPTOSERVE_TEST_REDIS")
        .expect("CRYPTOSERVE_TEST_REDIS names no server; ./tests/run starts one and runs the tests");
    let client = redis::Client::open(url).expect("CRYPTOSERVE_TEST_REDIS is a URL");
    client.get_multiplexed_async_connection().await.expect("the server answers")
}

/// One of each kind, with the longest keys that there are.
fn buckets() -> [Bucket; 4] {
    let (tenant, address) = (TenantId::random(), "2001:db8:ffff:ffff::".parse().unwrap());
    [
        Dimension::ip(tenant, address),
        Dimension::Identity(tenant, IdentityId::random()),
        Dimension::Context(tenant, ContextId::random()),
        // Of one tenant, so that the tests of one run do not meet.
        Dimension::ip(tenant, "255.255.255.255".parse().unwrap()),
    ]
    .map(|dimension| Bucket { dimension, window: WindowId::MAIN, generation: 255 })
}

#[derive(Clone, Debug)]
struct Step {
    /// Microseconds since the step before.
    wait: u64,
    buckets: Vec<usize>,
    /// That only count.
    shadow: [bool; 4],
    cost: u64,
    preset: Option<(usize, Preset)>,
}

/// What a bucket is put into before it is taken from.
#[derive(Clone, Debug)]
enum Preset {
    /// So many thousandths of its burst away from now.
    Away(i64),
    /// So many ticks from the point at which the cost is just admitted.
    Edge(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let preset = prop_oneof![(-1500i64..2500).prop_map(Preset::Away), (-17i64..=17).prop_map(Preset::Edge)];
    let preset = prop::option::weighted(0.4, (0usize..4, preset));
    let wait = prop_oneof![0u64..50, 0u64..50_000_000];
    let shadow = prop::array::uniform4(prop::bool::weighted(0.2));
    (wait, prop::sample::subsequence(vec![0, 1, 2, 3], 1..=4), shadow, 1u64..30, preset)
        .prop_map(|(wait, buckets, shadow, cost, preset)| Step { wait, buckets, shadow, cost, preset })
}

/// A script at a moment of the test's choice; what it writes stays for the test.
fn at(script: &str, micros: u64) -> String {
    let time = format!("{{{}, {}}}", micros / 1_000_000, micros % 1_000_000);
    let script = script.replace("redis.call('TIME')", &time);
    script.replace("string.format('%.0f', expiry)", "'60000'")
}

fn quota() -> impl Strategy<Value = Quota> {
    (30u32..10_000_000, 1u32..300_000, any::<bool>()).prop_map(|(requests_per_minute, burst, leased)| {
        let quota =
            Quota::new(RateLimit { requests_per_minute, burst: burst.clamp(30, requests_per_minute) });
        if leased { quota.leased() } else { quota }
    })
}

#[test]
fn redis_decides_as_this_process_would() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = runtime.block_on(redis());
    let mut runner = TestRunner::new(Cases { cases: 40, failure_persistence: None, ..Cases::default() });
    let inputs = (prop::array::uniform4(quota()), prop::collection::vec(step(), 1..40));
    let tested = runner.run(&inputs, |(quotas, steps)| {
        let mut connection = connection.clone();
        runtime.block_on(async {
            let all = buckets();
            let mut model = [Ticks::default(); 4];
            let mut micros = 1_793_534_400_000_000;
            for Step { wait, buckets, shadow, cost, preset } in steps {
                micros += wait;
                let now = Ticks::at(Timestamp::from_micros(micros));
                if let Some((bucket, preset)) = preset {
                    let (burst, cost) = (quotas[bucket].room_ticks(), quotas[bucket].cost_ticks(cost));
                    let away = match preset {
                        Preset::Away(thousandths) => burst.cast_signed() / 1000 * thousandths,
                        Preset::Edge(ticks) => burst.cast_signed() - cost.cast_signed() + ticks,
                    };
                    model[bucket] = Ticks(now.0.saturating_add_signed(away));
                    let _: () = connection.set(key(&all[bucket]), model[bucket].0).await.unwrap();
                }
                let want =
                    |n: &usize| Wanted { bucket: all[*n], quota: quotas[*n], cost, shadow: shadow[*n] };
                let wanted: Vec<_> = buckets.iter().map(want).collect();
                let taken = TakeScript::of(&at(include_str!("take.lua"), micros))
                    .take(&mut connection, &wanted)
                    .await
                    .unwrap();
                prop_assert_eq!(taken.now, now);
                let here = judge(&wanted, |place| model[buckets[place]], now);
                let there = taken.verdict(&wanted);
                match here {
                    Ok(next) => {
                        let admission = crate::limits::verdict::admission(&wanted, &next, now);
                        prop_assert_eq!(there, Some(Ok(admission)));
                        for ((n, state), next) in buckets.iter().zip(&taken.full_at).zip(next) {
                            prop_assert!(next.is_none_or(|next| next == *state));
                            model[*n] = next.unwrap_or(model[*n]);
                        }
                    }
                    Err(refusal) => prop_assert_eq!(there, Some(Err(refusal))),
                }
            }
            Ok(())
        })
    });
    tested.unwrap_or_else(|failure| panic!("{failure}"));
}

/// What is asked in advance, and the state of the bucket that is asked, in thousandths of its burst away from now.
fn ask() -> impl Strategy<Value = (Ask, i64)> {
    (1u64..100_000_000, 1u64..1_000_000, -300i64..1300)
        .prop_map(|(want, unit, away)| (Ask { sent: Ticks(0), want: want.max(unit), unit }, away))
}

#[test]
fn redis_gives_in_advance_what_this_process_would() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connection = runtime.block_on(redis());
    let mut runner = TestRunner::new(Cases { cases: 100, failure_persistence: None, ..Cases::default() });
    let tested = runner.run(&prop::array::uniform2((quota(), ask())), |asked| {
        let mut connection = connection.clone();
        let micros = 1_793_534_400_000_000;
        let now = Ticks::at(Timestamp::from_micros(micros));
        let script = RefillScript::of(&at(include_str!("refill.lua"), micros));
        runtime.block_on(async {
            let asks: Vec<_> = asked.iter().zip(buckets()).collect();
            let mut states = Vec::new();
            for ((quota, (_, away)), bucket) in &asks {
                let away = quota.room_ticks().cast_signed() / 1000 * away;
                states.push(Ticks(now.0.saturating_add_signed(away)));
                let _: () = connection.set(key(bucket), states[states.len() - 1].0).await.unwrap();
            }
            let question = asks.iter().map(|((quota, (ask, _)), bucket)| (*bucket, *quota, *ask));
            let given = script.ask(&mut connection, question).await.unwrap();
            for ((((quota, (ask, _)), bucket), state), given) in asks.iter().zip(states).zip(given) {
                let (ticks, full_at) = ask.given(*quota, state, now);
                prop_assert_eq!(given, Given { ticks, full_at, now });
                let kept: u64 = connection.get(key(bucket)).await.unwrap();
                prop_assert_eq!(kept, if ticks > 0 { full_at.0 } else { state.0 });
            }
            Ok(())
        })
    });
    tested.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn buckets_are_small_and_gone_once_full() {
    let mut connection = redis().await;
    let script = TakeScript::new();
    let quota = Quota::new(RateLimit { requests_per_minute: 60, burst: 60 });
    let stranger = Dimension::failed_authentication("2001:db8:ffff:ffff::".parse().unwrap());
    let stranger = Bucket { dimension: stranger, ..buckets()[0] };
    let want = |bucket| Wanted { bucket, quota, cost: 10, shadow: false };
    for wanted in [&buckets().map(want)[..], &[want(stranger)]] {
        let before = Ticks::at(Clock::system().now());
        let taken = script.take(&mut connection, wanted).await.unwrap();
        assert!(
            (before..=Ticks::at(Clock::system().now())).contains(&taken.now),
            "Redis' clock is this machine's"
        );
        for (Wanted { bucket, .. }, full_at) in wanted.iter().zip(&taken.full_at) {
            let key = key(bucket);
            let (bytes, value, expiry): (u64, u64, u64) = redis::pipe()
                .cmd("MEMORY")
                .arg("USAGE")
                .arg(&key)
                .get(&key)
                .cmd("PEXPIRETIME")
                .arg(&key)
                .query_async(&mut connection)
                .await
                .unwrap();
            assert!(bytes <= 100, "{key}: {bytes} bytes");
            assert_eq!(value, full_at.0, "one number");
            let gone = Ticks::at(Timestamp::from_micros(expiry * 1000));
            assert!(gone >= *full_at && gone.0 - full_at.0 < 16_000_000, "{key}");
        }
    }
}

#[tokio::test]
async fn what_others_wrote_is_written_over() {
    let mut connection = redis().await;
    let quota = Quota::new(RateLimit { requests_per_minute: 60, burst: 60 });
    let wanted = [Wanted { bucket: buckets()[1], quota, cost: 1, shadow: false }];
    let key = key(&wanted[0].bucket);
    let _: () = connection.set(&key, "nonsense").await.unwrap();
    assert!(matches!(take_one(&mut connection, &wanted).await, Some(Ok(_))));
    let _: () = connection.del(&key).await.unwrap();
    let _: () = connection.rpush(&key, 1).await.unwrap();
    assert!(matches!(take_one(&mut connection, &wanted).await, Some(Ok(_))));
}

async fn take_one(
    connection: &mut redis::aio::MultiplexedConnection,
    wanted: &[Wanted],
) -> Option<Result<Admission, crate::limits::Refusal>> {
    TakeScript::new().take(connection, wanted).await.unwrap().verdict(wanted)
}

/// Without Redis: nobody listens on port 1.
fn alone(limits: &[(&str, &str)]) -> (Arc<SharedBuckets>, ManualClock) {
    let vars = [("REDIS_URL", "redis://127.0.0.1:1")].iter().chain(limits).copied();
    let config = Config::from_vars(vars).unwrap();
    let hands = ManualClock::new(Timestamp::from_secs(1_793_534_400));
    let url = config.redis.url.unwrap();
    (Arc::new(SharedBuckets::new(&url, &config.limits, Clock::Manual(hands.clone()))), hands)
}

fn wanted(cost: u64) -> [Wanted; 1] {
    let quota = Quota::new(RateLimit { requests_per_minute: 60, burst: 40 });
    let dimension = Dimension::ip(TenantId(Uuid::nil()), [192, 0, 2, 1].into());
    let bucket = Bucket { dimension, window: WindowId::MAIN, generation: 0 };
    [Wanted { bucket, quota, cost, shadow: false }]
}

async fn admitted(buckets: &Arc<SharedBuckets>, hands: &ManualClock, seconds: u64) -> u32 {
    let mut admitted = 0;
    for _ in 0..seconds * 10 {
        hands.advance(Duration::from_millis(100));
        admitted += u32::from(buckets.take(&wanted(1)).await.is_ok());
    }
    admitted
}

#[tokio::test]
async fn alone_a_replica_gives_its_share_and_begins_with_nothing() {
    let (buckets, hands) = alone(&[]);
    buckets.connect().await;
    assert_eq!(buckets.trouble(), Some(OnRedisFailure::Local));
    buckets.set_replicas(4);
    assert!(buckets.peek(&wanted(1)).is_err(), "a replica that starts again gives nothing away");
    assert_eq!(admitted(&buckets, &hands, 60).await, 15, "a quarter of the rate");
    buckets.set_replicas(2);
    assert_eq!(admitted(&buckets, &hands, 60).await, 30);
    hands.advance(Duration::from_secs(3600));
    let admission = buckets.take(&wanted(1)).await.unwrap();
    assert_eq!(admission.levels[0].remaining, 19, "half of the burst");
    // Larger than the share, not than the limit: waits until the share is full.
    let Err(NotTaken::Refused(refusal)) = buckets.take(&wanted(40)).await else { panic!("admitted") };
    assert_eq!(refusal.kind, RefusalKind::Exhausted { retry_after_secs: 2 });
    hands.advance(Duration::from_secs(2));
    assert!(buckets.take(&wanted(40)).await.is_ok());
    hands.advance(Duration::from_secs(40));
    assert!(buckets.take(&wanted(1)).await.is_err(), "and is paid back");
    let Err(NotTaken::Refused(refusal)) = buckets.take(&wanted(41)).await else { panic!("admitted") };
    assert_eq!(refusal.kind, RefusalKind::NeverFits);
}

#[tokio::test]
async fn alone_a_replica_does_as_it_is_told() {
    let (closed, _) = alone(&[("RATE_LIMIT_ON_REDIS_FAILURE", "closed")]);
    assert_eq!(closed.take(&wanted(1)).await, Err(NotTaken::Unavailable));
    assert_eq!(closed.peek(&wanted(1)), Err(NotTaken::Unavailable));
    let (open, _) = alone(&[("RATE_LIMIT_ON_REDIS_FAILURE", "open")]);
    for _ in 0..100 {
        assert_eq!(open.take(&wanted(1)).await, Ok(Admission::default()));
    }
    let Err(NotTaken::Refused(refusal)) = open.take(&wanted(41)).await else { panic!("admitted") };
    assert_eq!(refusal.kind, RefusalKind::NeverFits);
    let (fixed, hands) = alone(&[("RATE_LIMIT_LOCAL_SHARE", "0.1")]);
    fixed.set_replicas(2);
    assert_eq!(admitted(&fixed, &hands, 60).await, 6);
}
