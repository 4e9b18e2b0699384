//! How far a transfer is, for a person.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const WITH_LENGTH: &str =
    "{bar:30} {percent:>3}% {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left";
const WITHOUT_LENGTH: &str = "{spinner} {binary_bytes}, {binary_bytes_per_sec}";

/// A bar on the terminal, which is gone from it when this is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// What counts.
    pub(super) fn bar(&self) -> ProgressBar {
        self.0.clone()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A bar for `length` bytes, a spinner if it is not known, and nothing unless `is_terminal`, which is of standard error.
pub(super) fn show(length: Option<u64>, is_terminal: bool) -> Progress {
    if !is_terminal {
        return Progress(ProgressBar::hidden());
    }
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), WITH_LENGTH),
        None => (ProgressBar::new_spinner(), WITHOUT_LENGTH),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(template).expect("the templates are valid"));
    if length.is_none() {
        bar.enable_steady_tick(Duration::from_millis(100));
    }
    Progress(bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_bar_a_spinner_or_nothing() {
        assert!(show(Some(1), false).bar().is_hidden());
        assert_eq!(show(Some(7), true).bar().length(), Some(7));
        assert_eq!(show(None, true).bar().length(), None);
    }
}
