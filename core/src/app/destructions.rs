//! Destructions are written down where a backup does not reach, so that they hold after a restore.

use std::collections::HashSet;

use tokio::task::spawn_blocking;

use crate::app::Shared;
use crate::contexts::Destruction;
use crate::store::{self, Store};

/// Read from the store in one go.
const PAGE: u32 = 1000;

impl<S: Store> Shared<S> {
    /// Adds to the list in the data directory what is not in it yet: the last ones before a crash.
    pub(super) async fn complete_destructions(&self) -> Result<(), store::Error> {
        let Some(log) = self.destructions.clone() else { return Ok(()) };
        let known = spawn_blocking(move || log.read()).await;
        let known: HashSet<_> = match known {
            Ok(Ok(list)) => list.destructions.iter().map(version).collect(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the list of destructions cannot be read; it is completed as if it were empty");
                HashSet::new()
            }
            Err(_) => HashSet::new(),
        };
        let mut last = None;
        loop {
            let page = self.store.destroyed(last.as_ref(), PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            last = Some(*end);
            self.write_down(page.into_iter().filter(|found| !known.contains(&version(found))).collect())
                .await;
        }
    }

    /// Adds to the list in the data directory, if there is one.
    pub(super) async fn write_down(&self, destructions: Vec<Destruction>) {
        let Some(log) = self.destructions.clone().filter(|_| !destructions.is_empty()) else { return };
        let failed = match spawn_blocking(move || log.append(&destructions)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        // They are done, and the next start writes them down.
        tracing::error!(
            error = failed,
            "a destruction was not added to destructions.ndjson; it is at the next start"
        );
    }
}

/// What makes two destructions the same.
fn version(destruction: &Destruction) -> impl Eq + std::hash::Hash + use<> {
    (destruction.tenant_id, destruction.key_id, destruction.version)
}
