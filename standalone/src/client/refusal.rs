//! A reply that is an error, in words for a person.

use std::fmt;
use std::time::Duration;

use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;

/// Far above any problem document.
const MAX_BYTES: usize = 64 * 1024;
const MAX_DETAIL_CHARS: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A status that is not success, and why.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The reply's status.
    pub(crate) status: StatusCode,
    /// The problem's `detail`, or whatever short text came instead; without control characters.
    pub(crate) detail: Option<String>,
}

/// What is read of a problem (RFC 9457) or of a health document.
#[derive(Deserialize)]
struct Document {
    detail: Option<String>,
    reason: Option<String>,
}

impl Refusal {
    /// Reads what `response` says, as far as it comes within five seconds.
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let status = response.status();
        let location = response.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        if let Some(location) = location.filter(|_| status.is_redirection()) {
            return Self { status, detail: printable(&format!("it redirects to {location}")) };
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect();
        let body = tokio::time::timeout(TIMEOUT, body).await.ok().and_then(Result::ok);
        let detail = body.and_then(|body| detail(&body.to_bytes()));
        Self { status, detail }
    }
}

fn detail(body: &[u8]) -> Option<String> {
    match serde_json::from_slice(body) {
        Ok(Document { detail, reason }) => printable(&detail.or(reason)?),
        // A proxy's page is of no help.
        Err(_) => std::str::from_utf8(body).ok().filter(|text| !text.contains('<')).and_then(printable),
    }
}

/// `text` in one line and without what would move a terminal's cursor; `None` if nothing is left.
fn printable(text: &str) -> Option<String> {
    let spaced = text.chars().map(|char| if char.is_control() { ' ' } else { char });
    let text: String = spaced.take(MAX_DETAIL_CHARS).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {}", self.status)?;
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, ": {detail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_detail_of_a_problem_is_shown() {
        let of = |body: &str| detail(body.as_bytes());
        assert_eq!(of(r#"{"detail":"no such context","status":404}"#).as_deref(), Some("no such context"));
        assert_eq!(of(r#"{"status":"unready","reason":"draining"}"#).as_deref(), Some("draining"));
        assert_eq!(of("busy\n").as_deref(), Some("busy"));
        for useless in ["", "{}", "<html>502</html>", "\n", r#"{"detail":""}"#] {
            assert_eq!(of(useless), None, "{useless}");
        }
        assert_eq!(detail(&[0xff]), None);
    }

    #[test]
    fn a_detail_cannot_steer_the_terminal() {
        let shown = detail(br#"{"detail":"a\u001b[2Jb\r\nc"}"#).unwrap_or_default();
        assert_eq!(shown, "a [2Jb  c");
        assert_eq!(detail("x".repeat(5000).as_bytes()).map(|text| text.len()), Some(MAX_DETAIL_CHARS));
    }
}
