//! From requests to values.

use std::str::FromStr;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::Error;
use super::body::Text;
use crate::contexts::MAX_DESCRIPTION;
use crate::limits::{ParsePolicyError, Policy};
use crate::name::Name;

const DEFAULT_PAGE: u32 = 100;
const MAX_PAGE: u32 = 1000;
const EMPTY: &str = "the body is empty; send a JSON object";

/// Parses a JSON body.
///
/// # Errors
///
/// [`Error::InvalidRequest`] that says where and what, and repeats nothing of the body.
pub(super) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Error> {
    if body.is_empty() {
        return Err(Error::InvalidRequest(EMPTY.to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| Error::InvalidRequest(describe(&error)))
}

/// The longest body that describes limits, in bytes.
const MAX_POLICY: usize = 16 * 1024;

/// Parses a body that describes limits.
///
/// # Errors
///
/// [`Error::InvalidLimit`], which names the field and what it may be, or [`Error::InvalidRequest`] if it is no JSON.
/// [`Error::BodyTooLarge`] if it is longer than any policy, as what is wrong in it is looked for in memory.
pub(super) fn policy(body: &[u8]) -> Result<Policy, Error> {
    if body.len() > MAX_POLICY {
        return Err(Error::BodyTooLarge);
    }
    if body.is_empty() {
        return Err(Error::InvalidRequest(EMPTY.to_owned()));
    }
    Policy::from_json(body).map_err(|error| match error {
        ParsePolicyError::NotJson(error) => Error::InvalidRequest(describe(&error)),
        ParsePolicyError::Invalid(invalid) => Error::InvalidLimit(invalid),
    })
}

/// Parses the query string.
///
/// # Errors
///
/// [`Error::InvalidRequest`] that repeats nothing of the query.
pub(super) fn query<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
    serde_urlencoded::from_str(query).map_err(|error| {
        Error::InvalidRequest(format!(
            "the query string is not what this route takes: {}",
            redact(&error.to_string())
        ))
    })
}

/// The algorithm of that name, or the default if none is named. `known` are the names, for whoever is wrong.
///
/// # Errors
///
/// [`Error::UnknownAlgorithmOf`] that repeats nothing of what was asked for.
pub(super) fn algorithm<T: FromStr + Default, const N: usize>(
    asked: Option<&Text<'_>>,
    kind: &'static str,
    known: [&str; N],
) -> Result<T, Error> {
    let Some(asked) = asked else { return Ok(T::default()) };
    asked.as_str().parse().map_err(|_| Error::UnknownAlgorithmOf { kind, known: known.join(", ") })
}

/// The size of a page of a list: 1 to 1000, 100 unless asked otherwise.
///
/// # Errors
///
/// [`Error::InvalidRequest`] outside of that.
pub(super) fn page_size(asked: Option<u32>) -> Result<u32, Error> {
    match asked.unwrap_or(DEFAULT_PAGE) {
        size @ 1..=MAX_PAGE => Ok(size),
        _ => Err(Error::InvalidRequest(format!("`limit` is 1 to {MAX_PAGE}"))),
    }
}

/// Where the page after `found` starts: behind its last name, if it is full.
pub(super) fn next_page<T>(found: &[T], limit: u32, name: impl Fn(&T) -> &Name) -> Option<Name> {
    if found.len() == limit as usize { found.last().map(|last| name(last).clone()) } else { None }
}

/// Whether a `description` can be stored.
///
/// # Errors
///
/// [`Error::InvalidRequest`] otherwise.
pub(super) fn check_description(description: &str) -> Result<(), Error> {
    if description.len() > MAX_DESCRIPTION {
        return Err(Error::InvalidRequest(format!("`description` has at most {MAX_DESCRIPTION} bytes")));
    }
    // PostgreSQL stores no NUL in text; what one store takes the other must take too.
    if description.contains('\0') {
        return Err(Error::InvalidRequest("`description` must not contain U+0000".to_owned()));
    }
    Ok(())
}

/// What is wrong with a field.
pub(super) fn invalid(field: &str, error: impl std::fmt::Display) -> Error {
    Error::InvalidRequest(format!("`{field}`: {error}"))
}

fn describe(error: &serde_json::Error) -> String {
    let place = format!("line {}, column {}", error.line(), error.column());
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            format!("the JSON body is not what this route takes: {} ({place})", redact(text))
        }
        Category::Eof => format!("the JSON body ends too early ({place})"),
        Category::Syntax | Category::Io => format!("the body is not valid JSON ({place})"),
    }
}

/// What serde says, without the values that it found: these may be secret.
fn redact(text: &str) -> String {
    if text.starts_with("missing field") || text.starts_with("duplicate field") {
        return text.to_owned();
    }
    let kind = ["unknown field", "unknown variant", "invalid type", "invalid length", "invalid value"]
        .into_iter()
        .find(|kind| text.starts_with(kind))
        .unwrap_or("invalid value");
    // The last one: what was found stands before it, and may contain the same words.
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("{kind}, expected {expected}"),
        None => kind.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form {
        #[serde(rename = "count")]
        _count: u8,
        #[serde(rename = "name")]
        _name: Option<String>,
    }

    fn message(body: &str) -> String {
        json::<Form>(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn messages_say_where_and_what_and_repeat_nothing() {
        assert!(json::<Form>(br#"{"count":1,"name":"x"}"#).is_ok());
        for (body, expected) in [
            (r#"{"count":"SECRET"}"#, "invalid type, expected u8"),
            (r#"{"count":"SECRET, expected SECRET"}"#, "invalid type, expected u8"),
            (r#"{"SECRET":1,"count":1}"#, "unknown field, expected `count` or `name`"),
            (r#"{"name":"SECRET"}"#, "missing field `count`"),
            (r#"{"count":1,"count":2}"#, "duplicate field `count`"),
            (r#"{"count":999}"#, "invalid value, expected u8"),
            (r#"{"count":SECRET}"#, "not valid JSON (line 1, column 10)"),
            (r#"{"count":1,"#, "ends too early"),
            ("[\"SECRET\"]", "invalid type, expected u8"),
            ("", "the body is empty"),
        ] {
            let message = message(body);
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains("SECRET"), "{message}");
        }
    }
}
