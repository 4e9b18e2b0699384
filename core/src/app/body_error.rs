use crate::api::Error;

/// Why a front could not read a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Longer than allowed.
    #[error("too large")]
    TooLarge,
    /// Too slow.
    #[error("too slow")]
    Timeout,
    /// Broken off.
    #[error("broken off")]
    Incomplete,
    /// No memory left for it.
    #[error("no memory left")]
    Overloaded,
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge => Self::BodyTooLarge,
            BodyError::Timeout => Self::BodyTimeout,
            BodyError::Incomplete => Self::BodyIncomplete,
            BodyError::Overloaded => Self::Overloaded,
        }
    }
}
