//! A request, and what must come of it.

use bytes::Bytes;
use cryptoserve_core::api::{ALIASES, DATA_PLANE, Route};
use cryptoserve_tests::{Client, Reply};
use http::{Method, header};
use http_body_util::Full;
use serde_json::Value;

use super::rules::rule;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) method: Method,
    /// With the query.
    pub(super) path: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Body {
    Empty,
    Json(Value),
    Bytes(Vec<u8>),
}

/// A request and its answer: status and, of a problem, the code.
pub(super) struct Case {
    /// Who asks what, for whoever reads of a failure.
    pub(super) what: String,
    pub(super) request: Request,
    pub(super) answer: (u16, &'static str),
}

impl Request {
    /// The request by which the route's rule is checked, with values of the path's parameters that name nothing.
    pub(super) fn of(route: &Route) -> Self {
        let rule = rule(route.operation);
        let mut path = nameless(route.path);
        if !rule.query.is_empty() {
            path = format!("{path}?{}", rule.query);
        }
        Self { method: route.method.clone(), path, headers: Vec::new(), body: rule.body }
    }

    pub(super) fn with_token(self, token: &str) -> Self {
        self.with_header("authorization", format!("Bearer {token}"))
    }

    pub(super) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The same at another path.
    pub(super) fn at(mut self, path: &str) -> Self {
        let query = self.path.split_once('?').map(|(_, query)| format!("?{query}"));
        self.path = path.to_owned() + &query.unwrap_or_default();
        self
    }

    /// Its path without the query.
    pub(super) fn path(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    pub(super) async fn send(&self, client: &Client) -> Reply {
        let mut request = client.request(self.method.clone(), &self.path);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let body = match &self.body {
            Body::Empty => Bytes::new(),
            Body::Bytes(bytes) => bytes.clone().into(),
            Body::Json(json) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                json.to_string().into()
            }
        };
        let request = request.body(Full::new(body)).expect("a request");
        client.try_send(request).await.unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

impl Case {
    /// What is wrong with `reply`, if anything.
    pub(super) fn fault(&self, reply: &Reply) -> Option<String> {
        let (status, code) = self.answer;
        let body = serde_json::from_slice::<Value>(&reply.body).unwrap_or_default();
        let told = match self.request.method {
            Method::HEAD if reply.body.is_empty() => code,
            Method::HEAD => "a body",
            _ => body["code"].as_str().unwrap_or_default(),
        };
        let challenged = reply.header("www-authenticate") == Some("Bearer");
        let right = reply.status == status && told == code && challenged == (status == 401);
        (!right).then(|| {
            let body = String::from_utf8_lossy(&reply.body);
            let Request { method, path, .. } = &self.request;
            format!("{method} {path}, {}: not {status} {code} but {} {body}", self.what, reply.status)
        })
    }
}

/// The paths of a route, with values of the parameters that name nothing.
pub(super) fn paths(route: &Route) -> Vec<String> {
    let aliases = ALIASES.iter().filter(|(_, path)| *path == route.path).map(|(alias, _)| *alias);
    let long = std::iter::once(route.path).chain(aliases);
    let both = long.flat_map(|path| {
        let short = path.strip_prefix(DATA_PLANE).map(|rest| format!("/v1/{rest}"));
        std::iter::once(path.to_owned()).chain(short)
    });
    both.map(|path| nameless(&path)).collect()
}

fn nameless(path: &str) -> String {
    let values = [("{name}", "none-such"), ("{version}", "1")];
    let path = values.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
    ["{id}", "{token_id}"]
        .iter()
        .fold(path, |path, name| path.replace(name, "00000000-0000-4000-8000-000000000000"))
}
