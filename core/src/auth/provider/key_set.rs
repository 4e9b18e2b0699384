//! A key set (RFC 7517), reduced to the keys that may verify tokens here.

use std::collections::HashMap;

use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse, RSAKeyParameters,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde_json::Value;

/// Fewest bits of an RSA modulus (RFC 7518 section 3.3), and most, as verifying costs time.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Bytes of a coordinate of P-256, and of a key of Ed25519.
const COORDINATE: usize = 32;
/// Longest id of a key, in bytes.
const MAX_KID: usize = 256;
/// Most keys that are left out by name.
const MOST_NAMED: usize = 20;

/// The keys of a provider, by their ids.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: HashMap<String, Key>,
    /// Which keys were left out, and why.
    ignored: Vec<String>,
}

/// A public key and the one algorithm that it verifies.
pub(super) struct Key {
    /// As it says itself by its type and curve, whatever the header of a token says.
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    jwk: Jwk,
}

impl KeySet {
    /// Reads a set; what is no usable key in it is left out.
    ///
    /// # Errors
    ///
    /// When it is no key set at all.
    pub(super) fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Document {
            // Each is read alone, so that one of a kind that is not known here does not cost the others.
            keys: Vec<Value>,
        }

        let mut set = Self::default();
        for value in serde_json::from_slice::<Document>(body)?.keys {
            let name = value.get("kid").and_then(Value::as_str).unwrap_or("without kid").to_owned();
            let key = Key::parse(value).and_then(|(kid, key)| {
                if set.keys.contains_key(&kid) {
                    return Err("another key of the set has the same kid");
                }
                set.keys.insert(kid, key);
                Ok(())
            });
            if let Err(reason) = key {
                let name: String = name.chars().take(64).collect();
                set.ignored.push(format!("{name} ({reason})"));
            }
        }
        Ok(set)
    }

    pub(super) fn get(&self, kid: &str) -> Option<&Key> {
        self.keys.get(kid)
    }

    /// Which keys were left out, and why, for one line of the log; `None` if all are used.
    pub(super) fn ignored(&self) -> Option<String> {
        let named = &self.ignored[..self.ignored.len().min(MOST_NAMED)];
        (!named.is_empty())
            .then(|| format!("{} of {}: {}", named.len(), self.ignored.len(), named.join(", ")))
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether `other` holds the very same keys.
    pub(super) fn same_keys(&self, other: &Self) -> bool {
        self.keys.len() == other.keys.len()
            && self.keys.iter().all(|(kid, key)| other.get(kid).is_some_and(|other| other.jwk == key.jwk))
    }
}

impl Key {
    fn parse(value: Value) -> Result<(String, Self), &'static str> {
        if ["d", "k"].iter().any(|private| value.get(private).is_some()) {
            return Err("not a public key");
        }
        let jwk: Jwk = serde_json::from_value(value).map_err(|_| "not a key of RFC 7517")?;
        let kid = jwk.common.key_id.clone().ok_or("it has no kid")?;
        if kid.is_empty() || kid.len() > MAX_KID {
            return Err("its kid is empty or too long");
        }
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return Err("its use is not sig");
        }
        if jwk.common.key_operations.as_ref().is_some_and(|all| !all.contains(&KeyOperations::Verify)) {
            return Err("it is not for verifying");
        }
        let algorithm = algorithm(&jwk)?;
        let decoding = DecodingKey::from_jwk(&jwk).map_err(|_| "its parameters are malformed")?;
        Ok((kid, Self { algorithm, decoding, jwk }))
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// The one algorithm of a key, by its type and curve; its `alg` may only agree.
fn algorithm(jwk: &Jwk) -> Result<Algorithm, &'static str> {
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(parameters) => {
            if !RSA_BITS.contains(&modulus_bits(parameters)?) {
                return Err("its modulus has fewer than 2048 bits, or more than 8192");
            }
            Algorithm::RS256
        }
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
            check_length(&parameters.x)?;
            check_length(&parameters.y)?;
            Algorithm::ES256
        }
        AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
            check_length(&parameters.x)?;
            Algorithm::EdDSA
        }
        _ => return Err("its type or curve is not RSA, P-256 or Ed25519"),
    };
    match jwk.common.key_algorithm {
        None => Ok(algorithm),
        Some(named) if named == KeyAlgorithm::from(algorithm) => Ok(algorithm),
        Some(_) => Err("its alg is not RS256, ES256 or EdDSA, or does not fit its type"),
    }
}

