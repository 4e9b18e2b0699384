//! `cryptoserve audit`: the audit trail, verified and exported.

mod export;
mod progress;
mod verify;

use std::io::Write;

use cryptoserve_core::audit::Keys;
use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::Config;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;

use crate::cli::AuditCommand;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;

/// Does what was asked with the audit trail.
pub(crate) async fn audit(config: Config, command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(args) => verify::verify(&config, args).await.map_err(Failure::inconclusive)?,
        AuditCommand::PublicKey => Opened::for_command(&config)?.with_store(&config, PublicKey).await,
        AuditCommand::Export(args) => export::export(&config, args).await,
    }
}

/// The keys of the trail, which must be there: one that is made now has signed nothing.
async fn keys<S: Store>(store: &S, keks: &Keks) -> Result<Keys, Failure> {
    if store.audit_keys().await?.is_empty() {
        return Err(Failure::failed(
            "the database has no keys of an audit trail: no server ever started on it, or they were removed",
        ));
    }
    Ok(Keys::open(store, keks, &Clock::system()).await?)
}

struct PublicKey;

impl WithStore for PublicKey {
    type Output = Result<(), Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        store.check_schema().await?;
        let keys = keys(&store, &keks).await?;
        store.close().await;
        let fingerprint: String = keys.fingerprint().iter().map(|byte| format!("{byte:02x}")).collect();
        // What reads PEM passes over what stands before it (RFC 7468 section 2).
        let text = format!("SHA-256 {fingerprint}\n{}", keys.public_key().pem());
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::failed)
    }
}
