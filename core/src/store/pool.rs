/// The connections for requests at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStatus {
    /// Open connections.
    pub size: usize,
    /// Of those, the ones that are at work.
    pub in_use: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// Most that may be open: `DB_POOL_SIZE` and `DB_MAX_OVERFLOW`.
    pub max: usize,
}

impl PoolStatus {
    /// Open connections that are idle.
    pub const fn available(self) -> usize {
        self.size.saturating_sub(self.in_use)
    }

    /// How many of all that may be open are at work, in percent with one decimal.
    pub fn usage_percent(self) -> f64 {
        let [in_use, max] = [self.in_use, self.max.max(1)].map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        (f64::from(in_use) * 1000.0 / f64::from(max)).round() / 10.0
    }

    /// Whether another request would have to wait.
    pub const fn is_used_up(self) -> bool {
        self.in_use >= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_of_what_may_be_open_and_not_of_what_is() {
        let pool = PoolStatus { size: 12, in_use: 10, waiting: 0, max: 30 };
        assert_eq!((pool.usage_percent(), pool.available(), pool.is_used_up()), (33.3, 2, false));
        let full = PoolStatus { size: 30, in_use: 30, waiting: 4, max: 30 };
        assert_eq!((full.usage_percent(), full.available(), full.is_used_up()), (100.0, 0, true));
    }
}
