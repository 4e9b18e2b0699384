//! What names a key: its identifier and its version.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};
use uuid::Uuid;

use super::{Error, random};

/// Names one key, and by it the tenant and context that own the key. Written as a hyphenated UUID.
///
/// Random, so that a ciphertext says nothing of how many keys or contexts there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl KeyId {
    /// A fresh identifier: UUID version 4, RFC 9562.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is no randomness.
    pub fn random() -> Result<Self, Error> {
        Ok(Self(uuid::Builder::from_random_bytes(random::array()?).into_uuid().into_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

impl FromStr for KeyId {
    type Err = Error;

    /// Accepts the hyphenated form alone, in either case; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        match Uuid::try_parse(text) {
            // The crate also reads braces, URNs and bare hexadecimal; one key has one spelling here.
            Ok(uuid) if text.len() == uuid::fmt::Hyphenated::LENGTH => Ok(Self(uuid.into_bytes())),
            _ => Err(Error::Malformed("not a key id")),
        }
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Counts the keys that a context has had, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct KeyVersion(NonZeroU32);

impl KeyVersion {
    /// The version of a context's first key.
    pub const FIRST: Self = Self(NonZeroU32::MIN);

    /// The number.
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The version after this one, if there is one left.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl TryFrom<u32> for KeyVersion {
    type Error = Error;

    /// Zero is [`Error::Malformed`].
    fn try_from(number: u32) -> Result<Self, Error> {
        NonZeroU32::new(number).map(Self).ok_or(Error::Malformed("key version zero"))
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: KeyId = KeyId([0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]);
    const TEXT: &str = "00112233-4455-6677-8899-aabbccddeeff";

    #[test]
    fn key_ids_are_hyphenated_uuids_everywhere() {
        assert_eq!(ID.to_string(), TEXT);
        assert_eq!(TEXT.parse(), Ok(ID));
        assert_eq!(TEXT.to_uppercase().parse(), Ok(ID));
        let json = serde_json::to_string(&ID).expect("an id is a string");
        assert_eq!(json, format!("\"{TEXT}\""));
        assert_eq!(serde_json::from_str::<KeyId>(&json).expect("the same string"), ID);
    }

    #[test]
    fn other_spellings_of_a_key_id_are_refused() {
        let bare = TEXT.replace('-', "");
        for text in ["", "x", &TEXT[1..], &bare, &format!("{{{TEXT}}}"), &format!("urn:uuid:{TEXT}")] {
            assert_eq!(text.parse::<KeyId>(), Err(Error::Malformed("not a key id")), "{text}");
        }
    }

    #[test]
    fn random_key_ids_are_version_4_and_differ() {
        let [a, b] = [(); 2].map(|()| KeyId::random().expect("the generator works"));
        assert_ne!(a, b);
        assert_eq!(Uuid::from_bytes(a.0).get_version_num(), 4);
        assert_eq!(Uuid::from_bytes(a.0).get_variant(), uuid::Variant::RFC4122);
    }

    #[test]
    fn versions_count_from_one_to_the_end() {
        assert_eq!(KeyVersion::try_from(0), Err(Error::Malformed("key version zero")));
        assert_eq!(KeyVersion::FIRST.get(), 1);
        assert_eq!(KeyVersion::FIRST.next(), Some(KeyVersion::try_from(2).expect("not zero")));
        assert_eq!(KeyVersion::try_from(u32::MAX).expect("not zero").next(), None);
        assert!(serde_json::from_str::<KeyVersion>("0").is_err());
    }
}
