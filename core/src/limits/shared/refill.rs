use redis::aio::ConnectionLike;
use redis::{RedisResult, Script};

use super::key::key;
use crate::limits::bucket::{LEASE_TICKS, Ticks};
use crate::limits::lease::Ask;
use crate::limits::{Bucket, Quota};

/// The script that takes in advance, with the arithmetic of take.lua.
pub(super) struct RefillScript(Script);

/// What a bucket gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) ticks: u64,
    /// The bucket's state after that.
    pub(super) full_at: Ticks,
    /// By Redis' clock.
    pub(super) now: Ticks,
}

impl RefillScript {
    pub(super) fn new() -> Self {
        Self(Script::new(include_str!("refill.lua")))
    }

    /// Another one.
    #[cfg(test)]
    pub(super) fn of(script: &str) -> Self {
        Self(Script::new(script))
    }

    /// Takes what there is from each bucket, in one round trip.
    pub(super) async fn ask(
        &self,
        connection: &mut impl ConnectionLike,
        asks: impl IntoIterator<Item = (Bucket, Quota, Ask)>,
    ) -> RedisResult<Vec<Given>> {
        let mut call = self.0.prepare_invoke();
        let mut count = 0;
        for (bucket, quota, ask) in asks {
            call.key(key(&bucket)).arg(quota.room_ticks()).arg(quota.slack_ticks());
            call.arg(ask.want).arg(ask.unit);
            count += 1;
        }
        let reply: Vec<u64> = call.invoke_async(connection).await?;
        match reply.split_first() {
            Some((now, given)) if given.len() == 2 * count => {
                let given = given.chunks_exact(2);
                let given =
                    given.map(|of| Given { ticks: of[0], full_at: Ticks(of[1]), now: Ticks(*now) }).collect();
                Ok(given)
            }
            _ => Err((redis::ErrorKind::UnexpectedReturnType, "the script's reply is cut").into()),
        }
    }

    /// Takes from a bucket that is nobody's, as [`TakeScript::probe`](super::script::TakeScript::probe).
    pub(super) async fn probe(&self, connection: &mut impl ConnectionLike, key: &str) -> RedisResult<()> {
        let (room, want, unit) = (1_000_000, 1, 1);
        let mut call = self.0.key(key);
        call.arg(room).arg(LEASE_TICKS).arg(want).arg(unit);
        let _: Vec<u64> = call.invoke_async(connection).await?;
        Ok(())
    }
}
