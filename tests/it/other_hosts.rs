//! One registry's content stays out of the reach of another one, which has to deliver what it claims to hold.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use crate::support::*;

/// A registry with private layers, and another one whose owner knows their digests and signs an image that lists them.
struct Hosts {
    owner: FakeRegistry,
    claimant: FakeRegistry,
    image: Image,
    proxy: Proxy,
}

impl Hosts {
    async fn start(layers: &[Bytes]) -> Self {
        let (owner, claimant) = (FakeRegistry::start().await, FakeRegistry::start().await);
        let (key, other_key) = (SigningKey::generate(), SigningKey::generate());
        let image = Image::with_layers("private", layers);
        owner.push_tagged("team/app", "v1", &image);
        owner.sign_legacy("team/app", &image, &key);
        // It holds the layers in so far as it answers HEAD; each test says what GET does.
        for name in ["evil/app", "evil/other"] {
            claimant.push_tagged(name, "v1", &image);
            claimant.sign_legacy(name, &image, &other_key);
        }
        let under = |registry: &FakeRegistry| format!("{}/**", registry.name());
        let configuration = Configuration::new(&[&owner, &claimant])
            .policy(key_policy("owner", &under(&owner), &[&key]))
            .policy(key_policy("claimant", &under(&claimant), &[&other_key]))
            .set("freshness", json!({"absent_ttl": 0}));
        let proxy = Proxy::start(configuration).await;
        Self {
            owner,
            claimant,
            image,
            proxy,
        }
    }

    fn blob_path(registry: &FakeRegistry, name: &str, digest: &str) -> String {
        format!("/v2/{}/{name}/blobs/{digest}", registry.name())
    }

    async fn admit(&self, registry: &FakeRegistry, name: &str) {
        let path = format!("/v2/{}/{name}/manifests/v1", registry.name());
        assert_serves(&self.proxy.get(&path).await, &self.image);
    }

    /// Pulls the owner's image whole.
    async fn fill(&self) {
        self.admit(&self.owner, "team/app").await;
        for blob in &self.image.blobs {
            let digest = sha256(blob);
            let path = Self::blob_path(&self.owner, "team/app", &digest);
            assert_serves_blob(&self.proxy.get(&path).await, &digest);
            self.proxy.wait_until_stored(&digest).await;
        }
    }
}