fn modulus_bits(parameters: &RSAKeyParameters) -> Result<usize, &'static str> {
    let modulus = decode(&parameters.n)?;
    let significant = modulus.iter().position(|&byte| byte != 0).map_or(&[][..], |first| &modulus[first..]);
    let leading = significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
    Ok(significant.len() * 8 - leading)
}

fn check_length(coordinate: &str) -> Result<(), &'static str> {
    if decode(coordinate)?.len() == COORDINATE { Ok(()) } else { Err("its parameters are malformed") }
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text).map_err(|_| "its parameters are malformed")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn url64(bytes: &[u8]) -> String {
        base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes)
    }

    fn rsa(bytes: usize) -> Value {
        json!({ "kty": "RSA", "kid": "rsa", "n": url64(&vec![0x80; bytes]), "e": "AQAB" })
    }

    fn ec() -> Value {
        let x = url64(&[7; 32]);
        json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "x": x, "y": x, "use": "sig", "alg": "ES256" })
    }

    fn ed() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": url64(&[7; 32]), "key_ops": ["verify"] })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn parse(keys: &[Value]) -> KeySet {
        KeySet::parse(json!({ "keys": keys, "more": 1 }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_algorithm_follows_from_the_key() {
        let set = parse(&[rsa(256), ec(), ed()]);
        assert!(set.ignored.is_empty(), "{:?}", set.ignored);
        for (kid, algorithm) in
            [("rsa", Algorithm::RS256), ("ec", Algorithm::ES256), ("ed", Algorithm::EdDSA)]
        {
            assert_eq!(set.get(kid).map(|key| key.algorithm), Some(algorithm));
        }
        assert!(set.same_keys(&parse(&[ed(), rsa(256), ec()])) && !set.same_keys(&parse(&[ed(), ec()])));
        assert!(!set.same_keys(&parse(&[with(ed(), "x", json!(url64(&[8; 32]))), rsa(256), ec()])));
    }

    #[test]
    fn what_may_not_verify_is_left_out_and_costs_no_other_key() {
        let bad = [
            rsa(128),
            // 2048 bits of which the first eight are zero.
            with(rsa(255), "n", json!(url64(&[vec![0], vec![0x80; 255]].concat()))),
            with(rsa(256), "alg", json!("RS512")),
            with(rsa(256), "alg", json!("PS256")),
            with(rsa(256), "alg", json!("ES256")),
            with(rsa(256), "alg", json!("HS256")),
            with(rsa(256), "alg", json!("none")),
            with(rsa(256), "use", json!("enc")),
            with(rsa(256), "key_ops", json!(["encrypt"])),
            with(rsa(256), "d", json!("AQAB")),
            with(rsa(256), "n", json!("not base64url")),
            with(rsa(256), "n", json!("")),
            with(ec(), "crv", json!("P-384")),
            with(ec(), "crv", json!("secp256k1")),
            with(ec(), "x", json!("AQAB")),
            with(ed(), "crv", json!("X25519")),
            with(ed(), "kid", json!(7)),
            with(ed(), "kid", json!("")),
            with(ed(), "kid", Value::Null),
            with(ed(), "kid", json!("x".repeat(257))),
            json!({ "kty": "oct", "kid": "oct", "k": url64(&[7; 32]), "alg": "HS256" }),
            json!("text"),
            Value::Null,
        ];
        let set = parse(&[&bad[..], &[ed()]].concat());
        assert_eq!(set.ignored.len(), bad.len(), "{:?}", set.ignored);
        assert_eq!(set.keys.keys().collect::<Vec<_>>(), ["ed"]);
        // The first of two keys with one id counts.
        let set = parse(&[ed(), with(ec(), "kid", json!("ed"))]);
        assert_eq!((set.len(), set.ignored.len()), (1, 1));
        assert_eq!(set.get("ed").map(|key| key.algorithm), Some(Algorithm::EdDSA));
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for text in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":", "<html>", "\u{0}"] {
            assert!(KeySet::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(parse(&[]).len(), 0);
    }
}
