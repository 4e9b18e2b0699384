use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoserve_core::app::BodyError;
use cryptoserve_core::id::IdentityId;

/// The memory for request bodies and their replies (`MAX_INFLIGHT_BYTES`). One identity gets at most half of it, so
/// that none can keep all others out.
#[derive(Clone)]
pub(super) struct Room {
    taken: Arc<Mutex<Bytes>>,
    capacity: u64,
}

#[derive(Default)]
struct Bytes {
    all: u64,
    by_identity: HashMap<IdentityId, u64>,
}

/// Room that is taken until this is dropped.
pub(super) struct Taken {
    room: Room,
    identity: IdentityId,
    bytes: u64,
}

impl Room {
    pub(super) fn new(capacity: u64) -> Self {
        Self { taken: Arc::default(), capacity }
    }

    /// No room yet, for a request of `identity`.
    pub(super) fn enter(&self, identity: IdentityId) -> Taken {
        Taken { room: self.clone(), identity, bytes: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes room for `more` bytes.
    pub(super) fn grow(&mut self, more: u64) -> Result<(), BodyError> {
        let mut taken = self.room.lock();
        let own = taken.by_identity.get(&self.identity).copied().unwrap_or(0);
        // A single request always fits: the capacity is at least its largest size.
        let share = (self.room.capacity / 2).max(self.bytes + more);
        if taken.all + more > self.room.capacity || own + more > share {
            return Err(BodyError::Overloaded);
        }
        taken.all += more;
        taken.by_identity.insert(self.identity, own + more);
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.room.lock();
        taken.all -= self.bytes;
        if let Some(own) = taken.by_identity.get_mut(&self.identity) {
            *own -= self.bytes;
            if *own == 0 {
                taken.by_identity.remove(&self.identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_identity_gets_half_and_everything_comes_back() {
        let room = Room::new(100);
        let (one, other) = (IdentityId::random(), IdentityId::random());
        let mut first = room.enter(one);
        first.grow(30).unwrap();
        let mut second = room.enter(one);
        second.grow(20).unwrap();
        assert_eq!(second.grow(1), Err(BodyError::Overloaded));
        let mut third = room.enter(other);
        third.grow(50).unwrap();
        assert_eq!(room.enter(IdentityId::random()).grow(1), Err(BodyError::Overloaded));
        drop((first, second, third));
        let taken = room.lock();
        assert!(taken.all == 0 && taken.by_identity.is_empty());
        drop(taken);
        room.enter(one).grow(100).unwrap();
    }
}
