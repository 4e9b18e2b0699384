//! What goes on while others are killed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cryptoserve_tests::{Client, Reply, Tables, eventually};
use http::Method;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::ledger::{Identity, Ledger, Sealed, Versions};
use super::random::Random;
use crate::support::{DECRYPT, ENCRYPT, base64};

const CONTEXTS: &str = "/api/admin/contexts";
const IDENTITIES: &str = "/api/admin/identities";
/// How much of the ledger is looked at after each kill.
const SAMPLE: usize = 10;
/// Leaves the processor to those who start again.
const PAUSE: Duration = Duration::from_millis(10);

/// The work, and what was acknowledged of it.
#[derive(Debug)]
pub(super) struct Work {
    admins: Vec<Client>,
    apps: Vec<Client>,
    ledger: Mutex<Ledger>,
    stopped: AtomicBool,
    /// Changes that were acknowledged.
    pub(super) acknowledged: AtomicU64,
}

/// Those who do it.
#[derive(Debug)]
pub(super) struct Workers(Vec<JoinHandle<()>>);

/// A client of one replica.
pub(super) fn client(address: SocketAddr, token: &str) -> Client {
    Client::new(address).with_token(token).with_limit(Duration::from_secs(10))
}

impl Workers {
    pub(super) fn start(work: &Arc<Work>, random: &mut Random) -> Self {
        let mut workers = Vec::new();
        for n in 0..2 {
            let (work, random) = (work.clone(), Random::new(random.next()));
            workers.push(tokio::spawn(async move { work.contexts(n, random).await }));
        }
        let (of_identities, random_of_identities) = (work.clone(), Random::new(random.next()));
        workers.push(tokio::spawn(async move { of_identities.identities(random_of_identities).await }));
        let (of_services, random_of_services) = (work.clone(), Random::new(random.next()));
        workers.push(tokio::spawn(async move { of_services.services(random_of_services).await }));
        Self(workers)
    }

    pub(super) async fn stop(self, work: &Work) {
        work.stopped.store(true, Ordering::Relaxed);
        for worker in self.0 {
            worker.await.expect("no answer was other than expected");
        }
    }
}

impl Work {
    pub(super) fn new(admins: Vec<Client>, apps: Vec<Client>) -> Arc<Self> {
        let (ledger, stopped, acknowledged) = Default::default();
        Arc::new(Self { admins, apps, ledger, stopped, acknowledged })
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no holder panics")
    }

    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// Contexts with their keys: made, rotated, used; and versions that come to other states.
    async fn contexts(&self, worker: u32, mut random: Random) {
        for n in 0.. {
            if !self.goes_on() {
                return;
            }
            let name = format!("made-{worker}-{n}");
            let made = self.change(&mut random, Method::POST, CONTEXTS, json!({ "name": name })).await;
            if made.is_none() {
                continue;
            }
            self.ledger().contexts.insert(name.clone(), Versions { count: 1, ..Versions::default() });
            let path = format!("{CONTEXTS}/{name}");
            self.encrypt(&mut random, &name).await;
            for _ in 0..1 + random.below(5) {
                let rotated =
                    self.change(&mut random, Method::POST, &format!("{path}/rotate-key"), json!({})).await;
                let Some(rotated) = rotated else { break };
                let version = rotated.json()["previous_version"].as_u64().expect("a number");
                {
                    let mut ledger = self.ledger();
                    let versions = ledger.contexts.get_mut(&name).expect("made before");
                    versions.count = version + 1;
                    versions.states.insert(version, "decrypt_only");
                }
                if version <= 2 {
                    // What is encrypted under these is to be opened in the end.
                    if version == 1 {
                        self.encrypt(&mut random, &name).await;
                    }
                    continue;
                }
                for state in ["disabled", "scheduled_for_destruction", "disabled"] {
                    self.ledger().contexts.get_mut(&name).expect("made before").states.remove(&version);
                    let path = format!("{path}/keys/{version}");
                    if self.change(&mut random, Method::PUT, &path, json!({ "state": state })).await.is_none()
                    {
                        break;
                    }
                    self.ledger().contexts.get_mut(&name).expect("made before").states.insert(version, state);
                    if random.below(2) == 0 {
                        break;
                    }
                }
            }
        }
    }

    /// Identities: made, disabled, enabled, deleted.
    async fn identities(&self, mut random: Random) {
        for n in 0.. {
            if !self.goes_on() {
                return;
            }
            let body = json!({ "name": format!("made-{n}"), "contexts": ["general"] });
            let Some(made) = self.change(&mut random, Method::POST, IDENTITIES, body).await else { continue };
            let id = made.text("id");
            let path = format!("{IDENTITIES}/{id}");
            self.ledger().identities.insert(id.clone(), Identity { enabled: Some(true) });
            for _ in 0..random.below(4) {
                let step = random.below(3);
                self.ledger().identities.remove(&id);
                let changed = match step {
                    0 => self.change(&mut random, Method::DELETE, &path, Value::Null).await,
                    step => {
                        self.change(&mut random, Method::PUT, &path, json!({ "enabled": step == 1 })).await
                    }
                };
                if changed.is_none() {
                    break;
                }
                self.ledger()
                    .identities
                    .insert(id.clone(), Identity { enabled: (step > 0).then_some(step == 1) });
                if step == 0 {
                    break;
                }
            }
        }
    }

    /// Services that encrypt under keys of which others make new versions.
    async fn services(&self, mut random: Random) {
        while self.goes_on() {
            self.encrypt(&mut random, "user-pii").await;
            if random.below(20) == 0 {
                let path = format!("{CONTEXTS}/user-pii/rotate-key");
                self.change(&mut random, Method::POST, &path, json!({})).await;
            }
        }
    }

