use std::fmt;
use std::time::Duration;

use deadpool_postgres::Connect;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::config::{LoadBalanceHosts, SslMode as DriverSslMode};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::PostgresOptions;
use super::error::Failure;
use super::tls::client_config;
use crate::config::SslMode;
use crate::store::Error;

/// How long a host may be silent before the next one is asked too; with a short `DB_POOL_TIMEOUT`, a share of that.
const HEAD_START: Duration = Duration::from_secs(1);

/// Makes connections, with as much TLS as was asked for, to whichever host answers as it should.
///
/// The driver goes from one host to the next when one refuses, and waits for ever for one that accepts and says
/// nothing, as a frozen machine does. So each host here is asked by itself: the first, and, when that fails or is
/// silent, the next one too; the first good answer counts.
#[derive(Clone)]
pub(super) struct Connector {
    hosts: Vec<Config>,
    head_start: Duration,
    tls: MakeRustlsConnect,
}

impl Connector {
    pub(super) fn new(options: &PostgresOptions) -> Result<Self, Error> {
        let mut config = options.driver.clone();
        // Whatever the driver's configuration says itself.
        config.ssl_mode(match options.ssl_mode {
            SslMode::Disable => DriverSslMode::Disable,
            SslMode::Prefer => DriverSslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => DriverSslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.pool_timeout);
        }
        let hosts = each_host(&config);
        let share = options.pool_timeout / u32::try_from(hosts.len() + 1).unwrap_or(u32::MAX);
        let tls = MakeRustlsConnect::new(client_config(options)?);
        Ok(Self { hosts, head_start: HEAD_START.min(share), tls })
    }

    /// The same, for connections that PostgreSQL shows under `application_name`.
    pub(super) fn named(&self, application_name: &str) -> Self {
        let mut named = self.clone();
        for host in &mut named.hosts {
            host.application_name(application_name);
        }
        named
    }

    /// One connection outside any pool; it closes when the client is dropped.
    pub(super) async fn open(&self) -> Result<Client, Error> {
        let (client, _) = self.dial().await.map_err(Failure::connecting)?;
        Ok(client)
    }

    /// Tells the server to give up what `client`'s connection is busy with.
    pub(super) async fn cancel(&self, client: &Client) {
        if let Err(error) = client.cancel_token().cancel_query(self.tls.clone()).await {
            tracing::debug!(%error, "a statement could not be cancelled");
        }
    }

    async fn dial(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let mut hosts = self.hosts.iter();
        let mut attempts = FuturesUnordered::new();
        loop {
            let next = hosts.next();
            attempts.extend(next.map(|host| host.connect(self.tls.clone())));
            tokio::select! {
                Some(attempt) = attempts.next() => match attempt {
                    // Its errors reach the client, too.
                    Ok((client, connection)) => return Ok((client, tokio::spawn(async { drop(connection.await) }))),
                    Err(error) if attempts.is_empty() && hosts.len() == 0 => return Err(error),
                    Err(_) => {}
                },
                () = sleep(self.head_start), if hosts.len() > 0 => {}
            }
        }
    }
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(self.dial())
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the configuration, which holds credentials.
        f.write_str("Connector")
    }
}

/// What `config` says, for each of its hosts apart. Where it asks for hosts in random order, that is the driver's.
fn each_host(config: &Config) -> Vec<Config> {
    let (hosts, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len());
    // A list that does not match another is refused by the driver, with a better message than from here.
    let matched = [hosts.len(), addresses.len(), ports.len()].iter().all(|&n| n <= 1 || n == count);
    if count < 2 || !matched || config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        return vec![config.clone()];
    }
    let one = |n: usize| {
        let mut one = without_hosts(config);
        match hosts.get(n) {
            Some(tokio_postgres::config::Host::Tcp(name)) => drop(one.host(name)),
            #[cfg(unix)]
            Some(tokio_postgres::config::Host::Unix(path)) => drop(one.host_path(path)),
            None => {}
        }
        if let Some(address) = addresses.get(n) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(n).or(ports.first()) {
            one.port(*port);
        }
        one
    };
    (0..count).map(one).collect()
}

fn without_hosts(from: &Config) -> Config {
    let mut to = Config::new();
    if let Some(user) = from.get_user() {
        to.user(user);
    }
    if let Some(name) = from.get_dbname() {
        to.dbname(name);
    }
    if let Some(options) = from.get_options() {
        to.options(options);
    }
    if let Some(name) = from.get_application_name() {
        to.application_name(name);
    }
    if let Some(password) = from.get_password() {
        to.password(password);
    }
    if let Some(limit) = from.get_connect_timeout() {
        to.connect_timeout(*limit);
    }
    if let Some(limit) = from.get_tcp_user_timeout() {
        to.tcp_user_timeout(*limit);
    }
    if let Some(interval) = from.get_keepalives_interval() {
        to.keepalives_interval(interval);
    }
    if let Some(retries) = from.get_keepalives_retries() {
        to.keepalives_retries(retries);
    }
    to.keepalives(from.get_keepalives())
        .keepalives_idle(from.get_keepalives_idle())
        .ssl_mode(from.get_ssl_mode())
        .ssl_negotiation(from.get_ssl_negotiation())
        .target_session_attrs(from.get_target_session_attrs())
        .channel_binding(from.get_channel_binding())
        .load_balance_hosts(from.get_load_balance_hosts());
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_is_asked_with_everything_that_was_said_of_all() {
        let parameters = "options=-c%20a%3Db&application_name=x&connect_timeout=3&tcp_user_timeout=4&keepalives=1\
                          &keepalives_idle=5&keepalives_interval=6&keepalives_retries=7&channel_binding=require\
                          &sslmode=require&sslnegotiation=direct&target_session_attrs=read-write";
        let parse = |hosts: &str| -> Config {
            format!("postgres://user:p%40ss@{hosts}/database?{parameters}").parse().expect("a configuration")
        };
        assert_eq!(
            each_host(&parse("one:1,[::1]:2,three:3")),
            [parse("one:1"), parse("[::1]:2"), parse("three:3")]
        );
        let shared: Config =
            "host=one,two port=7 hostaddr=10.0.0.1,10.0.0.2".parse().expect("a configuration");
        let second: Config = "host=two port=7 hostaddr=10.0.0.2".parse().expect("a configuration");
        assert_eq!(each_host(&shared)[1], second);
    }

    #[test]
    fn what_is_one_host_or_in_random_order_is_left_to_the_driver() {
        for text in [
            "postgres://u@one/d",
            "postgres://u@one,two/d?load_balance_hosts=random",
            "host=one,two,three port=1,2",
        ] {
            let config: Config = text.parse().expect("a configuration");
            assert_eq!(each_host(&config), [config], "{text}");
        }
    }
}
