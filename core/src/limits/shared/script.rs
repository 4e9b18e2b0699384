use redis::aio::ConnectionLike;
use redis::{RedisResult, Script};

use super::key::key;
use crate::limits::bucket::Ticks;
use crate::limits::{Admission, Refusal, Wanted, verdict};

/// The one script: buckets in Redis, by Redis' clock, with the arithmetic of [`Quota`](crate::limits::Quota).
pub(super) struct TakeScript(Script);

/// What the script found and did.
#[derive(Debug)]
pub(super) struct Taken {
    admitted: bool,
    /// By Redis' clock.
    pub(super) now: Ticks,
    /// The state of each bucket.
    pub(super) full_at: Vec<Ticks>,
    /// As `full_at`, but `None` for those that only count and do not allow it.
    next: Vec<Option<Ticks>>,
}

impl TakeScript {
    pub(super) fn new() -> Self {
        Self(Script::new(include_str!("take.lua")))
    }

    /// Another one.
    #[cfg(test)]
    pub(super) fn of(script: &str) -> Self {
        Self(Script::new(script))
    }

    /// Takes from all of `wanted` or from none, in one round trip.
    pub(super) async fn take(
        &self,
        connection: &mut impl ConnectionLike,
        wanted: &[Wanted],
    ) -> RedisResult<Taken> {
        let mut call = self.0.prepare_invoke();
        for Wanted { bucket, quota, cost, shadow } in wanted {
            call.key(key(bucket)).arg(quota.room_ticks()).arg(quota.slack_ticks());
            // More than fits is as good as what just does not: a cost without bounds could not be written down.
            call.arg(quota.cost_ticks((*cost).min(quota.burst() + 1))).arg(u8::from(*shadow));
        }
        let reply: Vec<i64> = call.invoke_async(connection).await?;
        match &reply[..] {
            [admitted, now, states @ ..] if states.len() == wanted.len() => {
                let full_at = states.iter().map(|state| Ticks(state.unsigned_abs())).collect();
                let next = states.iter().map(|state| u64::try_from(*state).ok().map(Ticks)).collect();
                Ok(Taken { admitted: *admitted == 1, now: Ticks(now.unsigned_abs()), full_at, next })
            }
            _ => Err((redis::ErrorKind::UnexpectedReturnType, "the script's reply is cut").into()),
        }
    }

    /// Takes from a bucket that is nobody's: shows that the script may run, and write.
    pub(super) async fn probe(&self, connection: &mut impl ConnectionLike, key: &str) -> RedisResult<()> {
        let (room, slack, cost, shadow) = (1_000_000, 0, 1, 0);
        let mut call = self.0.key(key);
        call.arg(room).arg(slack).arg(cost).arg(shadow);
        let _: Vec<i64> = call.invoke_async(connection).await?;
        Ok(())
    }
}

impl Taken {
    /// What Redis decided, in words; `None` if this process would have decided otherwise.
    pub(super) fn verdict(&self, wanted: &[Wanted]) -> Option<Result<Admission, Refusal>> {
        if self.admitted {
            return Some(Ok(verdict::admission(wanted, &self.next, self.now)));
        }
        verdict::judge(wanted, |position| self.full_at[position], self.now).err().map(Err)
    }
}
