mod world;

use proptest::prelude::*;
use proptest::test_runner::Config as Cases;

use self::world::{Admitted, Fate, Way, World};
use super::*;
use crate::id::TenantId;
use crate::limits::{Dimension, Kind, WindowId};

fn bucket(n: usize) -> Bucket {
    let n = u32::try_from(n).unwrap();
    let dimension = Dimension::ip(TenantId(uuid::Uuid::nil()), std::net::Ipv4Addr::from_bits(n).into());
    Bucket { dimension, window: WindowId::MAIN, generation: 0 }
}

fn wanted(n: usize, quota: Quota, cost: u64) -> Wanted {
    Wanted { bucket: bucket(n), quota, cost, shadow: false }
}

fn place(bucket: &Bucket) -> usize {
    match bucket.dimension {
        Dimension::Ip(_, std::net::IpAddr::V4(address)) => usize::try_from(address.to_bits()).unwrap(),
        _ => unreachable!("all are as bucket() makes them"),
    }
}

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;
const TICKS_PER_SECOND: u64 = 16_000_000;

/// So many tokens per second.
fn rate(per_second: u64, burst: u64) -> Quota {
    Quota::of(Kind::Rate, per_second * 60, 60, burst).leased()
}

/// By how many tokens some span of d admitted more than the burst and what flows in during d and one tick of rounding.
fn excess(quota: Quota, flow: u64, admitted: &[Admitted]) -> u128 {
    let scale = u128::from(quota.seconds()) * u128::from(TICKS_PER_SECOND);
    let (mut level, mut last, mut most) = (0u128, 0, 0);
    for &(at, tokens) in admitted {
        level = level.saturating_sub(u128::from(at - last) * u128::from(flow));
        level += u128::from(tokens) * scale;
        (last, most) = (at, most.max(level));
    }
    most.saturating_sub(u128::from(quota.burst()) * scale + u128::from(flow)).div_ceil(scale)
}

