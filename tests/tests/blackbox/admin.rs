mod contexts;
mod identities;
mod key_transport;
mod keys;
mod rate_limits;
mod tenants;

use cryptoserve_tests::Client;
use serde_json::Value;

/// All names that a list holds under `field`, over pages of `size`.
async fn paged(admin: &Client, path: &str, field: &str, size: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = admin.get(&format!("{path}?limit={size}{after}")).await.expect(200).json();
        let found: Vec<_> = page[field].as_array().expect("a list").iter().map(name).collect();
        assert!(found.len() <= size, "{page}");
        names.extend(found);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return names,
        }
    }
}

fn name(item: &Value) -> String {
    item["name"].as_str().expect("a name").to_owned()
}

/// The id of the identity of that name.
pub(crate) async fn identity_id(admin: &Client, name: &str) -> String {
    let listed = admin.get("/api/admin/identities?limit=1000").await.expect(200).json();
    let identities = listed["identities"].as_array().expect("a list");
    let found = identities.iter().find(|identity| identity["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {listed}"))["id"].as_str().expect("an id").to_owned()
}

/// What no list takes.
async fn refuses_bad_queries(admin: &Client, path: &str) {
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=99999999999",
        "after=Not%20A%20Name",
        "after=",
        "unknown=1",
        "limit=1&limit=2",
        "Limit=1",
    ] {
        admin.get(&format!("{path}?{query}")).await.expect_problem(400, "invalid_request");
    }
    admin.get(&format!("{path}?")).await.expect(200);
    // A place in the order need not be one that exists.
    admin.get(&format!("{path}?after=zzz")).await.expect(200);
}
