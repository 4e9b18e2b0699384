//! With Redis there.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::Options;
use crate::fleet::{Fleet, Limit};
use crate::load::{Load, Running};
use crate::measure::measure;
use crate::report::Row;

/// 10 a second: nobody would lease parts of it.
const COLD: Limit = Limit { per_minute: 600, burst: 100 };
/// As much as can be had of a bucket that is not leased.
const COLDEST: Limit = Limit { per_minute: 2300, burst: 2300 };
/// One, and no other for a minute.
const ONE: Limit = Limit { per_minute: 1, burst: 1 };

/// What a request may cost Redis where there are many.
const COMMANDS_WHEN_HOT: f64 = 0.05;
const KILL_EVERY: Duration = Duration::from_secs(5);
/// Counting takes less than measuring a share, and what was refused must stay so meanwhile.
const LONGEST_COUNT: u64 = 20;

impl Options {
    /// The usual load, without end.
    pub(crate) fn load(&self) -> Load {
        Load { clients: self.clients, demand: self.demand, most: u64::MAX }
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Of a bucket that is leased.
    pub(crate) fn leased(&self) -> Limit {
        Limit { per_minute: 60 * self.rate, burst: self.rate }
    }

    /// Requests per second that are more than the leased bucket gives, whatever else takes its time.
    pub(crate) fn hot(&self) -> f64 {
        2.0 * self.rate as f64
    }

    pub(crate) async fn fleet(&self, identity: Limit, others: Limit) -> Fleet {
        Fleet::start(self.replicas, identity, others, &self.redis_timeout).await
    }
}

pub(crate) async fn leased(options: &Options) -> Row {
    let row = undisturbed("leased", options.leased(), options).await;
    row.demanded(options.hot()).commands_at_most(COMMANDS_WHEN_HOT)
}

pub(crate) async fn cold(options: &Options) -> Row {
    undisturbed("cold", COLD, options).await
}

async fn undisturbed(name: &'static str, limit: Limit, options: &Options) -> Row {
    let mut fleet = options.fleet(limit, Limit::AMPLE).await;
    let during = async |_: &mut Fleet, _: &Running| sleep(options.duration()).await;
    let (measured, ()) = measure(&mut fleet, options.load(), during).await;
    let row = Row::new(name, &measured).none_cut(&measured).without_fallback();
    row.at_most(limit, 0, &measured).at_least(0.99)
}

pub(crate) async fn leased_with_kills(options: &Options) -> Row {
    with_kills("leased, kills", options.leased(), options).await.demanded(options.hot())
}

pub(crate) async fn cold_with_kills(options: &Options) -> Row {
    with_kills("cold, kills", COLD, options).await
}

async fn with_kills(name: &'static str, limit: Limit, options: &Options) -> Row {
    let mut fleet = options.fleet(limit, Limit::AMPLE).await;
    let during = async |fleet: &mut Fleet, _: &Running| kill_until(fleet, options.duration()).await;
    let (measured, kills) = measure(&mut fleet, options.load(), during).await;
    let mut row = Row::new(name, &measured).without_fallback().at_most(limit, 0, &measured).at_least(0.97);
    row.notes.push(format!("{kills} times a replica was killed and started again"));
    row
}

/// Kills each replica in turn, and starts it again, for this long; tells how often.
async fn kill_until(fleet: &mut Fleet, duration: Duration) -> usize {
    let end = Instant::now() + duration;
    let (mut next, mut kills) = (Instant::now() + KILL_EVERY, 0);
    while next < end {
        sleep_until(next).await;
        fleet.replace(kills % fleet.replicas().len()).await;
        kills += 1;
        next = (next + KILL_EVERY).max(Instant::now());
    }
    sleep_until(end).await;
    kills
}

/// Everything is admitted.
pub(crate) async fn commands_when_hot(options: &Options) -> Row {
    let hot = Limit { per_minute: 10_000_000, burst: 1_000_000 };
    let mut fleet = options.fleet(hot, hot).await;
    let (measured, ()) = measure(&mut fleet, options.load(), count(options)).await;
    let mut row = Row::new("commands, hot", &measured).none_cut(&measured).without_fallback();
    if measured.counts.refused > 0 {
        row.fail(format!("{} refused by limits of {hot:?}", measured.counts.refused));
    }
    row.demanded(options.hot()).commands_at_most(COMMANDS_WHEN_HOT)
}

/// Each replica knows that the bucket is empty for a minute.
pub(crate) async fn commands_when_refused(options: &Options) -> Row {
    let mut fleet = options.fleet(ONE, Limit::AMPLE).await;
    let enough_for_all_to_know = Load { clients: 1, demand: 0, most: 4 * u64::from(options.replicas) };
    let first = measure(&mut fleet, enough_for_all_to_know, finished).await.0;
    let (measured, ()) = measure(&mut fleet, options.load(), count(options)).await;
    let mut row = Row::new("commands, refused", &measured).none_cut(&measured).without_fallback();
    if (first.counts.admitted, measured.counts.admitted) != (1, 0) {
        row.fail(format!("admitted {} and {} of 1", first.counts.admitted, measured.counts.admitted));
    }
    row.commands_at_most(0.0)
}

/// Every request is admitted by Redis, about all of its buckets at once.
pub(crate) async fn commands_when_cold(options: &Options) -> Row {
    let mut fleet = options.fleet(COLDEST, COLDEST).await;
    let load = Load { most: 2000, ..options.load() };
    let (measured, ()) = measure(&mut fleet, load, finished).await;
    let mut row = Row::new("commands, cold", &measured).none_cut(&measured).without_fallback();
    if measured.counts.admitted != load.most || measured.commands != Some(load.most) {
        row.fail(format!(
            "{} admitted at {:?} commands, not {} each",
            measured.counts.admitted, measured.commands, load.most
        ));
    }
    row
}

fn count(options: &Options) -> impl AsyncFnOnce(&mut Fleet, &Running) {
    let duration = Duration::from_secs(options.seconds.min(LONGEST_COUNT));
    async move |_: &mut Fleet, _: &Running| sleep(duration).await
}

async fn finished(_: &mut Fleet, running: &Running) {
    while !running.is_finished() {
        sleep(Duration::from_millis(5)).await;
    }
}
