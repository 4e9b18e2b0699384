//! The OpenAPI document and a page that shows it.

use std::sync::LazyLock;

use bytes::Bytes;
use utoipa::OpenApi;

use super::respond::{HTML, JSON, Problem};
use super::{
    Reply, admin_audit, admin_contexts, admin_identities, admin_key_transport, admin_keys, admin_limits,
    admin_status, admin_tenants, admin_tokens, applications, batch, contexts, datakey, decrypt, encrypt,
    hash, health, key_bundle, mac, random, respond, rewrap, signatures, stream, tokens,
};

/// What every route can answer besides its success.
#[derive(utoipa::ToResponse)]
#[response(
    description = "An error: 400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 501 or 503, with a stable `code`",
    content_type = "application/problem+json"
)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct AnyProblem(Problem<'static>);

#[derive(OpenApi)]
#[openapi(
    info(
        title = "CryptoServe",
        description = "Cryptography as a service. The data plane is served under /v1 too. \
                       Binary fields are standard base64 with padding.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/")),
    paths(
        encrypt::encrypt,
        decrypt::decrypt,
        rewrap::rewrap,
        batch::encrypt,
        batch::decrypt,
        batch::rewrap,
        stream::encrypt,
        stream::decrypt,
        stream::rewrap,
        datakey::datakey,
        key_bundle::refuse,
        hash::hash,
        hash::verify,
        mac::mac,
        mac::verify,
        mac::generate_key,
        random::random,
        signatures::keys::generate,
        signatures::keys::list,
        signatures::keys::public,
        signatures::keys::delete,
        signatures::keys::restore,
        signatures::sign::sign,
        signatures::verify::verify,
        contexts::list,
        tokens::refresh,
        tokens::revoke,
        applications::register,
        admin_contexts::list,
        admin_contexts::create,
        admin_contexts::get,
        admin_contexts::update,
        admin_contexts::delete,
        admin_contexts::restore,
        admin_keys::rotate,
        admin_keys::list,
        admin_keys::set_state,
        admin_key_transport::make_transport_key,
        admin_key_transport::import,
        admin_key_transport::export,
        admin_identities::list,
        admin_identities::create,
        admin_identities::get,
        admin_identities::update,
        admin_identities::delete,
        admin_tokens::issue,
        admin_tokens::revoke_all,
        admin_tokens::list,
        admin_tokens::revoke,
        admin_tenants::list,
        admin_tenants::create,
        admin_tenants::get,
        admin_tenants::update,
        admin_tenants::revoke_tokens,
        admin_limits::overview::list,
        admin_limits::exhausted::list,
        admin_limits::identity::reset,
        admin_limits::context::get,
        admin_limits::context::set,
        admin_limits::context::clear,
        admin_limits::identity::get,
        admin_limits::identity::set,
        admin_limits::identity::clear,
        admin_limits::identity_context::get,
        admin_limits::identity_context::set,
        admin_limits::identity_context::clear,
        admin_limits::defaults::get_ip,
        admin_limits::defaults::set_ip,
        admin_limits::defaults::clear_ip,
        admin_limits::defaults::get,
        admin_limits::defaults::set,
        admin_limits::defaults::clear,
        admin_limits::tenant::get,
        admin_limits::tenant::set,
        admin_limits::tenant::clear,
        admin_audit::list,
        admin_audit::export::open,
        admin_status::status,
        health::health,
        health::live,
        health::ready,
        health::deep,
        document,
        page,
    ),
    components(responses(AnyProblem)),
    modifiers(&BearerToken),
    tags(
        (name = "Data plane", description = "What applications use"),
        (name = "Signatures", description = "Signing keys, and what they make"),
        (name = "Tokens", description = "Where tokens come from, and how they end"),
        (name = "Administration", description = "Contexts, identities, tokens and tenants"),
        (name = "Audit", description = "What was done, by whom, and how it ended"),
        (name = "Health", description = "For load balancers and operators"),
        (name = "Documents", description = "This document"),
    ),
)]
struct Document;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
        const NAME: &str = "token";
        let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(NAME, SecurityScheme::Http(scheme));
        for route in super::ROUTES {
            let super::Access::Scope(scope) = route.access else { continue };
            let Some(item) = openapi.paths.paths.get_mut(route.path) else { continue };
            let operation = match route.method {
                http::Method::GET => &mut item.get,
                http::Method::POST => &mut item.post,
                http::Method::PUT => &mut item.put,
                _ => &mut item.delete,
            };
            if let Some(operation) = operation {
                operation.security = Some(vec![SecurityRequirement::new(NAME, Vec::<String>::new())]);
                let scope = format!("Needs the scope `{}`.", scope.name());
                let text =
                    operation.description.take().map_or(scope.clone(), |text| format!("{text}\n\n{scope}"));
                operation.description = Some(text);
            }
        }
    }
}

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let json = Document::openapi().to_json().expect("the document has string keys and serialises");
    Bytes::from(json)
});

/// The OpenAPI 3.1 document.
#[utoipa::path(get, path = "/openapi.json", tag = "Documents", responses((status = 200, body = Object)))]
pub(super) fn document() -> Reply {
    respond::document(JSON, DOCUMENT.clone())
}

/// A page that shows the document.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "Documents",
    responses((status = 200, body = String, content_type = "text/html")),
)]
pub(super) fn page() -> Reply {
    respond::document(HTML, Bytes::from_static(include_bytes!("openapi/docs.html")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::api::ROUTES;

    #[test]
    fn the_document_describes_exactly_the_routes() {
        let document: Value = serde_json::from_slice(&DOCUMENT).unwrap();
        let described: BTreeSet<(String, String)> = document["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(move |method| (path.clone(), method.to_uppercase()))
            })
            .collect();
        let routes: BTreeSet<(String, String)> =
            ROUTES.iter().map(|route| (route.path.to_owned(), route.method.to_string())).collect();
        assert_eq!(described, routes);
        assert_eq!(document["openapi"], "3.1.0");
    }
}
