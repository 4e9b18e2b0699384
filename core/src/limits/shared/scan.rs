use std::time::{Duration, Instant};

use redis::aio::ConnectionLike;
use redis::{RedisError, cmd};

use super::key::{parse, prefix};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::limits::bucket::Ticks;
use crate::limits::held::{Held, HeldBucket};

/// How long it is looked for; how long Redis may take for that; and at how many keys.
const LONGEST: Duration = Duration::from_secs(2);
pub(super) const TIMEOUT: Duration = Duration::from_secs(4);
const MOST: usize = 100_000;
/// Keys that Redis looks at before it serves others.
const AT_ONCE: u32 = 1000;

/// The buckets of a tenant. Looks at every key of the server, in small steps.
pub(super) async fn held(connection: &mut impl ConnectionLike, tenant: TenantId) -> Result<Held, RedisError> {
    let begun = Instant::now();
    let (secs, micros): (u64, u64) = cmd("TIME").query_async(connection).await?;
    let now = Ticks::at(Timestamp::from_micros(secs * 1_000_000 + micros));
    let prefix = prefix(tenant);
    let pattern = format!("{prefix}*");
    let (mut cursor, mut seen, mut buckets) = (0_u64, 0, Vec::new());
    let complete = loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(AT_ONCE);
        let (next, keys): (u64, Vec<String>) = scan.query_async(connection).await?;
        seen += AT_ONCE as usize;
        if !keys.is_empty() {
            let states: Vec<Option<String>> = cmd("MGET").arg(&keys).query_async(connection).await?;
            buckets.extend(keys.iter().zip(states).filter_map(|(key, state)| {
                let (holder, window, generation) = parse(key.strip_prefix(&prefix)?)?;
                let full_at = Ticks(state?.parse().ok()?);
                (full_at > now).then_some(HeldBucket { holder, window, generation, full_at })
            }));
        }
        cursor = next;
        if cursor == 0 {
            break true;
        }
        if begun.elapsed() > LONGEST || seen >= MOST {
            break false;
        }
    };
    // SCAN may name a key twice.
    buckets.sort_unstable_by_key(|bucket| bucket.full_at);
    let mut known = std::collections::HashSet::new();
    buckets.retain(|bucket| known.insert((bucket.holder, bucket.window, bucket.generation)));
    Ok(Held { buckets, now, complete })
}
