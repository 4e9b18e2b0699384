use cryptoserve_tests::{
    Authority, Program, Replica, ServerCertificate, TlsClient, TokenRequest, eventually,
};
use serde_json::{Value, json};

use super::*;

const IDENTITIES: &str = "/api/admin/identities";
const CONTEXTS: &str = "/api/v1/contexts";
const ENCRYPT: &str = "/api/v1/crypto/encrypt";

/// A replica that asks its clients for certificates of an authority of theirs.
struct Server {
    authority: Authority,
    clients: Authority,
    files: Files,
    replica: Replica,
    admin: String,
}

impl Server {
    async fn start() -> Self {
        let (authority, clients) = (Authority::new(), Authority::new());
        let files = Files::new(&authority.certificate("localhost"));
        let program = files.program().env("TLS_CLIENT_CA_FILE", clients.path().to_string_lossy());
        let program = program.env("RATE_LIMIT_IP", "10000:10000").env("RATE_LIMIT_IDENTITY", "10000:10000");
        let replica = Replica::launch(&program).await;
        let admin = TokenRequest::admin().make(&program).await;
        Self { authority, clients, files, replica, admin }
    }

    /// A request on a connection of its own; status and body.
    async fn ask(
        &self,
        certificate: Option<&ServerCertificate>,
        method: &str,
        path: &str,
        headers: &str,
        body: Value,
    ) -> (u16, Value) {
        let client = TlsClient::new(&self.authority);
        let client = certificate.iter().fold(client, |client, certificate| client.certificate(certificate));
        let mut connection = client.connect(self.replica.address()).await.expect("a connection");
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n");
        connection.send(head + &body).await;
        let reply = connection.read_reply().await;
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), serde_json::from_str(body).expect("JSON"))
    }

    async fn admin(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask(None, method, path, &bearer(&self.admin), body).await
    }

    /// Makes a service with that certificate; the path of its row.
    async fn service(&self, name: &str, certificate: &str) -> String {
        let body = json!({ "name": name, "contexts": ["general"], "certificate": certificate });
        let (status, made) = self.admin("POST", IDENTITIES, body).await;
        assert_eq!(status, 201, "{made}");
        assert_eq!(made["certificate"], certificate);
        format!("{IDENTITIES}/{}", made["id"].as_str().expect("an id"))
    }

    /// Encrypts in `general` with nothing but a certificate.
    async fn encrypt(&self, certificate: &ServerCertificate) -> (u16, Value) {
        let body = json!({ "context": "general", "plaintext": "" });
        self.ask(Some(certificate), "POST", ENCRYPT, "", body).await
    }
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn problem((status, body): (u16, Value)) -> (u16, String) {
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

fn unauthenticated() -> (u16, String) {
    (401, "unauthenticated".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_stands_for_a_token_of_its_identity() {
    let server = Server::start().await;
    let billing = server.clients.client("billing", None);
    let path = server.service("billing", "CN=billing,O=Example").await;
    assert_eq!(server.encrypt(&billing).await.0, 200);
    // Its rights are the row's, and no more.
    let (_, listed) = server.ask(Some(&billing), "GET", CONTEXTS, "", Value::Null).await;
    assert_eq!(listed["contexts"].as_array().map(Vec::len), Some(1), "{listed}");
    let other = json!({ "context": "user-pii", "plaintext": "" });
    assert_eq!(
        problem(server.ask(Some(&billing), "POST", ENCRYPT, "", other).await),
        (403, "context_forbidden".to_owned())
    );
    assert_eq!(server.ask(Some(&billing), "GET", IDENTITIES, "", Value::Null).await.0, 403);

    // A URI among its names, however it is called.
    server.service("reports", "spiffe://example.org/reports").await;
    let reports = server.clients.client("anything", Some("spiffe://example.org/reports"));
    assert_eq!(server.encrypt(&reports).await.0, 200);
    // Of two who have names of it, it is neither.
    let intruder = server.service("intruder", "CN=anything,O=Example").await;
    assert_eq!(problem(server.encrypt(&reports).await), unauthenticated());
    assert_eq!(server.admin("DELETE", &intruder, Value::Null).await.0, 200);
    eventually("one that is its alone", async || (server.encrypt(&reports).await.0 == 200).then_some(()))
        .await;

    // A token wins, also one that is none.
    let program = server.files.program();
    let token = TokenRequest::identity("other").contexts(["user-pii"]).make(&program).await;
    let body = json!({ "context": "general", "plaintext": "" });
    let both = server.ask(Some(&billing), "POST", ENCRYPT, &bearer(&token), body.clone()).await;
    assert_eq!(problem(both), (403, "context_forbidden".to_owned()));
    for header in ["Authorization: Bearer x\r\n", "Authorization: Basic eDp5\r\n"] {
        let refused = server.ask(Some(&billing), "POST", ENCRYPT, header, body.clone()).await;
        assert_eq!(problem(refused), unauthenticated(), "{header}");
    }
    // A page that makes a browser send it is nobody.
    let page =
        server.ask(Some(&billing), "POST", ENCRYPT, "Origin: https://elsewhere.example\r\n", body).await;
    assert_eq!(problem(page), unauthenticated());

    // An outside client.
    let (chain, key) =
        (server.files.dir.path().join("client.pem"), server.files.dir.path().join("client.key"));
    write(&chain, &billing.chain);
    write(&key, &billing.key);
    let script =
        "curl -sSf --cacert \"$CA\" --cert \"$CERT\" --key \"$KEY\" https://localhost:$PORT/api/v1/contexts";
    let curl = Program::cryptoserve()
        .env("CA", server.authority.path().to_string_lossy())
        .env("CERT", chain.to_string_lossy())
        .env("KEY", key.to_string_lossy())
        .env("PORT", server.replica.address().port().to_string())
        .shell(script);
    let done = curl.run().await;
    assert!(done.status.success() && done.stdout.contains("general"), "{} {}", done.stdout, done.stderr);

    // What is changed of the row holds for connections that are open.
    let client = TlsClient::new(&server.authority).certificate(&billing);
    let mut open = client.connect(server.replica.address()).await.expect("a connection");
    assert!(open.get(CONTEXTS, "").await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.admin("PUT", &path, json!({ "enabled": false })).await.0, 200);
    eventually("the end of a disabled identity", async || {
        open.get(CONTEXTS, "").await.starts_with("HTTP/1.1 401").then_some(())
    })
    .await;
    assert_eq!(server.admin("PUT", &path, json!({ "enabled": true, "certificate": "" })).await.0, 200);
    let (_, shown) = server.admin("GET", &path, Value::Null).await;
    assert!(shown.get("certificate").is_none(), "{shown}");
    assert_eq!(problem(server.encrypt(&billing).await), unauthenticated());
    // Taken up by another.
    server.service("successor", "CN=billing,O=Example").await;
    assert_eq!(server.encrypt(&billing).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_nobody_or_of_another_authority_opens_nothing() {
    let server = Server::start().await;
    let path = server.service("billing", "CN=billing,O=Example").await;
    // Without one, what needs none is answered, and the rest refused.
    assert_eq!(server.ask(None, "GET", "/health/ready", "", Value::Null).await.0, 200);
    assert_eq!(problem(server.ask(None, "GET", CONTEXTS, "", Value::Null).await), unauthenticated());
    // One that nobody has: the log says which, once for a connection.
    let nobody = server.clients.client("nobody", Some("spiffe://example.org/nobody"));
    assert_eq!(problem(server.encrypt(&nobody).await), unauthenticated());
    let line = server.replica.log().message("a client's certificate belongs to no identity").await;
    assert_eq!(line.field("names").as_deref(), Some("spiffe://example.org/nobody | CN=nobody,O=Example"));
    // The same names, signed by somebody else: whether or not the client notices at once, nothing is answered.
    let forged = Authority::new().client("billing", None);
    let client = TlsClient::new(&server.authority).certificate(&forged);
    if let Ok(mut connection) = client.connect(server.replica.address()).await {
        connection.send(format!("GET {CONTEXTS} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert_eq!(connection.read_to_end().await, "");
    }
    // Expired.
    let expired = server.clients.expired("billing");
    let client = TlsClient::new(&server.authority).certificate(&expired);
    if let Ok(mut connection) = client.connect(server.replica.address()).await {
        assert_eq!(connection.read_to_end().await, "");
    }

    // What no identity may have.
    for certificate in ["billing", "NOSUCH=x", "spiffe:// x"] {
        let body = json!({ "certificate": certificate });
        assert_eq!(problem(server.admin("PUT", &path, body).await), (400, "invalid_request".to_owned()));
    }
    let body = json!({ "name": "chief", "role": "admin", "certificate": "CN=chief" });
    assert_eq!(problem(server.admin("POST", IDENTITIES, body).await), (400, "invalid_request".to_owned()));
    let promoted = server.admin("PUT", &path, json!({ "role": "admin" })).await;
    assert_eq!(problem(promoted), (400, "invalid_request".to_owned()));
    // In another form it is the same one, and taken, also for another tenant.
    let taken = (409, "certificate_taken".to_owned());
    let body = json!({ "name": "second", "certificate": "cn=billing, O=Example" });
    assert_eq!(problem(server.admin("POST", IDENTITIES, body.clone()).await), taken);
    let body_of_name = json!({ "name": "billing", "certificate": "cn=billing, O=Example" });
    assert_eq!(problem(server.admin("POST", IDENTITIES, body_of_name).await), (409, "name_taken".to_owned()));
    let operator = TokenRequest::operator().make(&server.files.program()).await;
    let (status, made) =
        server.ask(None, "POST", "/api/admin/tenants", &bearer(&operator), json!({ "name": "acme" })).await;
    assert_eq!(status, 201, "{made}");
    let token = TokenRequest::admin().tenant("acme").make(&server.files.program()).await;
    assert_eq!(problem(server.ask(None, "POST", IDENTITIES, &bearer(&token), body).await), taken);
}
