use cryptoserve_tests::{
    Authority, Client, Program, RawConnection, Replica, TlsClient, TlsConnection, TokenRequest, eventually,
};
use rustix::process::Signal;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{NamedGroup, ProtocolVersion};

use super::*;

/// A replica that speaks TLS, and what its clients trust.
struct Server {
    authority: Authority,
    files: Files,
    replica: Replica,
}

impl Server {
    async fn start() -> Self {
        let authority = Authority::new();
        let files = Files::new(&authority.certificate("localhost"));
        // Its time for a silent client is also that for a handshake.
        let program = files.program().env("HTTP_IDLE_TIMEOUT", "2s");
        let replica = Replica::launch(&program).await;
        Self { authority, files, replica }
    }

    fn client(&self) -> TlsClient {
        TlsClient::new(&self.authority)
    }

    async fn connect(&self) -> TlsConnection {
        self.client().connect(self.replica.address()).await.expect("a connection")
    }

    /// A command on the same machine with the same environment.
    fn command(&self, name: &str) -> Program {
        let address = self.replica.address();
        self.replica.program().clone().arg(name).env("BIND_ADDR", address.to_string())
    }

    fn outside(&self, script: &str) -> Program {
        Program::cryptoserve()
            .env("CA", self.authority.path().to_string_lossy())
            .env("PORT", self.replica.address().port().to_string())
            .shell(script)
    }
}

