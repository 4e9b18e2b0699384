use std::fmt;
use std::str::FromStr;

use crate::crypto::{Error, KeyType};

/// A signature algorithm, with everything about it fixed: curve, hash, padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignatureAlgorithm {
    /// RFC 8032.
    Ed25519,
    /// FIPS 186-5 with SHA-256.
    EcdsaP256,
    /// FIPS 186-5 with SHA-384.
    EcdsaP384,
    /// RSASSA-PSS of RFC 8017 with a modulus of 3072 bits, SHA-256, MGF1 with SHA-256 and 32 bytes of salt.
    RsaPss3072,
    /// FIPS 204 with an empty context string.
    MlDsa65,
    /// FIPS 204 with an empty context string.
    MlDsa87,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] =
        [Self::Ed25519, Self::EcdsaP256, Self::EcdsaP384, Self::RsaPss3072, Self::MlDsa65, Self::MlDsa87];

    /// The name, as users read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::EcdsaP256 => "ECDSA-P256",
            Self::EcdsaP384 => "ECDSA-P384",
            Self::RsaPss3072 => "RSA-PSS-3072",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// The `alg` of JSON Web Signatures and Keys (RFC 7518, RFC 8037, RFC 9964).
    pub const fn jose_name(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            Self::EcdsaP256 => "ES256",
            Self::EcdsaP384 => "ES384",
            Self::RsaPss3072 => "PS256",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        }
    }

    /// Length in bytes of a signature that is not in DER.
    pub const fn signature_len(self) -> usize {
        match self {
            Self::Ed25519 | Self::EcdsaP256 => 64,
            Self::EcdsaP384 => 96,
            Self::RsaPss3072 => 384,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// What kind of key it takes.
    pub const fn key_type(self) -> KeyType {
        match self {
            Self::Ed25519 => KeyType::Ed25519,
            Self::EcdsaP256 => KeyType::EcdsaP256,
            Self::EcdsaP384 => KeyType::EcdsaP384,
            Self::RsaPss3072 => KeyType::RsaPss3072,
            Self::MlDsa65 => KeyType::MlDsa65,
            Self::MlDsa87 => KeyType::MlDsa87,
        }
    }

    /// The algorithm of a kind of key; `None` if that does not sign.
    pub fn of_key_type(key_type: KeyType) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.key_type() == key_type)
    }

    /// The other name that clients of the Python service send.
    const fn alias(self) -> Option<&'static str> {
        match self {
            Self::RsaPss3072 => Some("rsa"),
            _ => None,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for SignatureAlgorithm {
    type Err = Error;

    /// Reads a [name](SignatureAlgorithm::name), the [name in JOSE](SignatureAlgorithm::jose_name) or `rsa`, in any
    /// case; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| {
                [Some(algorithm.name()), Some(algorithm.jose_name()), algorithm.alias()]
                    .into_iter()
                    .flatten()
                    .any(|name| name.eq_ignore_ascii_case(text))
            })
            .ok_or(Error::Malformed("unknown signature algorithm"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_key_types_lead_back() {
        for algorithm in SignatureAlgorithm::ALL {
            assert_eq!(SignatureAlgorithm::of_key_type(algorithm.key_type()), Some(algorithm));
            assert!(algorithm.key_type().id() >= 16);
            for name in [algorithm.name(), algorithm.jose_name()] {
                assert_eq!(name.to_lowercase().parse(), Ok(algorithm));
                assert_eq!(name.to_uppercase().parse(), Ok(algorithm));
            }
        }
        for other in [KeyType::Symmetric256, KeyType::RsaOaep3072] {
            assert_eq!(SignatureAlgorithm::of_key_type(other), None);
        }
    }

    #[test]
    fn names_of_the_python_clients_are_known() {
        for (name, algorithm) in [
            ("ed25519", SignatureAlgorithm::Ed25519),
            ("ecdsa-p256", SignatureAlgorithm::EcdsaP256),
            ("rsa", SignatureAlgorithm::RsaPss3072),
        ] {
            assert_eq!(name.parse(), Ok(algorithm));
        }
        for unknown in ["", "none", "HS256", "RS256", "ES512", "ML-DSA-44", "ed448", "Ed25519 "] {
            let parsed = unknown.parse::<SignatureAlgorithm>();
            assert_eq!(parsed, Err(Error::Malformed("unknown signature algorithm")), "{unknown}");
        }
    }
}
