//! An upstream that redirects to another registry, as names of publishers' own do.

use serde_json::json;

use crate::support::*;

/// A proxy whose upstream has credentials and redirects everything to a registry that wants tokens.
async fn scene() -> (Scene, FakeRegistry, Image) {
    let back = FakeRegistry::start().await;
    let scene = Scene::with(|mut configuration, registry| {
        let upstream = &mut configuration.0["upstreams"][registry.name()];
        upstream["credentials"] = json!({"username": "robot", "password": "sesame-open"});
        configuration
    })
    .await;
    let image = Image::new("behind");
    back.push_tagged("apps/web", "v1", &image);
    back.sign_bundle("apps/web", &image, &scene.key);
    back.demand_tokens(TokenRules::default());
    let origin = format!("http://{}", back.name());
    scene.registry.fault("/v2/apps/", Fault::RedirectTo(origin));
    (scene, back, image)
}

#[tokio::test]
async fn everything_is_served_with_one_anonymous_token() {
    let (scene, back, image) = scene().await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let layer = image.layer(0);
    assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
    let name = scene.repository("apps/web");
    for list in [
        "tags/list".to_owned(),
        format!("referrers/{}", image.digest),
    ] {
        let answer = scene.proxy.get(&format!("/v2/{name}/{list}")).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    assert_eq!(back.count("/token"), 1);
    for request in back.requests() {
        let authorization = request.headers.get("authorization");
        let is_basic = authorization.is_some_and(|value| value.as_bytes().starts_with(b"Basic"));
        assert!(!is_basic, "{}", request.line());
    }
    for request in scene.registry.requests() {
        let authorization = request.headers.get("authorization");
        let is_bearer = authorization.is_some_and(|value| value.as_bytes().starts_with(b"Bearer"));
        assert!(!is_bearer, "{}", request.line());
    }
}

#[tokio::test]
async fn unsigned_image_behind_a_redirect_is_refused() {
    let (scene, back, _) = scene().await;
    back.push_tagged("apps/web", "v2", &Image::new("unsigned"));
    assert_denied(&scene.manifest("apps/web", "v2").await, "unsigned");
}

#[tokio::test]
async fn withdrawn_token_of_a_redirected_registry_is_replaced() {
    let (scene, back, image) = scene().await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    back.withdraw_tokens();
    let layer = image.layer(0);
    assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
}

#[tokio::test]
async fn registry_that_takes_no_token_is_not_asked_for_ever() {
    let (scene, back, _) = scene().await;
    back.demand_tokens(TokenRules {
        needed: &["never"],
        ..TokenRules::default()
    });
    let answer = scene.manifest("apps/web", "v1").await;
    let error = assert_denied(&answer, "upstream_denied");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&back.name()), "{message}");
    assert!(
        message.contains("no credentials follow a redirect"),
        "{message}"
    );
    assert!(back.count("/token") <= 8, "{}", back.count("/token"));
}
