//! One variable's value, parsed; a mistake is kept instead of failing, and in words that hold no value.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::{IpNet, Ipv4Net};
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// What stands in the environment for one variable.
///
/// Deserialisation never fails: envy stops at the first bad field and prints its value, while one start
/// of the server shows every mistake and no value.
#[derive(Debug, Default)]
pub(super) enum Setting<T> {
    #[default]
    Unset,
    Good(T),
    /// What the value must be. A static text cannot hold a value.
    Bad(&'static str),
}

impl<'de, T: Parse> Deserialize<'de> for Setting<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Ok(match T::parse(&text) {
            Ok(value) => Self::Good(value),
            Err(expected) => Self::Bad(expected),
        })
    }
}

/// A type that can be written in a variable.
pub(super) trait Parse: Sized {
    /// The error continues the variable's name: "must be …".
    fn parse(text: &str) -> Result<Self, &'static str>;
}

/// A number with a unit, of which some range makes sense.
pub(super) trait Quantity: Parse + Copy + PartialOrd {
    /// What it is and how it is written.
    const KIND: &'static str;

    /// As a person writes it.
    fn show(self) -> String;
}

impl Parse for u32 {
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.trim().parse().map_err(|_| "must be a whole number")
    }
}

impl Quantity for u32 {
    const KIND: &'static str = "a whole number";

    fn show(self) -> String {
        self.to_string()
    }
}

impl Parse for f64 {
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.trim().parse().map_err(|_| "must be a number")
    }
}

impl Quantity for f64 {
    const KIND: &'static str = "a number";

    fn show(self) -> String {
        self.to_string()
    }
}

impl Parse for Duration {
    /// A plain number is seconds; anything else is jiff's friendly or ISO 8601 form.
    fn parse(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "must be a duration such as 500ms, 30s, 2m or 1h";
        let text = text.trim();
        if let Ok(seconds) = text.parse() {
            return Ok(Self::from_secs(seconds));
        }
        let duration: SignedDuration = text.parse().map_err(|_| EXPECTED)?;
        duration.try_into().map_err(|_| EXPECTED)
    }
}

impl Quantity for Duration {
    const KIND: &'static str = "a duration such as 500ms, 30s, 2m or 1h (a plain number is seconds),";

    fn show(self) -> String {
        SignedDuration::try_from(self)
            .map_or_else(|_| format!("{self:?}"), |duration| format!("{duration:#}"))
    }
}

impl Parse for ByteSize {
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.trim().parse().map_err(|_| "must be a size such as 16MiB")
    }
}

impl Quantity for ByteSize {
    const KIND: &'static str = "a size such as 16MiB (a plain number is bytes),";

    fn show(self) -> String {
        self.to_string()
    }
}

impl Parse for SocketAddr {
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.trim()
            .parse()
            .map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8003 or [::]:8003")
    }
}

impl Parse for PathBuf {
    fn parse(text: &str) -> Result<Self, &'static str> {
        Ok(Self::from(text))
    }
}

impl Parse for IpNet {
    /// A network, or one address; IPv4-mapped networks come out as the IPv4 networks they mean.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let network = match text.parse::<Self>() {
            Ok(network) => network.trunc(),
            Err(_) => text
                .parse::<std::net::IpAddr>()
                .map_err(|_| "must be a network such as 10.0.0.0/8 or fd00::/8, or one IP address")?
                .into(),
        };
        Ok(canonical(network))
    }
}

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok()).map_or(network, IpNet::V4)
}

impl<T: Parse> Parse for Vec<T> {
    /// A comma-separated list; spaces around an entry and a trailing comma do not matter.
    fn parse(text: &str) -> Result<Self, &'static str> {
        text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(T::parse).collect()
    }
}

/// Implements [`Parse`] for a closed set of words, in any case.
macro_rules! words {
    ($type:ty, $expected:literal, $($word:pat => $value:expr),+ $(,)?) => {
        impl $crate::config::setting::Parse for $type {
            fn parse(text: &str) -> Result<Self, &'static str> {
                match text.trim().to_ascii_lowercase().as_str() {
                    $($word => Ok($value),)+
                    _ => Err($expected),
                }
            }
        }
    };
}
pub(super) use words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_plain_numbers_are_seconds() {
        for (text, millis) in [
            ("75s", 75_000),
            ("75 s", 75_000),
            ("500ms", 500),
            ("30", 30_000),
            (" 30 ", 30_000),
            ("0", 0),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("0.5s", 500),
            ("PT75S", 75_000),
        ] {
            assert_eq!(Duration::parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["-1", "-5s", "5s ago", "soon", "1x", "1.5", "99999999999999999999", "1mo", "∞"] {
            assert!(Duration::parse(text).is_err(), "{text}");
        }
        assert_eq!(Duration::from_secs(3600).show(), "1h");
        assert_eq!(Duration::from_millis(1).show(), "1ms");
    }

    #[test]
    fn sizes_have_units_and_plain_numbers_are_bytes() {
        for (text, bytes) in [
            ("16MiB", 16 << 20),
            ("16 mib", 16 << 20),
            ("1048576", 1 << 20),
            ("1.5KiB", 1536),
            ("2MB", 2_000_000),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize::b(bytes)), "{text}");
        }
        for text in ["-1", "MiB", "16 bananas", "1e6", "99999999999999999999", "16МiB"] {
            assert!(ByteSize::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_canonical() {
        let parse = |text| {
            Vec::<IpNet>::parse(text).map(|nets| nets.iter().map(IpNet::to_string).collect::<Vec<_>>())
        };
        assert_eq!(parse("10.1.2.3/8, ::1,"), Ok(vec!["10.0.0.0/8".into(), "::1/128".into()]));
        assert_eq!(parse("::ffff:10.1.2.3/104"), Ok(vec!["10.0.0.0/8".into()]));
        assert_eq!(parse("::ffff:192.0.2.7"), Ok(vec!["192.0.2.7/32".into()]));
        assert_eq!(parse("::/0"), Ok(vec!["::/0".into()]));
        assert!(parse("10.0.0.0/33").is_err());
        assert!(parse("10.0.0.0/8,proxy").is_err());
    }
}
