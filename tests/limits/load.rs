//! Many clients, each of which asks the replicas in turn.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64_simd::STANDARD;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use crate::fleet::{Fleet, RedisClock};

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) clients: u32,
    /// Requests per second of all clients together; 0 is as many as they can.
    pub(crate) demand: u32,
    /// Requests in all, if not before.
    pub(crate) most: u64,
}

/// A load under way; to be ended with [`Running::stop`].
pub(crate) struct Running {
    /// By Redis' clock, before the first request.
    pub(crate) begun: Duration,
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Counts>>,
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    /// The connection broke, as it does when a replica is killed.
    pub(crate) unknown: u64,
    pub(crate) unknown_sample: Option<String>,
    pub(crate) other: u64,
    pub(crate) other_sample: Option<String>,
    pub(crate) slowest: Duration,
    /// Redis' time just after the first that was admitted.
    pub(crate) first_admitted: Option<Duration>,
}

struct Shared {
    addresses: Vec<SocketAddr>,
    authorization: HeaderValue,
    body: Bytes,
    clock: RedisClock,
    /// Requests that may still be made.
    left: AtomicU64,
    stopped: AtomicBool,
    first_admitted: OnceCell<Duration>,
}

struct Client {
    shared: Arc<Shared>,
    /// One to each replica.
    connections: Vec<Option<SendRequest<Full<Bytes>>>>,
    number: u32,
    next: usize,
    counts: Counts,
}

/// Longest wait for a reply: far more than any time-out of the servers.
const LIMIT: Duration = Duration::from_secs(10);

impl Load {
    /// Begins to ask the replicas of `fleet`.
    pub(crate) async fn start(self, fleet: &Fleet) -> Running {
        let plaintext = STANDARD.encode_to_string("sixteen bytes ok");
        let body = serde_json::json!({ "context": "general", "plaintext": plaintext });
        let authorization = format!("Bearer {}", fleet.token);
        let shared = Arc::new(Shared {
            addresses: fleet.addresses(),
            authorization: authorization.parse().expect("a token can stand in a header"),
            body: Bytes::from(body.to_string()),
            clock: fleet.clock().await,
            left: AtomicU64::new(self.most),
            stopped: AtomicBool::new(false),
            first_admitted: OnceCell::new(),
        });
        let clients = (0..self.clients).map(|number| Client::connected(shared.clone(), number));
        let clients = join_all(clients).await;
        let begun = shared.clock.now().await;
        let begin = Instant::now();
        let clients = clients.into_iter().map(|client| tokio::spawn(client.run(begin, self.period())));
        Running { begun, clients: clients.collect(), shared }
    }

    /// Time between two requests of all clients together.
    fn period(self) -> Option<Duration> {
        (self.demand > 0).then(|| Duration::from_secs(1) / self.demand * self.clients)
    }
}

impl Running {
    /// Whether all requests are made and answered.
    pub(crate) fn is_finished(&self) -> bool {
        self.clients.iter().all(JoinHandle::is_finished)
    }

    /// Lets the requests that are under way be answered, and tells what came of all.
    pub(crate) async fn stop(self) -> Counts {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let counts = join_all(self.clients).await;
        let mut all =
            Counts { first_admitted: self.shared.first_admitted.get().copied(), ..Counts::default() };
        for counts in counts {
            all.add(counts.expect("no client panics"));
        }
        all
    }
}

impl Counts {
    /// Requests sent.
    pub(crate) fn sent(&self) -> u64 {
        self.admitted + self.refused + self.unknown + self.other
    }

    fn add(&mut self, more: Self) {
        self.admitted += more.admitted;
        self.refused += more.refused;
        self.unknown += more.unknown;
        self.other += more.other;
        self.unknown_sample = self.unknown_sample.take().or(more.unknown_sample);
        self.other_sample = self.other_sample.take().or(more.other_sample);
        self.slowest = self.slowest.max(more.slowest);
    }

    fn other(&mut self, what: String) {
        self.other += 1;
        self.other_sample.get_or_insert(what);
    }
}

impl Shared {
    /// Whether one more request is to be made.
    fn goes_on(&self) -> bool {
        let left = |left: u64| left.checked_sub(1);
        !self.stopped.load(Ordering::Relaxed)
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

impl Client {
    async fn connected(shared: Arc<Shared>, number: u32) -> Self {
        let connections: Vec<_> = shared.addresses.iter().map(|_| None).collect();
        let replicas = connections.len();
        let mut client =
            Self { shared, connections, number, next: number as usize, counts: Counts::default() };
        for index in 0..replicas {
            client.connect(index).await;
        }
        client
    }

    /// Clients begin one after the other, so that not all of them ask at the same moment ever after.
    async fn run(mut self, begin: Instant, period: Option<Duration>) -> Counts {
        let mut ticks = period.map(|period| {
            let stagger = period.mul_f64(f64::from(self.number.reverse_bits()) / f64::from(u32::MAX));
            let mut ticks = interval_at(begin + stagger, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        loop {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            if !self.shared.goes_on() {
                return self.counts;
            }
            self.ask().await;
        }
    }

    /// One request to the next replica that takes connections.
    async fn ask(&mut self) {
        let replicas = self.connections.len();
        for _ in 0..replicas {
            let index = self.next % replicas;
            self.next += 1;
            if self.connect(index).await {
                return self.ask_replica(index).await;
            }
        }
        self.counts.other("no replica takes a connection".to_owned());
    }

    /// Whether there is a connection that looks usable.
    async fn connect(&mut self, index: usize) -> bool {
        if let Some(sender) = &mut self.connections[index]
            && sender.ready().await.is_ok()
        {
            return true;
        }
        self.connections[index] = None;
        let Ok(stream) = TcpStream::connect(self.shared.addresses[index]).await else { return false };
        let _ = stream.set_nodelay(true);
        let Ok((sender, connection)) = handshake(TokioIo::new(stream)).await else { return false };
        tokio::spawn(connection);
        self.connections[index] = Some(sender);
        true
    }

    async fn ask_replica(&mut self, index: usize) {
        let request = self.request(self.shared.addresses[index]);
        let sender = self.connections[index].as_mut().expect("it was just connected");
        let sent = Instant::now();
        let reply = timeout(LIMIT, async {
            let reply = sender.send_request(request).await?;
            let status = reply.status();
            Ok::<_, hyper::Error>((status, reply.into_body().collect().await?.to_bytes()))
        });
        match reply.await {
            Ok(Ok((StatusCode::OK, _))) => {
                self.counts.admitted += 1;
                self.shared.first_admitted.get_or_init(|| self.shared.clock.now()).await;
            }
            Ok(Ok((StatusCode::TOO_MANY_REQUESTS, _))) => self.counts.refused += 1,
            Ok(Ok((status, body))) => {
                self.counts.other(format!("{status}: {}", String::from_utf8_lossy(&body)));
            }
            Ok(Err(error)) => {
                self.connections[index] = None;
                self.counts.unknown += 1;
                self.counts.unknown_sample.get_or_insert(format!("{error:?}"));
            }
            Err(_) => {
                self.connections[index] = None;
                self.counts.other(format!("no answer within {LIMIT:?}"));
            }
        }
        self.counts.slowest = self.counts.slowest.max(sent.elapsed());
    }

    fn request(&self, server: SocketAddr) -> Request<Full<Bytes>> {
        Request::builder()
            .method(Method::POST)
            .uri("/api/v1/crypto/encrypt")
            .header(header::HOST, server.to_string())
            .header(header::AUTHORIZATION, self.shared.authorization.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.shared.body.clone()))
            .expect("an address can stand in a header")
    }
}
