//! `GET /api/admin/audit/export` and `cryptoserve audit export`.

use std::time::Duration;

use bytes::Bytes;
use cryptoserve_tests::{Client, eventually};
use http::Method;
use http_body_util::{BodyExt, Empty};
use serde_json::Value;

use super::audit;
use super::past::{self, Past};
use crate::support::{admin, app, encrypt, on_each_store, one, operator};

const EXPORT: &str = "/api/admin/audit/export";

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

async fn export(client: &Client, query: &str) -> String {
    let reply = client.get(&format!("{EXPORT}?{query}")).await.expect(200);
    String::from_utf8(reply.body.to_vec()).expect("UTF-8")
}

on_each_store! {
    async fn an_export_is_all_there_is_in_either_format(store) {
        let cluster = one(store).await;
        let app = app(&cluster).await;
        for n in 0..5 {
            encrypt(&app, format!("{n}")).await;
        }
        let tables = cluster.tables().await;
        let recorded = "SELECT count(*) FROM audit_records WHERE operation = 'encrypt'";
        eventually("the records", async || (tables.number(recorded).await == 5).then_some(())).await;
        let (operator, admin) = (operator(&cluster).await, admin(&cluster).await);
        let newest = tables.rows("SELECT mac FROM audit_records").await;

        let reply = operator.get(EXPORT).await.expect(200);
        assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
        assert_eq!(reply.header("content-disposition"), Some("attachment; filename=\"audit.ndjson\""));
        let all = json_lines(std::str::from_utf8(&reply.body).expect("UTF-8"));
        let macs: Vec<_> = all.iter().filter_map(|record| record["mac"].as_str()).collect();
        assert!(newest.iter().all(|mac| macs.contains(&mac.trim_start_matches("\\x"))), "{} {}", newest.len(), all.len());
        let times: Vec<_> = all.iter().filter_map(|record| record["recorded_at"].as_str()).collect();
        assert!(times.is_sorted(), "the oldest first: {times:?}");
        assert!(times[0].len() == "2026-11-01T12:00:00.123456Z".len(), "{}", times[0]);

        let reply = operator.get(&format!("{EXPORT}?format=csv&operation=encrypt")).await.expect(200);
        assert_eq!(reply.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
        let csv = String::from_utf8(reply.body.to_vec()).expect("UTF-8");
        let mut lines = csv.lines();
        let names: Vec<_> = lines.next().expect("a head").split(',').collect();
        let first = all[0].as_object().expect("an object");
        assert!(names.len() == first.len() && names.iter().all(|name| first.contains_key(*name)), "{names:?}");
        assert_eq!(lines.clone().count(), 5);
        assert!(lines.all(|line| line.contains(",encrypt,user-pii,1,success,1,0,1,127.0.0.1,,")), "{csv}");
        // A head alone, as there is nothing.
        assert_eq!(export(&operator, "format=csv&operation=none").await.lines().count(), 1);
        assert_eq!(export(&operator, "operation=none").await, "");

        // An administrator gets what is of its tenant.
        let theirs = json_lines(&export(&admin, "operation=encrypt").await);
        assert_eq!(theirs.len(), 5);
        assert!(json_lines(&export(&admin, "").await).iter().all(|record| record["tenant_id"] == theirs[0]["tenant_id"]));
        assert_eq!(export(&admin, "operation=audit.begin").await, "");
        for (query, status, code) in [
            ("format=xml", 400, "invalid_request"),
            ("limit=5", 400, "invalid_request"),
            ("cursor=x", 400, "invalid_request"),
            ("to=then", 400, "invalid_request"),
            ("tenant=default", 403, "role_forbidden"),
        ] {
            admin.get(&format!("{EXPORT}?{query}")).await.expect_problem(status, code);
        }

        // It is recorded, with how much it was.
        let read = "SELECT detail FROM audit_records WHERE operation = 'admin.audit.export' AND outcome = 'success'";
        let expected = "5 records: format=csv&operation=encrypt".to_owned();
        eventually("its record", async || tables.rows(read).await.contains(&expected).then_some(())).await;

        // The command writes the same, and is recorded too.
        let program = cluster.program();
        let done = audit(&program, &["export", "--operation", "encrypt"]).await;
        assert!(done.status.success(), "{done:?}");
        assert_eq!(json_lines(&done.stdout), json_lines(&export(&operator, "operation=encrypt").await));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("audit.csv");
        let path = path.to_str().expect("a path in UTF-8");
        let done = audit(&program, &["export", "--format", "csv", "--operation", "encrypt", "--output", path]).await;
        assert!(done.status.success() && done.stdout.is_empty(), "{done:?}");
        assert_eq!(std::fs::read_to_string(path).expect("the export"), csv);
        let done = audit(&program, &["export", "--tenant", "none-such"]).await;
        assert_eq!(done.status.code(), Some(1), "{done:?}");
        let read = "SELECT count(*) FROM audit_records WHERE operation = 'command.audit-export' AND detail = '5 records'";
        assert_eq!(tables.number(read).await, 2);
    }

    /// A million of them with `CRYPTOSERVE_TEST_FULL`.
    async fn many_records_leave_the_server_in_little_memory(store) {
        let full = std::env::var_os("CRYPTOSERVE_TEST_FULL").is_some();
        let records = if full { 1_000_000 } else { 20_000 };
        let (mut cluster, secrets) = past::deployment(store, &[]).await;
        let (age, step) = (Duration::from_secs(3 * 24 * 60 * 60), Duration::from_secs(60));
        past::write(store, &Past { cluster: &cluster, secrets: &secrets, age, step, batch: 2000 }, records).await;
        cluster.grow(1).await;
        let operator = operator(&cluster).await;
        let process = cluster.replicas()[0].process().id();
        let before = past::peak_memory(process);
        let begun = std::time::Instant::now();
        let ask = || operator.request(Method::GET, EXPORT).body(Empty::<Bytes>::new()).expect("a request");
        let mut body = operator.open(ask()).await.expect("a reply").into_body();
        let mut lines = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.expect("the whole export").into_data().unwrap_or_default();
            lines += data.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        let grown = past::peak_memory(process) - before;
        past::tell(format_args!("{store:?}: {records} records exported: {:?}, {} MiB more", begun.elapsed(), grown >> 20));
        assert!(lines > records, "{lines}");
        assert!(grown < 64 << 20, "{grown} bytes");

        // Who goes away in the middle leaves a record of that.
        let mut body = operator.open(ask()).await.expect("a reply").into_body();
        body.frame().await.expect("a piece").expect("a piece");
        drop(body);
        let tables = cluster.tables().await;
        let gone = "SELECT count(*) FROM audit_records WHERE operation = 'admin.audit.export' AND outcome = 'client_gone'";
        eventually("its record", async || (tables.number(gone).await == 1).then_some(())).await;
        // A filter that nothing matches is done soon, and leads on.
        let page = operator.get("/api/admin/audit?request_id=none&limit=1").await.expect(200).json();
        assert_eq!(page["records"].as_array().map(Vec::len), Some(0));
        assert_eq!(page["next"].is_string(), full, "{page}");
    }
}
