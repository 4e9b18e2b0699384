use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};

use x509_cert::name::RdnSequence;

use crate::certificate::Certificate;
use crate::clock::Timestamp;

/// Longest name, in bytes.
const MAX_LENGTH: usize = 1024;

/// By what a client's certificate is known: its whole subject (RFC 4514), `CN=billing,O=Example`, or one URI among its
/// alternative names, `spiffe://example.org/billing`. Two that mean the same are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateName(String);

/// The text is neither a subject nor a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a certificate is its subject as RFC 4514 writes it, such as CN=billing,O=Example, or a URI of it, such as \
     spiffe://example.org/billing; at most 1024 bytes"
)]
pub struct InvalidCertificateName;

impl CertificateName {
    /// The text, in the one form that it is kept in.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn subject(text: &str) -> Option<Self> {
        let name: RdnSequence = without_spaces(text).parse().ok()?;
        let text = name.to_string();
        // What is kept is read again from its text.
        let same = text.parse::<RdnSequence>().is_ok_and(|again| again.to_string() == text);
        (same && !name.is_empty()).then_some(Self(text))
    }

    fn uri(text: &str) -> Option<Self> {
        let url: url::Url = text.parse().ok()?;
        // Compared as they are: an authority signs one spelling.
        (url.as_str().len() >= text.len() && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| Self(text.to_owned()))
    }
}

/// Without those behind a comma that separates two attributes, which mean nothing: many write them.
fn without_spaces(text: &str) -> String {
    let (mut kept, mut escaped, mut behind) = (String::with_capacity(text.len()), false, false);
    for char in text.chars() {
        if behind && char == ' ' {
            continue;
        }
        behind = char == ',' && !escaped;
        escaped = char == '\\' && !escaped;
        kept.push(char);
    }
    kept
}

impl FromStr for CertificateName {
    type Err = InvalidCertificateName;

    fn from_str(text: &str) -> Result<Self, InvalidCertificateName> {
        // A scheme ends with a colon, the name of an attribute with an equals sign.
        let first = text.find(['=', ':']).map(|at| text.as_bytes()[at]);
        let name = match first {
            Some(b'=') => Self::subject(text),
            Some(_) => Self::uri(text),
            None => None,
        };
        name.filter(|name| name.0.len() <= MAX_LENGTH).ok_or(InvalidCertificateName)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a client showed when it connected. An authority of ours signed it, and the client has its key.
#[derive(Debug)]
pub struct ClientCertificate {
    names: Vec<CertificateName>,
    not_after: Timestamp,
    /// Whether the log has been told that it is nobody's.
    told: AtomicBool,
}

impl ClientCertificate {
    /// Its names, URIs first, as they were given for this purpose; a subject often is what an authority puts there.
    pub fn names(&self) -> &[CertificateName] {
        &self.names
    }

    /// It counts until then, however long its connection lasts.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Says, once for a connection, that no identity has this certificate, and by what one could.
    pub(crate) fn tell_unknown(&self) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let names: Vec<_> = self.names.iter().map(CertificateName::as_str).collect();
            tracing::info!(names = names.join(" | "), "a client's certificate belongs to no identity");
        }
    }
}

impl From<Certificate> for ClientCertificate {
    fn from(certificate: Certificate) -> Self {
        let uris = certificate
            .uris
            .iter()
            .filter(|uri| uri.find(['=', ':']).is_some_and(|at| uri.as_bytes()[at] == b':'));
        let names = uris.filter_map(|uri| CertificateName::uri(uri));
        // As it was signed, and not by way of its text.
        let subject = Some(CertificateName(certificate.subject)).filter(|subject| !subject.0.is_empty());
        let names = names.chain(subject).filter(|name| name.0.len() <= MAX_LENGTH).collect();
        Self { names, not_after: certificate.not_after, told: AtomicBool::new(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<String> {
        text.parse::<CertificateName>().ok().map(|name| name.to_string())
    }

    #[test]
    fn a_name_is_a_subject_or_a_uri_in_one_form() {
        for (text, kept) in [
            ("CN=billing,O=Example", "CN=billing,O=Example"),
            ("cn=billing, o=Example", "CN=billing,O=Example"),
            ("CN=a\\, b,O=\\\"E\\\"", "CN=a\\, b,O=\\\"E\\\""),
            ("CN=ä+OU=b", "OU=b+CN=ä"),
            ("2.5.4.3=billing", "CN=billing"),
            ("spiffe://example.org/ns/a", "spiffe://example.org/ns/a"),
            (
                "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
                "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            ),
        ] {
            assert_eq!(parse(text).as_deref(), Some(kept), "{text}");
        }
        let long = format!("CN={}", "x".repeat(MAX_LENGTH));
        for text in ["", "billing", "CN", "NOSUCH=a", "spiffe:// a", "://", "spiffe://a/\u{e4}", &long] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_uri_that_looks_like_a_subject_is_no_name() {
        let certificate = Certificate {
            subject: "CN=b,O=Example".to_owned(),
            uris: vec!["CN=a,O=Example".to_owned(), "spiffe://x/b".to_owned()],
            not_before: Timestamp::from_secs(1),
            not_after: Timestamp::from_secs(2),
        };
        let names = ClientCertificate::from(certificate).names;
        assert_eq!(
            names.iter().map(CertificateName::as_str).collect::<Vec<_>>(),
            ["spiffe://x/b", "CN=b,O=Example"]
        );
    }
}
