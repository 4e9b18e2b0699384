//! From results to HTTP: the only place that knows status codes.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{Error, Facts};
use crate::auth::IssueError;
use crate::clock::Timestamp;
use crate::limits::{self, RefusalKind};

/// A successful answer before it becomes HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

pub(super) const JSON: &str = "application/json";
pub(super) const HTML: &str = "text/html; charset=utf-8";
/// A page brings its own style and script, asks this server for the document, and nothing else.
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const PROBLEM: &str = "application/problem+json";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// 200 with `value` as JSON.
pub(crate) fn reply(value: &impl Serialize) -> Reply {
    Reply::json(StatusCode::OK, value)
}

/// 201 with `value` as JSON.
pub(super) fn created(value: &impl Serialize) -> Reply {
    Reply::json(StatusCode::CREATED, value)
}

/// 200 or 503, with `value` as JSON.
pub(super) fn health(good: bool, value: &impl Serialize) -> Reply {
    Reply::json(if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, value)
}

/// 200 with a document that does not change.
pub(super) fn document(content_type: &'static str, body: Bytes) -> Reply {
    Reply { status: StatusCode::OK, content_type, body }
}

impl Reply {
    fn json(status: StatusCode, value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("replies have string keys and serialise without error");
        Self { status, content_type: JSON, body: body.into() }
    }
}

/// An error as clients see it (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Problem<'a> {
    /// A URN that names the code.
    r#type: String,
    /// The status in words.
    title: &'a str,
    /// The status code.
    status: u16,
    /// What happened and what to do, for a person.
    detail: String,
    /// Stable, for programs.
    code: &'a str,
    /// Also in the `X-Request-ID` header, the log and the audit trail.
    request_id: &'a str,
}

/// The HTTP response of a result, with what every response carries.
pub(crate) fn respond(
    result: &Result<Reply, Error>,
    request_id: &str,
    facts: &Facts,
    now: Timestamp,
) -> Response<Bytes> {
    let mut response = match result {
        Ok(reply) => {
            let mut response = Response::new(reply.body.clone());
            *response.status_mut() = reply.status;
            content_type(&mut response, reply.content_type);
            if reply.content_type == HTML {
                response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
            }
            response
        }
        Err(error) => problem(error, request_id),
    };
    write_common(response.headers_mut(), request_id, facts, now);
    response
}

/// What every response carries: its id, the state of its limits, and that nobody may keep it.
pub(crate) fn write_common(headers: &mut http::HeaderMap, request_id: &str, facts: &Facts, now: Timestamp) {
    let id = HeaderValue::try_from(request_id).expect("request ids are letters, digits, '.', '_' and '-'");
    headers.insert(REQUEST_ID, id);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    limits::write_levels(&facts.levels, now, headers);
}

fn problem(error: &Error, request_id: &str) -> Response<Bytes> {
    let (status, code) = status_and_code(error);
    let problem = Problem {
        r#type: format!("urn:cryptoserve:problem:{code}"),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: error.to_string(),
        code,
        request_id,
    };
    let body = serde_json::to_vec(&problem).expect("a problem has string keys and serialises without error");
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    content_type(&mut response, PROBLEM);
    write_error_headers(error, response.headers_mut());
    response
}

fn write_error_headers(error: &Error, headers: &mut http::HeaderMap) {
    match error {
        Error::MethodNotAllowed(methods) => {
            let names: Vec<_> = methods.iter().map(http::Method::as_str).collect();
            let value = HeaderValue::try_from(names.join(", ")).expect("method names are tokens");
            headers.insert(header::ALLOW, value);
        }
        Error::Unauthenticated(_) | Error::InvalidRefreshToken => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Error::RateLimited(refusal) => refusal.write_retry_after(headers),
        Error::StoreUnavailable(_)
        | Error::AuditUnavailable
        | Error::LimitsUnavailable
        | Error::Overloaded => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // Another try is made no sooner.
        Error::IdentityProviderUnavailable => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
        }
        Error::BodyTimeout => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
}

fn content_type(response: &mut Response<Bytes>, value: &'static str) {
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
}

/// The stable code of an error.
pub(crate) const fn code(error: &Error) -> &'static str {
    status_and_code(error).1
}

/// Whether the service is at fault, rather than the request.
pub(crate) const fn is_fault(error: &Error) -> bool {
    status_and_code(error).0.as_u16() >= 500
}

