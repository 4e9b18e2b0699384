use std::io::{IsTerminal, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str = "{spinner} {human_pos} records, {per_sec}";

/// How many records are done, on a terminal, from which it is gone when this is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Shows nothing unless standard error is a terminal.
    pub(super) fn show() -> Self {
        if !stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template(TEMPLATE).expect("the template is valid"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    /// So many more.
    pub(super) fn add(&self, records: u64) {
        self.0.inc(records);
    }

    /// Writes while nothing is shown.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.suspend(write)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