/// The most that a span of `ticks`, its end not counted, admitted.
fn most_in(ticks: u64, admitted: &[Admitted]) -> u64 {
    let (mut first, mut sum, mut most) = (0, 0, 0);
    for &(at, tokens) in admitted {
        sum += tokens;
        while admitted[first].0 + ticks <= at {
            sum -= admitted[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    most
}

#[derive(Clone, Debug)]
enum Step {
    /// Requests to one replica, or to all in turn.
    Stream {
        replica: Option<usize>,
        count: u64,
        gap: u64,
        buckets: Vec<usize>,
        cost: u64,
    },
    /// One that costs so many thousandths of a burst.
    Large {
        replica: usize,
        bucket: usize,
        thousandths: u64,
    },
    /// A replica gets used to requests, and all is used at once after a pause: what it holds, and a whole burst.
    Hoard {
        replica: usize,
        bucket: usize,
        count: u64,
        gap: u64,
        pause: u64,
    },
    Crash {
        replica: usize,
        offset: u64,
    },
}

fn step() -> impl Strategy<Value = (u64, Step)> {
    let stream = (
        prop::option::of(0usize..4),
        1u64..150,
        prop_oneof![Just(0u64), 0..3000u64],
        prop::sample::subsequence(vec![0, 1, 2], 1..=3),
        prop_oneof![3 => Just(1u64), 1 => 1..12u64],
    );
    let stream = stream.prop_map(|(replica, count, gap, buckets, cost)| Step::Stream {
        replica,
        count,
        gap: gap * 1000,
        buckets,
        cost,
    });
    let large = (0usize..4, 0usize..3, 300u64..=1000);
    let large = large.prop_map(|(replica, bucket, thousandths)| Step::Large { replica, bucket, thousandths });
    let hoard =
        (0usize..4, 0usize..2, 5u64..60, 100..4000u64, prop_oneof![2 => 10..120u64, 1 => 120..500u64]);
    let hoard = hoard.prop_map(|(replica, bucket, count, gap, pause)| Step::Hoard {
        replica,
        bucket,
        count,
        gap: gap * 1000,
        pause: pause * MILLISECOND,
    });
    let crash = (0usize..4, any::<u32>());
    let crash = crash.prop_map(|(replica, offset)| Step::Crash { replica, offset: offset.into() });
    // To the next: often just what a lease lives, sometimes what a bucket takes to fill.
    let wait = prop_oneof![4 => 0..20u64, 4 => 20..120u64, 1 => 120..3000u64];
    (wait.prop_map(|wait| wait * MILLISECOND), prop_oneof![6 => stream, 3 => large, 4 => hoard, 1 => crash])
}

fn any_way() -> impl Strategy<Value = Way> {
    let micros = || prop_oneof![8 => 50..500u64, 2 => 500..40_000u64, 1 => 40_000..200_000u64];
    let fate = prop_oneof![
        20 => Just(Fate::Answered),
        1 => Just(Fate::RequestLost),
        1 => Just(Fate::AnswerLost),
    ];
    (micros(), micros(), fate).prop_map(|(there, back, fate)| Way { there, back, fate })
}

/// Two that can be leased, one of each kind, and one that may be too small for it.
fn quotas() -> impl Strategy<Value = Vec<Quota>> {
    let steady = (40u64..3000, 40u64..300).prop_map(|(rate, burst)| self::rate(rate, rate * burst / 100 + 1));
    let ceiling = (100u64..3000, 1u32..=2)
        .prop_map(|(limit, seconds)| Quota::of(Kind::Quota, limit, seconds, limit.div_ceil(2)).leased());
    let any = (1u64..200, 1u64..50).prop_map(|(rate, burst)| self::rate(rate, burst));
    (steady, ceiling, any).prop_map(|(a, b, c)| vec![a, b, c])
}

fn cases() -> Cases {
    let cases = if std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some() { 20_000 } else { 150 };
    Cases { cases, failure_persistence: None, ..Cases::default() }
}

proptest! {
    #![proptest_config(cases())]

    /// Whatever happens to replicas and messages, no span admits more than it may (contract section 3).
    #[test]
    fn no_window_admits_more_than_burst_and_rate_allow(
        quotas in quotas(),
        offsets in prop::collection::vec(0u64..1 << 40, 1..=4),
        ways in prop::collection::vec(any_way(), 1..40),
        steps in prop::collection::vec(step(), 1..30),
        timeout in prop_oneof![Just(50_000u64), Just(10_000_000)],
    ) {
        let mut world = World::new(quotas.clone(), &offsets, ways, timeout);
        let mut time = SECOND;
        for (wait, step) in steps {
            match step {
                Step::Stream { replica, count, gap, buckets, cost } => {
                    for n in 0..count {
                        let replica = replica.unwrap_or(usize::try_from(n).unwrap()) % offsets.len();
                        world.arrive(time + n * gap, replica, buckets.clone(), cost);
                    }
                }
                Step::Large { replica, bucket, thousandths } => {
                    let cost = quotas[bucket].burst() * thousandths / 1000;
                    world.arrive(time, replica % offsets.len(), vec![bucket], cost.max(1));
                }
                Step::Hoard { replica, bucket, count, gap, pause } => {
                    for n in 0..count {
                        world.arrive(time + n * gap, replica % offsets.len(), vec![bucket], 1);
                    }
                    time += count * gap + pause;
                    world.arrive(time, (replica + 1) % offsets.len(), vec![bucket], quotas[bucket].burst());
                    for n in 0..count {
                        world.arrive(time + n, replica % offsets.len(), vec![bucket], 1);
                    }
                }
                Step::Crash { replica, offset } => world.crash(time, replica % offsets.len(), offset),
            }
            time += wait;
        }
        world.run();
        for (quota, admitted) in quotas.iter().zip(&mut world.admitted) {
            // Those of direct takes are known later.
            admitted.sort_unstable();
            let flow = match quota.kind() {
                Kind::Rate => quota.limit(),
                Kind::Quota => quota.limit() - quota.burst() + 1,
            };
            prop_assert_eq!(excess(*quota, flow, admitted), 0, "{:?}", quota);
            if quota.kind() == Kind::Quota {
                let most = most_in(u64::from(quota.seconds()) * TICKS_PER_SECOND, admitted);
                prop_assert!(most <= quota.limit(), "{most} of {quota:?}");
            }
        }
    }
}

/// By how much more than `burst` and what flows in some span admits, if one replica gets used to requests, another is asked
/// for a whole burst after a pause, and the first then uses what it holds.
fn excess_of_a_hoard(quota: Quota, burst: u64, pause: u64) -> u128 {
    let mut world = World::new(vec![quota], &[0, 0], (0..9).map(way).collect(), 50_000);
    for n in 0..100 {
        world.arrive(SECOND + n * MILLISECOND, 0, vec![0], 1);
    }
    let later = SECOND + 100 * MILLISECOND + pause;
    world.arrive(later, 1, vec![0], burst);
    for n in 0..100 {
        world.arrive(later + MILLISECOND + n, 0, vec![0], 1);
    }
    world.run();
    world.admitted[0].sort_unstable();
    let limit = Quota::of(Kind::Rate, quota.limit(), quota.seconds(), burst);
    excess(limit, quota.limit(), &world.admitted[0])
}

#[test]
fn buckets_must_be_smaller_by_what_flows_in_while_leases_live() {
    let most = |quota| {
        let pauses = (0..100).map(|millis| millis * MILLISECOND);
        pauses.map(|pause| excess_of_a_hoard(quota, 1000, pause)).max()
    };

    assert_eq!(most(rate(1000, 1000)), Some(0));
    // Is cut to what a bucket of 1000 would hold that is not.
    assert!(most(rate(1000, 1100)) > Some(10));
}

fn way(n: u64) -> Way {
    Way { there: 80 + n * 37 % 100, back: 80 + n * 53 % 100, fate: Fate::Answered }
}

/// Of three buckets, the tightest first, at 2000 requests a second: the tokens admitted, and the questions per request.
/// For so many milliseconds all are for one replica, and then for another; 0 is as they come.
fn undisturbed(quotas: [Quota; 3], replicas: usize, hop: u64, seconds: u64) -> (u64, f64) {
    let offsets: Vec<u64> = (0..replicas).map(|n| n as u64 * 7_777_777).collect();
    let mut world = World::new(quotas.to_vec(), &offsets, (0..100).map(way).collect(), 50_000);
    // As independent clients send: gaps of 0 to 1 ms, of any size, to any replica.
    let (mut time, mut random) = (SECOND, 0x2545_f491_4f6c_dd1d_u64);
    while time < (1 + seconds) * SECOND {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        time += random % 1_000_000;
        let turn = time.checked_div(hop * MILLISECOND).unwrap_or(random >> 32);
        let replica = usize::try_from(turn % replicas as u64).unwrap();
        world.arrive(time, replica, vec![0, 1, 2], 1);
    }
    world.run();
    let admitted = world.admitted[0].iter().map(|(_, tokens)| tokens).sum();
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    (admitted, world.questions as f64 / world.requests as f64)
}

#[test]
fn hot_buckets_admit_what_they_may_and_ask_redis_seldom() {
    let large = rate(10_000, 10_000);
    // What a replica holds is lost when all requests go to another one.
    for (replicas, burst, hop, percent) in [(3, 400, 0, 99), (5, 1000, 0, 99), (3, 1000, 200, 95)] {
        let (admitted, questions) = undisturbed([rate(1000, burst), large, large], replicas, hop, 30);
        assert!(admitted * 100 >= (burst + 30_000) * percent, "{admitted} with {replicas} replicas");
        assert!(questions <= 0.05, "{questions} with {replicas} replicas");
    }
    let (admitted, questions) = undisturbed([large; 3], 3, 0, 10);
    assert!(admitted > 19_000 && questions <= 0.03, "{admitted}, {questions}");
}

#[test]
fn what_is_given_back_lives_no_longer() {
    let mut holding = Holding::new(rate(1000, 1000));
    let at = |millis: u64| Ticks(16_000 * (1000 + millis));
    let cost = 16_000;
    for _ in 0..3 {
        assert!(!holding.count(cost, at(0)));
    }
    assert!(holding.count(cost, at(0)));
    holding.count_leased(cost);
    assert_eq!(holding.take(cost, at(0)), Answer::Wait);
    let refill = |holding: &mut Holding, millis| {
        let ask = holding.begin_refill(at(millis)).unwrap();
        assert_eq!(holding.begin_refill(at(millis)), None, "one at a time");
        holding.refilled(ask, ask.want, Ticks(0), Ticks(0));
    };
    refill(&mut holding, 0);
    let Answer::Taken(taken) = holding.take(cost, at(1)) else { panic!("nothing there") };
    holding.give_back(&taken);
    assert_eq!(holding.held(at(1)), cost + cost / 3);
    let Answer::Taken(taken) = holding.take(cost, at(99)) else { panic!("gone too early") };
    refill(&mut holding, 99);
    let held = holding.held(at(101));
    holding.give_back(&taken);

    assert_eq!(holding.held(at(101)), held, "the first leases live 100 ms");
}

#[tokio::test]
async fn a_claim_gives_back_what_another_bucket_refuses_and_hears_of_refills() {
    let (leases, now) = (Leases::new(), Ticks(1 << 30));
    let both = [wanted(0, rate(1000, 1000), 1), wanted(1, rate(1000, 1000), 1)];
    let mut waiting: Vec<_> = (0..12).map(|_| leases.claim(&both)).collect();
    for claim in &mut waiting {
        claim.ask(now, true);
    }
    let refills = waiting[11].refills(now);
    assert_eq!(refills.len(), 2, "both in one question");
    assert_eq!(refills[0].ask.want, 12 * 16_000, "a third more than was asked of leases");
    let mut claim = leases.claim(&both);
    assert_eq!(claim.ask(now, true), Next::Wait);
    assert!(claim.refills(now).is_empty(), "they are under way");
    // The first gives less than is wanted, and then nothing.
    let ((), ()) = tokio::join!(claim.refilled(), async {
        for (refill, given) in refills.into_iter().zip([16_000, 48_000]) {
            refill.done(given, Ticks(0), Ticks(0));
        }
    });
    assert_eq!(claim.ask(now, true), Next::Paid);
    claim.keep();
    let held = leases.outstanding(now);
    let mut claim = leases.claim(&both);
    assert_eq!(claim.ask(now, true), Next::Dry);
    assert_eq!((claim.is_dry(0), claim.is_dry(1)), (true, false));
    assert_eq!(leases.outstanding(now), held, "the other bucket has lost nothing");
    let mut claim = leases.claim(&both[1..]);
    assert_eq!(claim.ask(now, true), Next::Paid);
    assert_eq!(leases.outstanding(now), held - 1);
    drop(claim);
    assert_eq!(leases.outstanding(now), held);
    assert!(
        leases.serve(&both, now)
            && leases.dry(&both[0], now).is_some()
            && leases.dry(&both[1], now).is_none()
    );
    let cold = wanted(2, rate(1000, 1000), 1);
    assert!(!leases.serve(&[both[1], cold], now));
    assert_eq!(leases.claim(&[both[1], cold]).ask(now, true), Next::Direct, "all buckets, or none");
    assert_eq!(leases.outstanding(now), held);
    leases.clear();
    assert_eq!(leases.outstanding(now), 0);
}
