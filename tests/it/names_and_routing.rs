//! Every way to write a name means one thing, and everything else is refused (design §1).

use serde_json::json;

use crate::support::*;

#[tokio::test]
async fn the_host_may_stand_in_the_path() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    assert_eq!(records[0]["repository"], scene.repository("apps/web"));
}

#[tokio::test]
async fn the_host_may_stand_in_the_query() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let host = scene.registry.name();
    for namespace in [host.clone(), host.replace(':', "%3A")] {
        let answer = scene
            .proxy
            .get(&format!("/v2/apps/web/manifests/v1?ns={namespace}"))
            .await;
        assert_serves(&answer, &image);
        assert_eq!(answer.header("oci-namespace"), host);
    }
    let blob = image.layer(0);
    let answer = scene
        .proxy
        .get(&format!("/v2/apps/web/blobs/{blob}?ns={host}"))
        .await;
    assert_serves_blob(&answer, &blob);
    assert_eq!(answer.header("oci-namespace"), host);
    let records = scene
        .proxy
        .decisions(&format!("digest={}", image.digest))
        .await;
    assert_eq!(records[0]["repository"], scene.repository("apps/web"));
}

#[tokio::test]
async fn a_route_stands_for_a_prefix() {
    let scene = Scene::with(|configuration, registry| {
        configuration.set(
            "routes",
            json!({"short": format!("{}/apps", registry.name())}),
        )
    })
    .await;
    let image = scene.signed("apps/web", "v1");
    let deep = scene.signed("apps/web/deep", "v1");
    let path = "/v2/short/web/manifests/v1";
    assert_serves(&scene.proxy.get(path).await, &image);
    assert_serves(
        &scene.proxy.get("/v2/short/web/deep/manifests/v1").await,
        &deep,
    );
    // Where `?ns=` is given, the path is a repository of that host and nothing else.
    let answer = scene
        .proxy
        .get(&format!("{path}?ns={}", scene.registry.name()))
        .await;
    assert_ne!(answer.status, 200, "{answer}");
    // A route is a whole component.
    let answer = scene.proxy.get("/v2/shorter/web/manifests/v1").await;
    assert_ne!(answer.status, 200, "{answer}");
}

#[tokio::test]
async fn docker_hub_has_one_name() {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let image = Image::new("nginx");
    registry.push_tagged("library/nginx", "v1", &image);
    registry.sign_legacy("library/nginx", &image, &key);
    let endpoint = format!("http://127.0.0.1:{}", registry.port());
    let configuration = Configuration(json!({
        "upstreams": {"docker.io": {"endpoint": endpoint, "plain_http": true}},
        "policies": [key_policy("hub", "docker.io/library/*", &[&key])],
    }));
    let proxy = Proxy::start(configuration).await;
    for path in [
        "/v2/docker.io/library/nginx/manifests/v1",
        "/v2/docker.io/nginx/manifests/v1",
        "/v2/index.docker.io/library/nginx/manifests/v1",
        "/v2/index.docker.io/nginx/manifests/v1",
        "/v2/library/nginx/manifests/v1?ns=docker.io",
        "/v2/nginx/manifests/v1?ns=docker.io",
    ] {
        let answer = proxy.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer}");
        assert_eq!(answer.body, image.bytes);
    }
    for record in proxy.decisions(&format!("digest={}", image.digest)).await {
        assert_eq!(record["repository"], "docker.io/library/nginx");
    }
}

#[tokio::test]
async fn an_endpoint_takes_the_place_of_the_name_only_for_the_connection() {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let image = Image::new("robot");
    registry.push_tagged("team/robot", "v1", &image);
    registry.sign_legacy("team/robot", &image, &key);
    let endpoint = format!("http://127.0.0.1:{}", registry.port());
    let configuration = Configuration(json!({
        "upstreams": {"quay.io": {"endpoint": endpoint, "plain_http": true}},
        "policies": [key_policy("quay", "quay.io/team/*", &[&key])],
    }));
    let proxy = Proxy::start(configuration).await;
    assert_serves(
        &proxy.get("/v2/quay.io/team/robot/manifests/v1").await,
        &image,
    );
    let by_address = format!("/v2/{}/team/robot/manifests/v1", registry.name());
    assert_denied(&proxy.get(&by_address).await, "upstream_not_allowed");
}

#[tokio::test]
async fn names_that_are_not_valid_are_refused() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    scene.registry.forget_requests();
    let host = scene.registry.name();
    for name in [
        "apps/Web",
        "APPS/web",
        "apps//web",
        "apps/./web",
        "apps/../apps/web",
        "apps/x/../web",
        "apps/%2e%2e/apps/web",
        "apps/%2E/web",
        "apps%2Fweb",
        "apps/%77eb",
        "apps/web%00",
        "apps/web%20",
        "apps/-web",
        "apps/web-",
        "apps/we___b",
        "apps/we..b",
        "apps/w\u{e9}b",
        "/apps/web",
    ] {
        for (path, query) in [
            (format!("{host}/{name}"), String::new()),
            (name.to_owned(), format!("?ns={host}")),
        ] {
            let path: String = path.chars().map(encode).collect();
            for reference in ["v1", &image.digest] {
                let target = format!("/v2/{path}/manifests/{reference}{query}");
                let answer = scene.proxy.get(&target).await;
                assert_error(&answer, 400, "NAME_INVALID");
                let head = scene.proxy.head(&target).await;
                assert_eq!(head.status, 400, "{target}: {head}");
            }
        }
    }
    assert_eq!(
        scene.registry.requests().len(),
        0,
        "{:?}",
        scene.registry.requests()
    );
}

