use cryptoserve_core::audit::{Ended, StoredRecord};
use serde_json::{Value, json};

use super::chains::Trail;
use crate::forged::{forge, jwt_key, parts, with};
use crate::support::{ENCRYPT, admin, app, base64, builder, encrypt, on_each_store, operator};

const NIL: &str = "00000000-0000-0000-0000-000000000000";

fn operations(records: &[StoredRecord]) -> Vec<&str> {
    records.iter().map(|record| &*record.operation).collect()
}

on_each_store! {
    async fn each_run_of_a_process_is_a_chain_with_a_begin_and_an_end(store) {
        let copy = tempfile::tempdir().expect("a directory");
        let copy = copy.path().join("audit.ndjson");
        let settings = [("AUDIT_SINK", "file"), ("AUDIT_SINK_FILE", copy.to_str().expect("UTF-8"))];
        let mut cluster = settings.into_iter().fold(builder(store), |builder, (name, value)| builder.env(name, value))
            .start(1)
            .await;
        let app = app(&cluster).await;
        encrypt(&app, "x").await;
        let body = json!({ "context": "none", "plaintext": base64("x") });
        app.post_json(ENCRYPT, &body).await.expect_problem(404, "context_not_found");
        cluster.replicas()[0].process().terminate();
        assert!(cluster.replica_mut(0).ended().await.success());

        let trail = Trail::of(&cluster, store).await;
        assert!(trail.chains.iter().all(|(chain, _)| chain.ended == Some(Ended::Clean)));
        let [(server, served), (_, command)] = &trail.chains[..] else { panic!("{} chains", trail.chains.len()) };
        assert_eq!(operations(command), ["audit.begin", "command.token", "audit.end"]);
        assert_eq!(operations(served), ["audit.begin", "encrypt", "encrypt", "audit.end"]);
        assert_eq!((&*served[1].outcome, served[1].bytes), ("success", 1));
        assert_eq!(&*served[2].outcome, "context_not_found");
        let copied = std::fs::read_to_string(&copy).expect("the copy");
        let copied: Vec<Value> = copied.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let stored: Vec<Value> = served.iter().map(|record| serde_json::to_value(record).expect("JSON")).collect();
        assert_eq!(copied, stored);

        // The end of the last process is in a checkpoint, and that in the log.
        let last = trail.checkpoints.last().expect("a checkpoint");
        let end = last.entries().expect("entries").into_iter().find(|entry| entry.chain == server.id);
        assert!(end.is_some_and(|entry| (entry.head, entry.state) == (server.head, Some(Ended::Clean))));
        let line = cluster.replicas()[0].log()
            .find("the checkpoint", |line| {
                line.field("message").as_deref() == Some("audit checkpoint") && line.json()["number"] == last.number
            })
            .await;
        assert_eq!(line.field("hash"), Some(hex::encode(last.hash())));

        // The next run is another chain under the same keys.
        cluster.replica_mut(0).start_again().await;
        no_interface_shows_the_system_tenant(&cluster, store).await;
        let trail = Trail::of(&cluster, store).await;
        let open: Vec<_> = trail.chains.iter().filter(|(chain, _)| chain.ended.is_none()).collect();
        assert!(matches!(&open[..], [(chain, _)] if chain.id != server.id && chain.instance == server.instance));
    }
}

/// The keys of the audit trail belong to a tenant that nobody can see, name or be of.
async fn no_interface_shows_the_system_tenant(
    cluster: &cryptoserve_tests::Cluster,
    store: cryptoserve_tests::StoreKind,
) {
    let (operator, admin) = (operator(cluster).await, admin(cluster).await);
    let tenants = operator.get("/api/admin/tenants").await.expect(200).json();
    assert_eq!(tenants["tenants"].as_array().map(Vec::len), Some(1), "{tenants}");
    for name in ["(system)", "%28system%29", NIL] {
        let path = format!("/api/admin/tenants/{name}");
        assert!([400, 404].contains(&operator.get(&path).await.status), "{name}");
        assert!(
            [400, 404, 422].contains(&operator.put_json(&path, &json!({ "enabled": false })).await.status),
            "{name}"
        );
    }
    operator.post_json("/api/admin/tenants", &json!({ "name": "(system)" })).await.expect(400);
    for listing in ["/api/admin/contexts", "/api/admin/contexts?deleted=true", "/api/v1/contexts"] {
        let text = admin.get(listing).await.expect(200).json().to_string();
        assert!(!text.contains(NIL) && !text.contains(r#""audit""#), "{text}");
    }
    admin.get("/api/admin/contexts/audit").await.expect(404);

    // Not even by a token that is signed as ours.
    let token = cluster.token(&cryptoserve_tests::TokenRequest::admin()).await;
    let (header, claims) = parts(&token);
    let claims = with(&claims, "tid", json!(NIL));
    let token = forge(&header, &claims, jwt_key(cluster, store).as_bytes());
    let forged = cluster.client(0).with_token(&token);
    forged.get("/api/admin/contexts").await.expect_problem(401, "unauthenticated");
}
