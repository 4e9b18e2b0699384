use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::api::Router;
use crate::app::origin::Proxies;
use crate::app::shared::{RequestIds, Sampler};
use crate::app::{App, Shared, trail, upkeep};
use crate::audit::{self, Audit, ChainWriter, DatabaseTime, Writer};
use crate::auth::{DEFAULT_TENANT, Provider, Tokens, VerifiedTokens};
use crate::clock::Clock;
use crate::config::{AuditMode, Config, Migrate, Secrets};
use crate::contexts::default_contexts;
use crate::crypto;
use crate::data_dir::DestructionLog;
use crate::health::DeepHealth;
use crate::id::TenantId;
use crate::keyring::{self, Keks, Keyring, MissingKek};
use crate::limits::Limits;
use crate::store::{self, Bootstrap, Deployment, KekRecord, Store, Tenant};
use crate::telemetry::{Metrics, causes};

/// The longest pause before the store is asked again what changed; it is up to a quarter shorter, so that replicas do not
/// ask in step.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
const RSA_KEYS_AT_ONCE: usize = 2;
/// Contexts that are loaded before the first request.
const WARM_UP: u32 = 100;

/// Why a deployment cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// This process does not have the deployment's master key.
    #[error(transparent)]
    MissingKek(#[from] MissingKek),
    /// A cryptographic fault.
    #[error("a key could not be made: {0}")]
    Crypto(#[from] crypto::Error),
    /// The keys of the audit trail.
    #[error(transparent)]
    AuditKeys(audit::KeysError),
}

impl From<audit::KeysError> for SetupError {
    fn from(error: audit::KeysError) -> Self {
        match error {
            audit::KeysError::Store(error) => error.into(),
            audit::KeysError::MissingKek(missing) => missing.into(),
            other => Self::AuditKeys(other),
        }
    }
}

impl From<keyring::Error> for SetupError {
    fn from(error: keyring::Error) -> Self {
        match error {
            keyring::Error::Store(error) => error.into(),
            keyring::Error::MissingKek(missing) => missing.into(),
            keyring::Error::Key(error) => error.into(),
            stale @ keyring::Error::Stale(_) => store::Error::Unavailable(stale.into()).into(),
        }
    }
}

/// Brings the schema up to date if `migrate` says so, sets up a deployment that is new, and checks that `keks` are its
/// keys.
///
/// # Errors
///
/// [`SetupError`]; no key or row of a deployment that exists is then changed, though its schema may be newer.
pub async fn set_up<S: Store>(
    store: &S,
    keks: &Keks,
    migrate: Migrate,
    clock: &Clock,
) -> Result<Deployment, SetupError> {
    match migrate {
        Migrate::Auto => store.migrate().await?,
        Migrate::Off => store.check_schema().await?,
    }
    let kek = keks.current();
    let tenant = Tenant { id: TenantId::random(), name: DEFAULT_TENANT.parse().expect("a valid name") };
    let now = clock.now();
    let first = Bootstrap {
        contexts: default_contexts(tenant.id, kek, now)?,
        tenant,
        kek: KekRecord { id: kek.id(), check_value: kek.check_value() },
        at: now,
    };
    let deployment = store.bootstrap(&first).await?;
    keks.check(&deployment)?;
    Ok(deployment)
}

/// What must run beside the requests.
pub struct Background<S> {
    shared: Arc<Shared<S>>,
    writer: Option<Writer<S>>,
}

impl<S: Store> App<S> {
    /// The application over a deployment that is set up, and what must run beside it.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn new(
        config: &Config,
        secrets: &Secrets,
        keks: Keks,
        deployment: &Deployment,
        store: S,
        clock: Clock,
    ) -> Result<(Self, Background<S>), SetupError> {
        let replica = upkeep::replica(&config.server.instance_id, keks.ids());
        let time = DatabaseTime::new(clock.clone());
        let begun = time.begin();
        time.measured(begun, store.register(&replica, clock.now()).await?);
        // Checks the keys again, now that nobody can make one active that this process lacks without seeing it.
        let staleness = config.keyring.max_staleness;
        let audit_keys = Arc::new(audit::Keys::open(&store, &keks, &clock).await?);
        let keyring = Keyring::open(store.clone(), keks, clock.clone(), staleness).await?;
        let opening = audit::Opening { instance: replica.instance.clone(), replica: replica.id };
        let chain = ChainWriter::new(store.clone(), audit_keys.clone(), opening, time.clone());
        let (audit, writer) = Audit::new(&config.audit, clock.clone(), chain);
        let limits = Limits::new(&config.limits, &config.redis, clock.clone());
        let limits = if config.audit.mode == AuditMode::Off { limits } else { limits.with_tally() };
        let metrics = Metrics::new(&config.server.instance_id, config.tls.is_some(), |registry| {
            limits.register(registry);
            keyring.register(registry);
            store.register_metrics(registry);
        });
        let metrics = Arc::new(metrics);
        let shared = Arc::new(Shared {
            keyring,
            tokens: Tokens::new(&secrets.jwt_key, &secrets.jwt_key_previous, clock.clone()),
            verified_tokens: VerifiedTokens::default(),
            provider: config
                .auth
                .provider
                .as_ref()
                .map(|provider| Provider::new(provider, clock.clone()).into()),
            limits,
            audit,
            audit_keys,
            audit_retention_days: config.audit.retention_days,
            time,
            clock,
            replica,
            instance: config.server.instance_id.as_str().into(),
            metrics,
            deep_health: DeepHealth::default(),
            heavy: Arc::new(Semaphore::new(heavy_at_once())),
            making_rsa_keys: Semaphore::new(RSA_KEYS_AT_ONCE),
            destructions: DestructionLog::of_store(&config.database),
            router: Router::new(),
            proxies: Proxies::new(&config.server),
            sampler: Sampler::new(config.logging.sample),
            slow_request: config.logging.slow_request,
            request_ids: RequestIds::new(),
            silent_at: AtomicU64::new(0),
            warm: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            store,
        });
        let weak = Arc::downgrade(&shared);
        shared.metrics.look_at(move || weak.upgrade().map(|shared| shared.state()));
        shared.count_replicas().await;
        shared.limits.connect().await;
        shared.warm_up(deployment.tenant.id).await?;
        shared.complete_destructions().await?;
        Ok((Self { shared: shared.clone() }, Background { shared, writer }))
    }
}

