use http::{HeaderMap, header};

/// The name of the cookie that stands for a bearer token where that is allowed.
const ACCESS_TOKEN: &str = "access_token";

/// The token of an `Authorization: Bearer` header (RFC 6750 section 2.1).
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    // Two of them would leave open which one counts.
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The token of a cookie `access_token`, as a client of the Python service registers applications. Browsers send cookies
/// unasked, and so say `Origin`: what a page of somebody else makes them send does not count.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next()?.trim();
    if !essence.eq_ignore_ascii_case("application/json") || headers.contains_key(header::ORIGIN) {
        return None;
    }
    let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = pairs.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, token) = pairs.find(|(name, _)| *name == ACCESS_TOKEN)?;
    // Two of them would leave open which one counts.
    if pairs.any(|(name, _)| name == ACCESS_TOKEN) { None } else { Some(token) }
}
