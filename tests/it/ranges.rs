//! Parts of blobs, cold and warm, and conditional requests.

use crate::support::*;

const SIZE: usize = 3 * 1024 * 1024;

async fn scene() -> (Scene, Image) {
    let scene = Scene::start().await;
    let image = Image::large("ranges", SIZE);
    scene.push_signed("apps/web", "v1", &image);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    (scene, image)
}

async fn part(scene: &Scene, image: &Image, range: &str) -> Answer {
    let path = scene.blob_path("apps/web", &image.layer(0));
    scene.proxy.request("GET", &path, &[("Range", range)]).await
}

#[track_caller]
fn assert_part(answer: &Answer, image: &Image, first: usize, last: usize) {
    assert_eq!(
        answer.status, 206,
        "{:?} {:?}",
        answer.headers, answer.broken
    );
    assert_eq!(answer.broken, None);
    assert_eq!(
        answer.header("content-range"),
        format!("bytes {first}-{last}/{SIZE}")
    );
    assert_eq!(answer.body, image.blobs[1][first..=last], "other bytes");
}

async fn assert_parts(scene: &Scene, image: &Image) {
    for (range, first, last) in [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=1000-1999999", 1000, 1_999_999),
        ("bytes=3000000-", 3_000_000, SIZE - 1),
        ("bytes=3000000-99999999", 3_000_000, SIZE - 1),
        ("bytes=-50", SIZE - 50, SIZE - 1),
        ("Bytes=0-99", 0, 99),
        ("bytes=-99999999", 0, SIZE - 1),
    ] {
        assert_part(&part(scene, image, range).await, image, first, last);
    }
    for range in [
        format!("bytes={SIZE}-"),
        "bytes=99999999-".to_owned(),
        "bytes=-0".to_owned(),
    ] {
        let answer = part(scene, image, &range).await;
        assert_eq!(answer.status, 416, "{range}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cold_and_warm() {
    let (scene, image) = scene().await;
    let blob = format!("^GET .*/blobs/{}$", image.layer(0));
    assert_eq!(scene.registry.count(&blob), 0);
    assert_part(&part(&scene, &image, "bytes=0-99").await, &image, 0, 99);
    assert_parts(&scene, &image).await;
    assert_serves_blob(
        &scene.blob("apps/web", &image.layer(0)).await,
        &image.layer(0),
    );
    scene.registry.stop();
    assert_parts(&scene, &image).await;
    scene.proxy.assert_content_is_right();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_was_never_asked_for_whole() {
    for (range, first, last) in [
        ("bytes=2000000-2000099", 2_000_000, 2_000_099),
        ("bytes=-10", SIZE - 10, SIZE - 1),
    ] {
        let (scene, image) = scene().await;
        assert_part(&part(&scene, &image, range).await, &image, first, last);
        let digest = image.layer(0);
        assert_serves_blob(&scene.blob("apps/web", &digest).await, &digest);
        scene.proxy.assert_content_is_right();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_wrong_bytes_never_complete_the_blob() {
    let (scene, image) = scene().await;
    scene.registry.fault(&image.layer(0), Fault::WrongBytes);
    // The last piece is held back until the whole is found right.
    let answer = part(&scene, &image, "bytes=-10").await;
    assert!(!answer.is_whole_success(), "{answer}");
    let answer = scene.blob("apps/web", &image.layer(0)).await;
    assert!(!answer.is_whole_success(), "{:?}", answer.headers);
    assert!(scene.proxy.content_file(&image.layer(0)).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_is_refused_are_refused() {
    let scene = Scene::start().await;
    let image = Image::large("unsigned", SIZE);
    scene.registry.push_tagged("apps/web", "v1", &image);
    assert_denied(&part(&scene, &image, "bytes=0-99").await, "not_endorsed");
}

#[tokio::test]
async fn conditional_requests_are_answered_truly() {
    let (scene, image) = scene().await;
    for path in [
        scene.manifest_path("apps/web", &image.digest),
        scene.blob_path("apps/web", &image.config()),
    ] {
        let answer = scene.proxy.get(&path).await;
        let tag = answer.header("etag").to_owned();
        let again = scene
            .proxy
            .request("GET", &path, &[("If-None-Match", &tag)])
            .await;
        assert!(
            again.status == 304 && again.body.is_empty()
                || again.status == 200 && again.body == answer.body,
            "{again}"
        );
        let other = scene
            .proxy
            .request("GET", &path, &[("If-None-Match", "\"other\"")])
            .await;
        assert_eq!((other.status, &other.body), (200, &answer.body));
    }
    let refused = scene.unsigned("apps/web", "bad");
    let path = scene.manifest_path("apps/web", &refused.digest);
    for tag in [format!("\"{}\"", refused.digest), "*".to_owned()] {
        let answer = scene
            .proxy
            .request("GET", &path, &[("If-None-Match", &tag)])
            .await;
        assert_denied(&answer, "unsigned");
    }
}
