//! The address of a server.

use std::fmt;
use std::str::FromStr;

use url::Url;

/// An `http` or `https` URL with a host, perhaps a path beneath which the server is reached, and nothing else.
#[derive(Clone, Debug)]
pub(crate) struct ServerUrl(Url);

/// The text is no such URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a URL such as https://crypto.example:8003, without user, password, query and fragment")]
pub(crate) struct InvalidServerUrl;

impl ServerUrl {
    /// The URL itself.
    pub(crate) fn as_url(&self) -> &Url {
        &self.0
    }

    /// The URL of `path`, which starts with a slash, on this server.
    pub(crate) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        url.set_path(&format!("{}{path}", self.0.path().trim_end_matches('/')));
        url
    }
}

impl FromStr for ServerUrl {
    type Err = InvalidServerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidServerUrl> {
        let url: Url = text.trim().parse().map_err(|_| InvalidServerUrl)?;
        let bare = url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        let valid = matches!(url.scheme(), "http" | "https") && url.has_host() && bare;
        if valid { Ok(Self(url)) } else { Err(InvalidServerUrl) }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_beneath_the_servers_own() {
        let join = |base: &str| base.parse::<ServerUrl>().map(|url| url.join("/api/v1").to_string());
        assert_eq!(join("http://a:8003"), Ok("http://a:8003/api/v1".into()));
        assert_eq!(join("http://[::1]:8003/"), Ok("http://[::1]:8003/api/v1".into()));
        assert_eq!(join("https://a/base//"), Ok("https://a/base/api/v1".into()));
        assert_eq!(join("a:8003"), Err(InvalidServerUrl));
    }
}
