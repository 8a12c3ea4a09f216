//! What passes as signature material: known by its content, all of it, and nothing else.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use super::forge::{Layer, Signature};
use super::house::{House, Settings, asked};
use super::question::{World, now, signed_by};
use super::registry::{Pushed, TAR, described};
use crate::admission::Asked;
use crate::limits::Limits;
use crate::oci::media_type;
use crate::policy::{Policy, Revoked};

const SPDX_TYPE: &str = "text/spdx+json";

fn enforcing(world: &World) -> Vec<Policy> {
    vec![signed_by(&[&world.authority], 1)]
}

fn spdx() -> Layer {
    let document = json!({
        "spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "app", "packages": [],
    });
    layer(SPDX_TYPE, document.to_string().as_bytes())
}

fn layer(media_type: &str, blob: &[u8]) -> Layer {
    Layer::new(media_type, blob.to_vec(), BTreeMap::new())
}

/// Asked for under a tag that may hold signature material.
fn by_tag() -> Asked {
    Asked { ..asked(now()) }
}

fn with_limits(limits: Limits) -> Settings {
    Settings {
        limits,
        ..Settings::default()
    }
}

#[tokio::test]
async fn an_image_is_material_if_every_layer_is() {
    let (world, house) = (World::new(), House::new().await);
    let signature = || Signature::default().by(&world.key, &world.digest);
    let attestation = || world.attestation_layer(&json!({}), None);
    let files = || layer(TAR, b"files that run");
    let rows: [(&str, Vec<Layer>, &str); 9] = [
        ("a signature", vec![signature()], "signature_artifact"),
        ("an attestation", vec![attestation()], "signature_artifact"),
        ("a document", vec![spdx()], "signature_artifact"),
        (
            "all three",
            vec![signature(), attestation(), spdx()],
            "signature_artifact",
        ),
        ("no layer", vec![], "unsigned"),
        ("a document and files", vec![spdx(), files()], "unsigned"),
        (
            "files and a signature",
            vec![files(), signature()],
            "unsigned",
        ),
        (
            "files that say they are a document",
            vec![spdx(), layer(SPDX_TYPE, b"files that run")],
            "unsigned",
        ),
        (
            "any other object",
            vec![layer(SPDX_TYPE, b"{\"a\": 1}")],
            "unsigned",
        ),
    ];
    for (what, layers, answer) in rows {
        let pushed = house.registry.push_layers(&layers);
        for asked in [by_tag(), asked(now())] {
            let process = house.process(enforcing(&world));
            assert_eq!(process.decide_as(&pushed, &asked).await, answer, "{what}");
        }
    }
}

#[tokio::test]
async fn material_passes_although_a_stranger_signed_it() {
    let (world, house) = (World::new(), House::new().await);
    let document = house.registry.push_layers(&[spdx()]);
    house.registry.sign(&document, &world.other);
    for _process in 0..2 {
        let process = house.process(enforcing(&world));
        assert_eq!(
            process.decide_as(&document, &by_tag()).await,
            "signature_artifact"
        );
    }
}

#[tokio::test]
async fn a_layer_must_be_there_whole_and_no_file_system() {
    let (world, house) = (World::new(), House::new().await);
    let with = |change: &dyn Fn(&mut Value)| {
        let document = spdx();
        house.registry.push_blob(&document.blob);
        let mut described = described(&document);
        change(&mut described);
        house.registry.push_image_of(&[described])
    };
    let size = spdx().blob.len();
    let rows: [(Pushed, &str); 5] = [
        (with(&|_| {}), "signature_artifact"),
        (with(&|layer| layer["size"] = json!(size + 1)), "unsigned"),
        (with(&|layer| layer["size"] = json!(size - 1)), "unsigned"),
        // Runtimes would unpack it.
        (with(&|layer| layer["mediaType"] = json!(TAR)), "unsigned"),
        (
            with(&|layer| {
                layer["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
            }),
            "unsigned",
        ),
    ];
    for (pushed, answer) in rows {
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide_as(&pushed, &by_tag()).await, answer);
    }
    let gone = house.registry.push_layers(&[spdx()]);
    house.registry.remove_blob(&spdx().descriptor.digest);
    let process = house.process(enforcing(&world));
    assert_eq!(process.decide_as(&gone, &by_tag()).await, "unsigned");
}

