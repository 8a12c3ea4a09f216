//! Blobs from upstreams that break off, begin late or stop: what arrived is kept, and the next request gets further.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

/// A scene with these limits, and an image in it whose layer has so many bytes and whose manifest was pulled.
async fn scene_with_layer(limits: serde_json::Value, size: usize) -> (Scene, Image, String) {
    let scene = Scene::with(|configuration, _| configuration.set("limits", limits)).await;
    let image = Image::large("transferred", size);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let layer = image.layer(0);
    (scene, image, layer)
}

fn gets(layer: &str) -> String {
    format!("^GET .*/blobs/{layer}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_that_is_cut_again_and_again_arrives_whole() {
    for piece in [300_000, 60_000, 25_000] {
        let (scene, _, layer) = scene_with_layer(json!({}), 600_000).await;
        scene.registry.fault(&gets(&layer), Fault::Truncate(piece));
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        let ranges = scene.registry.ranges(&layer);
        let expected = 600_000_usize.div_ceil(piece);
        assert_eq!(ranges.len(), expected, "{piece}: {ranges:?}");
        assert_eq!(ranges[1], format!("bytes={piece}-"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_bring_next_to_nothing_end() {
    let (scene, _, layer) = scene_with_layer(json!({"transfer_attempts_max": 3}), 600_000).await;
    scene.registry.fault(&gets(&layer), Fault::Truncate(10));
    let answer = scene.blob("apps/web", &layer).await;
    assert!(!answer.is_whole_success(), "{answer}");
    assert_eq!(scene.registry.ranges(&layer).len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_client_goes_on_where_a_transfer_that_failed_stopped() {
    let limits = json!({"transfer_attempts_max": 2, "upstream_attempts_max": 1});
    let (scene, _, layer) = scene_with_layer(limits, 1_000_000).await;
    let first = Fault::Truncate(400_000);
    scene.registry.fault_times(&gets(&layer), 1, first);
    scene.registry.fault(&gets(&layer), Fault::Status(502));
    let answer = scene.blob("apps/web", &layer).await;
    assert!(
        answer.broken.is_some() && answer.body.len() < 400_001,
        "{answer}"
    );
    // An upstream that still fails is told as such, and not by half a body.
    assert_unavailable(&scene.blob("apps/web", &layer).await);
    scene.registry.lift_faults();
    scene.registry.forget_requests();
    assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
    assert_eq!(scene.registry.ranges(&layer), ["bytes=400000-"]);
    scene.proxy.assert_content_is_right();
}

/// Answers of 200 that are no blob, as their headers show.
fn other_content() -> [Fault; 4] {
    let page = "<html>Sign in</html>".repeat(1000);
    [
        Fault::page(Some("text/html; charset=utf-8"), page.clone()),
        Fault::chunked_page("text/html", page.clone()),
        Fault::Answer {
            status: 200,
            headers: vec![("Content-Encoding", "gzip".to_owned())],
            body: page.clone().into(),
        },
        Fault::Answer {
            status: 200,
            headers: vec![
                ("Content-Encoding", "br".to_owned()),
                ("Transfer-Encoding", "chunked".to_owned()),
            ],
            body: page.into(),
        },
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_in_place_of_a_blob_is_no_beginning_of_it() {
    for fault in other_content() {
        let (scene, _, layer) = scene_with_layer(json!({}), 600_000).await;
        scene.registry.fault_times(&gets(&layer), 1, fault);
        assert_unavailable(&scene.blob("apps/web", &layer).await);
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        assert_eq!(scene.registry.ranges(&layer), ["", ""]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn page_in_place_of_the_rest_of_a_blob_leaves_its_beginning() {
    let of_another_size = Fault::page(Some("application/json"), r#"{"errors": []}"#);
    for fault in other_content().into_iter().chain([of_another_size]) {
        let (scene, _, layer) = scene_with_layer(json!({}), 1_000_000).await;
        let first = Fault::Truncate(400_000);
        scene.registry.fault_times(&gets(&layer), 1, first);
        scene.registry.fault_times(&gets(&layer), 1, fault);
        let answer = scene.blob("apps/web", &layer).await;
        assert!(answer.broken.is_some(), "{answer}");
        scene.registry.forget_requests();
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        assert_eq!(scene.registry.ranges(&layer), ["bytes=400000-"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blob_of_the_right_size_is_served_whatever_its_storage_declares() {
    for fault in [
        Fault::ContentType("text/html"),
        Fault::Header("Content-Encoding", "gzip"),
    ] {
        let (scene, _, layer) = scene_with_layer(json!({}), 300_000).await;
        scene.registry.fault(&gets(&layer), fault);
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blob_whose_pieces_do_not_fit_together_is_asked_for_from_the_start_once_more() {
    let (scene, _, layer) = scene_with_layer(json!({}), 600_000).await;
    let other = Fault::chunked_page("application/octet-stream", vec![b'x'; 50_000]);
    scene.registry.fault_times(&gets(&layer), 1, other);
    let answer = scene.blob("apps/web", &layer).await;
    assert!(!answer.is_whole_success(), "{answer}");
    assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
    assert_eq!(scene.registry.ranges(&layer), ["", "bytes=50000-", ""]);
    // Wrong bytes of one answer are not asked for again.
    scene.registry.forget_requests();
    let image = Image::large("wrong", 600_000);
    let layer = image.layer(0);
    scene.push_signed("apps/web", "v2", &image);
    assert_serves(&scene.manifest("apps/web", "v2").await, &image);
    scene.registry.fault(&gets(&layer), Fault::WrongBytes);
    let answer = scene.blob("apps/web", &layer).await;
    assert!(!answer.is_whole_success(), "{answer}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.registry.ranges(&layer), [""]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_refuses_ranges_is_asked_from_the_start() {
    let (scene, _, layer) = scene_with_layer(json!({}), 600_000).await;
    for status in [416, 400] {
        scene.registry.lift_faults();
        let image = Image::large(&format!("no ranges {status}"), 600_000);
        let layer = image.layer(0);
        scene.push_signed("apps/web", "v2", &image);
        assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
        scene
            .registry
            .fault_times(&gets(&layer), 1, Fault::Truncate(200_000));
        scene
            .registry
            .fault_times(&gets(&layer), 1, Fault::Status(status));
        assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
        assert_eq!(scene.registry.ranges(&layer), ["", "bytes=200000-", ""]);
    }
    assert_serves_blob(&scene.blob("apps/web", &layer).await, &layer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_registry_does_not_go_on_with_what_one_sent() {
    let registries = [FakeRegistry::start().await, FakeRegistry::start().await];
    let key = SigningKey::generate();
    let image = Image::large("shared", 900_000);
    let layer = image.layer(0);
    let mut policy = key_policy("apps", "", &[&key]);
    policy["images"] = registries
        .iter()
        .map(|registry| format!("{}/apps/**", registry.name()))
        .collect();
    let limits = json!({"transfer_attempts_max": 1, "upstream_attempts_max": 1});
    let configuration = Configuration::new(&[&registries[0], &registries[1]])
        .policy(policy)
        .set("freshness", json!({"absent_ttl": 0}))
        .set("limits", limits);
    let proxy = Proxy::start(configuration).await;
    let path =
        |registry: &FakeRegistry, rest: &str| format!("/v2/{}/apps/web/{rest}", registry.name());
    for registry in &registries {
        registry.push_tagged("apps/web", "v1", &image);
        registry.sign_legacy("apps/web", &image, &key);
        assert_serves(&proxy.get(&path(registry, "manifests/v1")).await, &image);
    }
    let [first, second] = &registries;
    first.fault_times(&gets(&layer), 1, Fault::Truncate(500_000));
    first.fault(&gets(&layer), Fault::Status(500));
    let blob = format!("blobs/{layer}");
    let answer = proxy.get(&path(first, &blob)).await;
    assert!(answer.broken.is_some(), "{answer}");
    // The second one has it no longer, and gets none of it out of the proxy either.
    second.remove_blob("apps/web", &layer);
    assert_not_found(&proxy.get(&path(second, &blob)).await, "BLOB_UNKNOWN");
    second.push("apps/web", &image);
    second.forget_requests();
    assert_serves_blob(&proxy.get(&path(second, &blob)).await, &layer);
    assert_eq!(second.ranges(&layer), [""], "from the start");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_byte_after_seven_seconds_is_waited_for() {
    let (scene, _, layer) = scene_with_layer(json!({}), 300_000).await;
    let late = Fault::Delay(Duration::from_secs(7));
    scene.registry.fault(&gets(&layer), late);
    let answer = scene.blob("apps/web", &layer).await;
    assert_serves_blob(&answer, &layer);
    assert!(answer.elapsed < Duration::from_secs(10), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_after_its_first_client_was_told_to_come_back() {
    let limits = json!({"decision_time_max": "1s", "header_time_max": "500ms"});
    let (scene, _, layer) = scene_with_layer(limits, 300_000).await;
    let late = Fault::Delay(Duration::from_millis(3500));
    scene.registry.fault(&gets(&layer), late);
    assert_unavailable(&scene.blob("apps/web", &layer).await);
    let mut answer = scene.blob("apps/web", &layer).await;
    for _ in 0..4 {
        if answer.status == 200 {
            break;
        }
        assert_unavailable(&answer);
        answer = scene.blob("apps/web", &layer).await;
    }
    assert_serves_blob(&answer, &layer);
    // The first request and those beside it, and none for each client.
    let asked = scene.registry.ranges(&layer).len();
    assert!(asked <= 4, "{asked} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_hangs_costs_the_usual_time() {
    let limits = json!({"header_time_max": "500ms"});
    let (scene, _, layer) = scene_with_layer(limits, 300_000).await;
    scene.registry.fault_times(&gets(&layer), 1, Fault::Hang);
    let answer = scene.blob("apps/web", &layer).await;
    assert_serves_blob(&answer, &layer);
    assert!(answer.elapsed < Duration::from_secs(3), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_headers_of_a_blob_are_waited_for_no_longer_than_the_limit() {
    let limits = json!({
        "header_time_max": "300ms", "blob_header_time_max": "1s", "transfer_attempts_max": 1,
        "upstream_attempts_max": 1,
    });
    let (scene, _, layer) = scene_with_layer(limits, 300_000).await;
    scene.registry.fault(&gets(&layer), Fault::Hang);
    let answer = scene.blob("apps/web", &layer).await;
    assert_unavailable(&answer);
    assert!(answer.elapsed < Duration::from_secs(4), "{answer}");
}
