use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED,
    ED25519, ML_DSA_65, ML_DSA_87, ParsedPublicKey, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};
use subtle::ConstantTimeEq;

use super::{Jwk, SignatureAlgorithm, SignatureFormat, jws};
use crate::crypto::{Error, HashAlgorithm, pem};

/// A public key, which verifies.
#[derive(Clone)]
pub struct PublicKey {
    algorithm: SignatureAlgorithm,
    spki: Vec<u8>,
    raw: Vec<u8>,
    parsed: ParsedPublicKey,
    /// The same key, for signatures in DER; `None` where those are no different.
    parsed_for_der: Option<ParsedPublicKey>,
}

impl PublicKey {
    /// Takes up a key as `SubjectPublicKeyInfo` (RFC 5280) in its one canonical DER form, points uncompressed.
    ///
    /// # Errors
    /// [`Error::Malformed`] unless it is a key of this algorithm.
    pub fn from_spki(algorithm: SignatureAlgorithm, spki: &[u8]) -> Result<Self, Error> {
        let parse = |form| ParsedPublicKey::new(form, spki).map_err(|_| MALFORMED);
        let (form, form_for_der) = verification(algorithm);
        let parsed = parse(form)?;
        let parsed_for_der = form_for_der.map(parse).transpose()?;
        // The library takes other forms too, which would give one key two check values.
        let canonical: PublicKeyX509Der<'_> = parsed.as_der().map_err(|_| MALFORMED)?;
        if canonical.as_ref() != spki {
            return Err(MALFORMED);
        }
        let raw = raw(algorithm, spki)?;
        Ok(Self { algorithm, spki: spki.to_vec(), raw, parsed, parsed_for_der })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The key as `SubjectPublicKeyInfo` in DER (RFC 5280).
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The same in PEM (RFC 7468), with a line break at its end.
    pub fn pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.spki)
    }

    /// The same as JSON Web Key with the name `key_id`.
    pub fn jwk(&self, key_id: &str) -> Jwk {
        Jwk::new(self, key_id)
    }

    /// The key alone: 32 bytes (RFC 8032), an uncompressed point (SEC 1), an `RSAPublicKey` in DER (RFC 8017), or the
    /// encoding of FIPS 204.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The check value that is stored beside the wrapped private key: the first half of the SHA-256 of
    /// [`PublicKey::spki`].
    pub fn check_value(&self) -> [u8; 16] {
        let digest = HashAlgorithm::Sha256.digest(&self.spki);
        *digest.first_chunk().expect("SHA-256 has 32 bytes")
    }

    /// Confirms that this is the key whose check value was stored.
    ///
    /// # Errors
    /// [`Error::WrongKey`] if it is not.
    pub fn verify_check_value(&self, stored: &[u8]) -> Result<(), Error> {
        let equal = self.check_value().ct_eq(stored);
        if equal.into() { Ok(()) } else { Err(Error::WrongKey) }
    }

    /// Confirms that `signature`, as [`SigningKey::sign`](super::SigningKey::sign) writes it, is one of `message`.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if it is not; [`Error::Malformed`] if it is not even text of this format.
    pub fn verify(&self, message: &[u8], signature: &str, format: SignatureFormat) -> Result<(), Error> {
        let bytes = || {
            let decoded = base64_simd::STANDARD.decode_to_vec(signature);
            decoded.map_err(|_| Error::Malformed("a signature in this format is base64"))
        };
        match format {
            SignatureFormat::Base64 | SignatureFormat::Raw => self.verify_raw(message, &bytes()?),
            SignatureFormat::Der => self.verify_der(message, &bytes()?),
            SignatureFormat::Jws => jws::verify(self, message, signature),
        }
    }

    /// Confirms a signature as [`SigningKey::sign_raw`](super::SigningKey::sign_raw) makes it.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if it is not one of `message` by this key.
    pub fn verify_raw(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        self.parsed.verify_sig(message, signature).map_err(Error::authentication)
    }

    /// Confirms a signature as [`SigningKey::sign_der`](super::SigningKey::sign_der) makes it.
    ///
    /// # Errors
    /// [`Error::AuthenticationFailed`] if it is not one of `message` by this key.
    pub fn verify_der(&self, message: &[u8], signature: &[u8]) -> Result<(), Error> {
        let key = self.parsed_for_der.as_ref().unwrap_or(&self.parsed);
        key.verify_sig(message, signature).map_err(Error::authentication)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        (self.algorithm, &self.spki) == (other.algorithm, &other.spki)
    }
}

impl Eq for PublicKey {}

const MALFORMED: Error = Error::Malformed("not a public key of this algorithm");
/// The first byte of an uncompressed point.
const UNCOMPRESSED: u8 = 4;

/// What verifies natural signatures, and those in DER if they are different.
type Verification = (&'static dyn VerificationAlgorithm, Option<&'static dyn VerificationAlgorithm>);

fn verification(algorithm: SignatureAlgorithm) -> Verification {
    match algorithm {
        SignatureAlgorithm::Ed25519 => (&ED25519, None),
        SignatureAlgorithm::EcdsaP256 => (&ECDSA_P256_SHA256_FIXED, Some(&ECDSA_P256_SHA256_ASN1)),
        SignatureAlgorithm::EcdsaP384 => (&ECDSA_P384_SHA384_FIXED, Some(&ECDSA_P384_SHA384_ASN1)),
        SignatureAlgorithm::RsaPss3072 => (&RSA_PSS_2048_8192_SHA256, None),
        SignatureAlgorithm::MlDsa65 => (&ML_DSA_65, None),
        SignatureAlgorithm::MlDsa87 => (&ML_DSA_87, None),
    }
}

/// The key alone, taken from a canonical `SubjectPublicKeyInfo`, at whose end it stands.
fn raw(algorithm: SignatureAlgorithm, spki: &[u8]) -> Result<Vec<u8>, Error> {
    let last = |length| spki.len().checked_sub(length).map(|start| spki[start..].to_vec()).ok_or(MALFORMED);
    let point =
        |length| last(length).and_then(|raw| (raw[0] == UNCOMPRESSED).then_some(raw).ok_or(MALFORMED));
    match algorithm {
        SignatureAlgorithm::Ed25519 => last(32),
        SignatureAlgorithm::EcdsaP256 => point(1 + 2 * 32),
        SignatureAlgorithm::EcdsaP384 => point(1 + 2 * 48),
        SignatureAlgorithm::MlDsa65 => last(1952),
        SignatureAlgorithm::MlDsa87 => last(2592),
        SignatureAlgorithm::RsaPss3072 => {
            let key = RsaPublicKey::from_der(spki).map_err(|_| MALFORMED)?;
            let modulus = key.modulus();
            let modulus = modulus.big_endian_without_leading_zero();
            // 3072 bits, neither one more nor one less.
            let expected = modulus.len() == 384 && modulus[0] >= 0x80;
            expected.then(|| key.as_ref().to_vec()).ok_or(MALFORMED)
        }
    }
}
