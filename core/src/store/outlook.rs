/// How much there is that a restore makes stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// Whose tokens are to be refused.
    pub identities: u64,
    /// Contexts, deleted or not, that allow an algorithm whose messages are counted.
    pub counted_contexts: u64,
}
