use super::{DATA, PostgresServer, SUPERUSER, binary};
use crate::eventually::eventually;
use crate::unprivileged::own;

impl PostgresServer {
    /// Another server that follows this one, and knows all that this one does now.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    pub async fn standby(&self) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        own(dir.path());
        let copied = binary("pg_basebackup")
            .env("PGPASSWORD", &self.password)
            .arg("--no-sync")
            .arg("--checkpoint=fast")
            .arg("--write-recovery-conf")
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!("--host={}", self.address().ip()))
            .arg(format!("--port={}", self.address().port()))
            .arg(format!("--pgdata={}", dir.path().join(DATA).display()))
            .run()
            .await;
        assert!(copied.status.success(), "pg_basebackup: {}", copied.stderr);
        Self::launch(self.password.clone(), dir).await
    }

    /// Makes a standby a server of its own, which takes writes.
    ///
    /// # Panics
    ///
    /// If it is none.
    pub async fn promote(&self) {
        let promoted = self.connect().await.query_one("SELECT pg_promote()", &[]).await.expect("a standby");
        assert!(promoted.get::<_, bool>(0), "promoted in time");
    }

    /// Waits until `standby` knows all that this one does now.
    ///
    /// # Panics
    ///
    /// If it does not come to.
    pub async fn replicated_to(&self, standby: &Self) {
        let here = self
            .connect()
            .await
            .query_one("SELECT pg_current_wal_lsn()::text", &[])
            .await
            .expect("a position");
        let here: String = here.get(0);
        let there = standby.connect().await;
        let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{here}'::pg_lsn");
        eventually("the standby has caught up", async || {
            there.query_one(&caught_up, &[]).await.expect("a position").get::<_, bool>(0).then_some(())
        })
        .await;
    }
}
