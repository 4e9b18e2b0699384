//! PEM as RFC 7468 writes it, for public keys.

use rustls::pki_types::pem::{PemObject, SectionKind};

use super::Error;

const LINE: usize = 64;

/// `der` under this label.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = base64_simd::STANDARD.encode_to_string(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// The one public key in `pem`, as `SubjectPublicKeyInfo` in DER.
///
/// # Errors
/// [`Error::Malformed`] if there is none, or anything besides it.
pub(super) fn public_key(pem: &[u8]) -> Result<Vec<u8>, Error> {
    const MALFORMED: Error = Error::Malformed("not one public key in PEM (BEGIN PUBLIC KEY)");
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem);
    match (sections.next(), sections.next()) {
        (Some(Ok((SectionKind::PublicKey, der))), None) => Ok(der),
        _ => Err(MALFORMED),
    }
}
