//! Digital signatures: Ed25519 (RFC 8032), ECDSA (FIPS 186-5), RSASSA-PSS (RFC 8017), ML-DSA (FIPS 204).
//!
//! A [`SigningKey`] signs, its [`PublicKey`] verifies. What a signature looks like is its [`SignatureFormat`], and
//! which algorithm verifies it is the key's alone: no text that a caller sends is ever asked for one.

mod algorithm;
mod format;
mod jwk;
mod jws;
mod presented;
mod public_key;

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
    ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair, PqdsaSigningAlgorithm, RSA_PSS_SHA256, RsaKeyPair,
};

pub use self::algorithm::SignatureAlgorithm;
pub use self::format::SignatureFormat;
pub use self::jwk::Jwk;
pub use self::public_key::PublicKey;
use super::Error;
use crate::secret::Secret;

/// A private key that signs, with its public key. The library wipes it from memory when dropped.
///
/// Making an RSA key takes up to a second of one core, any other less than a millisecond.
pub struct SigningKey {
    pair: Pair,
    public_key: PublicKey,
}

/// The library's key pairs. Those of ECDSA know one form of signature each.
enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa { fixed: Box<EcdsaKeyPair>, der: Box<EcdsaKeyPair> },
    RsaPss(RsaKeyPair),
    MlDsa(Box<PqdsaKeyPair>),
}

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails or has no randomness.
    pub fn generate(algorithm: SignatureAlgorithm) -> Result<Self, Error> {
        let pair = match algorithm {
            SignatureAlgorithm::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::generate().map_err(Error::internal)?)
            }
            SignatureAlgorithm::EcdsaP256 | SignatureAlgorithm::EcdsaP384 => {
                let (fixed, der) = ecdsa(algorithm);
                let fixed = EcdsaKeyPair::generate(fixed).map_err(Error::internal)?;
                let pkcs8 = fixed.to_pkcs8v1().map_err(Error::internal)?;
                let der = EcdsaKeyPair::from_pkcs8(der, pkcs8.as_ref()).map_err(|_| Error::Internal)?;
                Pair::Ecdsa { fixed: fixed.into(), der: der.into() }
            }
            SignatureAlgorithm::RsaPss3072 => {
                Pair::RsaPss(RsaKeyPair::generate(KeySize::Rsa3072).map_err(Error::internal)?)
            }
            SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => {
                Pair::MlDsa(PqdsaKeyPair::generate(ml_dsa(algorithm)).map_err(Error::internal)?.into())
            }
        };
        Self::of(algorithm, pair).map_err(|_| Error::Internal)
    }

    /// Takes up a stored key, as unwrapped: a PKCS #8 `PrivateKeyInfo` (RFC 5958) in DER.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it is a key of this algorithm.
    pub fn from_pkcs8(algorithm: SignatureAlgorithm, pkcs8: &[u8]) -> Result<Self, Error> {
        let pair = match algorithm {
            SignatureAlgorithm::Ed25519 => {
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?)
            }
            SignatureAlgorithm::EcdsaP256 | SignatureAlgorithm::EcdsaP384 => {
                let (fixed, der) = ecdsa(algorithm);
                let [fixed, der] = [fixed, der].map(|form| EcdsaKeyPair::from_pkcs8(form, pkcs8));
                Pair::Ecdsa { fixed: fixed.map_err(rejected)?.into(), der: der.map_err(rejected)?.into() }
            }
            SignatureAlgorithm::RsaPss3072 => Pair::RsaPss(RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?),
            SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => {
                Pair::MlDsa(PqdsaKeyPair::from_pkcs8(ml_dsa(algorithm), pkcs8).map_err(rejected)?.into())
            }
        };
        Self::of(algorithm, pair)
    }

    fn of(algorithm: SignatureAlgorithm, pair: Pair) -> Result<Self, Error> {
        let spki: Result<PublicKeyX509Der<'_>, _> = match &pair {
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Ecdsa { fixed, .. } => fixed.public_key().as_der(),
            Pair::RsaPss(pair) => pair.public_key().as_der(),
            Pair::MlDsa(pair) => pair.public_key().as_der(),
        };
        let public_key = PublicKey::from_spki(algorithm, spki.map_err(Error::internal)?.as_ref())?;
        Ok(Self { pair, public_key })
    }

    /// The key for wrapping: a PKCS #8 `PrivateKeyInfo` in DER, of ML-DSA with the seed (RFC 9881).
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails, or for an ML-DSA key that came without its seed.
    pub fn to_pkcs8(&self) -> Result<Secret<Vec<u8>>, Error> {
        let copy = |der: &[u8]| Secret::new(der.to_vec());
        match &self.pair {
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|der| copy(der.as_ref())),
            Pair::Ecdsa { fixed, .. } => fixed.to_pkcs8v1().map(|der| copy(der.as_ref())),
            Pair::RsaPss(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|der| copy(der.as_ref())),
            Pair::MlDsa(pair) => pair.to_pkcs8v1().map(|der| copy(der.as_ref())),
        }
        .map_err(Error::internal)
    }

    /// The algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.public_key.algorithm()
    }

    /// The public key.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The signature of `message` as text in `format`. `key_id` is the `kid` of a [JWS](SignatureFormat::Jws); the
    /// other formats do not name their key.
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn sign(&self, message: &[u8], format: SignatureFormat, key_id: &str) -> Result<String, Error> {
        let base64 = |signature: Vec<u8>| base64_simd::STANDARD.encode_to_string(signature);
        match format {
            SignatureFormat::Base64 | SignatureFormat::Raw => self.sign_raw(message).map(base64),
            SignatureFormat::Der => self.sign_der(message).map(base64),
            SignatureFormat::Jws => jws::sign(self, message, key_id),
        }
    }

    /// The signature of `message` in its natural form, as long as [`SignatureAlgorithm::signature_len`] says; that of
    /// ECDSA is r ‖ s (IEEE P1363).
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn sign_raw(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let length = self.algorithm().signature_len();
        match &self.pair {
            Pair::Ed25519(pair) => pair.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Pair::Ecdsa { fixed, .. } => {
                fixed.sign(&SystemRandom::new(), message).map(|signature| signature.as_ref().to_vec())
            }
            Pair::RsaPss(pair) => {
                let mut signature = vec![0; length];
                let signed = pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), message, &mut signature);
                signed.map(|()| signature)
            }
            Pair::MlDsa(pair) => {
                let mut signature = vec![0; length];
                pair.sign(message, &mut signature).map(|_| signature)
            }
        }
        .map_err(Error::internal)
    }

    /// The signature of `message` in DER: that of ECDSA as `ECDSA-Sig-Value` (RFC 3279), any other, for which there
    /// is no such form, as [`SigningKey::sign_raw`].
    ///
    /// # Errors
    /// [`Error::Internal`] if the library fails.
    pub fn sign_der(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        match &self.pair {
            Pair::Ecdsa { der, .. } => {
                let signature = der.sign(&SystemRandom::new(), message).map_err(Error::internal)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(_) | Pair::RsaPss(_) | Pair::MlDsa(_) => self.sign_raw(message),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.algorithm())
    }
}

/// Signing with fixed length and in DER.
fn ecdsa(algorithm: SignatureAlgorithm) -> (&'static EcdsaSigningAlgorithm, &'static EcdsaSigningAlgorithm) {
    if algorithm == SignatureAlgorithm::EcdsaP384 {
        (&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING)
    } else {
        (&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_ASN1_SIGNING)
    }
}

fn ml_dsa(algorithm: SignatureAlgorithm) -> &'static PqdsaSigningAlgorithm {
    if algorithm == SignatureAlgorithm::MlDsa87 { &ML_DSA_87_SIGNING } else { &ML_DSA_65_SIGNING }
}

fn rejected(_: KeyRejected) -> Error {
    Error::Malformed("not a private key of this algorithm")
}

#[cfg(test)]
mod tests;
