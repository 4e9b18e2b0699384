use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cryptoserve_tests::{Client, Cluster, LIMIT, Reply, TokenRequest, eventually};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{DECRYPT, ENCRYPT, base64};

/// Leaves the processor to what is tested.
const PAUSE: Duration = Duration::from_millis(10);
/// Requests that count as going on.
const SOME: u64 = 60;
const ROTATED: &str = "session-tokens";

/// Clients that use all replicas directly until told to stop, and accept no failed request. When no connection is to be
/// had, or one closes before the reply, they go to another replica.
pub(super) struct Load {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

struct Shared {
    apps: Vec<Client>,
    admins: Vec<Client>,
    answered: AtomicU64,
    stopping: AtomicBool,
    failures: Mutex<Vec<String>>,
    sealed: Mutex<Vec<Sealed>>,
}

/// What one client does over and over.
#[derive(Clone, Copy)]
enum Work {
    Encrypt(usize),
    Decrypt,
    Rotate,
    Create,
}

#[derive(Clone)]
pub(super) struct Sealed {
    pub(super) ciphertext: Value,
    pub(super) plaintext: String,
}

impl Load {
    pub(super) async fn start(cluster: &Cluster) -> Self {
        let app = cluster.token(&TokenRequest::identity("app")).await;
        let admin = cluster.token(&TokenRequest::admin()).await;
        let clients = |token: &str| -> Vec<Client> {
            cluster.replicas().iter().map(|replica| replica.client().with_token(token)).collect()
        };
        let shared = Arc::new(Shared {
            apps: clients(&app),
            admins: clients(&admin),
            answered: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            failures: Mutex::default(),
            sealed: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for work in [Work::Encrypt(0), Work::Encrypt(1), Work::Decrypt, Work::Rotate, Work::Create] {
            let shared = shared.clone();
            tasks.spawn(async move { shared.repeat(work).await });
        }
        Self { shared, tasks }
    }

    /// Waits until more requests have succeeded.
    pub(super) async fn goes_on(&self) {
        let until = self.shared.answered.load(Ordering::Relaxed) + SOME;
        eventually("requests go on", async || {
            self.shared.check();
            (self.shared.answered.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }

    /// Ends it; everything that was encrypted, and what it should decrypt to.
    pub(super) async fn end(mut self) -> Vec<Sealed> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no client panicked");
        }
        self.shared.check();
        self.shared.sealed.lock().expect("no holder panics").clone()
    }
}

impl Shared {
    fn check(&self) {
        let failures = self.failures.lock().expect("no holder panics");
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{failures:?}, and {answered} requests that succeeded");
    }

    async fn repeat(&self, work: Work) {
        let mut n = 0;
        while !self.stopping.load(Ordering::Relaxed) {
            match work {
                Work::Encrypt(client) => self.encrypt_and_decrypt(client, n).await,
                Work::Decrypt => self.decrypt_again(n).await,
                Work::Rotate => self.rotate(n).await,
                Work::Create => self.create(n).await,
            }
            n += 1;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends to the replica `n`, or another that is there; any status but those of `expected` is a failure.
    async fn send(
        &self,
        to: &[Client],
        n: usize,
        path: &str,
        body: &Value,
        expected: &[u16],
    ) -> Option<Reply> {
        let deadline = Instant::now() + LIMIT;
        let mut n = n;
        let failure = loop {
            match to[n % to.len()].try_post_json(path, body).await {
                Ok(reply) if expected.contains(&reply.status) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                    return Some(reply);
                }
                Ok(reply) => break format!("{reply:?}"),
                Err(error) if Instant::now() > deadline || error.to_string().contains("no reply within") => {
                    break error.to_string();
                }
                Err(_) => {
                    n += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        let replica = n % to.len();
        self.failures.lock().expect("no holder panics").push(format!("{path} at {replica}: {failure}"));
        None
    }

    async fn encrypt(&self, n: usize, context: &str, plaintext: String) -> Option<Sealed> {
        let body = json!({ "context": context, "plaintext": base64(&plaintext) });
        let reply = self.send(&self.apps, n, ENCRYPT, &body, &[200]).await?;
        let sealed = Sealed { ciphertext: json!({ "ciphertext": reply.text("ciphertext") }), plaintext };
        self.sealed.lock().expect("no holder panics").push(sealed.clone());
        Some(sealed)
    }

    async fn decrypt(&self, n: usize, sealed: &Sealed) {
        if let Some(reply) = self.send(&self.apps, n, DECRYPT, &sealed.ciphertext, &[200]).await {
            assert_eq!(reply.text("plaintext"), base64(&sealed.plaintext));
        }
    }

    async fn encrypt_and_decrypt(&self, worker: usize, n: usize) {
        let context = ["user-pii", ROTATED, "general", "payment-data"][n % 4];
        if let Some(sealed) = self.encrypt(n + worker, context, format!("{worker}-{n}")).await {
            self.decrypt(n + worker + 1, &sealed).await;
        }
    }

    /// What was encrypted long ago, with versions that are no longer enabled.
    async fn decrypt_again(&self, n: usize) {
        let sealed = {
            let all = self.sealed.lock().expect("no holder panics");
            all.get(n * 7 % all.len().max(1)).cloned()
        };
        if let Some(sealed) = sealed {
            self.decrypt(n, &sealed).await;
        }
    }

    async fn rotate(&self, n: usize) {
        let path = format!("/api/admin/contexts/{ROTATED}/rotate-key");
        self.send(&self.admins, n, &path, &json!({}), &[200]).await;
        tokio::time::sleep(3 * PAUSE).await;
    }

    async fn create(&self, n: usize) {
        let name = format!("made-{n}");
        let body = json!({ "name": name });
        // 409 when it was made, and the connection closed before the reply.
        self.send(&self.admins, n, "/api/admin/contexts", &body, &[201, 409]).await;
        self.encrypt(n + 1, &name, name.clone()).await;
        tokio::time::sleep(3 * PAUSE).await;
    }
}

/// Decrypts everything through `client`.
pub(super) async fn decrypt_all(client: &Client, all: &[Sealed]) {
    for sealed in all {
        let reply = client.post_json(DECRYPT, &sealed.ciphertext).await.expect(200);
        assert_eq!(reply.text("plaintext"), base64(&sealed.plaintext));
    }
}
