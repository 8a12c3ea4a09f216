//! The repository in the name that a signer gave the image.

use std::fs;

use super::forge::{legacy_candidate, payload, subject};
use super::world::{World, failed, proven};
use crate::oci::RepositoryName;
use crate::verify::NamedVersion::{self, Exactly};
use crate::verify::{Demand, FailedCheck, NameDemand};

#[test]
fn a_port_is_no_tag() {
    let world = World::new();
    let name = RepositoryName::new("registry.example:5000", "org/app").unwrap();
    let demand = Demand {
        transparency_log: false,
        signed_name: Some(super::of_repository(&name)),
        ..world.demand()
    };
    let signed = |reference: &str| {
        let payload = payload(&subject().to_string(), reference);
        legacy_candidate(&payload, &world.signer.sign(&payload), None)
    };
    for reference in [
        "registry.example:5000/org/app",
        "registry.example:5000/org/app:v1",
    ] {
        proven(&signed(reference), &demand);
    }
    for reference in ["registry.example", "registry.example/org/app:5000"] {
        let failure = failed(&signed(reference), &demand);
        assert_eq!(failure.check, FailedCheck::WrongName, "{reference}");
    }
}

#[test]
fn one_name_is_demanded_with_its_tag_and_digest_or_without() {
    let world = World::new();
    let tag = "v1".parse().unwrap();
    let digest = subject();
    let (tag, digest) = (Some(&tag), Some(&digest));
    for (version, name, is_proven) in [
        (Exactly { tag, digest: None }, "a.example/b:v1", true),
        (Exactly { tag, digest: None }, "a.example/b:v2", false),
        (Exactly { tag, digest: None }, "a.example/b", false),
        (Exactly { tag, digest: None }, "a.example/c:v1", false),
        (Exactly { tag, digest: None }, "c.example/b:v1", false),
        (
            Exactly { tag, digest: None },
            "a.example/b:v1@DIGEST",
            false,
        ),
        (Exactly { tag, digest: None }, "a.example/b:v1@x", false),
        (Exactly { tag, digest }, "a.example/b:v1@DIGEST", true),
        (Exactly { tag, digest }, "a.example/b:v1", false),
        (Exactly { tag, digest }, "a.example/b@DIGEST", false),
        (Exactly { tag, digest }, "a.example/b:v1@DIGES0", false),
        (Exactly { tag: None, digest }, "a.example/b@DIGEST", true),
        (
            Exactly { tag: None, digest },
            "a.example/b:v1@DIGEST",
            false,
        ),
        (NamedVersion::Some, "a.example/b:v2", true),
        (NamedVersion::Some, "a.example/b@DIGEST", true),
        (NamedVersion::Some, "a.example/b", false),
        (NamedVersion::Some, "a.example/c:v1", false),
        (NamedVersion::Any, "a.example/b", true),
        (NamedVersion::Any, "a.example/c", false),
    ] {
        let name = name.replace("DIGEST", &subject().to_string());
        let name = name.replace("DIGES0", &subject().to_string().replace('0', "1"));
        let demand = Demand {
            transparency_log: false,
            signed_name: Some(NameDemand {
                repository: "a.example/b",
                version,
            }),
            ..world.demand()
        };
        let payload = payload(&subject().to_string(), &name);
        let candidate = legacy_candidate(&payload, &world.signer.sign(&payload), None);
        if is_proven {
            proven(&candidate, &demand);
        } else {
            let failure = failed(&candidate, &demand);
            assert_eq!(failure.check, FailedCheck::WrongName, "{version:?} {name}");
        }
    }
}

/// containers' table of repositories (`prmRepositoryMatchTestTable`): an image, the name in its signature, and whether
/// they are of one repository.
#[test]
fn containers_own_table_of_repositories_holds() {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/policies/containers"
    );
    let table = fs::read_to_string(format!("{folder}/repositories.tsv")).unwrap();
    let rows: Vec<_> = table.lines().filter(|row| !row.starts_with('#')).collect();
    assert_eq!(rows.len(), 28);
    let world = World::new();
    for row in rows {
        let [image, signed, expected] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let name = image.split('@').next().unwrap();
        let name = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            Some(_) | None => name,
        };
        let name = RepositoryName::completed(name).unwrap();
        let demand = Demand {
            transparency_log: false,
            signed_name: Some(super::of_repository(&name)),
            ..world.demand()
        };
        let payload = payload(&subject().to_string(), signed);
        let candidate = legacy_candidate(&payload, &world.signer.sign(&payload), None);
        match expected {
            "true" => {
                proven(&candidate, &demand);
            }
            _ => assert_eq!(
                failed(&candidate, &demand).check,
                FailedCheck::WrongName,
                "{row}"
            ),
        }
    }
}
