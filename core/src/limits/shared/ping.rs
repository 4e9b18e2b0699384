use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::timeout;

use super::SharedBuckets;

impl SharedBuckets {
    /// Asks every node on the connection that requests use, and waits for no other to be made.
    pub(in crate::limits) async fn ping(&self, limit: Duration) -> bool {
        let Some(connection) = self.link.connection() else { return false };
        let ping = redis::cmd("PING");
        let pings = connection
            .nodes
            .iter()
            .map(async |node| ping.query_async::<redis::Value>(&mut node.redis()).await);
        timeout(limit, try_join_all(pings)).await.is_ok_and(|answers| answers.is_ok())
    }
}
