//! What tokens are signed with, `JWT_SECRET_KEY`, `JWT_SECRET_KEY_PREVIOUS`, and whose tokens count beside our own:
//! `JWT_ISSUER`, `JWT_AUDIENCE`, `JWT_JWKS_URL`.

use serde::Deserialize;
use url::{Host, Url};

use super::environment::Environment;
use super::setting::{Parse, Setting};
use super::weakness;
use crate::secret::Secret;

/// The fewest bytes of `JWT_SECRET_KEY`: HS256's output, as RFC 7518 section 3.2 asks.
pub const MIN_JWT_KEY_BYTES: usize = 32;

/// The longest `JWT_ISSUER` and `JWT_AUDIENCE`, in bytes.
const MAX_CLAIM_BYTES: usize = 1024;

const ISSUER: &str = "JWT_ISSUER";
const AUDIENCE: &str = "JWT_AUDIENCE";
const JWKS_URL: &str = "JWT_JWKS_URL";

pub(super) const VARIABLES: &[&str] =
    &["JWT_SECRET_KEY", "JWT_SECRET_KEY_PREVIOUS", ISSUER, AUDIENCE, JWKS_URL];

/// What tokens are signed with.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Signs and verifies; `None` only with the embedded store, which then keeps one in `DATA_DIR`.
    pub jwt_key: Option<Secret<Vec<u8>>>,
    /// Only verify.
    pub jwt_key_previous: Vec<Secret<Vec<u8>>>,
    /// Whose access tokens count beside our own.
    pub provider: Option<IdentityProvider>,
}

/// An outside identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityProvider {
    /// The `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// What the `aud` of a token that is for us is, or holds.
    pub audience: String,
    /// Where its public keys are (RFC 7517): an `https` URL, or an `http` one of this machine.
    pub jwks_url: Url,
}

/// The bytes of the text itself.
pub(super) struct JwtKey(pub(super) Secret<Vec<u8>>);

impl Parse for JwtKey {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() < MIN_JWT_KEY_BYTES {
            return Err("must have at least 32 bytes");
        }
        weakness::strong_text(text).map(Self)
    }
}

/// A claim that is compared as it stands.
struct Claim(String);

impl Parse for Claim {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let printable = text.chars().all(|c| c.is_ascii_graphic());
        (printable && text.len() <= MAX_CLAIM_BYTES)
            .then(|| Self(text.to_owned()))
            .ok_or("must be 1 to 1024 printable ASCII characters without spaces, exactly as in the tokens")
    }
}

struct JwksUrl(Url);

impl Parse for JwksUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "must be an https:// URL, or an http:// one of a loopback address, without user, \
                                password and fragment";
        let url = Url::parse(text.trim()).map_err(|_| EXPECTED)?;
        let safe = match (url.scheme(), url.host()) {
            ("https", Some(_)) => true,
            // Whoever can alter the keys on their way makes tokens of anybody.
            ("http", Some(Host::Domain(name))) => name == "localhost",
            ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
            ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
            _ => false,
        };
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let usable = url.as_str().parse::<http::Uri>().is_ok();
        if safe && bare && usable { Ok(Self(url)) } else { Err(EXPECTED) }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Variables {
    jwt_secret_key: Setting<JwtKey>,
    jwt_secret_key_previous: Setting<Vec<JwtKey>>,
    jwt_issuer: Setting<Claim>,
    jwt_audience: Setting<Claim>,
    jwt_jwks_url: Setting<JwksUrl>,
}

impl Auth {
    pub(super) fn read(env: &mut Environment) -> Self {
        let vars: Variables = env.read(VARIABLES);
        let previous = env.list("JWT_SECRET_KEY_PREVIOUS", vars.jwt_secret_key_previous);
        let issuer = env.optional(ISSUER, vars.jwt_issuer);
        let audience = env.optional(AUDIENCE, vars.jwt_audience);
        let jwks_url = env.optional(JWKS_URL, vars.jwt_jwks_url);
        let given =
            [(ISSUER, issuer.is_some()), (AUDIENCE, audience.is_some()), (JWKS_URL, jwks_url.is_some())];
        if given.iter().any(|(_, given)| *given) {
            for (name, _) in given.iter().filter(|(_, given)| !given) {
                // One that is there and bad was reported.
                if !env.is_bad(name) {
                    env.problem(name, "is missing: JWT_ISSUER, JWT_AUDIENCE and JWT_JWKS_URL go together");
                }
            }
        }
        let provider = issuer.zip(audience).zip(jwks_url).map(|((issuer, audience), url)| IdentityProvider {
            issuer: issuer.0,
            audience: audience.0,
            jwks_url: url.0,
        });
        Self {
            provider,
            jwt_key: env.optional("JWT_SECRET_KEY", vars.jwt_secret_key).map(|key| key.0),
            jwt_key_previous: previous.into_iter().map(|key| key.0).collect(),
        }
    }
}
