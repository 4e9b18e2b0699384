mod document;
mod json;

use std::ops::RangeInclusive;

use super::bucket::{Kind, Quota};
use super::dimension::{Class, Counts, WindowId};
use crate::config::RateLimit;

pub use document::{InvalidDocument, ParsePolicyError, PolicyDocument, WindowDocument};

/// What holds for one dimension, or for one of those whom it is about: all of its windows at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Nobody is limited by a disabled policy.
    pub enabled: bool,
    /// It counts and reports, and refuses nobody.
    pub shadow: bool,
    /// Never empty; the first is [`WindowId::MAIN`].
    windows: Vec<Window>,
}

/// One limit of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    quota: Quota,
    counts: Counts,
    class: Option<Class>,
}

/// A [`Window`] as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpec {
    /// Tokens per span.
    pub limit: u64,
    /// The span, in seconds.
    pub seconds: u32,
    /// Tokens of the full bucket; as many as possible unless given.
    pub burst: Option<u64>,
    /// What the limit means.
    pub kind: Kind,
    /// What a token stands for.
    pub counts: Counts,
    /// The operations that it is about; all if `None`.
    pub class: Option<Class>,
}

/// Why a policy cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPolicy {
    /// Of a window: its limit.
    #[error("the limit must be {} to {}", .0.start(), .0.end())]
    Limit(RangeInclusive<u64>),
    /// Of a window: its span.
    #[error("the window must be 1 to {} seconds", WindowId::MAX_SECONDS)]
    Seconds,
    /// Of a window: its burst.
    #[error("the burst must be {} to {}", .0.start(), .0.end())]
    Burst(RangeInclusive<u64>),
    /// Two windows would share their buckets.
    #[error("two windows differ in no more than their numbers: {0}")]
    Twice(&'static str),
    /// Too many windows.
    #[error("at most {MAX_WINDOWS} windows besides requests per minute are possible")]
    TooMany,
}

/// Windows of a policy besides the first.
pub const MAX_WINDOWS: usize = 4;
/// The highest limit that counts bytes.
pub const MAX_BYTES: u64 = 1_000_000_000_000;

impl Window {
    /// The window, if its numbers are in range.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`], which tells the range.
    pub fn new(spec: WindowSpec) -> Result<Self, InvalidPolicy> {
        let WindowSpec { limit, seconds, burst, kind, counts, class } = spec;
        let limits = 1..=match counts {
            Counts::Items | Counts::Requests => u64::from(RateLimit::MAX_REQUESTS_PER_MINUTE),
            Counts::Bytes => MAX_BYTES,
        };
        if !limits.contains(&limit) {
            return Err(InvalidPolicy::Limit(limits));
        }
        if !(1..=WindowId::MAX_SECONDS).contains(&seconds) {
            return Err(InvalidPolicy::Seconds);
        }
        // So that every bucket is full again within one window.
        let bursts = 1..=match kind {
            Kind::Rate => limit,
            Kind::Quota => limit.div_ceil(2),
        };
        let burst = burst.unwrap_or(*bursts.end());
        if !bursts.contains(&burst) {
            return Err(InvalidPolicy::Burst(bursts));
        }
        Ok(Self { quota: Quota::of(kind, limit, seconds, burst), counts, class })
    }

    /// Size and rate of its buckets.
    pub const fn quota(self) -> Quota {
        self.quota
    }

    /// The same of buckets from which replicas may take in advance, if they are `leased`.
    pub(super) const fn quota_if(self, leased: bool) -> Quota {
        if leased { self.quota.leased() } else { self.quota }
    }

    /// What tells it from the other windows of its policy.
    pub const fn id(self) -> WindowId {
        WindowId {
            kind: self.quota.kind(),
            counts: self.counts,
            class: self.class,
            seconds: self.quota.seconds(),
        }
    }
}

