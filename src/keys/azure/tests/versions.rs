//! A key without a version in its reference, some of whose versions are not like the others.

use super::*;

/// Three versions, of which the newest is answered like this.
async fn vault_whose_newest_is(newest: Reply) -> FakeService {
    FakeService::start(move |asked| match asked.path() {
        "/keys/release/versions" => page(
            &[item("old", 1), item("newest", 3), item("newer", 2)],
            Value::Null,
        ),
        "/keys/release/newest" => newest.clone(),
        path => Reply::ok(bundle(path.strip_prefix("/keys/release/").unwrap())),
    })
    .await
}

fn changed(pointer: &str, value: Value) -> Reply {
    let mut changed = bundle("newest");
    *changed.pointer_mut(pointer).unwrap() = value;
    Reply::ok(changed)
}

fn refused(status: u16, inner: &str) -> Reply {
    let error = json!({"code": "Forbidden", "message": "said so", "innererror": {"code": inner}});
    Reply::new(status, json!({ "error": error }))
}

#[tokio::test]
async fn a_version_that_cannot_vouch_leaves_the_others() {
    for newest in [
        changed("/key/key_ops", json!(["encrypt", "wrapKey"])),
        changed("/key/kty", json!("oct-HSM")),
        changed("/key/crv", json!("P-256K")),
        // Since it was listed.
        changed("/attributes/enabled", json!(false)),
        refused(403, "KeyDisabled"),
        refused(403, "KeyExpired"),
        refused(404, "KeyNotFound"),
    ] {
        let service = vault_whose_newest_is(newest).await;
        let versions = fetch(&service, UNPINNED).await.unwrap();
        assert_eq!(version_names(&versions), ["newer", "old"]);
    }
}

#[tokio::test]
async fn a_version_that_is_not_known_may_be_the_one_that_matters() {
    for newest in [
        changed("/key/kid", json!(kid("old"))),
        changed("/key/x", json!("AAAA")),
        changed("/key/y", Value::Null),
        Reply::ok("<html>"),
        refused(403, "ForbiddenByRbac"),
        refused(401, ""),
        refused(500, ""),
        refused(429, ""),
    ] {
        let service = vault_whose_newest_is(newest).await;
        let error = fetch(&service, UNPINNED).await.unwrap_err();
        assert!(!matches!(error, Error::NotFound { .. }), "{error}");
    }
}

#[tokio::test]
async fn without_any_that_can_vouch_the_newest_says_why() {
    let only = |reply: Reply| {
        FakeService::start(move |asked| match asked.path() {
            "/keys/release/versions" => page(&[item("newest", 3)], Value::Null),
            _ => reply.clone(),
        })
    };
    let service = only(changed("/key/crv", json!("P-256K"))).await;
    let error = fetch(&service, UNPINNED).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("P-256K"), "{error}");
    let service = only(refused(403, "KeyDisabled")).await;
    let error = fetch(&service, UNPINNED).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