fn ok(reply: &str) -> bool {
    reply.starts_with("HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_versions_are_spoken_and_nothing_else() {
    let server = Server::start().await;
    let address = server.replica.address();
    for (client, version, group) in [
        (server.client(), ProtocolVersion::TLSv1_3, NamedGroup::X25519MLKEM768),
        (
            server.client().version(&TLS13).group(NamedGroup::X25519),
            ProtocolVersion::TLSv1_3,
            NamedGroup::X25519,
        ),
        (server.client().version(&TLS12), ProtocolVersion::TLSv1_2, NamedGroup::X25519),
    ] {
        let mut connection = client.connect(address).await.expect("a connection");
        assert_eq!(connection.agreed(), (version, group, b"http/1.1".to_vec()));
        for _ in 0..2 {
            let reply = connection.get("/health/live", "").await;
            assert!(ok(&reply), "{version:?}: {reply}");
        }
    }
    // Clients that know nothing of us, nor of each other.
    for script in [
        "curl -sS --cacert \"$CA\" --tls-max 1.2 https://localhost:$PORT/health",
        "curl -sS --cacert \"$CA\" --tlsv1.3 https://localhost:$PORT/health",
        "openssl s_client -connect localhost:$PORT -CAfile \"$CA\" -verify_return_error -tls1_3 -alpn h2,http/1.1 \
         </dev/null 2>&1 | grep 'ALPN protocol: http/1.1'",
        "openssl s_client -connect localhost:$PORT -CAfile \"$CA\" -verify_return_error -tls1_2 \
         </dev/null 2>&1 | grep 'Protocol *: TLSv1.2'",
        "openssl s_client -connect localhost:$PORT -tls1_1 -cipher ALL:@SECLEVEL=0 </dev/null 2>&1 \
         | grep 'alert handshake failure'",
    ] {
        let done = server.outside(script).run().await;
        assert!(done.status.success(), "{script}: {} {}", done.stdout, done.stderr);
    }
    // An unknown authority, or another name, is the client's to refuse.
    let other = TlsClient::new(&Authority::new());
    assert!(other.connect(address).await.is_err());

    // The commands on the same machine, and one that trusts the authority.
    let done = server.command("healthcheck").run().await;
    assert!(done.status.success(), "{}", done.stderr);
    let url = format!("https://localhost:{}", address.port());
    let token = TokenRequest::identity("app").make(&server.files.program()).await;
    let encrypt = Program::cryptoserve()
        .env("CRYPTOSERVE_SERVER", &url)
        .env("CRYPTOSERVE_TOKEN", token)
        .env("SSL_CERT_FILE", server.authority.path().to_string_lossy());
    let output = server.files.dir.path().join("sealed").to_string_lossy().into_owned();
    let input = server.files.chain().to_string_lossy().into_owned();
    let arguments = ["encrypt", "--context", "general", "-o", &output, &input];
    let done = arguments.iter().fold(encrypt.clone(), |program, arg| program.arg(*arg)).run().await;
    assert!(done.status.success(), "{}", done.stderr);
    let done = encrypt
        .without_env("SSL_CERT_FILE")
        .env("SSL_CERT_FILE", Authority::new().path().to_string_lossy())
        .arg("healthcheck")
        .arg("--url")
        .arg(&url)
        .run()
        .await;
    assert_eq!(done.status.code(), Some(1), "an authority that is not trusted: {}", done.stderr);

    let metrics = Client::new(server.replica.metrics_address().await).get("/metrics").await.expect(200);
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    let value = |name: &str| {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}"));
        line.rsplit(' ').next().and_then(|value| value.parse::<i64>().ok()).expect("a number")
    };
    // The year 4096.
    assert_eq!(value("cryptoserve_tls_certificate_expiry_timestamp_seconds"), 67_090_118_400);
    assert!(
        metrics.lines().any(|line| line.contains("result=\"done\"") && !line.ends_with(" 0")),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_or_nothing_ends_soon_and_keeps_nobody_waiting() {
    let server = Server::start().await;
    let address = server.replica.address();
    let mut silent = Vec::new();
    for sent in
        [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"].into_iter().cycle().take(60)
    {
        let mut connection = RawConnection::open(address).await;
        connection.send(sent).await;
        silent.push(connection);
    }
    assert!(ok(&server.connect().await.get("/health/live", "").await));
    let reply = RawConnection::exchange(address, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(reply.starts_with("HTTP/1.1 400") && reply.contains("\"code\":\"tls_required\""), "{reply}");
    // No HTTP either: an alert, or just the end.
    let reply = RawConnection::exchange(address, "\x00\x01garbage").await;
    assert!(!reply.contains("HTTP"), "{reply}");
    for mut connection in silent {
        assert_eq!(connection.read_to_end().await, "");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_while_connections_go_on() {
    let mut server = Server::start().await;
    let mut kept = server.connect().await;
    let first = kept.server_certificate();
    let changed = async |server: &Server, before: &[u8]| {
        eventually("another certificate", async || {
            let shown = server.connect().await.server_certificate();
            assert!(ok(&server.connect().await.get("/health/live", "").await));
            (shown != before).then_some(shown)
        })
        .await
    };
    // Somebody asks.
    server.files.put(&server.authority.certificate("localhost"));
    server.replica.process().signal(Signal::HUP);
    let second = changed(&server, &first).await;
    assert!(ok(&kept.get("/health/live", "").await));
    // Nobody does.
    server.files.put(&server.authority.certificate("localhost"));
    let third = changed(&server, &second).await;
    assert!(third != first);

    // What cannot be used is not, and said once.
    let expired = server.authority.expired("localhost");
    server.files.put(&expired);
    let said = |line: &cryptoserve_tests::LogLine| {
        line.field("error")
            .is_some_and(|error| error.contains("TLS_CERT_FILE names a certificate that expired"))
    };
    server.replica.log().find("the expired certificate", said).await;
    server.replica.process().signal(Signal::HUP);
    eventually("a second word for who asks", async || {
        (server.replica.log().lines().iter().filter(|line| said(line)).count() > 1).then_some(())
    })
    .await;
    assert!(server.connect().await.server_certificate() == third);

    // In good order to the end.
    let mut idle = server.connect().await;
    assert!(ok(&idle.get("/health/live", "").await));
    server.replica.process().terminate();
    assert_eq!(idle.read_to_end().await, "", "closed with a word of TLS, or reading would fail");
    assert!(server.replica.ended().await.success());
}