impl Policy {
    /// The policy of `main` and further windows.
    ///
    /// # Errors
    ///
    /// [`InvalidPolicy`] if there are too many windows, or two of them are about the same.
    pub fn new(
        main: RateLimit,
        further: Vec<Window>,
        enabled: bool,
        shadow: bool,
    ) -> Result<Self, InvalidPolicy> {
        Self::with_windows(Window::from(main), further, enabled, shadow)
    }

    fn with_windows(
        main: Window,
        further: Vec<Window>,
        enabled: bool,
        shadow: bool,
    ) -> Result<Self, InvalidPolicy> {
        if further.len() > MAX_WINDOWS {
            return Err(InvalidPolicy::TooMany);
        }
        let mut policy = Self { enabled, shadow, windows: vec![main] };
        for window in further {
            if policy.windows.iter().any(|other| other.id() == window.id()) {
                return Err(InvalidPolicy::Twice("kind, what they count, operations and span are the same"));
            }
            policy.windows.push(window);
        }
        Ok(policy)
    }

    /// Its windows: the first is that of requests per minute.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }
}

impl From<RateLimit> for Policy {
    fn from(main: RateLimit) -> Self {
        Self { enabled: true, shadow: false, windows: vec![main.into()] }
    }
}

impl From<RateLimit> for Window {
    fn from(main: RateLimit) -> Self {
        Self { quota: Quota::new(main), counts: Counts::Items, class: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: WindowSpec = WindowSpec {
        limit: 5000,
        seconds: 86_400,
        burst: None,
        kind: Kind::Quota,
        counts: Counts::Items,
        class: None,
    };

    #[test]
    fn numbers_out_of_range_are_told() {
        assert_eq!(Window::new(DAY).unwrap().quota().burst(), 2500);
        assert_eq!(Window::new(WindowSpec { kind: Kind::Rate, ..DAY }).unwrap().quota().burst(), 5000);
        assert_eq!(Window::new(WindowSpec { limit: 1, ..DAY }).unwrap().quota().burst(), 1);
        let refused = |spec: WindowSpec| Window::new(spec).unwrap_err();
        for limit in [0, 10_000_001] {
            assert_eq!(refused(WindowSpec { limit, ..DAY }), InvalidPolicy::Limit(1..=10_000_000));
        }
        let bytes = WindowSpec { limit: MAX_BYTES, counts: Counts::Bytes, ..DAY };
        assert!(Window::new(bytes).is_ok());
        assert_eq!(
            refused(WindowSpec { limit: MAX_BYTES + 1, ..bytes }),
            InvalidPolicy::Limit(1..=MAX_BYTES)
        );
        for seconds in [0, 2_678_401, u32::MAX] {
            assert_eq!(refused(WindowSpec { seconds, ..DAY }), InvalidPolicy::Seconds);
        }
        for burst in [0, 2501, u64::MAX] {
            assert_eq!(refused(WindowSpec { burst: Some(burst), ..DAY }), InvalidPolicy::Burst(1..=2500));
        }
    }

    #[test]
    fn windows_that_are_about_the_same_are_refused() {
        let main = RateLimit { requests_per_minute: 60, burst: 6 };
        let day = Window::new(DAY).unwrap();
        let smaller = Window::new(WindowSpec { limit: 10, ..DAY }).unwrap();
        let of_decrypts = Window::new(WindowSpec { class: Some(Class::Decrypt), ..DAY }).unwrap();
        let policy = |windows: &[Window]| Policy::new(main, windows.to_vec(), true, false);
        assert_eq!(policy(&[day, of_decrypts]).unwrap().windows().len(), 3);
        assert!(matches!(policy(&[day, smaller]), Err(InvalidPolicy::Twice(_))));
        let minute = WindowSpec { kind: Kind::Rate, seconds: 60, ..DAY };
        assert!(
            matches!(policy(&[Window::new(minute).unwrap()]), Err(InvalidPolicy::Twice(_))),
            "as the first"
        );
        assert_eq!(policy(&[day; MAX_WINDOWS + 1]), Err(InvalidPolicy::TooMany));
    }
}
