//! What a ciphertext is bound to: a text, or a file's content.

use http::HeaderValue;

use super::Error;

/// The header's value for the option's `text`; none for nothing, which is the same as an empty text.
pub(super) fn read(text: Option<&str>) -> Result<Option<HeaderValue>, Error> {
    let Some(text) = text else { return Ok(None) };
    let bytes = match text.strip_prefix('@') {
        Some(path) => std::fs::read(path).map_err(|cause| Error::File { path: path.into(), cause })?,
        None => text.as_bytes().to_vec(),
    };
    if bytes.is_empty() {
        return Ok(None);
    }
    let encoded = base64_simd::STANDARD.encode_to_string(bytes);
    Ok(Some(encoded.try_into().expect("base64 is valid in a header")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_or_a_files_content_goes_as_base64() {
        let value =
            |text: &str| read(Some(text)).expect("it can be read").map(|value| value.as_bytes().to_vec());
        assert_eq!(value("customer-17").as_deref(), Some(&b"Y3VzdG9tZXItMTc="[..]));
        assert_eq!(value(""), None);
        assert!(matches!(read(None), Ok(None)));

        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), [0, 255, b'\n']).expect("writable");
        assert_eq!(value(&format!("@{}", file.path().display())).as_deref(), Some(&b"AP8K"[..]));
        assert!(matches!(read(Some("@/no-such-file")), Err(Error::File { .. })));
    }
}