#[tokio::test]
async fn limits_hold_for_material() {
    let (world, house) = (World::new(), House::new().await);
    let signature = || Signature::default().by(&world.key, &world.digest);
    let two = house.registry.push_layers(&[spdx(), signature()]);
    let largest = spdx().descriptor.size.max(signature().descriptor.size);
    for (layers, bytes, answer) in [
        (2, largest, "signature_artifact"),
        (1, largest, "unsigned"),
        (2, largest - 1, "unsigned"),
    ] {
        let limits = Limits {
            signature_layers_max: layers,
            bundle_bytes_max: bytes,
            ..Limits::default()
        };
        let process = house.process_with(enforcing(&world), with_limits(limits));
        assert_eq!(process.decide_as(&two, &by_tag()).await, answer);
    }
    let together = spdx().descriptor.size + signature().descriptor.size;
    for (bytes, answer) in [(together, "signature_artifact"), (together - 1, "unsigned")] {
        let limits = Limits {
            discovery_bytes_max: bytes,
            ..Limits::default()
        };
        let process = house.process_with(enforcing(&world), with_limits(limits));
        assert_eq!(process.decide_as(&two, &by_tag()).await, answer);
    }
}

#[tokio::test]
async fn a_config_of_material_is_small() {
    let (world, house) = (World::new(), House::new().await);
    let document = spdx();
    house.registry.push_blob(&document.blob);
    for (size, answer) in [
        (1024 * 1024, "signature_artifact"),
        (1024 * 1024 + 1, "unsigned"),
    ] {
        let config = format!("{{{}}}", " ".repeat(size - 2));
        let digest = house.registry.push_blob(config.as_bytes());
        let pushed = house.registry.push(
            media_type::OCI_MANIFEST,
            &json!({
                "schemaVersion": 2,
                "config": {
                    "mediaType": media_type::OCI_IMAGE_CONFIG,
                    "digest": digest.to_string(),
                    "size": size,
                },
                "layers": [described(&document)],
            }),
        );
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide_as(&pushed, &by_tag()).await, answer);
    }
}

#[tokio::test]
async fn an_index_is_material_if_all_it_lists_is() {
    let (world, house) = (World::new(), House::new().await);
    let registry = &house.registry;
    let signature = registry.push_layers(&[Signature::default().by(&world.key, &world.digest)]);
    let document = registry.push_layers(&[spdx()]);
    let image = registry.push_image("runnable");
    let nested = registry.push_index(&[&signature]);
    let absent = Pushed {
        digest: crate::oci::Digest::sha256(b"nowhere"),
        ..signature.clone()
    };
    let rows: [(&[&Pushed], &str); 6] = [
        (&[&signature, &document], "signature_artifact"),
        (&[&signature, &image], "unsigned"),
        (&[&image, &signature], "unsigned"),
        (&[&signature, &nested], "unsigned"),
        (&[&signature, &absent], "unsigned"),
        (&[], "unsigned"),
    ];
    for (listed, answer) in rows {
        let index = registry.push_index(listed);
        let process = house.process(enforcing(&world));
        assert_eq!(process.decide_as(&index, &by_tag()).await, answer);
    }
    let index = registry.push_index(&[&signature, &document]);
    for (opened, answer) in [(2, "signature_artifact"), (1, "unsigned")] {
        let limits = Limits {
            referrers_opened_max: opened,
            ..Limits::default()
        };
        let process = house.process_with(enforcing(&world), with_limits(limits));
        assert_eq!(process.decide_as(&index, &by_tag()).await, answer);
    }
}

#[tokio::test]
async fn material_passes_only_where_a_policy_covers_the_name_and_nothing_revokes_it() {
    let (world, house) = (World::new(), House::new().await);
    let document = house.registry.push_layers(&[spdx()]);
    let uncovered = house.process(vec![]);
    assert_eq!(uncovered.decide_as(&document, &by_tag()).await, "no_policy");
    let settings = Settings {
        revoked: Revoked {
            digests: HashSet::from([document.digest]),
            ..Revoked::default()
        },
        ..Settings::default()
    };
    let revoking = house.process_with(enforcing(&world), settings);
    assert_eq!(revoking.decide_as(&document, &by_tag()).await, "revoked");
}
