use cryptoserve_core::app::set_up;
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::{Config, Migrate};
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;

use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;

/// Brings the schema up to date and sets up a deployment that is new, then ends.
pub(crate) async fn migrate(config: Config) -> Result<(), Failure> {
    Opened::for_migration(&config)?.with_store(&config, SetUp).await
}

struct SetUp;

impl WithStore for SetUp {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        let deployment = set_up(&store, &keks, Migrate::Auto, &Clock::system()).await?;
        store.close().await;
        tracing::info!(active_kek = %deployment.active_kek, "the schema is up to date");
        Ok(())
    }
}
