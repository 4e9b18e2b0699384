use super::{PublicKey, SignatureAlgorithm};
use crate::crypto::{Error, pem};

impl PublicKey {
    /// Takes up a key that somebody presents: `SubjectPublicKeyInfo` in PEM (RFC 7468) or in DER. The key says which
    /// algorithm it is for.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it is one key of an algorithm that there is here, in its canonical form.
    pub fn presented(bytes: &[u8]) -> Result<Self, Error> {
        let decoded;
        let spki = if bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
            decoded = pem::public_key(bytes)?;
            &decoded
        } else {
            bytes
        };
        SignatureAlgorithm::ALL.into_iter().find_map(|algorithm| Self::from_spki(algorithm, spki).ok()).ok_or(
            Error::Malformed("not a public key (SubjectPublicKeyInfo) of an algorithm that there is here"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SigningKey;

    #[test]
    fn a_key_says_which_algorithm_it_is_for() {
        for algorithm in SignatureAlgorithm::ALL {
            let key = SigningKey::generate(algorithm).expect("made").public_key().clone();
            assert_eq!(PublicKey::presented(key.spki()), Ok(key.clone()));
            assert_eq!(PublicKey::presented(key.pem().as_bytes()), Ok(key.clone()));
            assert!(PublicKey::presented(key.raw()).is_err(), "{algorithm}: the key alone says nothing");
            for length in (0..key.spki().len()).step_by(13) {
                assert!(PublicKey::presented(&key.spki()[..length]).is_err(), "{algorithm}: {length}");
            }
            assert!(PublicKey::presented(key.pem().repeat(2).as_bytes()).is_err());
        }
        for nonsense in [&b""[..], b"-----BEGIN", b"hello", &[0x30; 91]] {
            assert!(PublicKey::presented(nonsense).is_err());
        }
    }
}