/// The status and the stable code of an error.
const fn status_and_code(error: &Error) -> (StatusCode, &'static str) {
    match error {
        Error::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Error::MethodNotAllowed(_) => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
        Error::Unauthenticated(_) => (StatusCode::UNAUTHORIZED, "unauthenticated"),
        Error::InvalidRefreshToken => (StatusCode::UNAUTHORIZED, "invalid_refresh_token"),
        Error::TooManyRefreshTokens => (StatusCode::CONFLICT, "too_many_refresh_tokens"),
        Error::TooManyRevokedTokens => (StatusCode::CONFLICT, "too_many_revoked_tokens"),
        Error::TokenNotFound => (StatusCode::NOT_FOUND, "token_not_found"),
        Error::NotAnApplication(_) => (StatusCode::CONFLICT, "not_an_application"),
        Error::IdentityOfProvider => (StatusCode::CONFLICT, "identity_of_provider"),
        Error::ScopeMissing(_) => (StatusCode::FORBIDDEN, "scope_missing"),
        Error::ContextForbidden => (StatusCode::FORBIDDEN, "context_forbidden"),
        Error::RoleForbidden(_) => (StatusCode::FORBIDDEN, "role_forbidden"),
        Error::ContextNotFound => (StatusCode::NOT_FOUND, "context_not_found"),
        Error::KeyVersionNotFound => (StatusCode::NOT_FOUND, "key_version_not_found"),
        Error::KeyStateConflict { .. } => (StatusCode::CONFLICT, "key_state_conflict"),
        Error::SigningKeyNotFound => (StatusCode::NOT_FOUND, "signing_key_not_found"),
        Error::SigningKeyDisabled => (StatusCode::CONFLICT, "signing_key_disabled"),
        Error::SigningKeyConflict(_) => (StatusCode::CONFLICT, "key_state_conflict"),
        Error::SigningContextMismatch => (StatusCode::BAD_REQUEST, "context_mismatch"),
        Error::TransportKeyNotFound => (StatusCode::NOT_FOUND, "transport_key_not_found"),
        Error::KeyExportForbidden | Error::ClearKeyForbidden => {
            (StatusCode::FORBIDDEN, "key_export_forbidden")
        }
        Error::InvalidWrappedKey(_) => (StatusCode::BAD_REQUEST, "invalid_wrapped_key"),
        Error::KeyKnown => (StatusCode::CONFLICT, "key_known"),
        Error::WeakKey => (StatusCode::UNPROCESSABLE_ENTITY, "weak_key"),
        Error::InvalidPublicKey(_) => (StatusCode::BAD_REQUEST, "invalid_public_key"),
        Error::IdentityNotFound => (StatusCode::NOT_FOUND, "identity_not_found"),
        Error::TenantNotFound => (StatusCode::NOT_FOUND, "tenant_not_found"),
        Error::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
        Error::InvalidLimit(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_limit"),
        Error::InvalidBase64(_) => (StatusCode::BAD_REQUEST, "invalid_base64"),
        Error::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        Error::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body_timeout"),
        Error::BodyIncomplete => (StatusCode::BAD_REQUEST, "body_incomplete"),
        Error::InvalidCiphertext(_) => (StatusCode::BAD_REQUEST, "invalid_ciphertext"),
        Error::AuthenticationFailed => (StatusCode::BAD_REQUEST, "authentication_failed"),
        Error::ContextMismatch => (StatusCode::BAD_REQUEST, "context_mismatch"),
        Error::KeyVersionDisabled => (StatusCode::CONFLICT, "key_version_disabled"),
        Error::KeyExhausted => (StatusCode::CONFLICT, "key_exhausted"),
        Error::AlgorithmNotAllowed { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "algorithm_not_allowed"),
        Error::UnknownAlgorithm | Error::UnknownAlgorithmOf { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "unknown_algorithm")
        }
        Error::BatchSize(_) => (StatusCode::UNPROCESSABLE_ENTITY, "batch_size"),
        Error::RateLimited(refusal) => match refusal.kind {
            RefusalKind::Exhausted { .. } => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            RefusalKind::NeverFits => (StatusCode::UNPROCESSABLE_ENTITY, "cost_exceeds_limit"),
        },
        Error::LimitsUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "limits_unavailable"),
        Error::NameTaken(_) => (StatusCode::CONFLICT, "name_taken"),
        Error::CertificateTaken => (StatusCode::CONFLICT, "certificate_taken"),
        Error::Conflict => (StatusCode::CONFLICT, "conflict"),
        Error::Issue(IssueError::Ttl(_)) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_ttl"),
        Error::Issue(IssueError::TooLong) => (StatusCode::UNPROCESSABLE_ENTITY, "token_too_long"),
        Error::IdentityProviderUnavailable => {
            (StatusCode::SERVICE_UNAVAILABLE, "identity_provider_unavailable")
        }
        Error::StoreUnavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "store_unavailable"),
        Error::AuditUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "audit_unavailable"),
        Error::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded"),
        Error::StreamingUnavailable => (StatusCode::NOT_IMPLEMENTED, "streaming_unavailable"),
        Error::VersionNotSupported => (StatusCode::HTTP_VERSION_NOT_SUPPORTED, "version_not_supported"),
        Error::Internal(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}
