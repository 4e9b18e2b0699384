//! The cryptography, pure and without I/O: keys and bytes in, bytes out.
//!
//! From the top down: [`mod@derive`] turns the master key into a key-encryption key and a context key into the
//! keys that are really used; [`wrap`] protects stored keys and [`transport`] those on their way; [`envelope`] and
//! [`stream`] are the two ciphertext formats; [`aead`] and [`xaes`] are the primitives beneath them; [`sign`], [`mac`]
//! and [`hash`] are for what is not secret; [`random`] is where fresh bytes come from.

pub mod aead;
pub mod algorithm;
pub mod derive;
pub mod envelope;
mod error;
pub mod hash;
mod key_id;
pub mod mac;
mod pem;
pub mod random;
pub mod sign;
pub mod stream;
pub mod transport;
pub mod wrap;
pub mod xaes;

pub use algorithm::{Algorithm, AlgorithmSet};
pub(crate) use derive::expand;
pub use derive::{ContextKey, Kek, KekId, VersionKeys};
pub use envelope::{Format, Prefix};
pub use error::Error;
pub use hash::HashAlgorithm;
pub use key_id::{KeyId, KeyVersion};
pub use mac::{MacAlgorithm, MacKey};
pub use sign::{SignatureAlgorithm, SignatureFormat, SigningKey};
pub use transport::TransportKey;
pub use wrap::{KeyType, Origin, Purpose, WrapContext};

#[cfg(test)]
mod worked_example;
