//! What X.509 certificates (RFC 5280) say of their owner and their time.

use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::time::{Time, Validity};

use crate::clock::Timestamp;

/// The part of a certificate that we act on. Who signed it was checked by TLS before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The subject, as RFC 4514 writes it: `CN=billing,O=Example`; empty if there is none.
    pub subject: String,
    /// The URIs among its alternative names, such as SPIFFE ids.
    pub uris: Vec<String>,
    /// It counts from then on.
    pub not_before: Timestamp,
    /// It counts until then.
    pub not_after: Timestamp,
}

/// The bytes are no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct NotACertificate;

impl Certificate {
    /// Reads a certificate in DER.
    ///
    /// # Errors
    ///
    /// [`NotACertificate`].
    pub fn from_der(der: &[u8]) -> Result<Self, NotACertificate> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| NotACertificate)?;
        let body = &parsed.tbs_certificate;
        let names = body.get::<SubjectAltName>().map_err(|_| NotACertificate)?;
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let uris = names.into_iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str().to_owned()),
            _ => None,
        });
        let Validity { not_before, not_after } = body.validity;
        Ok(Self {
            subject: body.subject.to_string(),
            uris: uris.collect(),
            not_before: timestamp(not_before),
            not_after: timestamp(not_after),
        })
    }
}

fn timestamp(time: Time) -> Timestamp {
    Timestamp::from_secs(time.to_unix_duration().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_an_error() {
        for bytes in [&b""[..], b"\x30", b"\x30\x03\x02\x01\x00", &[0x30; 100]] {
            assert_eq!(Certificate::from_der(bytes), Err(NotACertificate));
        }
    }
}
