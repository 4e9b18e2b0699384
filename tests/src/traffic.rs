//! Requests that go on while something else happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::task::AbortHandle;

use crate::client::Client;
use crate::eventually::eventually;

/// Repeats one POST, one at a time, until dropped.
#[derive(Debug)]
pub struct Traffic {
    answered: Arc<AtomicU64>,
    failure: Arc<Mutex<Option<String>>>,
    task: AbortHandle,
}

/// Leaves the processor to what is tested.
const PAUSE: Duration = Duration::from_millis(5);

impl Traffic {
    /// Begins to send `body` to `path`. Whatever is not answered with 200 ends it, and is told by
    /// [`Traffic::goes_on`].
    pub fn start(client: Client, path: &'static str, body: Value) -> Self {
        let (answered, failure) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let (counter, told) = (answered.clone(), failure.clone());
        let task = tokio::spawn(async move {
            loop {
                let problem = match client.try_post_json(path, &body).await {
                    Ok(reply) if reply.status == 200 => None,
                    Ok(reply) => Some(format!("{reply:?}")),
                    Err(error) => Some(error.to_string()),
                };
                if problem.is_some() {
                    *told.lock().expect("no holder panics") = problem;
                    return;
                }
                counter.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { answered, failure, task: task.abort_handle() }
    }

    /// Waits until 20 further requests have succeeded.
    ///
    /// # Panics
    ///
    /// If any request failed since the start.
    pub async fn goes_on(&self) {
        let until = self.answered.load(Ordering::Relaxed) + 20;
        eventually("requests go on", async || {
            let failure = self.failure.lock().expect("no holder panics").take();
            assert!(
                failure.is_none(),
                "{failure:?}, after {} that succeeded",
                self.answered.load(Ordering::Relaxed)
            );
            (self.answered.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.task.abort();
    }
}
