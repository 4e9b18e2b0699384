//! Policies as JSON: what is sent and what is stored.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::json::Json;
use super::{InvalidPolicy, MAX_WINDOWS, Policy, Window, WindowSpec};
use crate::limits::{Class, Counts, Kind, WindowId};

/// A policy with everything filled in.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PolicyDocument {
    /// 1 to 10000000; an item of a batch counts as a request.
    requests_per_minute: u64,
    /// How many at once: 1 to `requests_per_minute`.
    burst_size: u64,
    /// Nobody is limited by a policy that is not enabled.
    enabled: bool,
    /// It counts and reports, and refuses nobody.
    shadow: bool,
    /// Further limits, at most 4.
    windows: Vec<WindowDocument>,
}

/// One further limit.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WindowDocument {
    /// How much in a window: 1 to 10000000, of bytes to 1000000000000.
    limit: u64,
    /// 1 to 2678400, which is 31 days.
    window_seconds: u32,
    /// `rate` or `quota`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// How much at once: 1 to `limit`, of a quota to the larger half of it.
    burst_size: u64,
    /// `requests`, `items` or `bytes`.
    #[schema(value_type = String)]
    counts: &'static str,
    /// `all`, `encrypt`, `decrypt`, `sign` or `admin`.
    #[schema(value_type = String)]
    operations: &'static str,
}

/// Why a text is no policy: which field, and what it may be. Repeats nothing of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidDocument(String);

