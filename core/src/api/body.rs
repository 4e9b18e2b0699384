//! Fields of JSON bodies.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use super::Error;

/// Text that is borrowed from the body unless it holds escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that the text says in base64 (RFC 4648 section 4, with padding).
    pub(super) fn decode(&self, field: &'static str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let decoded = base64_simd::STANDARD.decode_to_vec(self.0.as_bytes());
        decoded.map(Zeroizing::new).map_err(|_| Error::InvalidBase64(field))
    }

    /// The bytes that the text says in hexadecimal or, if it is not that, in base64.
    pub(super) fn decode_hex_or_base64(&self, field: &'static str) -> Result<Vec<u8>, Error> {
        let hexadecimal = hex::decode(self.0.as_bytes()).ok();
        let decoded = hexadecimal.or_else(|| base64_simd::STANDARD.decode_to_vec(self.0.as_bytes()).ok());
        decoded.ok_or_else(|| Error::InvalidRequest(format!("`{field}` is neither hexadecimal nor base64")))
    }

    /// How many bytes [`Text::decode_into`] will write.
    pub(super) fn decoded_length(&self, field: &'static str) -> Result<usize, Error> {
        base64_simd::STANDARD.decoded_length(self.0.as_bytes()).map_err(|_| Error::InvalidBase64(field))
    }

    /// Decodes into `place`, which is exactly [`Text::decoded_length`] long.
    pub(super) fn decode_into(&self, field: &'static str, place: &mut [u8]) -> Result<(), Error> {
        use base64_simd::AsOut;
        let decoded = base64_simd::STANDARD.decode(self.0.as_bytes(), place.as_out());
        decoded.map(drop).map_err(|_| Error::InvalidBase64(field))
    }
}

/// The bytes of an optional base64 field; absent is empty.
pub(super) fn decode_optional(
    field: Option<&Text<'_>>,
    name: &'static str,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    field.map_or_else(|| Ok(Zeroizing::default()), |text| text.decode(name))
}

/// Bytes that are written as base64.
pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl Serialize for Base64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = Zeroizing::new(base64_simd::STANDARD.encode_to_string(self.0));
        serializer.serialize_str(&text)
    }
}

impl fmt::Debug for Base64<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}
