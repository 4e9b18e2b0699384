use std::time::Duration;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use tokio::time::timeout;

use super::endpoint::{Endpoint, Opened};
use super::link::Trouble;
use super::slot::{Master, masters, slot};
use crate::config::RedisFlavour;

/// The servers that hold the buckets: one, or all masters of a cluster.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    /// The last slot of each range, in order, and whose it is. Nothing for a single server.
    owners: Vec<(u16, usize)>,
}

/// A server, with an open connection.
pub(super) struct Node {
    /// `host:port`; fit for logs.
    pub(super) address: String,
    /// In a cluster, a hash tag that puts keys on this server.
    tag: Option<String>,
    opened: Opened,
}

impl Nodes {
    /// Connects to a single server, the first of `seeds`, or to all masters of a cluster, of which the first of `seeds`
    /// tells that answers within `patience`.
    pub(super) async fn connect(
        flavour: RedisFlavour,
        seeds: impl Iterator<Item = &Endpoint>,
        patience: Duration,
    ) -> Result<Self, Trouble> {
        let mut last = None;
        for seed in seeds {
            if flavour == RedisFlavour::Single {
                let node = Node { address: seed.address(), tag: None, opened: seed.open().await? };
                return Ok(Self { nodes: vec![node], owners: Vec::new() });
            }
            let answer = timeout(patience, ask(seed)).await;
            match answer.unwrap_or(Err(Trouble::TimedOut(patience))) {
                Ok(masters) => return Self::cluster(seed, masters, patience).await,
                Err(trouble) => last = Some(trouble.of(seed.address())),
            }
        }
        Err(last.expect("a RedisUrl is never empty"))
    }

    async fn cluster(seed: &Endpoint, masters: Vec<Master>, patience: Duration) -> Result<Self, Trouble> {
        let ranges = masters.iter().enumerate();
        let ends =
            ranges.flat_map(|(index, master)| master.slots.iter().map(move |slots| (*slots.end(), index)));
        let mut owners: Vec<_> = ends.collect();
        owners.sort_unstable();
        let nodes = masters.iter().map(async |master| {
            let endpoint = seed.at(&master.host, master.port);
            let address = endpoint.address();
            match timeout(patience, endpoint.open()).await {
                Ok(Ok(opened)) => Ok(Node { address, tag: Some(master.tag()), opened }),
                Ok(Err(error)) => Err(Trouble::from(error).of(address)),
                Err(_) => Err(Trouble::TimedOut(patience).of(address)),
            }
        });
        Ok(Self { nodes: try_join_all(nodes).await?, owners })
    }

    /// The server that holds a key.
    pub(super) fn serving(&self, key: &str) -> &Node {
        let index = match &self.owners[..] {
            [] => 0,
            owners => {
                let slot = slot(key);
                let position = owners.partition_point(|&(last, _)| last < slot);
                owners.get(position).map_or(0, |&(_, index)| index)
            }
        };
        &self.nodes[index]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }
}

impl Node {
    pub(super) fn redis(&self) -> MultiplexedConnection {
        self.opened.redis.clone()
    }

    /// A key that belongs to nobody and is on this server.
    pub(super) fn key(&self, name: &str) -> String {
        format!("cs:{}{name}", self.tag.as_deref().unwrap_or_default())
    }

    /// Says whose trouble it is, if that is not obvious.
    pub(super) fn blame(&self, trouble: Trouble) -> Trouble {
        if self.tag.is_some() { trouble.of(self.address.clone()) } else { trouble }
    }
}

async fn ask(seed: &Endpoint) -> Result<Vec<Master>, Trouble> {
    let mut opened = seed.open().await?;
    Ok(masters(&mut opened.redis, &seed.host).await?)
}
