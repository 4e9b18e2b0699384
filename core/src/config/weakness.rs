//! What makes a value useless as a secret: it can be looked up, or guessed from its shape.

use crate::secret::Secret;

/// Found in published examples; a random value does not contain one of these by chance.
const WELL_KNOWN: [&str; 16] = [
    "change-in-production",
    "change_in_production",
    "changeme",
    "change-me",
    "change_me",
    "cryptoserve",
    "default",
    "example",
    "insecure",
    "password",
    "placeholder",
    "qwerty",
    "replace",
    "secret",
    "123456789",
    "0123456789abcdef",
];

/// Too short to be looked for anywhere but at the start, where a random value hardly has one.
const WELL_KNOWN_STARTS: [&str; 6] = ["dev-", "dev_", "test-", "test_", "your-", "your_"];

const MIN_DISTINCT: usize = 8;
/// Sixteen random hexadecimal digits have 3.2 on average; English text has about 4.
const MIN_BITS_PER_BYTE: f64 = 2.5;

/// The bytes of a secret text; the error continues the variable's name.
pub(super) fn strong_text(text: &str) -> Result<Secret<Vec<u8>>, &'static str> {
    match of_text(text) {
        Some(weakness) => Err(weakness),
        None => Ok(Secret::new(text.as_bytes().to_vec())),
    }
}

/// What is wrong with the text of a secret; the answer continues the variable's name.
pub(super) fn of_text(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let contains = WELL_KNOWN.iter().any(|known| lower.contains(known));
    if contains || WELL_KNOWN_STARTS.iter().any(|known| lower.starts_with(known)) {
        return Some("must not be a well-known value: make one with `cryptoserve keygen`");
    }
    of_bytes(text.as_bytes())
}

/// What is wrong with the bytes of a secret, whatever they mean.
pub(super) fn of_bytes(bytes: &[u8]) -> Option<&'static str> {
    let guessable = distinct(bytes) < MIN_DISTINCT
        || bits_per_byte(bytes) < MIN_BITS_PER_BYTE
        || repeats(bytes)
        || counts(bytes);
    guessable.then_some("must be random (this value has a pattern): make one with `cryptoserve keygen`")
}

fn frequencies(bytes: &[u8]) -> [u32; 256] {
    let mut frequencies = [0; 256];
    for &byte in bytes {
        frequencies[usize::from(byte)] += 1;
    }
    frequencies
}

fn distinct(bytes: &[u8]) -> usize {
    frequencies(bytes).iter().filter(|&&count| count > 0).count()
}

/// Shannon entropy of the byte frequencies.
fn bits_per_byte(bytes: &[u8]) -> f64 {
    let total = bytes.len() as f64;
    frequencies(bytes)
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

/// Whether the value is one block at least twice, the last time perhaps cut.
fn repeats(bytes: &[u8]) -> bool {
    (1..=bytes.len() / 2).any(|period| bytes[period..] == bytes[..bytes.len() - period])
}

/// Whether each byte differs from the one before it by the same step.
fn counts(bytes: &[u8]) -> bool {
    let mut steps = bytes.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    steps.next().is_some_and(|first| steps.all(|step| step == first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn well_known_values_are_found_in_any_case_and_place() {
        for text in [
            "jwt-secret-key-CHANGE-IN-PRODUCTION-0192",
            "dev-Zk3q9VvLr0XbN7sTgWmPyE5cHuJd2A1f",
            "Zk3q9VvLr0XbPassword7sTgWmPyE5cHuJd2A1f",
            "0123456789abcdef0123456789ABCDEF",
        ] {
            assert!(of_text(text).is_some_and(|message| message.contains("well-known")), "{text}");
        }
        assert_eq!(of_text("Zk3q9VvLr0XbN7sTgWmPyE5cHuJd-dev-2A1f"), None);
    }

    #[test]
    fn patterns_are_found() {
        for text in [
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "abcabcabcabcabcabcabcabcabcabcab",
            "Zk3q9VvLr0XbN7sTZk3q9VvLr0XbN7sT",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`",
            "aaaaaaaaaaaaaaaaaaaaaaaabcdefghi",
        ] {
            assert!(of_text(text).is_some_and(|message| message.contains("pattern")), "{text}");
        }
        assert!(of_bytes(&[0; 32]).is_some());
        assert!(of_bytes(&(200..=231).rev().collect::<Vec<u8>>()).is_some());
    }

    #[test]
    fn random_values_pass() {
        let mut bytes = [0; 32];
        for _ in 0..2_000 {
            aws_lc_rs::rand::fill(&mut bytes).expect("the machine has randomness");
            assert_eq!(of_bytes(&bytes), None, "{bytes:?}");
            assert_eq!(of_text(&hex::encode(bytes)), None, "{bytes:?}");
            assert_eq!(of_text(&base64_simd::STANDARD.encode_to_string(bytes)), None, "{bytes:?}");
        }
    }
}
