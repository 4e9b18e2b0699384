//! What refusals leave in the audit trail.

use std::time::Instant;

use cryptoserve_tests::eventually;

use super::{encrypt_in, refused};
use crate::metrics::{prometheus, scrape, value};
use crate::support::{app, builder, on_each_store};

const REFUSED: &str = "SELECT COALESCE(SUM(items), 0) FROM audit_records WHERE operation = 'limit.refused'";
const RECORDS: &str = "SELECT COUNT(*) FROM audit_records WHERE operation = 'limit.refused'";
const BY_BUCKET: &str = "SELECT detail, outcome, context, address, COUNT(tenant_id) > 0, SUM(items), SUM(failed) \
    FROM audit_records WHERE operation = 'limit.refused' GROUP BY detail, outcome, context, address ORDER BY detail";

on_each_store! {
    async fn refusals_of_a_second_are_one_record_and_none_is_lost_at_the_end(store) {
        let mut cluster = builder(store).env("RATE_LIMIT_CONTEXT", "1:1").start(1).await;
        let app = app(&cluster).await;
        encrypt_in(&app, "general").await.expect(200);
        let begun = Instant::now();
        for _ in 0..10 {
            refused(encrypt_in(&app, "general").await, "context");
        }
        let stranger = cluster.client(0).with_token("nonsense");
        let mut failures = 0;
        while failures < 5 {
            failures += u32::from(encrypt_in(&stranger, "general").await.status == 429);
        }
        let tables = cluster.tables().await;
        eventually("the refusals", async || (tables.number(REFUSED).await == 15).then_some(())).await;
        let records = tables.number(RECORDS).await;
        assert!((2..=4 + 2 * begun.elapsed().as_secs()).contains(&records.unsigned_abs()), "{records}");
        let rows = tables.rows(BY_BUCKET).await;
        let [context, failed] = &rows[..] else { panic!("{rows:?}") };
        assert!(context.starts_with("context, 1 per 60 s rate_limited general  "), "{context}");
        assert!(context.ends_with(" 10 0"), "{context}");
        let expected = "failed-authentication, 60 per 60 s rate_limited  127.0.0.1 ";
        assert!(failed.starts_with(expected) && failed.ends_with(" 5 0"), "{failed}");

        let text = scrape(&prometheus(&cluster).await).await;
        for (dimension, outcome, count) in
            [("context", "allowed", 1.0), ("context", "refused", 10.0), ("failed-authentication", "refused", 5.0)]
        {
            let labels = format!(r#"instance_id="replica-0",dimension="{dimension}",outcome="{outcome}""#);
            let counted = value(&text, &format!("cryptoserve_limit_requests_total{{{labels}}}"));
            assert_eq!(counted, count, "{dimension} {outcome}: {text}");
        }

        for _ in 0..5 {
            refused(encrypt_in(&app, "general").await, "context");
        }
        cluster.replicas()[0].process().terminate();
        assert!(cluster.replica_mut(0).ended().await.success());
        assert_eq!(tables.number(REFUSED).await, 20);
    }
}
