//! Processor time of another process, from `/proc/<pid>/stat`.

use std::fs;
use std::time::Duration;

/// User and system time of all threads of process `id` so far, in steps of a clock tick (10 ms).
///
/// # Panics
///
/// If there is no such process.
pub(crate) fn time_of(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process is running");
    // The second field, the command in parentheses, may hold spaces; what follows the last `)` starts at field 3.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = [14, 15].iter().filter_map(|field| fields.get(field - 3)?.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
