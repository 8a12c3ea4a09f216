//! A configuration that is changed while the process runs: in force whole, or not at all.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::*;

/// How long a change may take to be noticed and put in force on a busy machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);

async fn configuration(scene: &Scene) -> Value {
    scene.proxy.admin("/readyz").await.json()["configuration"].clone()
}

/// Waits until the probe tells what `is_so` looks for.
async fn until(scene: &Scene, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let told = configuration(scene).await;
        if is_so(&told) {
            return told;
        }
        assert!(started.elapsed() < NOTICED_WITHIN, "{told}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn metrics(scene: &Scene) -> String {
    let answer = scene.proxy.admin("/metrics").await;
    String::from_utf8(answer.body.to_vec()).unwrap()
}

fn require(configuration: &mut Value, key: &SigningKey) {
    configuration["policies"][0]["authorities"] = key_policy("", "", &[key])["authorities"].clone();
}

/// Changes the policy, tells the process, and waits until it is in force.
async fn require_key(scene: &Scene, key: &SigningKey) {
    let before = configuration(scene).await["hash"].clone();
    scene
        .proxy
        .rewrite(|configuration| require(configuration, key));
    scene.proxy.signal_hangup();
    until(scene, |told| told["hash"] != before).await;
}

#[tokio::test]
async fn sighup_puts_policies_in_force_for_what_was_served_before() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let blob = sha256(&image.blobs[0]);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_serves_blob(&scene.blob("apps/web", &blob).await, &blob);
    require_key(&scene, &SigningKey::generate()).await;
    assert_denied(&scene.manifest("apps/web", "v1").await, "untrusted_key");
    assert_denied(&scene.blob("apps/web", &blob).await, "not_endorsed");
    require_key(&scene, &scene.key).await;
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let metrics = metrics(&scene).await;
    assert!(metrics.contains("countersign_configuration_reloads_total{outcome=\"applied\"} 2"));
    assert!(metrics.contains("countersign_configuration_reloads_total{outcome=\"rejected\"} 0"));
}

#[tokio::test]
async fn files_are_watched_those_they_name_as_well() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene
        .proxy
        .write_file("signer.pub", &scene.key.public_pem());
    let before = configuration(&scene).await["hash"].clone();
    let loaded_at = configuration(&scene).await["loaded_at"].clone();
    scene.proxy.rewrite(|configuration| {
        configuration["policies"][0]["authorities"][0]["key"] = json!("signer.pub");
    });
    // The same key from another place: it is loaded, and decides the same.
    let told = until(&scene, |told| told["loaded_at"] != loaded_at).await;
    assert_eq!(told["hash"], before);
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    let other = SigningKey::generate();
    scene.proxy.write_file("signer.pub", &other.public_pem());
    until(&scene, |told| told["hash"] != before).await;
    assert_denied(&scene.manifest("apps/web", "v1").await, "untrusted_key");
}

