//! The only place with status codes: every outcome has one answer.

use std::time::Duration;

use axum::body::Body;
use http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, RETRY_AFTER, WARNING, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::route;
use super::token::FormError;
use crate::admission::{Denial, Described};
use crate::foreign::Message;
use crate::manifests::Headers;
use crate::oci::{Digest, ErrorCode};
use crate::pull::{Missing, Refusal};

/// `Docker-Content-Digest`.
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName =
    HeaderName::from_static("docker-content-digest");
/// `OCI-Namespace`.
pub(super) const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// The most bytes of a `Warning` header (distribution specification, "Warnings").
const WARNING_BYTES_MAX: usize = 4096;

/// An error in the form of the distribution specification, "Error Codes".
fn error(
    status: StatusCode,
    code: ErrorCode,
    message: &str,
    detail: &serde_json::Value,
) -> Response<Body> {
    // Much of it was written by an upstream or the client itself.
    let message = Message::from(message);
    let error = json!({ "code": code.as_str(), "message": message.as_str(), "detail": detail });
    let body = json!({ "errors": [error] });
    json_body(status, body.to_string())
}

fn json_body(status: StatusCode, body: String) -> Response<Body> {
    let length = body.len();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// 200 for `/v2/`.
pub(super) fn base() -> Response<Body> {
    let mut response = json_body(StatusCode::OK, "{}".to_owned());
    response
        .headers_mut()
        .insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    response
}

/// A request that asks for nothing this registry has.
pub(super) fn unroutable(problem: &route::Error) -> Response<Body> {
    let none = serde_json::Value::Null;
    let message = problem.to_string();
    let (status, code) = match problem {
        route::Error::Method => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
        route::Error::Path => (StatusCode::NOT_FOUND, ErrorCode::NotFound),
        route::Error::Name(_) | route::Error::Query(_) | route::Error::Page(_) => {
            (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid)
        }
        route::Error::Unrouted(_) => (StatusCode::NOT_FOUND, ErrorCode::NameUnknown),
        route::Error::Tag => (StatusCode::BAD_REQUEST, ErrorCode::ManifestInvalid),
        route::Error::Digest => (StatusCode::BAD_REQUEST, ErrorCode::DigestInvalid),
    };
    let mut response = error(status, code, &message, &none);
    if matches!(problem, route::Error::Method) {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

/// 401 with a challenge.
pub(super) fn unauthenticated(challenge: HeaderValue, message: &str) -> Response<Body> {
    let mut response = error(
        StatusCode::UNAUTHORIZED,
        ErrorCode::Unauthorized,
        message,
        &serde_json::Value::Null,
    );
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}

/// 200 with a token. Some clients read `token` and others `access_token`.
pub(super) fn token(token: &str, lifetime: Duration, now: Timestamp) -> Response<Body> {
    let body = json!({
        "token": token,
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": lifetime.as_secs(),
        "issued_at": now,
    });
    let mut response = json_body(StatusCode::OK, body.to_string());
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// 400 for a token request, in the words of RFC 6749 §5.2 and in those of registries.
pub(super) fn bad_form(problem: FormError) -> Response<Body> {
    let message = problem.to_string();
    let body = json!({
        "error": problem.code(),
        "error_description": message,
        "errors": [{ "code": ErrorCode::Unsupported.as_str(), "message": message, "detail": null }],
    });
    json_body(StatusCode::BAD_REQUEST, body.to_string())
}

/// A pull that is not served.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    match refusal {
        Refusal::Denied(refused) => denied(&refused.denial, refused.decision),
        Refusal::NotFound(missing) => {
            let (code, message) = match missing {
                Missing::Manifest => (
                    ErrorCode::ManifestUnknown,
                    "the upstream has no such manifest",
                ),
                Missing::Blob => (ErrorCode::BlobUnknown, "the upstream has no such blob"),
                Missing::Name => (
                    ErrorCode::NameUnknown,
                    "the upstream has no such repository",
                ),
            };
            error(
                StatusCode::NOT_FOUND,
                code,
                message,
                &serde_json::Value::Null,
            )
        }
        Refusal::Unavailable {
            message,
            retry_after,
        } => unavailable(message, *retry_after),
        Refusal::BadUpstream { message } => error(
            StatusCode::BAD_GATEWAY,
            ErrorCode::Unknown,
            message,
            &serde_json::Value::Null,
        ),
        Refusal::Internal(cause) => {
            tracing::error!(
                error = cause.as_ref() as &dyn std::error::Error,
                "A pull failed"
            );
            internal()
        }
    }
}

/// 503: it cannot be said now. Never 429: containerd would ask again at once.
pub(super) fn unavailable(message: &str, retry_after: Duration) -> Response<Body> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    later(status, ErrorCode::Unavailable, message, retry_after)
}

/// 429 for a client that gave too many wrong passwords. A 401 would say that this password is wrong too, which nobody
/// checked; clients that know 429 wait.
pub(super) fn too_many_requests(message: &str, retry_after: Duration) -> Response<Body> {
    let status = StatusCode::TOO_MANY_REQUESTS;
    later(status, ErrorCode::TooManyRequests, message, retry_after)
}

fn later(
    status: StatusCode,
    code: ErrorCode,
    message: &str,
    retry_after: Duration,
) -> Response<Body> {
    let mut response = error(status, code, message, &serde_json::Value::Null);
    let seconds = retry_after.as_millis().div_ceil(1000).clamp(1, 60);
    let seconds = u64::try_from(seconds).unwrap_or(60);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// 500: a bug. What went wrong stands in the log under the same id.
pub(super) fn internal() -> Response<Body> {
    let request = ulid::Ulid::generate().to_string();
    tracing::error!(request, "A request ended in an internal error");
    error(
        StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::Unknown,
        "internal error",
        &json!({ "request_id": request }),
    )
}

/// 403 with what a person needs in the message and what a program needs in the detail.
fn denied(denial: &Denial, decision: Option<ulid::Ulid>) -> Response<Body> {
    let decision = decision.map(|id| id.to_string());
    let detail = json!({
        "decision_id": decision,
        "kind": denial.kind.as_str(),
        "policy": denial.policy,
        "digest": denial.digest,
    });
    error(
        StatusCode::FORBIDDEN,
        ErrorCode::Denied,
        &denial.message,
        &detail,
    )
}

/// 416 for a range beyond the content.
pub(super) fn range_not_satisfiable(size: u64) -> Response<Body> {
    let mut response = error(
        StatusCode::RANGE_NOT_SATISFIABLE,
        ErrorCode::RangeInvalid,
        &format!("the content has {size} bytes"),
        &serde_json::Value::Null,
    );
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{size}")) {
        response
            .headers_mut()
            .insert(http::header::CONTENT_RANGE, value);
    }
    response
}

/// The headers of admitted content: what it is, and its length.
pub(super) fn content_headers(response: &mut Response<Body>, content: Headers, bytes: u64) {
    let headers = response.headers_mut();
    headers.insert(DOCKER_CONTENT_DIGEST, content.digest);
    headers.insert(ETAG, content.etag);
    headers.insert(CONTENT_TYPE, content.media_type);
    headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

/// Adds `Warning: 299 - "…"`, such as the message of a denial that an auditing policy waives.
pub(super) fn warn(response: &mut Response<Body>, message: &str) {
    let text: String = message
        .chars()
        .map(|character| match character {
            '"' | '\\' => '\'',
            other if other.is_ascii() && !other.is_ascii_control() => other,
            _ => '?',
        })
        .take(WARNING_BYTES_MAX - 64)
        .collect();
    if let Ok(value) = HeaderValue::try_from(format!("299 - \"{text}\"")) {
        response.headers_mut().insert(WARNING, value);
    }
}

/// 200 for a `HEAD` of a refused manifest (`compat.head_allows`): what it is, and none of it.
pub(super) fn head_allowed(described: &Described) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = Headers::new(&described.digest, &described.media_type);
    content_headers(&mut response, headers, described.bytes);
    response
}

/// Whether `If-None-Match` names this content.
pub(super) fn has_etag(if_none_match: Option<&str>, digest: &Digest) -> bool {
    let Some(etags) = if_none_match else {
        return false;
    };
    let own = digest.to_string();
    etags
        .split(',')
        .map(|etag| etag.trim().trim_start_matches("W/").trim_matches('"'))
        .any(|etag| etag == own || etag == "*")
}