impl<S: Store> Shared<S> {
    async fn warm_up(&self, tenant: TenantId) -> Result<(), SetupError> {
        // The first random draw of a process takes about 20 ms.
        crypto::random::warm_up()?;
        for context in self.store.contexts(tenant, false, None, WARM_UP).await? {
            if let Err(error) = self.keyring.encryption_key(tenant, &context.name).await {
                let error = causes(&error);
                tracing::error!(context = %context.name, %error, "a context's key cannot be loaded");
            }
        }
        self.warm.store(true, Ordering::Release);
        Ok(())
    }

    /// Polls for ever, after a `pause` of at most [`POLL_INTERVAL`] each time; a view that cannot be confirmed ages.
    pub(super) async fn poll<P: Future<Output = ()>>(&self, pause: impl Fn(Duration) -> P) {
        let mut failing = false;
        loop {
            pause(jittered(POLL_INTERVAL)).await;
            match self.keyring.poll().await {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the database answers again");
                }
                Ok(()) => {}
                Err(error) if !failing => {
                    failing = true;
                    let error = causes(&error);
                    tracing::error!(%error, "the database cannot be asked what changed; working on what is known");
                }
                Err(_) => {}
            }
        }
    }
}

impl<S: Store> Background<S> {
    /// Runs until `stop` completes and the audit queue is empty. Every other handle to the application must be dropped
    /// by then, or the queue never ends.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) {
        let Self { shared, writer } = self;
        // Not `shared`, which holds the queue open.
        let (store, keys, replica) = (shared.store.clone(), shared.audit_keys.clone(), shared.replica.id);
        let audited = shared.audit.is_on();
        let writing = async {
            if let Some(writer) = writer {
                writer.run().await;
            }
        };
        let (stopping, stopped) = watch::channel(());
        let recording_refusals = {
            let (shared, stopped) = (shared.clone(), stopped.clone());
            async move { shared.record_refusals(stopped).await }
        };
        let upkeep = {
            let shared = shared.clone();
            async move { shared.upkeep(upkeep::Intervals::SERVING, stopped).await }
        };
        let polling = async move {
            tokio::select! {
                () = shared.poll(tokio::time::sleep) => {}
                () = shared.heartbeats() => {}
                () = shared.refresh_provider_keys() => {}
                () = shared.limits.keep_up() => {}
                () = stop => {}
            }
            drop(stopping);
        };
        tokio::join!(writing, recording_refusals, upkeep, polling);
        // Its end is worth an anchor: this may have been the last replica.
        if audited && let Err(error) = trail::take_checkpoint(&store, &keys, Duration::ZERO).await {
            let error = causes(&error);
            tracing::warn!(%error, "no checkpoint holds the end of this process's audit chain; the next one does");
        }
        // Only now: without its word that it is there, its chain would count as that of a dead one.
        if let Err(error) = store.remove_replica(replica).await {
            let error = causes(&error);
            tracing::warn!(%error, "the other replicas were not told of this one's end; they notice within seconds");
        }
        store.close().await;
    }
}

/// Twice the processors: more would only wait for each other.
fn heavy_at_once() -> usize {
    2 * std::thread::available_parallelism().map_or(2, usize::from)
}

fn jittered(interval: Duration) -> Duration {
    // Without randomness every replica keeps the same interval, which is worse for the database and nothing else.
    let [byte] = crypto::random::array().unwrap_or([128]);
    interval.mul_f64(0.75 + f64::from(byte) / 1024.0)
}
