use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared as SharedFuture};

use super::{Report, checks};
use crate::app::Shared;
use crate::clock::Monotonic;
use crate::store::Store;

/// The last deep check, done or under way.
#[derive(Default)]
pub(crate) struct DeepHealth {
    last: Mutex<Option<(Monotonic, Checking)>>,
}

/// One check, for all who wait for it.
type Checking = SharedFuture<BoxFuture<'static, Arc<Report>>>;

/// Between the beginnings of two checks.
const INTERVAL: Duration = Duration::from_secs(1);

impl DeepHealth {
    /// What a check finds that began less than a second ago. It is made in a task of its own, so that a client that goes
    /// away stops no one else's.
    pub(crate) async fn report<S: Store>(app: &Arc<Shared<S>>) -> Arc<Report> {
        let report = {
            let mut last = app.deep_health.last.lock().unwrap_or_else(PoisonError::into_inner);
            let now = app.clock.monotonic();
            match &*last {
                Some((at, report)) if now.since(*at) < INTERVAL => report.clone(),
                _ => {
                    let app = app.clone();
                    let check = tokio::spawn(async move { checks::all(&app).await });
                    let report = async move {
                        match check.await {
                            Ok(report) => Arc::new(report),
                            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                        }
                    };
                    let report = report.boxed().shared();
                    *last = Some((now, report.clone()));
                    report
                }
            }
        };
        report.await
    }
}
