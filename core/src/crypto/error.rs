//! What can go wrong in a cryptographic operation.

/// Why an operation gave no result. Says nothing about keys or plaintext, and is comparable in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input cannot be what it claims to be, whatever the key: the text names the part that is wrong.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// The input was altered or truncated, or it was made with another key or other associated data.
    #[error("authentication failed")]
    AuthenticationFailed,
    /// A key's check value differs from the stored one: this is not the key that the row describes.
    #[error("the key does not match its check value")]
    WrongKey,
    /// The library refused an operation that cannot fail with valid arguments, or had no randomness to give.
    #[error("internal cryptographic failure")]
    Internal,
}

impl Error {
    /// Replaces aws-lc's error, which is opaque by design.
    pub(super) fn internal(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Internal
    }

    /// The meaning of aws-lc's opaque error when opening a ciphertext.
    pub(super) fn authentication(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::AuthenticationFailed
    }
}
