use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::crypto::{KeyId, KeyVersion};
use crate::id::TenantId;
use crate::store::Usage;

/// How many versions are written down in one transaction.
const CHUNK: usize = 100;

type Version = (TenantId, KeyId, KeyVersion);

/// How often one key version was used, as far as it is not yet written down.
#[derive(Debug, Default)]
pub(super) struct UsageCount {
    encrypts: AtomicU64,
    decrypts: AtomicU64,
}

impl UsageCount {
    pub(super) fn add_encrypts(&self, count: u64) {
        self.encrypts.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn add_decrypts(&self, count: u64) {
        self.decrypts.fetch_add(count, Ordering::Relaxed);
    }

    fn add(&self, usage: &Usage) {
        self.add_encrypts(usage.encrypts);
        self.add_decrypts(usage.decrypts);
    }

    fn take(&self, (tenant, key, version): Version) -> Option<Usage> {
        let encrypts = self.encrypts.swap(0, Ordering::Relaxed);
        let decrypts = self.decrypts.swap(0, Ordering::Relaxed);
        (encrypts > 0 || decrypts > 0).then_some(Usage { tenant, key, version, encrypts, decrypts })
    }
}

/// The counts of all key versions that are in memory, and of those that no longer are until they are written down.
#[derive(Debug, Default)]
pub(super) struct UsageLedger(Mutex<HashMap<Version, Arc<UsageCount>>>);

impl UsageLedger {
    /// The count of a version, which goes on where a former load of it left off.
    pub(super) fn open(&self, tenant: TenantId, key: KeyId, version: KeyVersion) -> Arc<UsageCount> {
        self.counts().entry((tenant, key, version)).or_default().clone()
    }

    /// Takes what was counted, to be written down.
    pub(super) fn take(&self) -> Unwritten<'_> {
        let mut counts = self.counts();
        let mut usage: Vec<_> = counts.iter().filter_map(|(version, count)| count.take(*version)).collect();
        // All replicas in one order, so that none waits for rows of another that waits for its.
        usage.sort_unstable_by_key(|usage| (usage.tenant, usage.key, usage.version));
        // Nobody else can count there any more.
        counts.retain(|_, count| Arc::strong_count(count) > 1);
        Unwritten { ledger: self, usage }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<Version, Arc<UsageCount>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was counted and is to be written down piece by piece. What is not, because it failed or was given up, is counted
/// again in the end.
pub(super) struct Unwritten<'a> {
    ledger: &'a UsageLedger,
    usage: Vec<Usage>,
}

impl Unwritten<'_> {
    /// The next piece.
    pub(super) fn chunk(&self) -> Option<&[Usage]> {
        self.usage.rchunks(CHUNK).next()
    }

    /// The piece was written.
    pub(super) fn written(&mut self) {
        self.usage.truncate(self.usage.len().saturating_sub(CHUNK));
    }
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        for usage in &self.usage {
            self.ledger.open(usage.tenant, usage.key, usage.version).add(usage);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: u32) -> Version {
        (TenantId(uuid::Uuid::nil()), KeyId([1; 16]), KeyVersion::try_from(n).unwrap())
    }

    fn open(ledger: &UsageLedger, n: u32) -> Arc<UsageCount> {
        let (tenant, key, version) = version(n);
        ledger.open(tenant, key, version)
    }

    #[test]
    fn what_was_counted_is_written_once_also_after_the_key_left_memory() {
        let ledger = UsageLedger::default();
        open(&ledger, 1).add_encrypts(3);
        let held = open(&ledger, 2);
        held.add_decrypts(1);
        let mut unwritten = ledger.take();
        let mut usage = unwritten.chunk().unwrap().to_vec();
        unwritten.written();
        assert!(unwritten.chunk().is_none());
        drop(unwritten);
        assert!(ledger.take().chunk().is_none());
        usage.sort_by_key(|usage| usage.version);
        let counts: Vec<_> = usage.iter().map(|usage| (usage.encrypts, usage.decrypts)).collect();
        assert_eq!(counts, [(3, 0), (0, 1)]);
        assert_eq!(ledger.counts().len(), 1, "what nobody holds is forgotten");
    }

    #[test]
    fn what_was_not_written_is_kept() {
        let ledger = UsageLedger::default();
        for n in 1..=250 {
            open(&ledger, n).add_encrypts(1);
        }
        let mut unwritten = ledger.take();
        assert_eq!(unwritten.chunk().map(<[Usage]>::len), Some(CHUNK));
        unwritten.written();
        // Meanwhile somebody goes on counting.
        open(&ledger, 1).add_encrypts(1);
        drop(unwritten);
        let mut rest = ledger.take();
        let (mut versions, mut encrypts) = (0, 0);
        while let Some(chunk) = rest.chunk() {
            versions += chunk.len();
            encrypts += chunk.iter().map(|usage| usage.encrypts).sum::<u64>();
            rest.written();
        }
        assert!((150..=151).contains(&versions), "{versions}");
        assert_eq!(encrypts, 151);
    }
}
