//! The answers of the contract, checked in full.

use serde_json::Value;

use super::client::Answer;
use super::image::Image;

/// The manifest, exactly: bytes, digest, type.
#[track_caller]
pub(crate) fn assert_serves(answer: &Answer, image: &Image) {
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.broken, None, "{answer}");
    assert_eq!(answer.body, image.bytes, "other bytes: {answer}");
    assert_eq!(answer.header("docker-content-digest"), image.digest);
    assert_eq!(answer.header("content-type"), image.media_type);
    assert_eq!(
        answer.header("content-length"),
        image.bytes.len().to_string()
    );
    assert!(!answer.header("etag").is_empty(), "{answer}");
}

/// The blob, exactly.
#[track_caller]
pub(crate) fn assert_serves_blob(answer: &Answer, digest: &str) {
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.broken, None, "{answer}");
    assert_eq!(answer.digest(), digest, "other bytes");
    assert_eq!(answer.header("docker-content-digest"), digest);
}

/// 403 `DENIED` of this kind, in the documented shape.
#[track_caller]
pub(crate) fn assert_denied(answer: &Answer, kind: &str) -> Value {
    let error = assert_error(answer, 403, "DENIED");
    let detail = error["detail"].as_object().unwrap_or_else(|| {
        panic!("the detail is no object: {answer}");
    });
    assert_eq!(detail["kind"], kind, "{answer}");
    for key in ["decision_id", "policy", "digest"] {
        assert!(detail.contains_key(key), "no {key}: {answer}");
    }
    assert!(
        error["message"].as_str().unwrap().len() >= 20,
        "one human sentence: {answer}"
    );
    error
}

/// Refused by this policy: the message names the image, the policy and the decision.
#[track_caller]
pub(crate) fn assert_denied_by(answer: &Answer, kind: &str, policy: &str, digest: &str) -> Value {
    let error = assert_denied(answer, kind);
    let message = error["message"].as_str().unwrap();
    let decision = error["detail"]["decision_id"].as_str().unwrap();
    assert_eq!(decision.len(), 26, "a ULID: {decision}");
    assert_eq!(error["detail"]["policy"], policy);
    assert_eq!(error["detail"]["digest"], digest);
    for named in [policy, digest, decision] {
        assert!(message.contains(named), "{named} is not in: {message}");
    }
    error
}

/// 503 `UNAVAILABLE`, saying when to come back.
#[track_caller]
pub(crate) fn assert_unavailable(answer: &Answer) -> Value {
    let retry_after = answer.header("retry-after").to_owned();
    let error = assert_error(answer, 503, "UNAVAILABLE");
    assert!(
        retry_after.parse::<u64>().is_ok(),
        "Retry-After in seconds: {answer}"
    );
    error
}

/// 404 with this code.
#[track_caller]
pub(crate) fn assert_not_found(answer: &Answer, code: &str) -> Value {
    assert_error(answer, 404, code)
}

/// This status and code, with the body of the distribution specification.
#[track_caller]
pub(crate) fn assert_error(answer: &Answer, status: u16, code: &str) -> Value {
    assert_eq!(answer.status, status, "{answer}");
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{answer}"
    );
    let body = answer.json();
    let errors = body["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1, "{answer}");
    let error = errors[0].clone();
    assert_eq!(error["code"], code, "{answer}");
    assert!(error["message"].is_string(), "{answer}");
    error
}

/// Not one byte of this content came out whole.
#[track_caller]
pub(crate) fn assert_withheld(answer: &Answer, digest: &str) {
    assert!(!answer.is_whole_success(), "served: {answer}");
    assert_ne!(answer.digest(), digest, "the bytes came out: {answer}");
}
