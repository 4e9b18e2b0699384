//! The cryptography, pure and without I/O: keys and bytes in, bytes out.
//!
//! From the top down: [`mod@derive`] turns the master key into a key-encryption key and a context key into the
//! keys that are really used; [`wrap`] protects stored keys; [`envelope`] and [`stream`] are the two ciphertext
//! formats; [`aead`] and [`xaes`] are the primitives beneath them; [`random`] is where fresh bytes come from.

pub mod aead;
pub mod algorithm;
pub mod derive;
pub mod envelope;
mod error;
mod key_id;
pub mod random;
pub mod stream;
pub mod wrap;
pub mod xaes;

pub use algorithm::{Algorithm, AlgorithmSet};
pub use derive::{ContextKey, Kek, KekId, VersionKeys};
pub use envelope::{Format, Prefix};
pub use error::Error;
pub use key_id::{KeyId, KeyVersion};
pub use wrap::{KeyType, Origin, Purpose, WrapContext};
