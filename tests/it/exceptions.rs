//! What a person lets through for a while.

use serde_json::json;

use crate::support::*;

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test has its own clock"
)]
fn until(seconds: i64) -> String {
    let now = jiff::Timestamp::now();
    (now + jiff::SignedDuration::from_secs(seconds)).to_string()
}

#[tokio::test]
async fn an_exception_serves_with_a_warning_until_it_ends() {
    let scene = Scene::start().await;
    let image = scene.unsigned("apps/web", "v1");
    scene.unsigned("apps/other", "v1");
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
    let name = scene.repository("apps/web");
    let end = until(20);
    scene.proxy.rewrite(|configuration| {
        configuration["exceptions"] = json!([{
            "images": [name], "reason": "OPS-1 moves", "by": "ops@example.com", "until": end,
        }]);
    });
    scene.proxy.restart().await;
    let answer = scene.manifest("apps/web", "v1").await;
    assert_serves(&answer, &image);
    let warning = answer.header("warning");
    for part in ["299", "OPS-1 moves", "ops@example.com"] {
        assert!(warning.contains(part), "{warning}");
    }
    let blob = sha256(&image.blobs[0]);
    assert_serves_blob(&scene.blob("apps/web", &blob).await, &blob);
    assert_denied(&scene.manifest("apps/other", "v1").await, "unsigned");
    let decisions = scene.proxy.decisions("decision=admit").await;
    assert_eq!(decisions[0]["basis"], "audit");
    assert_eq!(decisions[0]["mode"], "audit");
    let started = std::time::Instant::now();
    while scene.manifest("apps/web", "v1").await.status == 200 {
        assert!(started.elapsed().as_secs() < 60, "it does not end");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_denied(&scene.manifest("apps/web", "v1").await, "unsigned");
    assert_denied(&scene.blob("apps/web", &blob).await, "not_endorsed");
}
