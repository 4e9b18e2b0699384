use futures_util::future::join_all;

use super::fixture::{Fixture, name};
use crate::crypto::{KeyId, KeyVersion};
use crate::store::Store;

const FIRST: KeyVersion = KeyVersion::FIRST;

pub(super) async fn reservations_stop_at_the_limit(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = store.context(tenant, &name("general")).await.expect("read").expect("there").key_id;
    let before = store.revision().await.expect("read");
    let reserve =
        async |count, limit| store.reserve_messages(tenant, key, FIRST, count, limit).await.expect("asked");
    assert_eq!(reserve(256, 1000).await, Some(256));
    assert_eq!(reserve(745, 1000).await, None);
    assert_eq!(reserve(744, 1000).await, Some(1000));
    assert_eq!(reserve(1, 1000).await, None);
    assert_eq!(reserve(1001, 1000).await, None);
    assert_eq!(reserve(u64::MAX, 1000).await, None);
    assert_eq!(reserve(1, 1 << 32).await, Some(1001));
    assert_eq!(reserve(1, u64::MAX).await, Some(1002));
    let unknown = store.reserve_messages(tenant, KeyId([0; 16]), FIRST, 1, 10).await.expect("asked");
    assert_eq!(unknown, None);
    assert_eq!(store.revision().await.expect("read"), before);
}

pub(super) async fn reservations_are_counted_once(fixture: &impl Fixture) {
    let (store, tenant) = fixture.ready().await;
    let key = store.context(tenant, &name("general")).await.expect("read").expect("there").key_id;
    let tasks = (0..12).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.reserve_messages(tenant, key, FIRST, 10, 100).await })
    });
    let results = join_all(tasks).await.into_iter();
    let mut sums: Vec<_> = results.filter_map(|result| result.expect("ran").expect("asked")).collect();
    sums.sort_unstable();
    assert_eq!(sums, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
}
