/// What a store can fail with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not reachable, too slow, or refusing work: trying again later may help.
    #[error("the store is unavailable: {0}")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A name is taken.
    #[error("the name is taken")]
    Exists,
    /// A key was wrapped under a key-encryption key that is not, or no longer, the active one.
    #[error("another master key has become the active one")]
    KekNotActive,
    /// The schema no longer allows this release.
    #[error("the database's schema needs release {oldest} or newer; this is {}", env!("CARGO_PKG_VERSION"))]
    TooOld {
        /// The oldest release that may run.
        oldest: String,
    },
    /// No schema, or one older than this release: nobody ran its migrations.
    #[error(
        "the database has not been migrated to this release; run `cryptoserve migrate`, or set MIGRATE=auto"
    )]
    NoSchema,
    /// A row does not parse, or the database refused a statement: an operator has to look.
    #[error("the store is damaged or misused: {0}")]
    Invalid(#[source] Box<dyn std::error::Error + Send + Sync>),
}
