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
    let upstream = &mut configuration.0["upstreams"][registry.name()];
    upstream["credentials"] = json!({"username": "robot", "password": "sesame-open"});
    upstream["token_hosts"] = json!([service.name()]);
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

#[tokio::test]
async fn credentials_do_not_go_where_the_upstream_points() {
    let (registry, service) = FakeRegistry::start_with_tokens().await;
    let key = SigningKey::generate();
    registry.push_tagged("apps/web", "v1", &Image::new("private"));
    let images = format!("{}/apps/**", registry.name());
    let mut configuration =
        Configuration::new(&[&registry]).policy(key_policy("apps", &images, &[&key]));
    configuration.0["upstreams"][registry.name()]["credentials"] =
        json!({"username": "robot", "password": "sesame-open"});
    let proxy = Proxy::start(configuration).await;
    let path = format!("/v2/{}/apps/web/manifests/v1", registry.name());
    let answer = proxy.get(&path).await;
    assert!(matches!(answer.status, 403 | 503), "{answer}");
    // CVE-2026-33540: the realm is whatever the upstream, or whoever speaks for it, wrote there.
    for request in service.requests() {
        let names_secret = request.headers.contains_key("authorization");
        assert!(!names_secret, "{}", request.line());
    }
}

#[tokio::test]
async fn token_is_asked_for_with_every_scope_that_the_upstream_demands() {
    for rules in [
        TokenRules {
            challenged: "repository:{name}:metadata_read,push",
            needed: &["repository:{name}:pull", "repository:{name}:metadata_read"],
            ..TokenRules::default()
        },
        TokenRules {
            challenged: "repository:{name}:pull,delete openid registry:catalog:*",
            needed: &["repository:{name}:pull", "openid", "registry:catalog:*"],
            ..TokenRules::default()
        },
        TokenRules {
            challenged: "",
            ..TokenRules::default()
        },
    ] {
        let scene = Scene::start().await;
        let image = scene.signed("apps/web", "v1");
        let challenged = rules.challenged;
        scene.registry.demand_tokens(rules);
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        let blob = scene.blob("apps/web", &image.layer(0)).await;
        assert_serves_blob(&blob, &image.layer(0));
        assert!(scene.registry.count("/token") > 0);
        assert_eq!(scene.registry.count("push|delete"), 0, "{challenged}");
    }
}

#[tokio::test]
async fn withdrawn_token_is_replaced_before_its_time() {
    let scene = Scene::start().await;
    scene.registry.demand_tokens(TokenRules::default());
    for tag in ["v1", "v2", "v3"] {
        let image = scene.signed("apps/web", tag);
        assert_serves(&scene.manifest("apps/web", tag).await, &image);
        scene.registry.withdraw_tokens();
        let layer = image.layer(0);
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        let path = format!("/v2/{}/tags/list", scene.repository("apps/web"));
        assert_eq!(scene.proxy.get(&path).await.status, 200);
        scene.registry.withdraw_tokens();
    }
}

#[tokio::test]
async fn answers_of_token_hosts_of_every_shape_are_read() {
    let shapes: [fn(&str) -> serde_json::Value; 4] = [
        |token| json!({"token": null, "access_token": token, "expires_in": null}),
        |token| json!({"token": token, "access_token": null, "issued_at": null}),
        |token| json!({"access_token": token, "expires_in": "300"}),
        |token| json!({"token": token, "expires_in": 299.5, "scope": ["pull"]}),
    ];
    for (answer, is_moved) in shapes.into_iter().zip([false, true, false, true]) {
        let scene = Scene::start().await;
        let image = scene.signed("apps/web", "v1");
        scene.registry.demand_tokens(TokenRules {
            answer,
            is_moved,
            ..TokenRules::default()
        });
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    }
}
