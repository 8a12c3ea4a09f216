//! `recheck` and `POST /api/v1/recheck`: a running proxy looks at an image again at once.

use serde_json::json;

use super::*;

struct Rechecked {
    scene: Scene,
    server: String,
}

impl Rechecked {
    async fn start() -> Self {
        let scene = Scene::start().await;
        let server = format!("http://127.0.0.1:{}", scene.proxy.admin_port());
        Self { scene, server }
    }

    async fn recheck(&self, image: &str) -> Output {
        let image = self.scene.repository(image);
        countersign(&["recheck", "--server", &self.server, &image]).await
    }

    async fn post(&self, body: &Value) -> reqwest::Response {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/v1/recheck", self.server);
        client.post(url).json(body).send().await.unwrap()
    }
}

#[tokio::test]
async fn image_signed_after_a_refusal_is_admitted_at_once() {
    let place = Rechecked::start().await;
    let scene = &place.scene;
    let image = scene.unsigned("apps/web", "v1");
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
    scene.registry.sign_legacy("apps/web", &image, &scene.key);
    // The refusal is remembered, which is what the command is for.
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");

    let output = place.recheck("apps/web:v1").await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    assert!(text(&output).contains(&image.digest), "{}", text(&output));
    assert!(
        text(&output).contains(&scene.key.fingerprint()),
        "{}",
        text(&output)
    );
    assert_eq!(scene.manifest("apps/web", "v1").await.status, 200);
}

#[tokio::test]
async fn recheck_of_an_unsigned_image_stays_a_refusal() {
    let place = Rechecked::start().await;
    let scene = &place.scene;
    scene.unsigned("apps/bare", "v1");
    let other = SigningKey::generate();
    let image = scene.unsigned("apps/other", "v1");
    scene.registry.sign_legacy("apps/other", &image, &other);
    for (name, kind) in [("apps/bare", "unsigned"), ("apps/other", "untrusted_key")] {
        let output = place.recheck(&format!("{name}:v1")).await;
        assert_eq!(code(&output), REFUSED, "{}", text(&output));
        assert!(text(&output).contains(kind), "{}", text(&output));
        assert_denied(&scene.manifest(name, "v1").await, kind);
    }
    let output = place.recheck("apps/absent:v1").await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    let output = countersign(&[
        "recheck",
        "--server",
        &place.server,
        "elsewhere.example/app",
    ])
    .await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    assert!(
        text(&output).contains("upstream_not_allowed"),
        "{}",
        text(&output)
    );
}

#[tokio::test]
async fn tag_that_moved_is_resolved_again_at_once() {
    let place = Rechecked::start().await;
    let scene = &place.scene;
    let old = scene.signed("apps/web", "v1");
    assert_eq!(scene.manifest("apps/web", "v1").await.digest(), old.digest);
    let new = Image::new("the next build");
    scene.push_signed("apps/web", "v1", &new);
    assert_eq!(scene.manifest("apps/web", "v1").await.digest(), old.digest);

    let mut answer = place
        .post(&json!({"image": scene.repository("apps/web:v1")}))
        .await;
    assert_eq!(answer.status(), 200);
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.unwrap() {
        body.extend_from_slice(&chunk);
    }
    let answer: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(answer["decision"], "admit");
    assert_eq!(answer["digest"], new.digest);
    assert_eq!(answer["record"]["previous_digest"], old.digest);
    assert_eq!(scene.manifest("apps/web", "v1").await.digest(), new.digest);
}

#[tokio::test]
async fn signature_that_was_withdrawn_no_longer_counts_after_a_recheck() {
    let place = Rechecked::start().await;
    let scene = &place.scene;
    let image = scene.signed("apps/web", "v1");
    assert_eq!(scene.manifest("apps/web", "v1").await.status, 200);
    // Another manifest under the signature's tag takes its place.
    let junk = Image::new("junk");
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &junk);
    let output = place.recheck("apps/web:v1").await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
}

#[tokio::test]
async fn child_is_admitted_once_its_index_is_signed() {
    let place = Rechecked::start().await;
    let scene = &place.scene;
    let child = scene.unsigned("apps/multi", "amd64");
    let index = Image::index(&[&child]);
    scene.registry.push_tagged("apps/multi", "v1", &index);
    assert_denied(&scene.manifest("apps/multi", "v1").await, "unsigned");
    assert_denied(
        &scene.manifest("apps/multi", &child.digest).await,
        "unsigned",
    );
    scene.registry.sign_legacy("apps/multi", &index, &scene.key);
    let output = place.recheck("apps/multi:v1").await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let output = place.recheck(&format!("apps/multi@{}", child.digest)).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
}

#[tokio::test]
async fn rechecks_are_bounded_and_bad_requests_are_refused() {
    let place = Rechecked::start().await;
    for (body, status) in [
        (json!({"image": "NOT AN IMAGE"}), 400),
        (json!({"picture": "ghcr.io/org/app"}), 422),
        (json!({"image": "x".repeat(10_000)}), 413),
    ] {
        assert_eq!(place.post(&body).await.status(), status, "{body}");
    }
    let body = json!({"image": place.scene.repository("apps/absent:v1")});
    let mut refused = None;
    for _ in 0..100 {
        let answer = place.post(&body).await;
        if answer.status() == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status(), 200);
    }
    let refused = refused.unwrap();
    let wait: u64 = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    let output = place.recheck("apps/absent:v1").await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    assert!(text(&output).contains("429"), "{}", text(&output));
}

#[tokio::test]
async fn recheck_finds_the_admin_api_in_the_configuration() {
    let place = Rechecked::start().await;
    place.scene.signed("apps/web", "v1");
    let config = place.scene.proxy.config_path();
    let image = place.scene.repository("apps/web:v1");
    let config = config.to_str().unwrap();
    let in_a_pod = format!("proxy.example:5080/{image}");
    for name in [&image, &in_a_pod] {
        let output = countersign(&["recheck", "--config", config, name]).await;
        assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    }
    let output = countersign(&["recheck", "--server", "http://127.0.0.1:1", &image]).await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    let output = countersign(&["recheck", "--server", "file:///etc", &image]).await;
    assert_eq!(code(&output), USAGE, "{}", text(&output));
}

#[tokio::test]
async fn log_has_colour_where_that_is_wanted() {
    let place = Rechecked::start().await;
    place.scene.unsigned("apps/bare", "v1");
    assert_eq!(code(&place.recheck("apps/bare:v1").await), REFUSED);
    let arguments = ["log", "--admin", &place.server];
    let plain = countersign(&arguments).await;
    assert!(text(&plain).contains("deny"), "{}", text(&plain));
    assert!(!text(&plain).contains('\u{1b}'), "{}", text(&plain));
    let wanted = [&arguments[..], &["--color", "always"]].concat();
    let painted = text(&countersign(&wanted).await);
    assert!(painted.contains("\u{1b}[31mdeny"), "{painted}");
}