#[tokio::test]
async fn unchanged_files_are_not_reloaded() {
    let scene = Scene::start().await;
    let loaded_at = configuration(&scene).await["loaded_at"].clone();
    let log = async |part: &str, times: usize| {
        let started = Instant::now();
        while scene.proxy.log().matches(part).count() < times {
            assert!(started.elapsed() < NOTICED_WITHIN, "{}", scene.proxy.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    scene.proxy.signal_hangup();
    log("files are unchanged", 1).await;
    // The same content in a new file.
    scene.proxy.rewrite(|_configuration| {});
    scene.proxy.signal_hangup();
    log("files are unchanged", 2).await;
    assert_eq!(configuration(&scene).await["loaded_at"], loaded_at);
    assert!(!scene.proxy.log().contains("Reloaded"));

    // After a rejection, they are read again although they have not changed since.
    scene
        .proxy
        .rewrite(|configuration| configuration["default"] = json!("nonsense"));
    scene.proxy.signal_hangup();
    log("is not put in force", 1).await;
    scene.proxy.signal_hangup();
    log("is not put in force", 2).await;
    scene
        .proxy
        .rewrite(|configuration| configuration["default"] = json!("audit"));
    scene.proxy.signal_hangup();
    log("Reloaded", 1).await;
}

#[tokio::test]
async fn what_cannot_be_used_leaves_everything_as_it_was() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let before = configuration(&scene).await["hash"].clone();
    for (change, part) in [
        (
            json!({"policies": [], "revoked": {"digests": ["nonsense"]}}),
            "revoked.digests[0]",
        ),
        (json!({"policies": [], "upstreams": {}}), "upstreams"),
        (
            json!({"policies": [], "limits": {"manifest_bytes_max": 1000}}),
            "limits",
        ),
    ] {
        let kept = scene.proxy.configuration();
        scene.proxy.rewrite(|configuration| {
            for (key, value) in change.as_object().unwrap() {
                configuration[key] = value.clone();
            }
        });
        scene.proxy.signal_hangup();
        let told = until(&scene, |told| told["problems"].to_string().contains(part)).await;
        assert_eq!(told["hash"], before, "{change}");
        assert!(told["rejected_at"].is_string());
        // A part of it would be in force otherwise: without policies nothing is served.
        assert_serves(&scene.manifest("apps/web", "v1").await, &image);
        assert_eq!(scene.proxy.admin("/readyz").await.status, 200);
        scene.proxy.rewrite(|configuration| *configuration = kept);
        scene.proxy.signal_hangup();
        let told = until(&scene, |told| told["rejected_at"].is_null()).await;
        assert_eq!(told["problems"], json!([]));
    }
    let metrics = metrics(&scene).await;
    assert!(!metrics.contains("countersign_configuration_reloads_total{outcome=\"rejected\"} 0"));
    assert!(scene.proxy.log().contains("is not put in force"));
}

#[tokio::test]
async fn clients_and_routes_change_with_the_policies() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    let name = scene.registry.name();
    assert_eq!(
        scene.proxy.get("/v2/short/web/manifests/v1").await.status,
        404
    );
    let before = configuration(&scene).await["loaded_at"].clone();
    scene.proxy.rewrite(|configuration| {
        configuration["routes"] = json!({"short": format!("{name}/apps")});
        configuration["clients"] =
            json!([{"anonymous": true, "images": [format!("{name}/apps/web")]}]);
    });
    scene.proxy.signal_hangup();
    until(&scene, |told| told["loaded_at"] != before).await;
    assert_serves(&scene.proxy.get("/v2/short/web/manifests/v1").await, &image);
    let other = scene.manifest("apps/other", "v1").await;
    assert!([401, 403].contains(&other.status), "{other}");
}

/// What the pulls know of the swaps: how many have begun and ended; an even number leaves what admits.
#[derive(Default)]
struct Swaps {
    begun: AtomicUsize,
    ended: AtomicUsize,
    answers: AtomicUsize,
    over: AtomicBool,
}

impl Swaps {
    async fn pull(&self, scene: &Scene, path: &str) {
        while !self.over.load(Ordering::SeqCst) {
            let before = self.ended.load(Ordering::SeqCst);
            let answer = scene.proxy.get(path).await;
            let after = self.begun.load(Ordering::SeqCst);
            assert!([200, 403].contains(&answer.status), "{answer}");
            // With a swap in between, both are right.
            if before == after {
                let admits = before.is_multiple_of(2);
                assert_eq!(
                    answer.status == 200,
                    admits,
                    "after {before} swaps: {answer}"
                );
                self.answers.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}

/// Two sets, each of which refuses both images, and each half of one with a half of the other would admit one: two
/// policies demand the key of the one and a key that nobody signs with, the other way round; and whoever may pull the
/// second image may not have it, and the other way round.
fn put_set(configuration: &mut Value, name: &str, keys: [&SigningKey; 2], may_pull: &str) {
    let [first, second] = keys;
    configuration["policies"] = json!([
        key_policy("first", &format!("{name}/half/policies"), &[first]),
        key_policy("second", &format!("{name}/half/policies"), &[second]),
        key_policy("guarded", &format!("{name}/half/clients"), &[second]),
    ]);
    configuration["clients"] = json!([
        {"anonymous": true, "images": [format!("{name}/half/policies"), format!("{name}/{may_pull}")]},
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_sees_half_of_one_set_and_half_of_another() {
    let scene = Scene::start().await;
    let (name, nobody) = (scene.registry.name(), SigningKey::generate());
    scene.signed("half/policies", "v1");
    scene.signed("half/clients", "v1");
    let sets = [
        ([&scene.key, &nobody], "half/clients"),
        ([&nobody, &scene.key], "half/nothing"),
    ];
    let over = AtomicBool::new(false);
    let pull = async |repository: &str, refusals: &[u16]| {
        let (path, mut count) = (scene.manifest_path(repository, "v1"), 0);
        while !over.load(Ordering::SeqCst) {
            let answer = scene.proxy.get(&path).await;
            assert!(refusals.contains(&answer.status), "{answer}");
            count += 1;
        }
        count
    };
    let swapping = async {
        // From the policies of the scene to the first of the sets, in which nothing is served.
        for number in 0..swaps_max() / 4 {
            let (keys, may_pull) = sets[number % 2];
            let before = configuration(&scene).await["loaded_at"].clone();
            scene
                .proxy
                .rewrite(|configuration| put_set(configuration, &name, keys, may_pull));
            scene.proxy.signal_hangup();
            until(&scene, |told| told["loaded_at"] != before).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    let (policies, clients) = (
        pull("half/policies", &[403]),
        pull("half/clients", &[401, 403]),
    );
    let ((), policies, clients) = tokio::join!(swapping, policies, clients);
    assert!(policies > 100 && clients > 100, "{policies} {clients}");
}

/// How many swaps there are; `COUNTERSIGN_SWAPS=100` is a short run.
#[expect(
    clippy::disallowed_methods,
    reason = "a shorter run is asked for by whoever runs the tests"
)]
fn swaps_max() -> usize {
    std::env::var("COUNTERSIGN_SWAPS").map_or(1000, |it| it.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_during_pulls_fail_none_and_let_nothing_through() {
    let swaps_max = swaps_max();
    let scene = Scene::start().await;
    let child = Image::new("child");
    let index = Image::index(&[&child]);
    scene.registry.push("apps/web", &child);
    scene.push_signed("apps/web", "index", &index);
    let image = scene.signed("apps/web", "v1");
    let paths = [
        scene.manifest_path("apps/web", "v1"),
        scene.manifest_path("apps/web", "index"),
        scene.manifest_path("apps/web", &index.digest),
        scene.manifest_path("apps/web", &child.digest),
        scene.blob_path("apps/web", &sha256(&child.blobs[0])),
        scene.blob_path("apps/web", &sha256(&image.blobs[0])),
    ];
    for path in &paths {
        assert_eq!(scene.proxy.get(path).await.status, 200);
    }
    let (swaps, other) = (Swaps::default(), SigningKey::generate());
    let swapping = async {
        for number in 1..=swaps_max {
            let key = if number % 2 == 0 { &scene.key } else { &other };
            swaps.begun.store(number, Ordering::SeqCst);
            require_key(&scene, key).await;
            let seen = swaps.answers.load(Ordering::SeqCst);
            swaps.ended.store(number, Ordering::SeqCst);
            // So that there is something to compare.
            let waiting = Instant::now();
            while number % 5 == 0
                && swaps.answers.load(Ordering::SeqCst) < seen + paths.len()
                && waiting.elapsed() < Duration::from_secs(5)
            {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        swaps.over.store(true, Ordering::SeqCst);
    };
    let pulls = together(paths.iter().map(|path| swaps.pull(&scene, path)));
    tokio::join!(swapping, pulls);
    assert!(swaps.answers.load(Ordering::SeqCst) >= swaps_max);
}
