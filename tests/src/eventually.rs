//! Waiting for something observable, within a bound.

use std::time::Duration;

use tokio::time::Instant;

/// How long anything in a test may take before it counts as hung. Generous, because test machines are shared;
/// nothing waits this long unless it is about to fail.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Pause between two looks.
const PERIOD: Duration = Duration::from_millis(5);

/// Calls `look` until it returns `Some`, at most for [`LIMIT`].
///
/// # Panics
///
/// After the limit, with `what` in the message.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        tokio::time::sleep(PERIOD).await;
    }
}
