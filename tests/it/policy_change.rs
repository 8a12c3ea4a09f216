//! A change of policy decides again, for manifests, children and blobs, without asking the upstream.

use serde_json::json;

use crate::support::*;

/// An index with one child, an image, all pulled once; then the upstream is off and the proxy stopped.
struct Pulled {
    scene: Scene,
    index: Image,
    child: Image,
    image: Image,
}

async fn pulled() -> Pulled {
    let scene = Scene::start().await;
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    scene.registry.push("apps/web", &child);
    scene.push_signed("apps/web", "index", &index);
    let image = scene.signed("apps/web", "v1");
    for pulled in [&index, &child, &image] {
        assert_serves(&scene.manifest("apps/web", &pulled.digest).await, pulled);
        for blob in &pulled.blobs {
            assert_serves_blob(&scene.blob("apps/web", &sha256(blob)).await, &sha256(blob));
        }
    }
    scene.proxy.stop().await;
    scene.registry.stop();
    scene.registry.forget_requests();
    Pulled {
        scene,
        index,
        child,
        image,
    }
}

impl Pulled {
    /// Starts with these authorities in the place of the others.
    async fn run_with(&self, authorities: &serde_json::Value) {
        self.scene.proxy.reconfigure(|configuration| {
            configuration["policies"][0]["authorities"] = authorities.clone();
        });
        self.scene.proxy.run().await;
    }

    async fn assert_all_refused(&self) {
        for image in [&self.child, &self.index, &self.image] {
            let path = self.scene.manifest_path("apps/web", &image.digest);
            let answer = self.scene.proxy.get(&path).await;
            assert_eq!(answer.status, 403, "{answer}");
            assert_eq!(self.scene.proxy.head(&path).await.status, 403);
            for blob in &image.blobs {
                let answer = self.scene.blob("apps/web", &sha256(blob)).await;
                assert_denied(&answer, "not_endorsed");
            }
        }
    }

    async fn assert_all_served(&self) {
        for image in [&self.child, &self.index, &self.image] {
            assert_serves(&self.scene.manifest("apps/web", &image.digest).await, image);
            for blob in &image.blobs {
                let digest = sha256(blob);
                assert_serves_blob(&self.scene.blob("apps/web", &digest).await, &digest);
            }
        }
    }
}

fn authorities(key: &SigningKey) -> serde_json::Value {
    key_policy("", "", &[key])["authorities"].clone()
}

#[tokio::test]
async fn another_key_refuses_everything_and_the_old_one_admits_again() {
    let pulled = pulled().await;
    pulled.run_with(&authorities(&SigningKey::generate())).await;
    pulled.assert_all_refused().await;
    pulled.scene.proxy.stop().await;
    pulled.run_with(&authorities(&pulled.scene.key)).await;
    pulled.assert_all_served().await;
    assert_eq!(pulled.scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn a_demanded_log_entry_refuses_what_has_none() {
    let pulled = pulled().await;
    let mut demanding = authorities(&pulled.scene.key);
    demanding[0]["transparency_log"] = json!("required");
    pulled.run_with(&demanding).await;
    let answer = pulled
        .scene
        .manifest("apps/web", &pulled.image.digest)
        .await;
    assert_denied(&answer, "transparency_log");
    pulled.assert_all_refused().await;
}

#[tokio::test]
async fn a_second_policy_only_tightens() {
    let pulled = pulled().await;
    let second = SigningKey::generate();
    pulled.scene.proxy.reconfigure(|configuration| {
        let policies = configuration["policies"].as_array_mut().unwrap();
        policies.push(key_policy("second", "**", &[&second]));
    });
    pulled.scene.proxy.run().await;
    pulled.assert_all_refused().await;
}

#[tokio::test]
async fn a_policy_taken_away_leaves_nothing_covered() {
    let pulled = pulled().await;
    pulled
        .scene
        .proxy
        .reconfigure(|configuration| configuration["policies"] = json!([]));
    pulled.scene.proxy.run().await;
    for image in [&pulled.child, &pulled.index, &pulled.image] {
        let answer = pulled.scene.manifest("apps/web", &image.digest).await;
        assert_denied(&answer, "no_policy");
        for blob in &image.blobs {
            assert_eq!(
                pulled.scene.blob("apps/web", &sha256(blob)).await.status,
                403
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_is_decided_again_from_what_was_found() {
    let scene = Scene::start().await;
    let stranger = SigningKey::generate();
    let image = scene.unsigned("apps/web", "v1");
    scene.registry.sign_legacy("apps/web", &image, &stranger);
    let answer = scene.manifest("apps/web", &image.digest).await;
    assert_denied(&answer, "untrusted_key");
    scene.proxy.stop().await;
    scene.registry.stop();
    scene.proxy.reconfigure(|configuration| {
        configuration["policies"][0]["authorities"] = authorities(&stranger);
    });
    scene.proxy.run().await;
    assert_serves(&scene.manifest("apps/web", &image.digest).await, &image);
}
