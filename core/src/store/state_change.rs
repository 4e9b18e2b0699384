use crate::clock::Timestamp;
use crate::contexts::KeyState;

/// A change of a key version's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// The state that it must still be in.
    pub from: KeyState,
    /// The state that it comes to.
    pub to: KeyState,
    /// The end of the waiting period, if `to` is [`KeyState::Scheduled`].
    pub destroy_at: Option<Timestamp>,
}
