use http::Method;

use super::{ALIASES, DATA_PLANE, ROUTES, Route};

/// Finds routes by path and method.
pub(crate) struct Router {
    paths: matchit::Router<Vec<&'static Route>>,
}

/// What stands at a path.
pub(crate) enum RouteMatch {
    /// This route, with the values of the path's parameters in their order.
    Found(&'static Route, Vec<String>),
    /// Other methods only: these.
    MethodNotAllowed(Vec<Method>),
    /// Nothing.
    NotFound,
}

impl Router {
    pub(crate) fn new() -> Self {
        let mut paths: Vec<(String, Vec<&'static Route>)> = Vec::new();
        for route in ROUTES {
            let aliases = ALIASES.iter().filter(|(_, path)| *path == route.path).map(|(alias, _)| *alias);
            let whole = std::iter::once(route.path).chain(aliases);
            for path in whole.flat_map(with_short) {
                match paths.iter_mut().find(|(known, _)| *known == path) {
                    Some((_, routes)) => routes.push(route),
                    None => paths.push((path, vec![route])),
                }
            }
        }
        let mut router = matchit::Router::new();
        for (path, routes) in paths {
            router.insert(path, routes).expect("the paths of the route table do not conflict");
        }
        Self { paths: router }
    }

    pub(crate) fn find(&self, method: &Method, path: &str) -> RouteMatch {
        let Ok(found) = self.paths.at(path) else { return RouteMatch::NotFound };
        let wanted = if method == Method::HEAD { &Method::GET } else { method };
        match found.value.iter().find(|route| route.method == *wanted) {
            Some(route) => {
                let parameters = found.params.iter().map(|(_, value)| decoded(value)).collect();
                RouteMatch::Found(route, parameters)
            }
            None => {
                let mut allowed: Vec<_> = found.value.iter().map(|route| route.method.clone()).collect();
                if allowed.contains(&Method::GET) {
                    allowed.push(Method::HEAD);
                }
                RouteMatch::MethodNotAllowed(allowed)
            }
        }
    }
}

/// A path, and of the data plane its other form.
fn with_short(path: &str) -> impl Iterator<Item = String> {
    let short = path.strip_prefix(DATA_PLANE).map(|rest| format!("/v1/{rest}"));
    std::iter::once(path.to_owned()).chain(short)
}

/// A parameter without percent-encoding (RFC 3986 section 2.1); what is no UTF-8 then stays as it was sent, and so is no
/// name of anything.
fn decoded(parameter: &str) -> String {
    let decoded = percent_encoding::percent_decode_str(parameter).decode_utf8();
    decoded.map_or_else(|_| parameter.to_owned(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Operation;

    fn operation(method: Method, path: &str) -> Option<Operation> {
        match Router::new().find(&method, path) {
            RouteMatch::Found(route, _) => Some(route.operation),
            _ => None,
        }
    }

    #[test]
    fn the_data_plane_is_served_under_both_base_paths() {
        for route in ROUTES.iter().filter(|route| route.path.starts_with("/api/v1/")) {
            let short = route.path.strip_prefix("/api").unwrap();
            assert_eq!(operation(route.method.clone(), route.path), Some(route.operation));
            assert_eq!(operation(route.method.clone(), short), Some(route.operation));
        }
        assert_eq!(operation(Method::GET, "/admin/contexts"), None);
        for (alias, path) in ALIASES {
            let route = ROUTES.iter().find(|route| route.path == path).expect(path);
            for alias in [alias, alias.strip_prefix("/api").unwrap()] {
                assert_eq!(operation(route.method.clone(), alias), Some(route.operation), "{alias}");
            }
        }
    }

    #[test]
    fn methods_and_parameters() {
        let router = Router::new();
        assert_eq!(operation(Method::HEAD, "/health/live"), Some(Operation::HealthLive));
        for (sent, meant) in
            [("a-b", "a-b"), ("%61%2Db", "a-b"), ("a%2Fb", "a/b"), ("%ff", "%ff"), ("%", "%")]
        {
            let path = format!("/api/admin/contexts/{sent}");
            let RouteMatch::Found(_, parameters) = router.find(&Method::GET, &path) else {
                panic!("a context by name");
            };
            assert_eq!(parameters, [meant]);
        }
        let version = "/api/admin/contexts/a%2Db/keys/12";
        let RouteMatch::Found(_, parameters) = router.find(&Method::PUT, version) else {
            panic!("a version by name and number");
        };
        assert_eq!(parameters, ["a-b", "12"]);
        let RouteMatch::MethodNotAllowed(allowed) = router.find(&Method::PATCH, "/api/admin/contexts") else {
            panic!("the path has other methods");
        };
        assert_eq!(allowed, [Method::GET, Method::POST, Method::HEAD]);
        for path in ["", "/", "/api/v1/crypto/encrypt/", "/api//v1/contexts", "/api/v1/../v1/contexts"] {
            assert!(matches!(router.find(&Method::GET, path), RouteMatch::NotFound), "{path}");
        }
    }
}
