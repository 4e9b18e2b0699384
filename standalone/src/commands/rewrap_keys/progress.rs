//! How far the rewrap is: a bar for a person, lines for a log.

use std::io::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{bar:30} {percent:>3}% {human_pos} of {human_len} keys, {eta} left";
/// Time between two lines.
const INTERVAL: Duration = Duration::from_secs(2);

/// On standard error; a bar is gone from it when this is dropped.
pub(super) enum Progress {
    Bar(ProgressBar),
    Lines { total: u64, told: Instant },
}

impl Progress {
    /// For `total` keys; a bar if standard error `is_terminal`.
    pub(super) fn new(total: u64, is_terminal: bool) -> Self {
        if !is_terminal {
            return Self::Lines { total, told: Instant::now() };
        }
        let bar = ProgressBar::new(total);
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(TEMPLATE).expect("the template is valid"));
        Self::Bar(bar)
    }

    /// Through with so many keys.
    pub(super) fn set(&mut self, through: u64) {
        match self {
            Self::Bar(bar) => bar.set_position(through),
            Self::Lines { total, told } => {
                if through >= *total || told.elapsed() >= INTERVAL {
                    *told = Instant::now();
                    // A closed terminal is no reason to stop.
                    let _ = writeln!(std::io::stderr().lock(), "{through} of {total} keys");
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
