//! The bearer token, from a file or the environment, never from the command line.

use std::ffi::OsString;
use std::path::Path;

use http::HeaderValue;
use zeroize::Zeroizing;

use super::Error;

/// The variable that holds the token where no file is named.
pub(super) const VARIABLE: &str = "CRYPTOSERVE_TOKEN";

/// The `Authorization` header for the token in `file`, or else in `variable`, the content of [`VARIABLE`].
pub(super) fn read(file: Option<&Path>, variable: Option<OsString>) -> Result<HeaderValue, Error> {
    let (text, source) = match file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            (read.map_err(|cause| Error::File { path: path.into(), cause })?, "the token file")
        }
        None => {
            let text = variable.filter(|text| !text.is_empty()).ok_or(Error::NoToken)?;
            (text.into_string().map_err(|_| Error::BadToken(VARIABLE))?, VARIABLE)
        }
    };
    let text = Zeroizing::new(text);
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::BadToken(source));
    }
    let value = Zeroizing::new(format!("Bearer {token}"));
    let mut value = HeaderValue::from_str(&value).expect("graphic ASCII is valid in a header");
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_wins_over_the_variable() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "from-file\n").expect("writable");
        let header = |path: Option<&Path>, variable: &str| read(path, Some(variable.into()));
        assert_eq!(header(None, " from-env").expect("a token"), "Bearer from-env");
        let value = header(Some(file.path()), "from-env").expect("a token");
        assert_eq!(value, "Bearer from-file");
        assert!(value.is_sensitive() && !format!("{value:?}").contains("from"));
    }

    #[test]
    fn what_is_no_token_is_refused_and_not_shown() {
        assert!(matches!(read(None, None), Err(Error::NoToken)));
        assert!(matches!(read(None, Some("".into())), Err(Error::NoToken)));
        for text in ["canary canary", "canary\r\nHost: x", " ", "canaryé"] {
            let error = read(None, Some(text.into())).expect_err(text);
            assert!(matches!(error, Error::BadToken(_)), "{text}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{text}");
        }
        let missing = read(Some(Path::new("/no-such-file")), Some("from-env".into()));
        assert!(matches!(missing, Err(Error::File { .. })));
    }
}
