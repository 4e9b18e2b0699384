//! With Redis away for the middle third.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cryptoserve_tests::Client;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::Options;
use crate::fleet::{Fleet, Limit};
use crate::load::Running;
use crate::measure::measure;
use crate::report::Row;

/// How Redis goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It comes back with all that it knew.
    Frozen,
    /// It comes back empty.
    Killed,
}

/// What the replicas made of it.
#[derive(Debug)]
struct Seen {
    /// From the moment when Redis went to the one when the last replica used it again.
    outage: Duration,
    /// In which some replicas used Redis and others did not.
    divided: Duration,
}

/// When one replica said that it is on its own, and when that it is not.
struct Alone {
    from: Instant,
    to: Instant,
}

/// How long it takes until every replica knows of all.
const ACQUAINTANCE: Duration = Duration::from_secs(7);
/// Between two looks at a replica.
const PERIOD: Duration = Duration::from_millis(5);

pub(crate) async fn frozen(options: &Options) -> Row {
    run("outage, frozen", End::Frozen, options).await
}

pub(crate) async fn killed(options: &Options) -> Row {
    run("outage, killed", End::Killed, options).await
}

async fn run(name: &'static str, end: End, options: &Options) -> Row {
    let limit = options.leased();
    let mut fleet = options.fleet(limit, Limit::AMPLE).await;
    sleep(ACQUAINTANCE).await;
    let third = options.duration() / 3;
    let during = async |fleet: &mut Fleet, _: &Running| {
        sleep(third).await;
        let seen = interrupt(fleet, end, third).await;
        sleep(third).await;
        seen
    };
    let (mut measured, seen) = measure(&mut fleet, options.load(), during).await;
    if end == End::Killed {
        measured.commands = None;
    }

    // What came back while nobody used it, or all of it if Redis forgot; see docs/limits.md.
    let stored = match end {
        End::Frozen => limit.burst.min(limit.flows_in(seen.outage)),
        End::Killed => limit.burst,
    };
    // While only some replicas reach Redis, those may use all of the limit, and the others their share.
    let divided = limit.flows_in(seen.divided);
    let mut row = Row::new(name, &measured)
        .none_cut(&measured)
        .at_most(limit, stored + divided, &measured)
        .demanded(options.hot());
    let admitted = measured.counts.admitted;
    row.notes.push(format!(
        "away for {:.2} s as replicas saw it, {:.2} s of it for some only; allowed = B + r·d {} + what came back unused {stored} + \
         while divided r·{:.2} s {divided}; {}",
        seen.outage.as_secs_f64(),
        seen.divided.as_secs_f64(),
        limit.allows(measured.outer),
        seen.divided.as_secs_f64(),
        if admitted <= limit.allows(measured.outer) + stored {
            "the last was not needed"
        } else {
            "the last was needed"
        },
    ));
    if measured.fallbacks < fleet.replicas().len() {
        row.fail(format!("only {} fallbacks: not every replica missed Redis", measured.fallbacks));
    }
    if measured.fallbacks > fleet.replicas().len() {
        row.notes.push(format!(
            "{} fallbacks of {} replicas: some missed Redis more than once, which the bound does not allow for",
            measured.fallbacks,
            fleet.replicas().len()
        ));
    }
    row
}

/// Takes Redis away for `duration`, and waits until all replicas use it again.
async fn interrupt(fleet: &mut Fleet, end: End, duration: Duration) -> Seen {
    let is_back = Arc::new(AtomicBool::new(false));
    let watches = fleet.replicas().iter().map(|replica| watch(replica.client(), is_back.clone()));
    let watches = tokio::spawn(join_all(watches));
    let begun = Instant::now();
    match end {
        End::Frozen => fleet.redis.freeze(),
        End::Killed => fleet.redis.kill().await,
    }
    sleep(duration).await;
    is_back.store(true, Ordering::Relaxed);
    match end {
        End::Frozen => fleet.redis.thaw(),
        End::Killed => fleet.redis.start_again().await,
    }
    let alone = watches.await.expect("no watch panics");
    let spread = |moments: Vec<Instant>| {
        let (first, last) = (moments.iter().min(), moments.iter().max());
        (*first.expect("there are replicas"), *last.expect("there are replicas"))
    };
    let (first_lost, last_lost) = spread(alone.iter().map(|alone| alone.from).collect());
    let (first_back, last_back) = spread(alone.iter().map(|alone| alone.to).collect());
    let divided = (last_lost - first_lost) + (last_back - first_back);
    Seen { outage: last_back - begun, divided }
}

/// Looks at a replica until it has lost Redis and found it again.
async fn watch(client: Client, is_back: Arc<AtomicBool>) -> Alone {
    let from = loop {
        // One that has not noticed by the end never will.
        if says(&client, "degraded").await || is_back.load(Ordering::Relaxed) {
            break Instant::now();
        }
        sleep(PERIOD).await;
    };
    let to = loop {
        if says(&client, "ready").await {
            break Instant::now();
        }
        sleep(PERIOD).await;
    };
    Alone { from, to }
}

async fn says(client: &Client, status: &str) -> bool {
    client.try_get("/health/ready").await.is_ok_and(|reply| reply.json()["status"] == status)
}
