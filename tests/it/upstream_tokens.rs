//! The Bearer token flow, and where credentials go.

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn a_token_is_fetched_once_however_many_ask() {
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    let key = SigningKey::generate();
    let image = Image::new("private");
    registry.push_tagged("apps/web", "v1", &image);
    registry.sign_legacy("apps/web", &image, &key);
    let images = format!("{}/apps/**", registry.name());
    let configuration =
        Configuration::new(&[&registry]).policy(key_policy("apps", &images, &[&key]));
    let proxy = Proxy::start(configuration).await;
    let path = format!("/v2/{}/apps/web", registry.name());
    let asked = [
        format!("{path}/manifests/v1"),
        format!("{path}/manifests/{}", image.digest),
    ];
    let answers = together(asked.iter().map(|path| proxy.get(path))).await;
    for answer in &answers {
        assert_serves(answer, &image);
    }
    let blob = proxy.get(&format!("{path}/blobs/{}", image.layer(0))).await;
    assert_serves_blob(&blob, &image.layer(0));
    assert_eq!(service.count("/token"), 1, "{:?}", service.requests());
}

#[tokio::test]
async fn credentials_go_to_the_upstream_and_its_token_service_only() {
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    let other = FakeRegistry::start().await;
    let key = SigningKey::generate();
    for registry in [&registry, &other] {
        let image = Image::new("private");
        registry.push_tagged("apps/web", "v1", &image);
        registry.sign_legacy("apps/web", &image, &key);
    }
    let mut policy = key_policy("apps", "", &[&key]);
    policy["images"] = [&registry, &other]
        .map(|registry| format!("{}/apps/**", registry.name()))
        .to_vec()
        .into();
    let mut configuration = Configuration::new(&[&registry, &other]).policy(policy);
    configuration.0["upstreams"][registry.name()]["credentials"] =
        json!({"username": "robot", "password": "sesame-open"});
    let proxy = Proxy::start(configuration).await;
    for registry in [&registry, &other] {
        let answer = proxy
            .get(&format!("/v2/{}/apps/web/manifests/v1", registry.name()))
            .await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    let asked = service.requests();
    let authorization = asked[0].headers.get("authorization").unwrap();
    assert!(authorization.to_str().unwrap().starts_with("Basic "));
    for request in other.requests() {
        assert!(
            !request.headers.contains_key("authorization"),
            "{}",
            request.line()
        );
    }
    assert!(!proxy.log().contains("sesame-open"), "a secret in the log");
}
