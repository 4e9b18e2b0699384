use aws_lc_rs::rsa::PublicKey as RsaPublicKey;
use serde::Serialize;

use super::{PublicKey, SignatureAlgorithm};

/// A public key as JSON Web Key: RFC 7517 and 7518, RFC 8037 for Ed25519, RFC 9964 for ML-DSA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    #[serde(flatten)]
    parameters: Parameters,
    alg: &'static str,
    #[serde(rename = "use")]
    usage: &'static str,
    kid: String,
}

/// What differs between kinds of key; numbers and strings of bytes are in base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
enum Parameters {
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
    #[serde(rename = "EC")]
    Ec { crv: &'static str, x: String, y: String },
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "AKP")]
    Akp {
        #[serde(rename = "pub")]
        public: String,
    },
}

impl Jwk {
    pub(super) fn new(key: &PublicKey, key_id: &str) -> Self {
        let algorithm = key.algorithm();
        let raw = key.raw();
        let parameters = match algorithm {
            SignatureAlgorithm::Ed25519 => Parameters::Okp { crv: "Ed25519", x: base64url(raw) },
            SignatureAlgorithm::EcdsaP256 => point("P-256", raw),
            SignatureAlgorithm::EcdsaP384 => point("P-384", raw),
            SignatureAlgorithm::RsaPss3072 => {
                let key = RsaPublicKey::from_der(raw).expect("parsed when the key was taken up");
                Parameters::Rsa {
                    n: base64url(key.modulus().big_endian_without_leading_zero()),
                    e: base64url(key.exponent().big_endian_without_leading_zero()),
                }
            }
            SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => {
                Parameters::Akp { public: base64url(raw) }
            }
        };
        Self { parameters, alg: algorithm.jose_name(), usage: "sig", kid: key_id.to_owned() }
    }
}

/// An uncompressed point: 0x04 and two coordinates of the same length (SEC 1 section 2.3.3).
fn point(crv: &'static str, point: &[u8]) -> Parameters {
    let (x, y) = point[1..].split_at(point.len() / 2);
    Parameters::Ec { crv, x: base64url(x), y: base64url(y) }
}

pub(super) fn base64url(bytes: &[u8]) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}
