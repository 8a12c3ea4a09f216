//! Who is believed, and when.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::image::OCI_MANIFEST;
use crate::support::signing::{SIMPLE_SIGNING, legacy_manifest};
use crate::support::*;

const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(path)
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(fixture(path)).unwrap()
}

/// The image of `fixtures/chains` and a proxy that wants its workflow's signature with a timestamp.
struct Chains {
    registry: FakeRegistry,
    proxy: Proxy,
    image: Image,
}

impl Chains {
    async fn trusting(root: &str) -> Self {
        let registry = FakeRegistry::start().await;
        let policy = json!({
            "name": "chains",
            "images": [format!("{}/**", registry.name())],
            "authorities": [{
                "name": "release",
                "certificate_identity":
                    "https://github.com/apps/web/.github/workflows/release.yml@refs/heads/main",
                "certificate_oidc_issuer": "https://issuer.attacks.test",
                "trusted_root": "attacks",
                "transparency_log": "not_required",
                "signed_timestamp": "required",
                "sct": "not_required",
            }],
        });
        let configuration = Configuration::new(&[&registry])
            .policy(policy)
            .set("trusted_roots", json!({"attacks": {"file": fixture(root)}}));
        let proxy = Proxy::start(configuration).await;
        let mut image = Image::raw(OCI_MANIFEST, read("chains/image.json"));
        image.blobs.push(read("chains/config.json").into());
        Self {
            registry,
            proxy,
            image,
        }
    }

    /// Asks for the image with this signature, each time in a repository of its own.
    async fn answer(&self, signature: &str) -> Answer {
        let all: Value = serde_json::from_slice(&read("chains/annotations.json")).unwrap();
        let payload = read("chains/payload.json");
        let mut layer = descriptor(SIMPLE_SIGNING, &payload);
        layer["annotations"] = all[signature].clone();
        assert!(layer["annotations"].is_object(), "{signature}");
        let signature_manifest = legacy_manifest(&[layer], &[payload]);
        self.registry.push(signature, &self.image);
        let tag = self.image.cosign_tag("sig");
        self.registry
            .push_tagged(signature, &tag, &signature_manifest);
        let path = format!(
            "/v2/{}/{signature}/manifests/{}",
            self.registry.name(),
            self.image.digest
        );
        self.proxy.get(&path).await
    }

    async fn admits(&self, signature: &str) {
        assert_serves(&self.answer(signature).await, &self.image);
    }

    async fn refuses(&self, signature: &str, kind: &str) -> Answer {
        let answer = self.answer(signature).await;
        assert_denied(&answer, kind);
        answer
    }

    /// What judging the newest refusal cost without the network, in milliseconds.
    async fn verification_time(&self) -> f64 {
        let newest = self.proxy.decisions("decision=deny&limit=1").await;
        newest[0]["timing_ms"]["verification"].as_f64().unwrap()
    }
}

#[tokio::test]
async fn cve_2026_24122_expired_intermediate() {
    let chains = Chains::trusting("chains/trusted_root.json").await;
    chains.admits("control").await;
    chains
        .refuses("expired_intermediate", "invalid_certificate")
        .await;
    // The same where the trusted root itself carries the intermediate.
    let pinned = Chains::trusting("chains/trusted_root_expired_intermediate.json").await;
    pinned
        .refuses("expired_intermediate", "invalid_certificate")
        .await;
}

#[tokio::test]
async fn rustsec_2023_0052_chain_of_ten_intermediates() {
    let chains = Chains::trusting("chains/trusted_root.json").await;
    for (signature, kind) in [
        ("maze_of_ten_intermediates", "malformed"),
        ("maze_of_ten_keys", "malformed"),
        ("ten_intermediates_in_a_row", "invalid_certificate"),
    ] {
        let answer = chains.refuses(signature, kind).await;
        let spent = chains.verification_time().await;
        // Milliseconds when nothing else runs; a search for a way through the maze takes half a second then.
        assert!(spent < 250.0, "{signature}: {spent} ms");
        assert!(answer.elapsed < Duration::from_secs(2), "{answer}");
    }
}

#[tokio::test]
async fn cve_2026_39984_certificate_injected_into_a_timestamp() {
    let genuine = Chains::trusting("chains/trusted_root.json").await;
    genuine.refuses("spoofed_timestamp", "timestamp").await;
    genuine
        .refuses("spoofed_timestamp_with_genuine_certificates", "timestamp")
        .await;
    // What is injected decides in neither direction.
    genuine
        .admits("genuine_timestamp_with_spoofed_certificates")
        .await;
    let spoofed = Chains::trusting("chains/trusted_root_spoofed_timestamps.json").await;
    spoofed
        .refuses("genuine_timestamp_with_spoofed_certificates", "timestamp")
        .await;
    spoofed.admits("spoofed_timestamp").await;
}

/// A proxy that wants the key's signature with a timestamp by an authority of this root.
async fn timestamped(root: &str) -> Scene {
    let root = fixture(root);
    Scene::with(|mut configuration, _| {
        let authority = &mut configuration.0["policies"][0]["authorities"][0];
        authority["signed_timestamp"] = json!("required");
        authority["trusted_root"] = json!("stamps");
        configuration.set("trusted_roots", json!({"stamps": {"file": root}}))
    })
    .await
}

/// The answer about an image with a signature by the right key and this token.
async fn with_token(scene: &Scene, tag: &str, token: &[u8]) -> Answer {
    let image = scene.unsigned("apps/web", tag);
    let (mut layer, payload) = scene.key.simple_signing(&image.digest);
    let token = json!({"SignedRFC3161Timestamp": STANDARD.encode(token)}).to_string();
    layer["annotations"][TIMESTAMP] = json!(token);
    let signature = legacy_manifest(&[layer], &[payload]);
    scene
        .registry
        .push_tagged("apps/web", &image.cosign_tag("sig"), &signature);
    scene.manifest("apps/web", tag).await
}