    async fn encrypt(&self, random: &mut Random, context: &str) {
        let plaintext = base64(random.next().to_le_bytes());
        let body = json!({ "context": context, "plaintext": plaintext });
        let app = random.one_of(&self.apps);
        if let Some(reply) = answer(app, Method::POST, ENCRYPT, &body).await {
            let ciphertext = reply.text("ciphertext");
            self.ledger().ciphertexts.push(Sealed { ciphertext, plaintext });
        }
        tokio::time::sleep(PAUSE).await;
    }

    /// Asks any replica for a change; `None` if there was no answer, or none that says whether it was made.
    async fn change(&self, random: &mut Random, method: Method, path: &str, body: Value) -> Option<Reply> {
        let admin = random.one_of(&self.admins);
        let reply = answer(admin, method, path, &body).await;
        if reply.is_some() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(PAUSE).await;
        reply
    }

    /// A few things that no worker changes any more.
    pub(super) async fn check_some(&self, random: &mut Random) {
        let (mut ciphertexts, mut contexts) = (Vec::new(), Vec::new());
        {
            let ledger = self.ledger();
            for _ in 0..SAMPLE {
                ciphertexts.push(random.one_of(&ledger.ciphertexts).clone());
            }
            let names: Vec<_> = ledger.contexts.keys().cloned().collect();
            for _ in 0..SAMPLE {
                let name = random.one_of(&names).clone();
                let count = ledger.contexts[&name].count;
                contexts.push((name, Versions { count, ..Versions::default() }));
            }
        }
        for sealed in &ciphertexts {
            self.check_ciphertext(random, sealed).await;
        }
        for (name, versions) in &contexts {
            self.check_context(random, name, versions).await;
        }
    }

    /// Everything, once nobody works any more.
    pub(super) async fn check_all(&self, random: &mut Random) {
        let Ledger { contexts, identities, ciphertexts } = std::mem::take(&mut *self.ledger());
        assert!(contexts.len() > 5 && identities.len() > 5 && ciphertexts.len() > 20, "there was work");
        for sealed in &ciphertexts {
            self.check_ciphertext(random, sealed).await;
        }
        for (name, versions) in &contexts {
            self.check_context(random, name, versions).await;
        }
        for (id, identity) in &identities {
            let admin = random.one_of(&self.admins);
            let reply = found(admin, &format!("{IDENTITIES}/{id}")).await;
            let enabled = (reply.status == 200).then(|| reply.json()["enabled"].as_bool()).flatten();
            assert_eq!(enabled, identity.enabled, "{reply:?}");
        }
        *self.ledger() = Ledger { contexts, identities, ciphertexts };
    }

    /// Every acknowledged rotation is in the audit trail, which is written before the answer.
    pub(super) async fn check_audit(&self, tables: &Tables) {
        let contexts = self.ledger().contexts.clone();
        for (name, versions) in contexts {
            let sql = format!(
                "SELECT count(*) FROM audit_records WHERE context = '{name}' AND outcome = 'success' \
                 AND operation IN ('admin.contexts.create', 'admin.keys.rotate')"
            );
            let audited = tables.number(&sql).await;
            assert!(audited >= versions.count as i64, "{name}: {audited} of {}", versions.count);
        }
    }

    async fn check_ciphertext(&self, random: &mut Random, sealed: &Sealed) {
        let app = random.one_of(&self.apps);
        let body = json!({ "ciphertext": sealed.ciphertext });
        let reply = eventually("decryption", async || answer(app, Method::POST, DECRYPT, &body).await).await;
        assert_eq!(reply.text("plaintext"), sealed.plaintext);
    }

    async fn check_context(&self, random: &mut Random, name: &str, expected: &Versions) {
        let admin = random.one_of(&self.admins);
        let reply = found(admin, &format!("{CONTEXTS}/{name}/keys")).await.expect(200).json();
        let versions = reply["versions"].as_array().expect("a list");
        let count = versions.len() as u64;
        // A rotation that nobody heard of may have been made.
        assert!(
            (expected.count..=expected.count + 1).contains(&count) || expected.states.is_empty(),
            "{reply}"
        );
        assert!(count >= expected.count, "{reply}, of {expected:?}");
        assert_eq!(versions[0]["state"], "enabled", "{reply}");
        let enabled = versions.iter().filter(|version| version["state"] == "enabled").count();
        assert_eq!(enabled, 1, "{reply}");
        for version in versions {
            let number = version["version"].as_u64().expect("a number");
            if let Some(state) = expected.states.get(&number) {
                assert_eq!(version["state"], *state, "{name} {number}: {reply}");
            }
        }
    }
}

/// What is to be found, asking until there is an answer.
async fn found(client: &Client, path: &str) -> Reply {
    eventually("an answer", async || {
        let reply = client.try_get(path).await.ok()?;
        (reply.status != 503).then_some(reply)
    })
    .await
}

/// The answer, if it says that it was done. Without it, it may have been done or not.
async fn answer(client: &Client, method: Method, path: &str, body: &Value) -> Option<Reply> {
    let content = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request = client.request(method.clone(), path).header("content-type", "application/json");
    let reply = client.try_send(request.body(Full::new(content)).expect("a request")).await.ok()?;
    match reply.status {
        200 | 201 => Some(reply),
        503 => None,
        _ => panic!("{method} {path}: {reply:?}"),
    }
}
