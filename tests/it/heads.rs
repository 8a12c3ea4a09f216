//! Registries that refuse `HEAD`, or cannot do it, for what they serve by `GET`: nothing is concluded from `HEAD` alone.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

/// Everything that a `HEAD` may end with instead of 200.
fn refusals(storage: &FakeRegistry) -> Vec<Fault> {
    let statuses = [
        400, 401, 403, 404, 405, 406, 409, 410, 418, 500, 501, 502, 503,
    ];
    let mut refusals: Vec<_> = statuses.map(Fault::Status).to_vec();
    // Object storage takes a URL that was signed for GET for no HEAD.
    let signed = format!("http://{}/bucket/x?X-Amz-Signature=get", storage.name());
    refusals.extend([
        Fault::Reset,
        Fault::Hang,
        Fault::Redirect(signed),
        Fault::Redirect("ftp://127.0.0.1/".to_owned()),
    ]);
    refusals
}

/// Answers of 200 to a `HEAD` that do not say which manifest it is.
const VAGUE: [Fault; 2] = [
    Fault::Without("Docker-Content-Digest"),
    Fault::Header("Docker-Content-Digest", "sha256:none"),
];

async fn storage() -> FakeRegistry {
    let storage = FakeRegistry::start().await;
    storage.fault("/bucket/", Fault::Status(403));
    storage
}

/// A scene in which every pull by tag looks the tag up, which may take some time.
async fn looking_up() -> Scene {
    Scene::with(|configuration, _| {
        configuration
            .set("freshness", json!({"tag_ttl": "0s"}))
            .set("limits", json!({"stale_decision_time_max": "4s"}))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_asked_for_by_get_when_head_does_not_confirm_it() {
    let storage = storage().await;
    let scene = looking_up().await;
    let pulls = refusals(&storage)
        .into_iter()
        .chain(VAGUE)
        .enumerate()
        .map(|(number, refusal)| {
            let scene = &scene;
            async move {
                let name = format!("apps/web-{number}");
                let image = scene.signed(&name, "v1");
                assert_serves(&scene.manifest(&name, "v1").await, &image);
                let head = format!("^HEAD /v2/{name}/manifests/v1$");
                scene.registry.fault(&head, refusal.clone());
                assert_serves(&scene.manifest(&name, "v1").await, &image);
                let moved = Image::new(&format!("{name} moved"));
                scene.push_signed(&name, "v1", &moved);
                assert_serves(&scene.manifest(&name, "v1").await, &moved);
                assert!(
                    scene.registry.count(&head) > 0,
                    "{refusal:?}: it is asked by HEAD"
                );
                // What GET says holds, whatever was known.
                let get = format!("^GET /v2/{name}/manifests/v1$");
                scene.registry.fault(&get, Fault::Status(404));
                let answer = scene.manifest(&name, "v1").await;
                assert_not_found(&answer, "MANIFEST_UNKNOWN");
            }
        });
    together(pulls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_whose_head_is_throttled_is_not_asked_for_by_get() {
    let scene = looking_up().await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    scene.registry.forget_requests();
    let head = "^HEAD .*/manifests/v1$";
    scene.registry.fault(head, Fault::Throttled(60));
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_eq!(scene.registry.count("/manifests/v1$"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_another_repository_is_confirmed_by_get_when_head_is_refused() {
    let storage = storage().await;
    let scene = Scene::start().await;
    let image = Image::large("shared", 300_000);
    let layer = image.layer(0);
    scene.push_signed("apps/first", "v1", &image);
    assert_serves(&scene.manifest("apps/first", "v1").await, &image);
    assert_serves_blob(&scene.blob("apps/first", &layer).await, &layer);
    let pulls = refusals(&storage)
        .into_iter()
        .enumerate()
        .map(|(number, refusal)| {
            let (scene, image, layer) = (&scene, &image, &layer);
            async move {
                let name = format!("apps/other-{number}");
                scene.push_signed(&name, "v1", image);
                assert_serves(&scene.manifest(&name, "v1").await, image);
                let blob = format!("/v2/{name}/blobs/{layer}");
                scene.registry.fault(&format!("^HEAD {blob}"), refusal);
                assert_serves_blob(&scene.blob(&name, layer).await, layer);
                let ranges = scene.registry.ranges(&blob);
                assert!(
                    ranges.iter().all(|range| range == "bytes=0-0"),
                    "{ranges:?}"
                );
            }
        });
    together(pulls).await;
    // An upstream that lacks it says so by GET, too.
    scene.push_signed("apps/without", "v1", &image);
    scene.registry.remove_blob("apps/without", &layer);
    assert_serves(&scene.manifest("apps/without", "v1").await, &image);
    assert_not_found(&scene.blob("apps/without", &layer).await, "BLOB_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_head_of_a_cold_blob_is_answered_when_the_upstream_refuses_head() {
    let storage = storage().await;
    let scene = Scene::start().await;
    let pulls = refusals(&storage)
        .into_iter()
        .enumerate()
        .map(|(number, refusal)| {
            let scene = &scene;
            async move {
                let name = format!("apps/web-{number}");
                let image = scene.signed(&name, "v1");
                assert_serves(&scene.manifest(&name, "v1").await, &image);
                let layer = image.layer(0);
                scene
                    .registry
                    .fault(&format!("^HEAD /v2/{name}/blobs/"), refusal.clone());
                let path = scene.blob_path(&name, &layer);
                let head = scene.proxy.head(&path).await;
                assert_eq!(head.status, 200, "{refusal:?}: {head}");
                assert_eq!(head.header("docker-content-digest"), layer);
                scene
                    .registry
                    .fault(&format!("^GET /v2/{name}/blobs/"), Fault::Status(404));
                assert_eq!(scene.proxy.head(&path).await.status, 404, "{refusal:?}");
            }
        });
    together(pulls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_from_another_repository_is_confirmed_by_get_when_head_is_refused() {
    let scene = Scene::start().await;
    let image = Image::large("followed", 2_000_000);
    let layer = image.layer(0);
    for name in ["apps/first", "apps/second"] {
        scene.push_signed(name, "v1", &image);
        assert_serves(&scene.manifest(name, "v1").await, &image);
    }
    let slow = Fault::Trickle(200_000, Duration::from_millis(200));
    scene.registry.fault("^GET /v2/apps/first/blobs/", slow);
    scene.registry.fault("^HEAD .*/blobs/", Fault::Status(405));
    let follower = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.blob("apps/second", &layer).await
    };
    let (first, second) = tokio::join!(scene.blob("apps/first", &layer), follower);
    assert_serves_blob(&first, &layer);
    assert_serves_blob(&second, &layer);
    let asked = scene
        .registry
        .ranges(&format!("/v2/apps/second/blobs/{layer}"));
    assert_eq!(asked, ["bytes=0-0"]);
}