/// One that is kept in memory, one that fits into one range of a proof, and a larger one.
fn layers() -> Vec<Bytes> {
    [3_000, 50_000, 900_000]
        .map(|size| image::noise(&format!("secret of {size}"), size))
        .to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claim_of_another_host_gives_nobody_what_only_the_owner_has() {
    let hosts = Hosts::start(&layers()).await;
    hosts.admit(&hosts.claimant, "evil/app").await;
    let first_byte = |layer: &Bytes| Fault::Answer {
        status: 206,
        headers: vec![("Content-Range", format!("bytes 0-0/{}", layer.len()))],
        body: layer.slice(..1),
    };
    let claims = [
        "a HEAD with nothing behind it",
        "the first byte, which anybody can guess",
        "bytes of the right size",
    ];
    let mut before = Vec::new();
    for round in ["empty store", "full store"] {
        if round == "full store" {
            hosts.fill().await;
        }
        let mut answers = Vec::new();
        for claim in claims {
            for layer in &layers() {
                hosts.claimant.lift_faults();
                let fault = match claim {
                    "a HEAD with nothing behind it" => Fault::Status(404),
                    "bytes of the right size" => Fault::WrongBytes,
                    _ => first_byte(layer),
                };
                hosts.claimant.fault("^GET .*/blobs/", fault);
                let digest = sha256(layer);
                let path = Hosts::blob_path(&hosts.claimant, "evil/app", &digest);
                let head = hosts.proxy.head(&path).await;
                let range = [("Range", "bytes=1000-1999")];
                for answer in [
                    hosts.proxy.get(&path).await,
                    hosts.proxy.request("GET", &path, &range).await,
                ] {
                    assert!(!answer.is_whole_success(), "{round}, {claim}: {answer}");
                    assert_withheld(&answer, &digest);
                    // A transfer of wrong bytes fails before its headers are sent or after them, as it happens.
                    let is_broken = answer.broken.is_some();
                    answers.push(if is_broken { 502 } else { answer.status });
                }
                answers.push(head.status);
            }
        }
        // Statuses do not tell whether the content is here.
        if round == "empty store" {
            before = answers;
        } else {
            assert_eq!(answers, before);
        }
    }
}

/// A manifest without a signature is looked into: does it hold signature material? The answer must not depend on whether
/// the owner's blob is in the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsigned_manifest_does_not_tell_whether_the_owners_blob_is_here() {
    let document = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "private",
        "dataLicense": "CC0-1.0", "documentNamespace": "https://example.com/private",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: test"]}, "packages": []});
    let private = [
        Bytes::from(document.to_string()),
        image::noise("opaque", 60_000),
    ];
    let hosts = Hosts::start(&private).await;
    let mut before = Vec::new();
    for round in ["empty store", "full store"] {
        if round == "full store" {
            hosts.fill().await;
        }
        let mut answers = Vec::new();
        for layer in &private {
            for fault in [Fault::Status(503), Fault::Status(404)] {
                // Another digest each time, so that no answer is remembered.
                let manifest = json!({
                    "schemaVersion": 2, "mediaType": image::OCI_MANIFEST,
                    "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
                    "layers": [descriptor("application/octet-stream", layer)],
                    "annotations": {"probe": format!("{round} {fault:?}")},
                });
                let mut probe = Image::raw(image::OCI_MANIFEST, manifest.to_string());
                probe.blobs = vec![b"{}".to_vec().into()];
                hosts.claimant.lift_faults();
                hosts.claimant.push("evil/app", &probe);
                let digest = sha256(layer);
                hosts.claimant.fault(&format!("/blobs/{digest}"), fault);
                let name = hosts.claimant.name();
                let path = format!("/v2/{name}/evil/app/manifests/{}", probe.digest);
                let answer = hosts.proxy.get(&path).await;
                answers.push(answer.status);
            }
        }
        if round == "empty store" {
            assert_eq!(answers, [503, 403, 503, 403]);
            before = answers;
        } else {
            assert_eq!(answers, before);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_host_delivers_once_and_then_its_word_counts_for_its_repositories() {
    let layer = image::noise("shared by two hosts", 700_000);
    let hosts = Hosts::start(std::slice::from_ref(&layer)).await;
    let digest = sha256(&layer);
    hosts.fill().await;
    for name in ["evil/app", "evil/other"] {
        hosts.admit(&hosts.claimant, name).await;
        let path = Hosts::blob_path(&hosts.claimant, name, &digest);
        assert_serves_blob(&hosts.proxy.get(&path).await, &digest);
    }
    let gets = |name: &str| {
        let path = format!("/v2/{name}/blobs/{digest}");
        hosts.claimant.ranges(&path)
    };
    assert_eq!(gets("evil/app"), [""], "the whole blob, once");
    assert!(gets("evil/other").is_empty(), "its word is enough");
    hosts.claimant.forget_requests();
    let path = Hosts::blob_path(&hosts.claimant, "evil/app", &digest);
    assert_serves_blob(&hosts.proxy.get(&path).await, &digest);
    assert!(hosts.claimant.requests().is_empty());
    hosts.proxy.assert_content_is_right();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfer_of_one_host_is_not_followed_from_another() {
    let layer = image::noise("on its way", 1_500_000);
    let hosts = Hosts::start(std::slice::from_ref(&layer)).await;
    let digest = sha256(&layer);
    hosts.admit(&hosts.owner, "team/app").await;
    hosts.admit(&hosts.claimant, "evil/app").await;
    let slow = Fault::Trickle(100_000, Duration::from_millis(100));
    hosts.owner.fault("^GET .*/blobs/", slow);
    hosts
        .claimant
        .fault("^GET .*/blobs/", Fault::StallAfter(10));
    let (theirs, ours) = (
        Hosts::blob_path(&hosts.owner, "team/app", &digest),
        Hosts::blob_path(&hosts.claimant, "evil/app", &digest),
    );
    let claim = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let opened = open(hosts.proxy.port(), "GET", &ours, &[]);
        match tokio::time::timeout(Duration::from_secs(4), opened).await {
            Ok(Ok(mut opened)) => {
                let read = tokio::time::timeout(Duration::from_secs(3), opened.rest()).await;
                read.map_or(0, |(bytes, _)| bytes.len())
            }
            Ok(Err(_)) | Err(_) => 0,
        }
    };
    let (whole, claimed) = tokio::join!(hosts.proxy.get(&theirs), claim);
    assert_serves_blob(&whole, &digest);
    assert_eq!(claimed, 0, "bytes of the owner's transfer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirect_to_another_upstream_that_only_the_proxy_may_reach_leads_nowhere() {
    let layer = image::noise("behind a redirect", 80_000);
    let hosts = Hosts::start(std::slice::from_ref(&layer)).await;
    let digest = sha256(&layer);
    hosts.admit(&hosts.claimant, "evil/app").await;
    let path = Hosts::blob_path(&hosts.claimant, "evil/app", &digest);
    let at = |name: &str| {
        format!(
            "http://{name}:{}/v2/team/app/blobs/{digest}",
            hosts.owner.port()
        )
    };
    for is_filled in [false, true] {
        if is_filled {
            hosts.fill().await;
        }
        // By its name, and by another name, once its address is known.
        let names = if is_filled {
            vec!["127.0.0.1", "localhost"]
        } else {
            vec!["127.0.0.1"]
        };
        for name in names {
            hosts.claimant.lift_faults();
            hosts
                .claimant
                .fault("^(GET|HEAD) .*/blobs/", Fault::Redirect(at(name)));
            let answer = hosts.proxy.get(&path).await;
            assert_unavailable(&answer);
            assert_withheld(&answer, &digest);
            let head = hosts.proxy.head(&path).await;
            assert_eq!(head.status, 503, "{name}: {head}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_version_took_on_the_word_of_a_host_is_delivered_again() {
    let layer = image::noise("from before", 200_000);
    let hosts = Hosts::start(std::slice::from_ref(&layer)).await;
    let digest = sha256(&layer);
    hosts.fill().await;
    hosts.admit(&hosts.claimant, "evil/app").await;
    hosts.proxy.stop().await;
    let claimed = format!("{}/evil/app", hosts.claimant.name());
    let database = hosts.proxy.database();
    database
        .execute(
            "INSERT INTO confirmed_blobs (repository, digest) VALUES (?1, ?2)",
            [&claimed, &digest],
        )
        .unwrap();
    database
        .execute_batch(
            "DROP TABLE delivered_blobs; DROP TRIGGER decision_added; DROP TRIGGER decision_removed;
             DROP TABLE log_parts; DROP INDEX decisions_by_part; ALTER TABLE decisions DROP COLUMN part;
             PRAGMA user_version = 4;",
        )
        .unwrap();
    drop(database);
    hosts.proxy.run().await;
    hosts.claimant.fault("^GET .*/blobs/", Fault::Status(404));
    let path = Hosts::blob_path(&hosts.claimant, "evil/app", &digest);
    assert_not_found(&hosts.proxy.get(&path).await, "BLOB_UNKNOWN");
    hosts.owner.forget_requests();
    let path = Hosts::blob_path(&hosts.owner, "team/app", &digest);
    assert_serves_blob(&hosts.proxy.get(&path).await, &digest);
    assert_eq!(hosts.owner.count(&format!("^GET .*/blobs/{digest}$")), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_that_another_host_names_by_digest_only_is_not_served() {
    let hosts = Hosts::start(&layers()).await;
    hosts.fill().await;
    let digest = &hosts.image.digest;
    hosts.claimant.fault(
        &format!("^GET .*/manifests/({digest}|v1)$"),
        Fault::Status(404),
    );
    for reference in [digest.as_str(), "v1"] {
        let path = format!(
            "/v2/{}/evil/app/manifests/{reference}",
            hosts.claimant.name()
        );
        let answer = hosts.proxy.get(&path).await;
        assert_not_found(&answer, "MANIFEST_UNKNOWN");
        assert_withheld(&answer, digest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_of_another_repository_does_not_wait_for_a_transfer_that_hangs() {
    let scene = Scene::start().await;
    let image = Image::large("hanging", 400_000);
    let layer = image.layer(0);
    for name in ["apps/first", "apps/second"] {
        scene.push_signed(name, "v1", &image);
        assert_serves(&scene.manifest(name, "v1").await, &image);
    }
    scene
        .registry
        .fault("^GET /v2/apps/first/blobs/", Fault::Hang);
    let first = tokio::time::timeout(Duration::from_secs(1), scene.blob("apps/first", &layer));
    let second = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        scene.blob("apps/second", &layer).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_err(), "it hangs");
    assert_serves_blob(&second, &layer);
    assert!(
        second.elapsed < Duration::from_secs(5),
        "{:?}",
        second.elapsed
    );
}