/// Why nothing was made of a text.
#[derive(Debug, thiserror::Error)]
pub enum ParsePolicyError {
    /// It is not JSON.
    #[error(transparent)]
    NotJson(#[from] serde_json::Error),
    /// It is JSON, and no policy.
    #[error(transparent)]
    Invalid(#[from] InvalidDocument),
}

const KINDS: [(&str, Kind); 2] = [("rate", Kind::Rate), ("quota", Kind::Quota)];
const COUNTS: [(&str, Counts); 3] =
    [("items", Counts::Items), ("requests", Counts::Requests), ("bytes", Counts::Bytes)];
const OPERATIONS: [(&str, Option<Class>); 5] = [
    ("all", None),
    (Class::Encrypt.name(), Some(Class::Encrypt)),
    (Class::Decrypt.name(), Some(Class::Decrypt)),
    (Class::Sign.name(), Some(Class::Sign)),
    (Class::Admin.name(), Some(Class::Admin)),
];

impl From<&Policy> for PolicyDocument {
    fn from(policy: &Policy) -> Self {
        let mut windows = policy.windows.iter().map(WindowDocument::from);
        let main = windows.next().expect("a policy has a first window");
        Self {
            requests_per_minute: main.limit,
            burst_size: main.burst_size,
            enabled: policy.enabled,
            shadow: policy.shadow,
            windows: windows.collect(),
        }
    }
}

impl From<&Window> for WindowDocument {
    fn from(window: &Window) -> Self {
        let (quota, WindowId { kind, counts, class, seconds }) = (window.quota(), window.id());
        Self {
            limit: quota.limit(),
            window_seconds: seconds,
            kind: name(KINDS, kind),
            burst_size: quota.burst(),
            counts: name(COUNTS, counts),
            operations: name(OPERATIONS, class),
        }
    }
}

impl fmt::Display for Policy {
    /// As stored.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(&PolicyDocument::from(self)).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Policy {
    type Err = ParsePolicyError;

    fn from_str(text: &str) -> Result<Self, ParsePolicyError> {
        Self::from_json(text.as_bytes())
    }
}

impl Policy {
    /// The policy that a text describes.
    ///
    /// # Errors
    ///
    /// [`ParsePolicyError`], which says what to write instead.
    pub fn from_json(text: &[u8]) -> Result<Self, ParsePolicyError> {
        Ok(policy(serde_json::from_slice(text)?)?)
    }
}

fn policy(json: Json) -> Result<Policy, InvalidDocument> {
    let mut fields =
        Fields::of(json, "", &["requests_per_minute", "burst_size", "enabled", "shadow", "windows"])?;
    let spec = WindowSpec {
        limit: fields.number("requests_per_minute").unwrap_or(NO_NUMBER),
        seconds: WindowId::MAIN.seconds,
        burst: Some(fields.number("burst_size").unwrap_or(NO_NUMBER)),
        kind: WindowId::MAIN.kind,
        counts: WindowId::MAIN.counts,
        class: WindowId::MAIN.class,
    };
    let main = fields.window(spec, "requests_per_minute")?;
    let enabled = fields.boolean("enabled", true)?;
    let shadow = fields.boolean("shadow", false)?;
    let further = match fields.take("windows") {
        None => Vec::new(),
        Some(Json::List(list)) if list.len() <= MAX_WINDOWS => {
            let places = list.into_iter().enumerate();
            places.map(|(place, json)| window(json, place)).collect::<Result<_, _>>()?
        }
        Some(_) => return Err(fields.invalid("windows", format!("a list of at most {MAX_WINDOWS} windows"))),
    };
    Policy::with_windows(main, further, enabled, shadow)
        .map_err(|invalid| InvalidDocument(format!("`windows`: {invalid}")))
}

fn window(json: Json, place: usize) -> Result<Window, InvalidDocument> {
    const FIELDS: [&str; 6] = ["limit", "window_seconds", "kind", "burst_size", "counts", "operations"];
    let mut fields = Fields::of(json, &format!("windows[{place}]"), &FIELDS)?;
    let spec = WindowSpec {
        limit: fields.number("limit").unwrap_or(NO_NUMBER),
        seconds: fields.number("window_seconds").and_then(|n| n.try_into().ok()).unwrap_or_default(),
        burst: fields.number("burst_size"),
        kind: fields.one_of("kind", KINDS)?,
        counts: fields.one_of("counts", COUNTS)?,
        class: fields.one_of("operations", OPERATIONS)?,
    };
    fields.window(spec, "limit")
}

/// What is in no range: stands for everything that is no whole number.
const NO_NUMBER: u64 = 0;

/// The fields of an object, and where it stands.
struct Fields {
    path: String,
    fields: Vec<(String, Json)>,
}

impl Fields {
    fn of(json: Json, path: &str, known: &[&str]) -> Result<Self, InvalidDocument> {
        let place = if path.is_empty() { "a policy".to_owned() } else { format!("`{path}`") };
        let known_fields = || known.join(", ");
        let Json::Object(fields) = json else {
            return Err(InvalidDocument(format!("{place} must be an object with {}", known_fields())));
        };
        for (index, (name, _)) in fields.iter().enumerate() {
            let Some(name) = known.iter().find(|known| *known == name) else {
                return Err(InvalidDocument(format!("{place} has no other fields than {}", known_fields())));
            };
            if fields[..index].iter().any(|(other, _)| other == name) {
                return Err(InvalidDocument(format!("{place} has `{name}` twice")));
            }
        }
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Ok(Self { path, fields })
    }

    fn take(&mut self, name: &str) -> Option<Json> {
        let place = self.fields.iter().position(|(field, _)| field == name)?;
        Some(self.fields.swap_remove(place).1)
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.take(name).map(|json| if let Json::Whole(number) = json { number } else { NO_NUMBER })
    }

    fn boolean(&mut self, name: &str, default: bool) -> Result<bool, InvalidDocument> {
        match self.take(name) {
            None => Ok(default),
            Some(Json::Boolean(value)) => Ok(value),
            Some(_) => Err(self.invalid(name, "true or false")),
        }
    }

    /// What a word stands for; the first of them unless there is one.
    fn one_of<T: Copy, const N: usize>(
        &mut self,
        name: &str,
        words: [(&str, T); N],
    ) -> Result<T, InvalidDocument> {
        let found = match self.take(name) {
            None => words.first(),
            Some(Json::Text(text)) => words.iter().find(|(word, _)| *word == text),
            Some(_) => None,
        };
        let all = || words.map(|(word, _)| word).join(", ");
        found.map(|(_, value)| *value).ok_or_else(|| self.invalid(name, format!("one of {}", all())))
    }

    /// The window, which has its limit in the field of that name.
    fn window(&self, spec: WindowSpec, limit: &str) -> Result<Window, InvalidDocument> {
        Window::new(spec).map_err(|invalid| {
            let (name, range) = match invalid {
                InvalidPolicy::Limit(range) => (limit, range),
                InvalidPolicy::Burst(range) => ("burst_size", range),
                _ => ("window_seconds", 1..=WindowId::MAX_SECONDS.into()),
            };
            self.invalid(name, format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    fn invalid(&self, name: &str, expected: impl fmt::Display) -> InvalidDocument {
        InvalidDocument(format!("`{}{name}` must be {expected}", self.path))
    }
}

/// What is written for a value.
fn name<T: PartialEq, const N: usize>(words: [(&'static str, T); N], value: T) -> &'static str {
    let found = words.into_iter().find(|(_, known)| *known == value);
    found.expect("every value has a word").0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RateLimit;

    fn parse(text: &str) -> Policy {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refused(text: &str) -> String {
        match text.parse::<Policy>() {
            Err(ParsePolicyError::Invalid(invalid)) => invalid.to_string(),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn everything_is_filled_in_and_read_again() {
        let short = parse(r#"{"requests_per_minute": 50, "burst_size": 10}"#);
        assert_eq!(short, RateLimit { requests_per_minute: 50, burst: 10 }.into());
        assert_eq!(
            short.to_string(),
            r#"{"requests_per_minute":50,"burst_size":10,"enabled":true,"shadow":false,"windows":[]}"#
        );
        let long = parse(
            r#"{"requests_per_minute": 10000000, "burst_size": 1, "enabled": false, "shadow": true, "windows": [
                {"limit": 5000, "window_seconds": 86400},
                {"limit": 5001, "window_seconds": 86400, "kind": "quota", "operations": "decrypt"},
                {"limit": 1000000000000, "window_seconds": 2678400, "counts": "bytes", "burst_size": 7},
                {"limit": 1, "window_seconds": 1, "kind": "quota", "counts": "requests", "operations": "admin"}]}"#,
        );
        assert_eq!((long.enabled, long.shadow, long.windows().len()), (false, true, 5));
        let bursts: Vec<_> = long.windows().iter().map(|window| window.quota().burst()).collect();
        assert_eq!(bursts, [1, 5000, 2501, 7, 1]);
        assert_eq!(parse(&long.to_string()), long);
        assert!(long.to_string().len() <= 4096, "columns hold it");
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let main = |rate: &str, burst: &str| {
            refused(&format!(r#"{{"requests_per_minute": {rate}, "burst_size": {burst}}}"#))
        };
        let (rates, bursts) = (
            "`requests_per_minute` must be a whole number from 1 to 10000000",
            "`burst_size` must be a whole number from 1 to 50",
        );
        for bad in ["0", "-1", "1.5", "5.0", "1e30", "10000001", "\"5\"", "null", "true", "[]", "{}"] {
            assert_eq!(main(bad, "1"), rates, "{bad}");
            assert_eq!(main("50", bad), bursts, "{bad}");
        }
        for bad in ["51", "18446744073709551615", "99999999999999999999999"] {
            assert_eq!(main("50", bad), bursts, "{bad}");
        }
        assert_eq!(refused(r#"{"burst_size": 1}"#), rates);
        assert_eq!(refused(r#"{"requests_per_minute": 50}"#), bursts);

        let with =
            |rest: &str| refused(&format!(r#"{{"requests_per_minute": 50, "burst_size": 10, {rest}}}"#));
        for bad in ["1", "\"true\"", "null"] {
            assert_eq!(with(&format!("\"shadow\": {bad}")), "`shadow` must be true or false");
            assert_eq!(with(&format!("\"enabled\": {bad}")), "`enabled` must be true or false");
        }
        assert_eq!(with(r#""burst_size": 10"#), "a policy has `burst_size` twice");
        assert!(
            with(r#""SECRET": 1"#).starts_with("a policy has no other fields than requests_per_minute, ")
        );
        assert!(refused("[]").starts_with("a policy must be an object with requests_per_minute, "));
        for bad in ["{}", "null", "[{},{},{},{},{}]"] {
            let expected = "`windows` must be a list of at most 4 windows";
            assert_eq!(with(&format!("\"windows\": {bad}")), expected, "{bad}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_window_is_named_with_its_place() {
        let windows = |windows: &str| {
            let with = r#"{"requests_per_minute": 50, "burst_size": 10, "windows": "#;
            refused(&format!("{with}[{windows}]}}"))
        };
        let good = r#"{"limit": 5, "window_seconds": 9}"#;
        let second = |rest: &str| windows(&format!("{good}, {{{rest}}}"));
        let limit = "`windows[1].limit` must be a whole number from 1 to 10000000";
        for bad in ["0", "-5", "1e30", "10000001", "null"] {
            assert_eq!(second(&format!(r#""window_seconds": 1, "limit": {bad}"#)), limit);
        }
        assert_eq!(second(r#""window_seconds": 1"#), limit);
        for (rest, expected) in [
            (
                r#""limit": 1000000000001, "window_seconds": 1, "counts": "bytes""#,
                "`windows[1].limit` must be a whole number from 1 to 1000000000000",
            ),
            (
                r#""limit": 1, "window_seconds": 0"#,
                "`windows[1].window_seconds` must be a whole number from 1 to 2678400",
            ),
            (
                r#""limit": 1, "window_seconds": 4294967297"#,
                "`windows[1].window_seconds` must be a whole number from 1 to 2678400",
            ),
            (r#""limit": 1"#, "`windows[1].window_seconds` must be a whole number from 1 to 2678400"),
            (
                r#""limit": 9, "window_seconds": 1, "burst_size": 10"#,
                "`windows[1].burst_size` must be a whole number from 1 to 9",
            ),
            (
                r#""limit": 9, "window_seconds": 1, "burst_size": 6, "kind": "quota""#,
                "`windows[1].burst_size` must be a whole number from 1 to 5",
            ),
            (
                r#""limit": 9, "window_seconds": 1, "burst_size": null"#,
                "`windows[1].burst_size` must be a whole number from 1 to 9",
            ),
            (
                r#""limit": 9, "window_seconds": 1, "kind": "SECRET""#,
                "`windows[1].kind` must be one of rate, quota",
            ),
            (
                r#""limit": 9, "window_seconds": 1, "counts": 1"#,
                "`windows[1].counts` must be one of items, requests, bytes",
            ),
            (
                r#""limit": 9, "window_seconds": 1, "operations": "Encrypt""#,
                "`windows[1].operations` must be one of all, encrypt, decrypt, sign, admin",
            ),
            (r#""limit": 9, "limit": 9, "window_seconds": 1"#, "`windows[1]` has `limit` twice"),
            (
                r#""limit": 9, "window_seconds": 1, "SECRET": 1"#,
                "`windows[1]` has no other fields than limit, window_seconds, kind, burst_size, counts, operations",
            ),
        ] {
            assert_eq!(second(rest), expected, "{rest}");
        }
        assert!(windows("5").starts_with("`windows[0]` must be an object with limit, "));
        let twice = "`windows`: two windows differ in no more than their numbers";
        assert!(windows(&format!("{good}, {good}")).starts_with(twice));
        assert!(windows(r#"{"limit": 1, "window_seconds": 60}"#).starts_with(twice), "as the first");
        assert!(matches!("{".parse::<Policy>(), Err(ParsePolicyError::NotJson(_))));
    }
}
