//! One load on one fleet, and what it cost.

use std::time::Duration;

use tokio::time::Instant;

use crate::fleet::Fleet;
use crate::load::{Counts, Load, Running};

/// What a load did.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) counts: Counts,
    /// By Redis' clock, from before the first request to after the last answer.
    pub(crate) outer: Duration,
    /// By Redis' clock, from just after the first admission was seen to just before the last requests; `None` if there was
    /// none.
    pub(crate) inner: Option<Duration>,
    /// Of scripts; `None` if Redis has begun to count anew meanwhile.
    pub(crate) commands: Option<u64>,
    pub(crate) elapsed: Duration,
    pub(crate) cpu_time: Duration,
    pub(crate) fallbacks: usize,
}

/// Keeps `load` up until `during` is over.
pub(crate) async fn measure<T>(
    fleet: &mut Fleet,
    load: Load,
    during: impl AsyncFnOnce(&mut Fleet, &Running) -> T,
) -> (Measurement, T) {
    let (commands, cpu_time, fallbacks) = (fleet.commands().await, fleet.cpu_time(), fleet.fallbacks());

    let running = load.start(fleet).await;
    let (first, begun) = (running.begun, Instant::now());
    let came_of_it = during(fleet, &running).await;
    // Another connection: Redis may be another.
    let clock = fleet.clock().await;
    let almost_last = clock.now().await;
    let counts = running.stop().await;
    let last = clock.now().await;

    let measurement = Measurement {
        elapsed: begun.elapsed(),
        outer: last - first,
        inner: counts.first_admitted.map(|first| almost_last.saturating_sub(first)),
        commands: fleet.commands().await.checked_sub(commands),
        cpu_time: fleet.cpu_time().saturating_sub(cpu_time),
        fallbacks: fleet.fallbacks() - fallbacks,
        counts,
    };
    (measurement, came_of_it)
}
