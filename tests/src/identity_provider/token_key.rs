use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

use super::IdentityProvider;

/// A key that signs tokens. Nothing of it is shared with the service's own code.
#[derive(Debug)]
pub struct TokenKey {
    kid: String,
    pair: Pair,
}

#[derive(Debug)]
enum Pair {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl TokenKey {
    /// For RS256, of 2048 bits.
    ///
    /// # Panics
    ///
    /// If none can be made, as all that make keys.
    pub fn rsa(kid: &str) -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        Self { kid: kid.to_owned(), pair: Pair::Rsa(pair.into()) }
    }

    /// For ES256.
    pub fn ec(kid: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        Self { kid: kid.to_owned(), pair: Pair::Ec(pair) }
    }

    /// For EdDSA.
    pub fn ed(kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Pair::Ed(Ed25519KeyPair::generate().expect("a key")) }
    }

    /// As a provider publishes it (RFC 7517).
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.pair {
            Pair::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                json!({
                    "kty": "RSA",
                    "n": url64(n.big_endian_without_leading_zero()),
                    "e": url64(e.big_endian_without_leading_zero()),
                })
            }
            Pair::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": url64(&point[1..33]), "y": url64(&point[33..]) })
            }
            Pair::Ed(pair) => json!({ "kty": "OKP", "crv": "Ed25519", "x": url64(pair.public_key()) }),
        };
        jwk["kid"] = self.kid.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The header that names this key and its algorithm.
    pub fn header(&self) -> Value {
        let algorithm = match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        };
        json!({ "typ": "JWT", "alg": algorithm, "kid": self.kid })
    }

    /// A good token of `subject`, valid for five minutes, with the claims of `more` in place of or beside the usual ones.
    pub fn token(&self, subject: &str, more: &Value) -> String {
        self.sign(&self.header(), &claims(subject, more))
    }

    /// A token of these parts, whatever they say.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", url64(header.to_string()), url64(claims.to_string()));
        let (message, random) = (signed.as_bytes(), SystemRandom::new());
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                url64(signature)
            }
            Pair::Ec(pair) => url64(pair.sign(&random, message).expect("a signature")),
            Pair::Ed(pair) => url64(pair.sign(message)),
        };
        format!("{signed}.{signature}")
    }
}

fn claims(subject: &str, more: &Value) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (iss, aud) = (IdentityProvider::ISSUER, IdentityProvider::AUDIENCE);
    let mut claims = json!({ "iss": iss, "aud": aud, "sub": subject, "iat": now, "exp": now + 300 });
    for (name, value) in more.as_object().into_iter().flatten() {
        claims[name] = value.clone();
    }
    claims
}

fn url64(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
}
