use std::fmt;
use std::str::FromStr;

use crate::crypto::Error;

/// How a signature is written. All are text, as they travel in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignatureFormat {
    /// The algorithm's own bytes in base64; for ECDSA r ‖ s.
    #[default]
    Base64,
    /// The same under the name that says what the bytes are.
    Raw,
    /// DER in base64: for ECDSA an `ECDSA-Sig-Value` (RFC 3279), for the others, which have no such form, as `Raw`.
    Der,
    /// A compact JSON Web Signature (RFC 7515), which contains the message.
    Jws,
}

impl SignatureFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Base64, Self::Raw, Self::Der, Self::Jws];

    /// The name, as users read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Raw => "raw",
            Self::Der => "der",
            Self::Jws => "jws",
        }
    }
}

impl fmt::Display for SignatureFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SignatureFormat {
    type Err = Error;

    /// Reads a [name](SignatureFormat::name) in any case; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|format| format.name().eq_ignore_ascii_case(text))
            .ok_or(Error::Malformed("unknown signature format"))
    }
}
