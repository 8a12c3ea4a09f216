//! The list of tags, in pages, for repositories that a policy covers.

use serde_json::json;

use crate::support::*;

async fn scene() -> Scene {
    let scene = Scene::start().await;
    let image = Image::new("tagged");
    for tag in ["a", "b", "c", "d", "e"] {
        scene.registry.push_tagged("apps/web", tag, &image);
    }
    scene
}

fn path(scene: &Scene, name: &str, query: &str) -> String {
    format!("/v2/{}/tags/list{query}", scene.repository(name))
}

#[tokio::test]
async fn is_the_upstream_s() {
    let scene = scene().await;
    let answer = scene.proxy.get(&path(&scene, "apps/web", "")).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json")
    );
    assert_eq!(answer.json()["tags"], json!(["a", "b", "c", "d", "e"]));
}

#[tokio::test]
async fn comes_in_pages_that_lead_back_here() {
    let scene = scene().await;
    let mut query = "?n=2".to_owned();
    let mut tags = Vec::new();
    for _ in 0..5 {
        let answer = scene.proxy.get(&path(&scene, "apps/web", &query)).await;
        assert_eq!(answer.status, 200, "{answer}");
        let page: Vec<String> = serde_json::from_value(answer.json()["tags"].clone()).unwrap();
        assert!(page.len() <= 2, "{page:?}");
        tags.extend(page);
        let link = answer.header("link").to_owned();
        let Some((target, relation)) = link.split_once('>') else {
            break;
        };
        assert!(relation.contains("rel=\"next\""), "{link}");
        let target = target.trim_start_matches('<');
        let (here, rest) = target.split_once('?').unwrap();
        assert_eq!(
            here,
            path(&scene, "apps/web", ""),
            "it leads elsewhere: {link}"
        );
        query = format!("?{rest}");
    }
    assert_eq!(tags, ["a", "b", "c", "d", "e"]);
    let answer = scene
        .proxy
        .get(&path(&scene, "apps/web", "?n=2&last=c"))
        .await;
    assert_eq!(answer.json()["tags"], json!(["d", "e"]));
}

#[tokio::test]
async fn of_a_repository_that_no_policy_covers_is_refused() {
    let scene = scene().await;
    scene.unsigned("elsewhere/web", "v1");
    scene.registry.forget_requests();
    let answer = scene.proxy.get(&path(&scene, "elsewhere/web", "")).await;
    assert_denied(&answer, "no_policy");
    assert_eq!(scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn fails_as_the_upstream_does() {
    let scene = scene().await;
    let path = path(&scene, "apps/web", "");
    for (fault, status) in [
        (Fault::Status(404), 404),
        (Fault::Status(403), 403),
        (Fault::Status(500), 503),
        (Fault::Throttled(1), 503),
        (Fault::Reset, 503),
    ] {
        scene.registry.fault("/tags/list", fault.clone());
        let answer = scene.proxy.get(&path).await;
        assert_eq!(answer.status, status, "{fault:?}: {answer}");
        match status {
            404 => drop(assert_not_found(&answer, "NAME_UNKNOWN")),
            403 => drop(assert_denied(&answer, "upstream_denied")),
            _ => drop(assert_unavailable(&answer)),
        }
        scene.registry.lift_faults();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    assert_eq!(scene.proxy.get(&path).await.status, 200);
}