/// A DER value of any length.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x84], &length[..], content].concat()
}

#[tokio::test]
async fn cve_2025_66564_timestamp_that_is_expensive_to_parse() {
    const OBJECT_IDENTIFIER: u8 = 6;
    const SEQUENCE: u8 = 0x30;
    let granted = der(SEQUENCE, &der(2, &[0]));
    let with_identifier = |identifier: &[u8]| {
        let content = der(SEQUENCE, &der(OBJECT_IDENTIFIER, identifier));
        der(SEQUENCE, &[granted.clone(), content].concat())
    };
    let deep = {
        let mut deep = [SEQUENCE, 0x80].repeat(250_000);
        deep.extend([0, 0].repeat(250_000));
        deep
    };
    let nested = (0..20_000).fold(Vec::new(), |inner: Vec<u8>, _| {
        if inner.len() > 100_000 {
            inner
        } else {
            der(SEQUENCE, &inner)
        }
    });
    let scene = timestamped("chains/trusted_root.json").await;
    for (tag, token) in [
        ("arcs", with_identifier(&[1; 1_000_000])),
        ("one-arc", with_identifier(&[0xff; 1_000_000])),
        ("integer", der(2, &[0x7f; 1_000_000])),
        ("indefinite", deep),
        ("nested", nested),
        ("long-length", [&[SEQUENCE, 0x88][..], &[0x7f; 8]].concat()),
        ("zeros", vec![0; 1_000_000]),
        ("empty", Vec::new()),
    ] {
        let started = Instant::now();
        let answer = with_token(&scene, tag, &token).await;
        eprintln!("{tag}: {:?}", started.elapsed());
        let kind = answer.json()["errors"][0]["detail"]["kind"].clone();
        assert_eq!(answer.status, 403, "{tag}: {answer}");
        assert!(kind == "timestamp" || kind == "malformed", "{tag}: {kind}");
        assert!(started.elapsed() < Duration::from_secs(5), "{tag}");
    }
    assert_eq!(scene.proxy.get("/v2/").await.status, 200);
}

#[tokio::test]
async fn cve_2026_49834_one_log_that_counts_twice() {
    for id in ["kfb-r1-control", "kfb-r2-control"] {
        let control = Workbench::of(id).await;
        control.attach(&control.bundle());
        control.admits().await;
        let bench = Workbench::of(id).await;
        let mut bundle = bench.bundle();
        let entries = bundle["verificationMaterial"]["tlogEntries"]
            .as_array_mut()
            .unwrap();
        entries.push(entries[0].clone());
        bench.attach(&bundle);
        bench.refuses("malformed").await;
    }
    // Names in a file are no keys either.
    let attacks = [("n-threshold-samekey-listed-twice", "threshold_not_met")];
    replay("kl-anyof", &attacks).await;
}

#[tokio::test]
async fn cve_2026_54787_key_outside_its_time() {
    for (id, list) in [
        ("kfb-r1-control", "tlogs"),
        ("kfb-r1-control", "certificateAuthorities"),
        ("kfb-r1-control", "ctlogs"),
        ("kf-hand", "tlogs"),
        ("kf-hand-tsa", "timestampAuthorities"),
        ("kfb-r2-control", "timestampAuthorities"),
        ("kfb-r2-control", "tlogs"),
    ] {
        for window in [
            json!({"start": "2019-01-01T00:00:00Z", "end": "2020-01-01T00:00:00Z"}),
            json!({"start": "2098-01-01T00:00:00Z"}),
        ] {
            let bench = Workbench::with_root(id, |root| {
                for trusted in root[list].as_array_mut().unwrap() {
                    let is_log = trusted["publicKey"].is_object();
                    let holder = if is_log {
                        &mut trusted["publicKey"]
                    } else {
                        trusted
                    };
                    holder["validFor"] = window.clone();
                }
            })
            .await;
            if id.starts_with("kfb") {
                bench.attach(&bench.bundle());
            } else {
                let (layer, payload) = bench.layer();
                bench.file(&[layer], &[payload]);
            }
            let answer = bench.answer().await;
            let expected = match list {
                "tlogs" => "transparency_log",
                "timestampAuthorities" => "timestamp",
                _ => "invalid_certificate",
            };
            eprintln!("{id} {list} {window}");
            assert_denied(&answer, expected);
        }
    }
}

#[tokio::test]
async fn not_a_cve_certificate_outside_its_time() {
    let attacks = [
        ("n-kfl-expired", "invalid_certificate"),
        ("n-kfl-notyet", "invalid_certificate"),
    ];
    replay("kf-hand", &attacks).await;
    let attacks = [
        ("n-kfb-expired", "invalid_certificate"),
        ("n-kfb-notyet", "invalid_certificate"),
        ("n-kfb-r1-time", "transparency_log"),
        ("n-kfb-r1-time0", "timestamp"),
        ("n-kfb-r2-faketime", "timestamp"),
    ];
    replay("kfb-r1-control", &attacks).await;
}

#[tokio::test]
async fn not_a_cve_certificate_by_somebody_else() {
    let attacks = [
        "n-kfl-otherca",
        "n-kfl-otherca-sct",
        "n-kfl-chain-annotation",
        "n-kfl-nosct",
        "n-kfl-sct-forged",
        "n-kfl-eku",
        "n-kfl-noeku",
    ];
    replay("kf-hand", &attacks.map(|id| (id, "invalid_certificate"))).await;
}
