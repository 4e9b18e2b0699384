use crate::clock::Timestamp;

/// What a database server says of itself, for who looks whether it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its time, as the statement began.
    pub now: Timestamp,
    /// Its release.
    pub release: String,
    /// Of a server that many share; `None` for the embedded store.
    pub server: Option<ServerFacts>,
}

/// What one that many share says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// The release as one number: 150004 is 15.4.
    pub version: u32,
    /// Connections that it takes of all clients together, those for superusers not counted.
    pub connections: u32,
    /// Whether what it calls committed is on disk: `fsync` and `full_page_writes`.
    pub durable: bool,
    /// Whether a commit waits for that: `synchronous_commit` is not `off`.
    pub waits: bool,
    /// Whether this connection uses TLS; `None` where the server does not tell.
    pub encrypted: Option<bool>,
}
