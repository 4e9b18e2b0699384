use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Counts, Level, Refusal, RefusalKind};
use crate::clock::Timestamp;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

impl Refusal {
    /// `Retry-After` (RFC 9110 section 10.2.3), where waiting helps.
    pub fn write_retry_after(&self, headers: &mut HeaderMap) {
        if let RefusalKind::Exhausted { retry_after_secs } = self.kind {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after_secs));
        }
    }
}

/// Writes `X-RateLimit-*` for the tightest of `levels`, and `RateLimit-Policy` and `RateLimit`
/// (draft-ietf-httpapi-ratelimit-headers) for all of them.
pub(crate) fn write_levels(levels: &[Level], now: Timestamp, headers: &mut HeaderMap) {
    let Some(tightest) = levels.iter().min_by_key(|level| level.tightness()) else { return };
    headers.insert(LIMIT, HeaderValue::from(tightest.quota.limit()));
    headers.insert(REMAINING, HeaderValue::from(tightest.remaining));
    headers.insert(RESET, HeaderValue::from(now.as_secs() + tightest.full_in_secs));

    let mut policy = String::with_capacity(96);
    let mut state = String::with_capacity(96);
    for level in levels {
        let separator = if policy.is_empty() { "" } else { ", " };
        let name = level.bucket.name();
        let (limit, seconds) = (level.quota.limit(), level.quota.seconds());
        policy.push_str(&format!("{separator}\"{name}\";q={limit};w={seconds}"));
        if level.bucket.window.counts == Counts::Bytes {
            policy.push_str(";qu=\"content-bytes\"");
        }
        state.push_str(&format!("{separator}\"{name}\";r={};t={}", level.remaining, level.full_in_secs));
    }
    for (name, value) in [(POLICY, policy), (STATE, state)] {
        let value = HeaderValue::try_from(value).expect("names of dimensions and numbers are visible ASCII");
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;
    use crate::limits::{Bucket, Dimension, Quota, WindowId};

    #[test]
    fn the_tightest_dimension_speaks_for_all_in_the_older_headers() {
        let level = |dimension, window, remaining, cost| Level {
            bucket: Bucket { dimension, window, generation: 0 },
            quota: Quota::new(RateLimit { requests_per_minute: 100, burst: 20 }),
            cost,
            remaining,
            full_in_secs: 3,
        };
        let address = "192.0.2.1".parse().unwrap();
        let bytes = WindowId { counts: Counts::Bytes, ..WindowId::MAIN };
        let levels = [
            level(Dimension::ip_of_stranger(address), WindowId::MAIN, 9, 1),
            level(Dimension::failed_authentication(address), WindowId::MAIN, 4, 1),
            level(Dimension::ip_of_stranger(address), bytes, 499, 100),
        ];
        let mut headers = HeaderMap::new();
        write_levels(&levels, Timestamp::from_micros(1_000_000), &mut headers);
        assert_eq!(headers["x-ratelimit-remaining"], "4");
        assert_eq!(headers["x-ratelimit-reset"], "4");
        assert_eq!(
            headers["ratelimit-policy"],
            r#""ip";q=100;w=60, "failed-authentication";q=100;w=60, "ip-bytes-60s";q=100;w=60;qu="content-bytes""#
        );
        assert_eq!(
            headers["ratelimit"],
            r#""ip";r=9;t=3, "failed-authentication";r=4;t=3, "ip-bytes-60s";r=499;t=3"#
        );
    }
}
