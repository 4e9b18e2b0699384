use std::net::IpAddr;

use redis::aio::ConnectionLike;
use redis::{RedisResult, Script};

use crate::id::TenantId;
use crate::limits::bucket::{Quota, Ticks};
use crate::limits::{Dimension, Level, Refusal, verdict};

/// The one script: buckets in Redis, by Redis' clock, with the arithmetic of [`Quota`].
pub(super) struct TakeScript(Script);

/// What the script found and did.
#[derive(Debug)]
pub(super) struct Taken {
    admitted: bool,
    /// By Redis' clock.
    pub(super) now: Ticks,
    /// Of each bucket.
    pub(super) full_at: Vec<Ticks>,
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

    /// Takes `cost` from all of `wanted` or from none, in one round trip.
    pub(super) async fn take(
        &self,
        connection: &mut impl ConnectionLike,
        wanted: &[(Dimension, Quota)],
        cost: u32,
    ) -> RedisResult<Taken> {
        let mut call = self.0.prepare_invoke();
        for (dimension, quota) in wanted {
            call.key(key(dimension)).arg(quota.burst_ticks()).arg(quota.cost_ticks(cost));
        }
        let reply: Vec<u64> = call.invoke_async(connection).await?;
        match &reply[..] {
            [admitted, now, full_at @ ..] if full_at.len() == wanted.len() => Ok(Taken {
                admitted: *admitted == 1,
                now: Ticks(*now),
                full_at: full_at.iter().copied().map(Ticks).collect(),
            }),
            _ => Err((redis::ErrorKind::UnexpectedReturnType, "the script's reply is cut").into()),
        }
    }

    /// Takes from a bucket that is nobody's: shows that the script may run, and write.
    pub(super) async fn probe(&self, connection: &mut impl ConnectionLike) -> RedisResult<()> {
        let (room, cost) = (1_000_000, 1);
        let _: Vec<u64> = self.0.key("cs:{probe}").arg(room).arg(cost).invoke_async(connection).await?;
        Ok(())
    }
}

impl Taken {
    /// What Redis decided, in words; `None` if this process would have decided otherwise.
    pub(super) fn verdict(
        &self,
        wanted: &[(Dimension, Quota)],
        cost: u32,
    ) -> Option<Result<Vec<Level>, Refusal>> {
        if self.admitted {
            let levels = wanted.iter().zip(&self.full_at);
            let level =
                |(&(dimension, quota), &at): (&(_, _), &_)| verdict::level(dimension, quota, at, self.now);
            return Some(Ok(levels.map(level).collect()));
        }
        verdict::judge(wanted, |position| self.full_at[position], cost, self.now).err().map(Err)
    }
}

/// The key of a bucket: short, and with a hash tag that all buckets of one request have in common, so that they are
/// on one node of a cluster. The tag is three quarters of the tenant's random id.
pub(super) fn key(dimension: &Dimension) -> String {
    const TEXT: base64_simd::Base64 = base64_simd::URL_SAFE_NO_PAD;
    let tag = |tenant: &TenantId| TEXT.encode_to_string(&tenant.as_bytes()[..12]);
    match dimension {
        Dimension::Ip(tenant, address) => format!("cs:{{{}}}a{}", tag(tenant), network(*address)),
        Dimension::Identity(tenant, id) => {
            format!("cs:{{{}}}i{}", tag(tenant), TEXT.encode_to_string(id.as_bytes()))
        }
        Dimension::Context(tenant, id) => {
            format!("cs:{{{}}}c{}", tag(tenant), TEXT.encode_to_string(id.as_bytes()))
        }
        Dimension::FailedAuthentication(address) => format!("cs:{{f{}}}", network(*address)),
    }
}

/// An address in full, or the half of it that names a network.
fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:016x}", address.to_bits() >> 64),
    }
}
