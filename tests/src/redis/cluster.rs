//! A Redis Cluster of real servers.

use std::fs;

use redis::InfoDict;

use super::{RedisServer, with_settings};
use crate::certificates::Authority;
use crate::eventually::eventually;
use crate::port::Port;
use crate::services;

/// Three masters without replicas, and a third of the slots each; gone when dropped.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    tls: Vec<Port>,
    buses: Vec<Port>,
    password: String,
    authority: Authority,
}

const NODES: usize = 3;
const SLOTS: usize = 16_384;

impl RedisCluster {
    /// Starts them and waits until all of them serve, with TLS and without.
    ///
    /// # Panics
    ///
    /// As [`RedisServer::start`], or if they do not come together.
    pub async fn start() -> Self {
        let password = services::random_name("password");
        let authority = Authority::new();
        let mut cluster = Self { nodes: Vec::new(), tls: Vec::new(), buses: Vec::new(), password, authority };
        for _ in 0..NODES {
            cluster.add().await;
        }
        cluster.join().await;
        cluster
    }

    async fn add(&mut self) {
        let mut node = RedisServer::absent();
        let (tls, bus) = (Port::take(), Port::take());
        let path = |name: &str| node.dir.path().join(name).to_string_lossy().into_owned();
        let certificate = self.authority.certificate("127.0.0.1");
        fs::write(path("server.pem"), &certificate.chain).expect("a writable directory");
        fs::write(path("server.key"), &certificate.key).expect("a writable directory");
        let settings = [
            ("cluster-enabled", "yes".to_owned()),
            ("cluster-port", bus.address().port().to_string()),
            // No test waits for it: it decides when a node that is gone is given up.
            ("cluster-node-timeout", "5000".to_owned()),
            ("requirepass", self.password.clone()),
            ("tls-port", tls.address().port().to_string()),
            ("tls-cert-file", path("server.pem")),
            ("tls-key-file", path("server.key")),
            ("tls-ca-cert-file", self.authority.path().to_string_lossy().into_owned()),
            ("tls-auth-clients", "no".to_owned()),
            // Redis 7.0 tells of the others' ports for TLS only then.
            ("tls-cluster", "yes".to_owned()),
        ];
        node.program = with_settings(node.program, settings);
        node.password.clone_from(&self.password);
        node.start_again().await;
        self.nodes.push(node);
        self.tls.push(tls);
        self.buses.push(bus);
    }

    async fn join(&self) {
        for (n, node) in self.nodes.iter().enumerate() {
            node.run(&format!("CLUSTER ADDSLOTSRANGE {} {}", first(n), last(n))).await;
            // Otherwise they would have to find out whose word counts.
            node.run(&format!("CLUSTER SET-CONFIG-EPOCH {}", n + 1)).await;
        }
        for (node, bus) in self.nodes.iter().zip(&self.buses).skip(1) {
            let (address, bus) = (node.address(), bus.address().port());
            let meet = format!("CLUSTER MEET {} {} {bus}", address.ip(), address.port());
            self.nodes[0].run(&meet).await;
        }
        self.serves().await;
    }

    /// Waits until every node says that all slots are served.
    ///
    /// # Panics
    ///
    /// If that does not come.
    pub async fn serves(&self) {
        for node in &self.nodes {
            eventually("a cluster that serves", async || {
                let info: InfoDict = node.ask("CLUSTER INFO").await;
                let state: Option<String> = info.get("cluster_state");
                let known: Option<usize> = info.get("cluster_known_nodes");
                (state.as_deref() == Some("ok") && known == Some(NODES)).then_some(())
            })
            .await;
        }
    }

    /// Who signed the certificates of its nodes.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Its nodes, in the order of their slots.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// One of them.
    pub fn node_mut(&mut self, n: usize) -> &mut RedisServer {
        &mut self.nodes[n]
    }

    /// The addresses of all nodes but the first, as `REDIS_URL` takes them.
    pub fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| node.address().to_string()).collect();
        format!("redis+cluster://:{}@{}", self.password, hosts[1..].join(","))
    }

    /// One node's address for TLS, for a user with this password.
    pub fn tls_url(&self, user: &str, password: &str) -> String {
        format!("rediss+cluster://{user}:{password}@{}", self.tls[0].address())
    }

    /// Gives the slot of `key` from one node to another, and with it whatever is there away.
    ///
    /// # Panics
    ///
    /// If a node refuses.
    pub async fn hand_over(&self, key: &str, from: usize, to: usize) {
        let slot: usize = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
        let heir: String = self.nodes[to].ask("CLUSTER MYID").await;
        // A node keeps a slot that it has keys of.
        let keys: Vec<String> = self.nodes[from].ask(&format!("CLUSTER GETKEYSINSLOT {slot} 100")).await;
        if !keys.is_empty() {
            self.nodes[from].run(&format!("DEL {}", keys.join(" "))).await;
        }
        for node in [to, from, NODES - to - from] {
            self.nodes[node].run(&format!("CLUSTER SETSLOT {slot} NODE {heir}")).await;
        }
    }

    /// Which of the nodes a key belongs to.
    ///
    /// # Panics
    ///
    /// If it is in no slot.
    pub async fn place(&self, key: &str) -> usize {
        let slot: usize = self.nodes[0].ask(&format!("CLUSTER KEYSLOT {key}")).await;
        (0..NODES).find(|&n| slot <= last(n)).expect("every slot is served")
    }
}

/// Of node number `n`.
fn first(n: usize) -> usize {
    n * SLOTS / NODES
}

fn last(n: usize) -> usize {
    first(n + 1) - 1
}