/// Bytes beyond ASCII do not travel in a request line.
fn encode(character: char) -> String {
    if character.is_ascii() {
        return character.to_string();
    }
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).as_bytes();
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn other_spellings_of_a_good_request_are_never_served() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let host = scene.registry.name();
    let other = FakeRegistry::start().await;
    for target in [
        format!("/v2/{host}/apps/web/manifests/%76%31"),
        format!("/v2/{host}/apps/web/%6danifests/v1"),
        format!("/V2/{host}/apps/web/manifests/v1"),
        format!("//v2/{host}/apps/web/manifests/v1"),
        format!("/v2//{host}/apps/web/manifests/v1"),
        format!("/v2/{host}/apps/web/manifests/v1/"),
        format!("/v2/{host}/apps/web/manifests/v1/."),
        format!("/v2/../v2/{host}/apps/web/manifests/v1"),
        format!("/v2/{}/apps/web/manifests/v1", host.replace(':', "%3A")),
        format!(
            "/v2/{host}/apps/web/manifests/{}",
            image.digest.to_uppercase()
        ),
        format!(
            "/v2/{host}/apps/web/manifests/{}",
            image.digest.replace(':', "%3A")
        ),
        format!(
            "/v2/{host}/apps/web/manifests/sha256:{}",
            &image.hex()[..63]
        ),
        format!("/v2/{host}/apps/web/blobs/{}", &image.layer(0)[..70]),
        format!("/v2/apps/web/manifests/v1?ns={host}&ns={}", other.name()),
        format!("/v2/apps/web/manifests/v1?ns={}&ns={host}", other.name()),
        format!("/v2/apps/web/manifests/v1?NS={host}"),
        format!("/v2/apps/web/manifests/v1?ns={host}%2Fapps"),
        format!("/v2/web/manifests/v1?ns={host}/apps"),
        format!("/v2/apps/web/manifests/v1?ns=user@{host}"),
        format!("/v2/apps/web/manifests/v1?ns={host}%00"),
        format!("/v2/{host}/apps/web/manifests/v1?ns={host}"),
        "/v2/apps/web/manifests/v1".to_owned(),
        "/v2/apps/web/manifests/v1?ns=".to_owned(),
    ] {
        let answer = scene.proxy.get(&target).await;
        assert!((400..500).contains(&answer.status), "{target}: {answer}");
    }
    assert_eq!(other.requests().len(), 0);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
}

#[tokio::test]
async fn hosts_that_are_not_configured_are_refused() {
    let scene = Scene::start().await;
    let other = FakeRegistry::start().await;
    other.push_tagged("apps/web", "v1", &Image::new("elsewhere"));
    let digest = sha256(b"anything");
    for target in [
        format!("/v2/{}/apps/web/manifests/v1", other.name()),
        format!("/v2/apps/web/manifests/v1?ns={}", other.name()),
        format!("/v2/{}/apps/web/blobs/{digest}", other.name()),
        format!("/v2/{}/apps/web/tags/list", other.name()),
        format!("/v2/{}/apps/web/referrers/{digest}", other.name()),
        "/v2/registry.example.com/apps/web/manifests/v1".to_owned(),
        "/v2/localhost/apps/web/manifests/v1".to_owned(),
        "/v2/apps/web/manifests/v1?ns=registry.example.com".to_owned(),
    ] {
        assert_denied(&scene.proxy.get(&target).await, "upstream_not_allowed");
    }
    assert_eq!(other.requests().len(), 0);
}

#[tokio::test]
async fn writes_are_refused() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let name = format!("/v2/{}", scene.repository("apps/web"));
    for (method, path) in [
        ("PUT", format!("{name}/manifests/v1")),
        ("DELETE", format!("{name}/manifests/v1")),
        ("PATCH", format!("{name}/manifests/v1")),
        ("POST", format!("{name}/blobs/uploads/")),
        (
            "POST",
            format!(
                "{name}/blobs/uploads/?mount={}&from=apps/other",
                image.layer(0)
            ),
        ),
        (
            "PUT",
            format!("{name}/blobs/uploads/1?digest={}", image.layer(0)),
        ),
        ("PATCH", format!("{name}/blobs/uploads/1")),
        ("DELETE", format!("{name}/blobs/{}", image.layer(0))),
        ("DELETE", format!("{name}/tags/list")),
        ("POST", format!("{name}/referrers/{}", image.digest)),
    ] {
        let answer = scene.proxy.request(method, &path, &[]).await;
        assert_error(&answer, 405, "UNSUPPORTED");
    }
    assert_eq!(scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn the_base_path_answers() {
    let scene = Scene::start().await;
    assert_eq!(scene.proxy.get("/v2/").await.status, 200);
    assert_eq!(scene.proxy.head("/v2/").await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_404_with_its_code() {
    let scene = Scene::start().await;
    scene.signed("apps/web", "v1");
    let digest = sha256(b"absent");
    for reference in ["v2", &digest] {
        let path = scene.manifest_path("apps/web", reference);
        assert_not_found(&scene.proxy.get(&path).await, "MANIFEST_UNKNOWN");
        assert_eq!(scene.proxy.head(&path).await.status, 404);
    }
    let answer = scene.manifest("apps/nowhere", "v1").await;
    assert_eq!(answer.status, 404, "{answer}");
    let code = answer.json()["errors"][0]["code"].clone();
    assert!(
        code == "NAME_UNKNOWN" || code == "MANIFEST_UNKNOWN",
        "{answer}"
    );
}
