use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::{Clock, Monotonic};
use crate::store;

/// Messages that one key version may encrypt under random 96-bit nonces (NIST SP 800-38D section 8.3).
const LIMIT: u64 = store::MESSAGES_EXHAUSTED;
/// From here on the key is to be rotated.
pub const ROTATE_AT: u64 = 1 << 31;
const FIRST_BLOCK: u64 = 1 << 8;
const LARGEST_BLOCK: u64 = 1 << 18;
/// A block that lasts shorter than this is followed by one twice its size.
const BLOCK_DURATION: Duration = Duration::from_secs(10);

/// Counts messages of the algorithms with short nonces. Blocks of the count are reserved in the store before use, so
/// that a crash skips numbers and never repeats them.
#[derive(Debug, Default)]
pub(super) struct MessageCounter {
    available: AtomicU64,
    last_block: Mutex<Option<(u64, Monotonic)>>,
}

/// What counting can fail with.
#[derive(Debug, thiserror::Error)]
pub enum CounterError {
    /// No more may be reserved.
    #[error("the key version has encrypted as many messages as its algorithm allows")]
    Exhausted,
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl MessageCounter {
    /// Takes `messages` from the block, reserving as many blocks as needed through `reserve(count, limit)`. Returns whether
    /// a block was reserved from which on the key is to be rotated.
    pub(super) async fn take<F>(
        &self,
        messages: u64,
        clock: &Clock,
        reserve: impl Fn(u64, u64) -> F,
    ) -> Result<bool, CounterError>
    where
        F: Future<Output = Result<Option<u64>, store::Error>>,
    {
        let mut worn = false;
        while !self.try_take(messages) {
            let mut last = self.last_block.lock().await;
            if self.try_take(messages) {
                break;
            }
            let now = clock.monotonic();
            let block = match *last {
                Some((size, since)) if now.since(since) < BLOCK_DURATION => (size * 2).min(LARGEST_BLOCK),
                Some((size, _)) => size,
                None => FIRST_BLOCK,
            };
            let block = block.max(messages);
            let total = reserve(block, LIMIT).await?.ok_or(CounterError::Exhausted)?;
            worn |= total >= ROTATE_AT;
            self.available.fetch_add(block, Ordering::AcqRel);
            *last = Some((block, now));
        }
        Ok(worn)
    }

    fn try_take(&self, messages: u64) -> bool {
        let take = |available: u64| available.checked_sub(messages);
        self.available.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[tokio::test]
    async fn blocks_double_while_they_last_short_and_stop_at_the_limit() {
        let hands = ManualClock::new(Timestamp::from_secs(0));
        let clock = Clock::Manual(hands.clone());
        let counter = MessageCounter::default();
        let blocks = Mutex::new(Vec::new());
        let reserve = |count, _| {
            blocks.lock().unwrap().push(count);
            std::future::ready(Ok(Some(count)))
        };
        assert!(!counter.take(256, &clock, reserve).await.unwrap());
        counter.take(512, &clock, reserve).await.unwrap();
        hands.advance(BLOCK_DURATION);
        counter.take(1, &clock, reserve).await.unwrap();
        counter.take(511, &clock, reserve).await.unwrap();
        counter.take(2000, &clock, reserve).await.unwrap();
        assert_eq!(*blocks.lock().unwrap(), [256, 512, 512, 2000]);
    }

    #[tokio::test]
    async fn a_block_beyond_half_of_the_limit_calls_for_rotation() {
        let clock = Clock::Manual(ManualClock::new(Timestamp::from_secs(0)));
        let counter = MessageCounter::default();
        let reserve = |total| move |_, _| std::future::ready(Ok(Some(total)));
        assert!(!counter.take(256, &clock, reserve(ROTATE_AT - 1)).await.unwrap());
        assert!(counter.take(256, &clock, reserve(ROTATE_AT)).await.unwrap());
        assert!(!counter.take(1, &clock, reserve(0)).await.unwrap(), "of the block that is there");
    }

    #[tokio::test]
    async fn nothing_is_counted_when_nothing_could_be_reserved() {
        let clock = Clock::Manual(ManualClock::new(Timestamp::from_secs(0)));
        let counter = MessageCounter::default();
        let refused = counter.take(1, &clock, |_, limit| {
            assert_eq!(limit, 1 << 32);
            std::future::ready(Ok(None))
        });
        assert!(matches!(refused.await, Err(CounterError::Exhausted)));
        assert!(!counter.try_take(1));
    }
}
