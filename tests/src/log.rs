//! What a child process has written, line by line.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::thread;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::eventually::LIMIT;

/// One line as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine(pub String);

impl LogLine {
    /// The line as JSON; `Null` if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// A string field at the top level of the JSON object.
    pub fn field(&self, name: &str) -> Option<String> {
        self.json().get(name)?.as_str().map(str::to_owned)
    }
}

/// The growing log of one process; clones see the same lines.
#[derive(Clone)]
pub struct Log {
    state: watch::Receiver<State>,
}

#[derive(Default)]
struct State {
    lines: Vec<LogLine>,
    ended: bool,
}

impl Log {
    /// Collects the lines of `source` until it ends, on a thread of its own: a test that blocks its runtime must
    /// not stall the child on a full pipe.
    pub(crate) fn collect(source: impl Read + Send + 'static) -> Self {
        let (sender, state) = watch::channel(State::default());
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while source.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                sender.send_modify(|state| state.lines.push(LogLine(text)));
                line.clear();
            }
            sender.send_modify(|state| state.ended = true);
        });
        Self { state }
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<LogLine> {
        self.state.borrow().lines.clone()
    }

    /// All lines so far as one text, for a search.
    pub fn text(&self) -> String {
        self.state.borrow().lines.iter().map(|line| line.0.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The first line whose `message` is `message`, waiting for it.
    ///
    /// # Panics
    ///
    /// If the process ends or [`LIMIT`] passes without such a line; prints the log.
    pub async fn message(&self, message: &str) -> LogLine {
        self.find(&format!("message {message:?}"), |line| line.field("message").as_deref() == Some(message))
            .await
    }

    /// The first line that `wanted` accepts, waiting for it.
    ///
    /// # Panics
    ///
    /// As [`Log::message`].
    pub async fn find(&self, what: &str, wanted: impl Fn(&LogLine) -> bool) -> LogLine {
        let mut state = self.state.clone();
        let seen =
            timeout(LIMIT, state.wait_for(|state| state.ended || state.lines.iter().any(&wanted))).await;
        drop(seen);
        let found = self.state.borrow().lines.iter().find(|line| wanted(line)).cloned();
        found.unwrap_or_else(|| panic!("no log line with {what}; the log:\n{}", self.text()))
    }

    /// Waits until the process has closed its side, so that the log is complete.
    ///
    /// # Panics
    ///
    /// After [`LIMIT`].
    pub async fn ended(&self) {
        let mut state = self.state.clone();
        let ended = timeout(LIMIT, state.wait_for(|state| state.ended)).await.is_ok();
        assert!(ended, "the process still holds its log open");
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}
