//! What proxies write about whom they forward for: `X-Forwarded-For`, and `Forwarded` (RFC 7239).
//!
//! Both are read from the right, where the nearest proxy wrote: whatever stands further left, quotes included, cannot
//! change how a hop is read. A hop is the address it names, or `None`: malformed, empty, `unknown` or obfuscated.

use std::borrow::Cow;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str;

/// The hops of one line of `X-Forwarded-For`, from the right: addresses with or without a port.
pub(super) fn x_forwarded_for(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    line.rsplit(|byte| *byte == b',').map(|hop| {
        let hop = str::from_utf8(hop.trim_ascii()).ok()?;
        // Without brackets there is no port.
        hop.parse::<Ipv6Addr>().map(IpAddr::V6).ok().or_else(|| node(hop))
    })
}

/// The hops of one line of `Forwarded`, from the right.
pub(super) fn forwarded(line: &[u8]) -> impl Iterator<Item = Option<IpAddr>> {
    rsplit(line, b',').map(|element| {
        let mut client = None;
        for pair in rsplit(element, b';').filter(|pair| !pair.is_empty()) {
            let (name, value) = parse_pair(pair)?;
            if name.eq_ignore_ascii_case(b"for") && client.replace(value).is_some() {
                return None;
            }
        }
        node(str::from_utf8(&client?).ok()?)
    })
}

/// The parts between delimiters that are not in a quoted string, from the right.
fn rsplit(text: &[u8], delimiter: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let part = match last_unquoted(text, delimiter) {
            Some(at) => {
                rest = Some(&text[..at]);
                &text[at + 1..]
            }
            None => rest.take()?,
        };
        Some(part.trim_ascii())
    })
}

fn last_unquoted(text: &[u8], delimiter: u8) -> Option<usize> {
    let mut quoted = false;
    for (at, byte) in text.iter().enumerate().rev() {
        match *byte {
            // Met in a string, a quote is escaped or begins it, after `=`.
            b'"' => quoted = !quoted || text[..at].ends_with(b"\\"),
            byte if byte == delimiter && !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// Name and value of `token "=" ( token / quoted-string )`.
fn parse_pair(pair: &[u8]) -> Option<(&[u8], Cow<'_, [u8]>)> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (&pair[..equals], &pair[equals + 1..]);
    let value = match value.strip_prefix(b"\"") {
        Some(quoted) => unquote(quoted)?.into(),
        None if is_token(value) => value.into(),
        None => return None,
    };
    is_token(name).then_some((name, value))
}

/// What a quoted string says, from after its first quote to its last.
fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(quoted.len());
    let mut bytes = quoted.iter();
    loop {
        match bytes.next()? {
            b'"' => return bytes.as_slice().is_empty().then_some(plain),
            b'\\' => plain.push(*bytes.next()?),
            byte => plain.push(*byte),
        }
    }
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

/// The address of a node (RFC 7239 section 6): IPv4, or IPv6 in brackets and without a zone, and perhaps a port.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (address.parse::<Ipv6Addr>().ok()?.into(), port)
        }
        None => {
            let (address, port) =
                text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            (address.parse::<Ipv4Addr>().ok()?.into(), port)
        }
    };
    port.is_none_or(is_port).then_some(address)
}

fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(obfuscated) => {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            !obfuscated.is_empty() && obfuscated.bytes().all(allowed)
        }
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
mod tests;
