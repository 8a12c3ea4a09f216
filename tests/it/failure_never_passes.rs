//! Whatever goes wrong, and whenever the upstream changes its mind: what is not signed does not come out.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::client::KeptAlive;
use crate::support::registry::below;
use crate::support::*;

const PULLS: usize = 10_000;
const CLIENTS: usize = 32;
/// Each is decided about for the first time while others pull.
const REPOSITORIES: usize = 64;
const SEED: u64 = 0x7ea5;

/// What came out, by what was asked for.
#[derive(Debug, Default)]
struct Tally {
    by_tag_served: AtomicUsize,
    by_tag_refused: AtomicUsize,
    signed_served: AtomicUsize,
    unsigned_refused: AtomicUsize,
    undecided: AtomicUsize,
}

/// One tag leads to a signed and to an unsigned image, now this one, now that one.
struct Fickle {
    scene: Scene,
    signed: Image,
    unsigned: Image,
    tally: Tally,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pulls_never_yield_the_unsigned_image() {
    let freshness = json!({"tag_ttl": 0});
    let scene = Scene::with(|configuration, _| configuration.set("freshness", freshness)).await;
    let fickle = Fickle {
        scene,
        signed: Image::new("signed"),
        unsigned: Image::new("unsigned"),
        tally: Tally::default(),
    };
    for number in 0..REPOSITORIES {
        fickle.push(number);
    }
    let next = AtomicUsize::new(0);
    together((0..CLIENTS).map(|_| async {
        let mut client = KeptAlive::new(fickle.scene.proxy.port());
        loop {
            let pull = next.fetch_add(1, Ordering::Relaxed);
            if pull >= PULLS {
                return;
            }
            fickle.pull(&mut client, pull).await;
        }
    }))
    .await;
    fickle.scene.proxy.assert_content_is_right();
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let tally = &fickle.tally;
    for count in [
        &tally.by_tag_served,
        &tally.by_tag_refused,
        &tally.signed_served,
        &tally.unsigned_refused,
    ] {
        assert!(of(count) > 500, "{tally:?}");
    }
    assert!(of(&tally.undecided) < PULLS / 100, "{tally:?}");
}

impl Fickle {
    fn push(&self, number: usize) {
        let (registry, name) = (&self.scene.registry, name(number));
        let (signed, unsigned) = (&self.signed, &self.unsigned);
        registry.push(&name, signed);
        registry.push(&name, unsigned);
        let signature = registry.sign_legacy(&name, signed, &self.scene.key);
        let seed = SEED + 1000 * number as u64;
        registry.alternate(&name, "v1", &[&signed.digest, &unsigned.digest], seed);
        // Where the signatures of the unsigned image would be there is now that of the other one, now an image.
        let tag = unsigned.cosign_tag("sig");
        registry.alternate(&name, &tag, &[&signature.digest, &signed.digest], seed);
    }

    /// As containerd pulls (`HEAD` of the tag, then the digest it was told), as Docker pulls (`GET` of the tag), and by
    /// digest.
    async fn pull(&self, client: &mut KeptAlive, pull: usize) {
        let draw = |salt: u64, count| below(SEED ^ ((pull as u64) << 8) ^ salt, count);
        let name = name(pull * REPOSITORIES / PULLS);
        let manifest = |reference: &str| self.scene.manifest_path(&name, reference);
        match draw(1, 6) {
            0 | 1 => {
                let head = client.send("HEAD", &manifest("v1")).await;
                let told = head.header("docker-content-digest").to_owned();
                if head.status == 200 {
                    assert_eq!(told, self.signed.digest, "{head}");
                    self.check(
                        &client.send("GET", &manifest(&told)).await,
                        &self.signed.digest,
                    );
                }
            }
            2 | 3 => {
                let answer = client.send("GET", &manifest("v1")).await;
                let counter = if answer.status == 200 {
                    &self.tally.by_tag_served
                } else {
                    &self.tally.by_tag_refused
                };
                counter.fetch_add(1, Ordering::Relaxed);
                self.check(&answer, &self.signed.digest);
            }
            4 => {
                let digest = &self.signed.digest;
                self.check(&client.send("GET", &manifest(digest)).await, digest);
            }
            _ => {
                let unsigned = &self.unsigned;
                let contents = [
                    manifest(&unsigned.digest),
                    self.scene.blob_path(&name, &unsigned.digest),
                    self.scene.blob_path(&name, &unsigned.config()),
                    self.scene.blob_path(&name, &unsigned.layer(0)),
                    self.scene.blob_path(&name, &unsigned.layer(1)),
                ];
                let path = &contents[draw(2, contents.len())];
                let answer = client.send("GET", path).await;
                assert_ne!(answer.status, 200, "{path}: {answer}");
                self.check(&answer, "nothing");
            }
        }
    }

    /// The content with this digest, or a refusal that holds none.
    fn check(&self, answer: &Answer, digest: &str) {
        let manifest = &self.unsigned.bytes[..60];
        for mark in [manifest, b"layer of unsigned", br#""seed":"unsigned""#] {
            let came_out = answer.body.windows(mark.len()).any(|part| part == mark);
            assert!(!came_out, "a part of the unsigned image: {answer}");
        }
        let counter = match answer.status {
            200 => {
                assert_eq!(answer.broken, None, "{answer}");
                assert_eq!(answer.digest(), digest, "{answer}");
                &self.tally.signed_served
            }
            403 => {
                assert_eq!(answer.json()["errors"][0]["code"], "DENIED", "{answer}");
                &self.tally.unsigned_refused
            }
            503 => &self.tally.undecided,
            other => panic!("{other} is no answer to this: {answer}"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn name(number: usize) -> String {
    format!("apps/web{number}")
}
