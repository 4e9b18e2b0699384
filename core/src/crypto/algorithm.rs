//! The closed set of encryption algorithms, and sets of them.

use std::fmt;
use std::str::FromStr;

use super::Error;

/// An authenticated encryption algorithm. Its number is in every ciphertext and never changes meaning.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(into = "&'static str", try_from = "String")]
#[repr(u8)]
pub enum Algorithm {
    /// C2SP XAES-256-GCM: random 192-bit nonces, no practical limit on messages.
    #[default]
    Xaes256Gcm = 1,
    /// NIST SP 800-38D with a 256-bit key.
    Aes256Gcm = 2,
    /// NIST SP 800-38D with a 128-bit key.
    Aes128Gcm = 3,
    /// RFC 8439.
    ChaCha20Poly1305 = 4,
    /// RFC 8452 with a 256-bit key; a repeated nonce reveals only that two messages are equal.
    Aes256GcmSiv = 5,
}

impl Algorithm {
    /// Every algorithm, by number.
    pub const ALL: [Self; 5] =
        [Self::Xaes256Gcm, Self::Aes256Gcm, Self::Aes128Gcm, Self::ChaCha20Poly1305, Self::Aes256GcmSiv];

    /// The number in ciphertexts and key derivation, 1 to 5.
    pub const fn id(self) -> u8 {
        self as u8
    }

    /// The algorithm of this number.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.id() == id)
    }

    /// The name, as users read and write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xaes256Gcm => "XAES-256-GCM",
            Self::Aes256Gcm => "AES-256-GCM",
            Self::Aes128Gcm => "AES-128-GCM",
            Self::ChaCha20Poly1305 => "ChaCha20-Poly1305",
            Self::Aes256GcmSiv => "AES-256-GCM-SIV",
        }
    }

    /// The mode of operation as the API reports it: `gcm`, `gcm-siv`, or `aead` for a cipher without modes.
    pub const fn mode(self) -> &'static str {
        match self {
            Self::Xaes256Gcm | Self::Aes256Gcm | Self::Aes128Gcm => "gcm",
            Self::ChaCha20Poly1305 => "aead",
            Self::Aes256GcmSiv => "gcm-siv",
        }
    }

    /// Key length in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Xaes256Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305 | Self::Aes256GcmSiv => 32,
        }
    }

    /// Key length in bits, as the API reports it.
    pub const fn key_bits(self) -> usize {
        self.key_len() * 8
    }

    /// Nonce length in bytes.
    pub const fn nonce_len(self) -> usize {
        match self {
            Self::Xaes256Gcm => 24,
            Self::Aes256Gcm | Self::Aes128Gcm | Self::ChaCha20Poly1305 | Self::Aes256GcmSiv => 12,
        }
    }

    /// Whether a key's messages must be counted: random 96-bit nonces collide with probability 2^-32 after 2^32
    /// messages (NIST SP 800-38D, section 8.3).
    pub const fn counts_messages(self) -> bool {
        self.nonce_len() == 12
    }

    /// The algorithm's bit in an [`AlgorithmSet`].
    const fn bit(self) -> u8 {
        1 << (self.id() - 1)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = Error;

    /// Reads a [name](Algorithm::name) in any case; anything else is [`Error::Malformed`].
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(text))
            .ok_or(Error::Malformed("unknown algorithm"))
    }
}

impl From<Algorithm> for &'static str {
    fn from(algorithm: Algorithm) -> Self {
        algorithm.name()
    }
}

impl TryFrom<String> for Algorithm {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

/// A set of algorithms, one bit each; serialised as a list of names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(into = "Vec<Algorithm>", from = "Vec<Algorithm>")]
pub struct AlgorithmSet(u8);

impl AlgorithmSet {
    /// Every algorithm.
    pub const ALL: Self = Self(0b1_1111);

    /// The set stored as `bits`, where bit n is the algorithm with number n + 1; `None` if a bit has no meaning.
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits & !Self::ALL.0 == 0).then_some(Self(bits))
    }

    /// The stored form of the set; see [`AlgorithmSet::from_bits`].
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether `algorithm` is in the set.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & algorithm.bit() != 0
    }

    /// The set with `algorithm`.
    pub const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | algorithm.bit())
    }

    /// The algorithms in the set, by number.
    pub fn iter(self) -> impl Iterator<Item = Algorithm> {
        Algorithm::ALL.into_iter().filter(move |algorithm| self.contains(*algorithm))
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        algorithms.into_iter().fold(Self::default(), Self::with)
    }
}

impl From<Vec<Algorithm>> for AlgorithmSet {
    fn from(algorithms: Vec<Algorithm>) -> Self {
        algorithms.into_iter().collect()
    }
}

impl From<AlgorithmSet> for Vec<Algorithm> {
    fn from(set: AlgorithmSet) -> Self {
        set.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_contract() {
        let table =
            Algorithm::ALL.map(|a| (a.id(), a.name(), a.key_bits(), a.nonce_len(), a.counts_messages()));
        assert_eq!(
            table,
            [
                (1, "XAES-256-GCM", 256, 24, false),
                (2, "AES-256-GCM", 256, 12, true),
                (3, "AES-128-GCM", 128, 12, true),
                (4, "ChaCha20-Poly1305", 256, 12, true),
                (5, "AES-256-GCM-SIV", 256, 12, true),
            ]
        );
        assert_eq!(Algorithm::default(), Algorithm::Xaes256Gcm);
    }

    #[test]
    fn numbers_and_names_lead_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_id(algorithm.id()), Some(algorithm));
            assert_eq!(algorithm.to_string().to_lowercase().parse(), Ok(algorithm));
            let json = serde_json::to_string(&algorithm).expect("a name");
            assert_eq!(json, format!("\"{algorithm}\""));
            assert_eq!(serde_json::from_str::<Algorithm>(&json).expect("the same name"), algorithm);
        }
        for unknown in [0, 6, 255] {
            assert_eq!(Algorithm::from_id(unknown), None);
        }
        assert_eq!("AES-192-GCM".parse::<Algorithm>(), Err(Error::Malformed("unknown algorithm")));
    }

    #[test]
    fn sets_hold_what_was_inserted() {
        let mut set = AlgorithmSet::default();
        assert_eq!(set.bits(), 0);
        set = set.with(Algorithm::Aes256GcmSiv).with(Algorithm::Xaes256Gcm);
        assert_eq!(set.bits(), 0b1_0001);
        assert!(set.contains(Algorithm::Xaes256Gcm) && !set.contains(Algorithm::Aes256Gcm));
        assert!(set.iter().eq([Algorithm::Xaes256Gcm, Algorithm::Aes256GcmSiv]));
        let json = serde_json::to_string(&set).expect("a list");
        assert_eq!(json, r#"["XAES-256-GCM","AES-256-GCM-SIV"]"#);
        assert_eq!(serde_json::from_str::<AlgorithmSet>(&json).expect("the same list"), set);
    }

    #[test]
    fn bits_without_meaning_are_refused() {
        assert_eq!(AlgorithmSet::from_bits(0b1_1111).map(|set| set.iter().count()), Some(5));
        assert_eq!(AlgorithmSet::from_bits(0b10_0000), None);
    }
}
