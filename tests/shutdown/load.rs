//! Clients that ask at a steady rate, whatever becomes of the replicas.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval_at, timeout};

use crate::mix::{Call, Mix};

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) rate: u32,
    pub(crate) clients: u32,
}

/// Clients at work.
pub(crate) struct Running {
    stopped: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Counts>>,
}

/// What came of their requests.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) repeated: u64,
    pub(crate) unsent: u64,
    pub(crate) refused: u64,
    pub(crate) closing: u64,
    latencies: Vec<Duration>,
    /// Of failures, a few.
    pub(crate) samples: Vec<String>,
}

/// One client.
struct Client {
    replicas: Arc<[SocketAddr]>,
    mix: Arc<Mix>,
    /// To which replica, and the way there.
    connection: Option<SendRequest<Full<Bytes>>>,
    next_replica: usize,
    counts: Counts,
}

/// How one try ended.
enum Tried {
    Answered(u16, Bytes),
    /// The connection was closed, and nothing of the request had left.
    Unsent,
    /// It had, and no reply came.
    Lost(String),
}

/// After this a request counts as failed.
const LIMIT: Duration = Duration::from_secs(10);
const SAMPLES: usize = 5;

impl Load {
    /// Begins to ask.
    pub(crate) fn start(self, replicas: Vec<SocketAddr>, mix: Mix) -> Running {
        let stopped = Arc::new(AtomicBool::new(false));
        let (replicas, mix) = (Arc::<[SocketAddr]>::from(replicas), Arc::new(mix));
        let period = Duration::from_secs(1) * self.clients / self.rate.max(1);
        let clients = (0..self.clients).map(|number| {
            let client = Client {
                replicas: replicas.clone(),
                mix: mix.clone(),
                connection: None,
                next_replica: number as usize,
                counts: Counts::default(),
            };
            let begin = Instant::now() + period * number / self.clients;
            tokio::spawn(client.run(number as usize, begin, period, stopped.clone()))
        });
        Running { clients: clients.collect(), stopped }
    }
}

impl Running {
    /// Lets what is under way be answered, and tells what came of all.
    pub(crate) async fn stop(self) -> Counts {
        self.stopped.store(true, Ordering::Relaxed);
        let mut all = Counts::default();
        for counts in join_all(self.clients).await {
            all.add(counts.expect("no client panics"));
        }
        all.latencies.sort_unstable();
        all
    }
}

impl Counts {
    /// Median, 99th percentile and the longest, of those that were answered.
    pub(crate) fn latencies(&self) -> String {
        let at = |percent: usize| {
            let index = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
            self.latencies.get(index).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
        };
        format!("{:.1}, {:.1}, {:.1}", at(50), at(99), at(100))
    }

    fn add(&mut self, more: Self) {
        self.answered += more.answered;
        self.failed += more.failed;
        self.repeated += more.repeated;
        self.unsent += more.unsent;
        self.refused += more.refused;
        self.closing += more.closing;
        self.latencies.extend(more.latencies);
        self.samples.extend(more.samples);
        self.samples.truncate(SAMPLES);
    }

    fn fail(&mut self, sample: String) {
        self.failed += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(sample);
        }
    }
}

impl Client {
    async fn run(
        mut self,
        first: usize,
        begin: Instant,
        period: Duration,
        stopped: Arc<AtomicBool>,
    ) -> Counts {
        let mut ticks = interval_at(begin.into(), period);
        // A client that was held up makes up for it, so that the load is what was asked for.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mix = self.mix.clone();
        for call in mix.calls.iter().cycle().skip(first) {
            ticks.tick().await;
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            let asked = Instant::now();
            match timeout(LIMIT, self.ask(call)).await {
                Ok(()) => self.counts.latencies.push(asked.elapsed()),
                Err(_) => {
                    self.connection = None;
                    self.counts.fail(format!("{} {}: not within {LIMIT:?}", call.method, call.path));
                }
            }
        }
        self.counts
    }

    /// One request, as often as HTTP allows it to be sent.
    async fn ask(&mut self, call: &Call) {
        loop {
            let failure = match self.try_once(call).await {
                Tried::Answered(200, _) => {
                    self.counts.answered += 1;
                    return;
                }
                Tried::Unsent => {
                    self.counts.unsent += 1;
                    continue;
                }
                Tried::Lost(_) if call.method.is_idempotent() => {
                    self.counts.repeated += 1;
                    continue;
                }
                Tried::Answered(status, body) => format!("{status} {}", String::from_utf8_lossy(&body)),
                Tried::Lost(error) => error,
            };
            self.counts.fail(format!("{} {}: {failure}", call.method, call.path));
            return;
        }
    }

    async fn try_once(&mut self, call: &Call) -> Tried {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect().await,
        };
        // Whoever is told that the connection is closed makes another.
        if connection.ready().await.is_err() {
            return Tried::Unsent;
        }
        let request = Request::builder()
            .method(call.method.clone())
            .uri(call.path)
            .header(header::HOST, "replica")
            .header(header::AUTHORIZATION, &self.mix.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(call.body.clone()))
            .expect("all of it is fit for a request");
        match connection.try_send_request(request).await {
            Ok(response) => self.read(connection, response).await,
            Err(error) if error.message().is_some() => Tried::Unsent,
            Err(error) => Tried::Lost(format!("{:?}", error.error())),
        }
    }

    async fn read(&mut self, connection: SendRequest<Full<Bytes>>, response: Response<Incoming>) -> Tried {
        let closing = response.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
        let status = response.status().as_u16();
        match response.into_body().collect().await {
            Ok(body) => {
                self.counts.closing += u64::from(closing);
                self.connection = (!closing).then_some(connection);
                Tried::Answered(status, body.to_bytes())
            }
            Err(error) => Tried::Lost(format!("{error:?}")),
        }
    }

    /// A connection to the next replica that takes one.
    async fn connect(&mut self) -> SendRequest<Full<Bytes>> {
        loop {
            let address = self.replicas[self.next_replica % self.replicas.len()];
            self.next_replica += 1;
            let Ok(stream) = TcpStream::connect(address).await else {
                self.counts.refused += 1;
                // All may be away for a moment.
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            let _ = stream.set_nodelay(true);
            if let Ok((sender, connection)) = handshake(TokioIo::new(stream)).await {
                tokio::spawn(connection);
                return sender;
            }
        }
    }
}
