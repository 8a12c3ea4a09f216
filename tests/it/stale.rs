//! With the upstream off, what was admitted still comes out, marked in the log; what was never seen does not.

use std::time::Duration;

use serde_json::json;

use crate::support::*;

struct Warm {
    scene: Scene,
    image: Image,
    index: Image,
    child: Image,
}

/// Everything pulled once, the tags' time run out, the proxy restarted, the upstream off.
async fn restarted_without_upstream() -> Warm {
    let scene =
        Scene::with(|configuration, _| configuration.set("freshness", json!({"tag_ttl": "1s"})))
            .await;
    let image = scene.signed("apps/web", "v1");
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    scene.registry.push("apps/multi", &child);
    scene.push_signed("apps/multi", "v1", &index);
    for (name, pulled) in [
        ("apps/web", &image),
        ("apps/multi", &index),
        ("apps/multi", &child),
    ] {
        assert_serves(&scene.manifest(name, &pulled.digest).await, pulled);
        for blob in &pulled.blobs {
            let digest = sha256(blob);
            assert_serves_blob(&scene.blob(name, &digest).await, &digest);
        }
    }
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_serves(&scene.manifest("apps/multi", "v1").await, &index);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    scene.proxy.stop().await;
    scene.registry.stop();
    scene.proxy.run().await;
    Warm {
        scene,
        image,
        index,
        child,
    }
}

#[tokio::test]
async fn warm_content_is_served_after_a_restart() {
    let Warm {
        scene,
        image,
        index,
        child,
    } = restarted_without_upstream().await;
    for (name, pulled) in [
        ("apps/multi", &child),
        ("apps/web", &image),
        ("apps/multi", &index),
    ] {
        assert_serves(&scene.manifest(name, &pulled.digest).await, pulled);
        let head = scene
            .proxy
            .head(&scene.manifest_path(name, &pulled.digest))
            .await;
        assert_eq!(head.status, 200);
        for blob in &pulled.blobs {
            let digest = sha256(blob);
            assert_serves_blob(&scene.blob(name, &digest).await, &digest);
        }
    }
}

#[tokio::test]
async fn blobs_are_served_first_after_a_restart() {
    let Warm {
        scene,
        image,
        child,
        ..
    } = restarted_without_upstream().await;
    for (name, digest) in [("apps/web", image.layer(0)), ("apps/multi", child.layer(1))] {
        assert_serves_blob(&scene.blob(name, &digest).await, &digest);
    }
}

#[tokio::test]
async fn tags_are_served_in_two_seconds_and_marked() {
    let Warm {
        scene,
        image,
        index,
        ..
    } = restarted_without_upstream().await;
    for (name, pulled) in [("apps/web", &image), ("apps/multi", &index)] {
        let answer = scene.manifest(name, "v1").await;
        assert_serves(&answer, pulled);
        assert!(
            answer.elapsed < Duration::from_secs(3),
            "{:?}",
            answer.elapsed
        );
        let query = format!(
            "repository={}&digest={}",
            scene.repository(name),
            pulled.digest
        );
        let records = scene.proxy.decisions(&query).await;
        assert_eq!(records[0]["decision"], "admit");
        assert_eq!(records[0]["stale"], true, "{records:?}");
    }
}

#[tokio::test]
async fn a_hung_upstream_delays_a_warm_tag_by_two_seconds_at_most() {
    let scene =
        Scene::with(|configuration, _| configuration.set("freshness", json!({"tag_ttl": "1s"})))
            .await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    for fault in [
        Fault::Hang,
        Fault::Status(408),
        Fault::Status(425),
        Fault::Status(500),
        Fault::Status(501),
        Fault::Status(529),
        Fault::Throttled(1),
        Fault::Reset,
    ] {
        scene.registry.fault("/manifests/v1", fault.clone());
        let answer = scene.manifest("apps/web", "v1").await;
        assert_serves(&answer, &image);
        assert!(
            answer.elapsed < Duration::from_secs(3),
            "{fault:?}: {:?}",
            answer.elapsed
        );
        scene.registry.lift_faults();
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tag_at_a_slow_upstream_that_refuses_head_moves_behind_a_stale_answer() {
    let scene = Scene::with(|configuration, _| {
        configuration
            .set("freshness", json!({"tag_ttl": "0s"}))
            .set("limits", json!({"stale_decision_time_max": "400ms"}))
    })
    .await;
    let image = scene.signed("apps/web", "v1");
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let moved = Image::new("moved");
    scene.push_signed("apps/web", "v1", &moved);
    let tag = "/v2/apps/web/manifests/v1$";
    let late = Fault::Delay(Duration::from_millis(900));
    scene
        .registry
        .fault(&format!("^HEAD {tag}"), Fault::Status(405));
    scene.registry.fault(&format!("^GET {tag}"), late);
    let answer = scene.manifest("apps/web", "v1").await;
    assert_serves(&answer, &image);
    assert!(answer.elapsed < Duration::from_millis(850), "{answer}");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &moved);
}

#[tokio::test]
async fn a_definite_answer_is_never_overruled_by_an_old_one() {
    for (status, wanted) in [
        (401, 403),
        (403, 403),
        (404, 404),
        (410, 404),
        (400, 503),
        (402, 503),
        (405, 503),
        (406, 503),
        (409, 503),
        (418, 503),
        (451, 503),
        (304, 503),
    ] {
        let scene = Scene::with(|configuration, _| {
            configuration.set("freshness", json!({"tag_ttl": "0s"}))
        })
        .await;
        let image = scene.signed("apps/web", "v1");
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        scene.registry.fault("/manifests/v1", Fault::Status(status));
        let answer = scene.manifest("apps/web", "v1").await;
        assert_eq!(answer.status, wanted, "{status}: {answer}");
    }
}

#[tokio::test]
async fn what_was_never_seen_is_unavailable() {
    let Warm { scene, .. } = restarted_without_upstream().await;
    let digest = sha256(b"never seen");
    assert_unavailable(&scene.manifest("apps/web", &digest).await);
    assert_unavailable(&scene.manifest("apps/web", "v2").await);
    let refused = scene.blob("apps/web", &digest).await;
    assert!(matches!(refused.status, 403 | 503), "{refused}");
}

#[tokio::test]
async fn it_starts_and_is_ready_with_every_upstream_off() {
    let registry = FakeRegistry::start().await;
    registry.stop();
    let proxy = Proxy::start(Configuration::new(&[&registry])).await;
    assert_eq!(proxy.get("/v2/").await.status, 200);
}
