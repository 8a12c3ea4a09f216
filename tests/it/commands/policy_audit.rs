//! `policy audit`: what policies that only audit would break.

use serde_json::json;

use super::{ADMITTED, REFUSED, UNDECIDED, USAGE, code, countersign, json, text};
use crate::support::*;

async fn auditing() -> Scene {
    let scene = Scene::with(|mut configuration, _| {
        configuration.0["policies"][0]["mode"] = json!("audit");
        configuration
    })
    .await;
    scene.signed("apps/web", "v1");
    scene.unsigned("apps/bare", "v1");
    let index = Image::index(&[&Image::new("child")]);
    scene.registry.push_tagged("apps/index", "v1", &index);
    for (name, pulls) in [("apps/web", 1), ("apps/bare", 3), ("apps/index", 1)] {
        for _pull in 0..pulls {
            assert_eq!(scene.manifest(name, "v1").await.status, 200);
        }
    }
    scene
}

#[tokio::test]
async fn what_an_audit_let_through_is_counted() {
    let scene = auditing().await;
    // Counts of reused decisions are written when the process ends.
    scene.proxy.restart().await;
    let admin = format!("http://127.0.0.1:{}", scene.proxy.admin_port());
    let directory = scene.proxy.data_dir().to_str().unwrap().to_owned();
    for place in [["--admin", &admin], ["--data-dir", &directory]] {
        let audit = async |arguments: &[&str]| {
            countersign(&[&["policy", "audit"][..], &place, arguments].concat()).await
        };
        let output = audit(&["--output", "json"]).await;
        assert_eq!(code(&output), REFUSED, "{}", text(&output));
        let summary = json(&output);
        assert_eq!(summary["complete"], true);
        assert_eq!(summary["decisions"], 3);
        let apps = &summary["policies"][0];
        assert_eq!(apps["policy"], "apps", "{summary}");
        assert_eq!(
            apps["would_refuse"],
            json!({"images": 2, "pulls": 4}),
            "{summary}"
        );
        assert_eq!(apps["admits"], json!({"images": 1, "pulls": 1}));
        assert_eq!(
            apps["kinds"],
            json!({"unsigned": {"images": 2, "pulls": 4}})
        );
        assert_eq!(apps["mended"], 0);
        assert_eq!(
            apps["repositories"][0]["repository"],
            scene.repository("apps/bare")
        );
        assert_eq!(apps["repositories"][0]["pulls"], 3);
        let example = apps["example"]["id"].as_str().unwrap();
        assert_eq!(example.len(), 26);
        assert!(
            apps["example"]["message"]
                .as_str()
                .unwrap()
                .contains("policy `apps` refuses")
        );
        assert!(apps["first_seen"].as_str().unwrap() <= apps["last_seen"].as_str().unwrap());

        let output = audit(&[]).await;
        let told = String::from_utf8(output.stdout).unwrap();
        for words in [
            "WOULD REFUSE",
            "unsigned 2",
            "/apps/bare: 1 images, 3 pulls",
            example,
        ] {
            assert!(told.contains(words), "{words} is not in\n{told}");
        }
        let bare = scene.repository("apps/bare");
        for (arguments, expected) in [
            (&["--policy", "apps"][..], REFUSED),
            (&["--policy", "other"], ADMITTED),
            (&["--repository", &bare], REFUSED),
            (&["--repository", "elsewhere/*"], ADMITTED),
            (&["--since", "2999-01-01"], ADMITTED),
            (&["--until", "2001-01-01"], ADMITTED),
            (&["--since", "1h", "--top", "1"], REFUSED),
        ] {
            let output = audit(arguments).await;
            assert_eq!(code(&output), expected, "{arguments:?}: {}", text(&output));
        }
        let output = audit(&["--output", "json", "--limit", "1", "--top", "0"]).await;
        assert_eq!(json(&output)["complete"], false);
        assert_eq!(json(&output)["policies"][0]["repositories"], json!([]));
    }
}

#[tokio::test]
async fn names_without_a_policy_are_counted_too() {
    let scene = Scene::with(|configuration, _| configuration.set("default", json!("audit"))).await;
    scene.unsigned("other/web", "v1");
    assert_eq!(scene.manifest("other/web", "v1").await.status, 200);
    // What is refused is no audit.
    scene.unsigned("apps/bare", "v1");
    assert_denied(&scene.manifest("apps/bare", "v1").await, "unsigned");
    let directory = scene.proxy.data_dir().to_str().unwrap().to_owned();
    let output = countersign(&[
        "policy",
        "audit",
        "--output",
        "json",
        "--data-dir",
        &directory,
    ])
    .await;
    assert_eq!(code(&output), REFUSED, "{}", text(&output));
    let policies = json(&output)["policies"].as_array().unwrap().clone();
    assert_eq!(policies.len(), 1, "{policies:?}");
    assert_eq!(policies[0]["policy"], json!(null));
    assert_eq!(policies[0]["kinds"]["no_policy"]["images"], 1);
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_said() {
    let output = countersign(&["policy", "audit", "--admin", "http://127.0.0.1:1"]).await;
    assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
    for arguments in [
        ["--data-dir", "/nonexistent"],
        ["--since", "yesterday"],
        ["--admin", "file:///etc"],
    ] {
        let output = countersign(&[&["policy", "audit"], &arguments[..]].concat()).await;
        assert_eq!(code(&output), USAGE, "{arguments:?}: {}", text(&output));
    }
}
