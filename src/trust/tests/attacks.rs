//! Attacks on TUF clients, by the identifier under which they became known.

use std::collections::BTreeMap;

use serde_json::json;

use super::repository::*;
use crate::trust::roots::{Error, Roots, Source};

#[tokio::test]
async fn fetches_what_is_signed() {
    let repository = Repository::published().await;
    let roots = repository.open(start());
    assert_eq!(in_force(&roots), None);
    assert!(roots.refresh(NAME, start()).await.unwrap());
    assert_eq!(in_force(&roots), digest(FIRST));
    assert!(!roots.refresh(NAME, start()).await.unwrap());
    repository.publish(&Publication::new(2, SECOND));
    assert!(roots.refresh(NAME, start()).await.unwrap());
    assert_eq!(in_force(&roots), digest(SECOND));
}

/// What follows version 3 of everything, with a role taken back, is refused and changes nothing.
async fn refuses_after_three(publication: Publication) -> String {
    let repository = Repository::start().await;
    repository.publish(&Publication::new(3, SECOND));
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    repository.publish(&publication);
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert_eq!(in_force(&roots), digest(SECOND));
    text(&error)
}

#[tokio::test]
async fn cve_2022_29173_timestamp_goes_back() {
    let error = refuses_after_three(Publication::new(2, FIRST)).await;
    assert!(error.contains("rollback detected for timestamp"), "{error}");
}

#[tokio::test]
async fn cve_2022_29173_snapshot_goes_back() {
    let mut publication = Publication::new(4, FIRST);
    publication.snapshot = 2;
    let error = refuses_after_three(publication).await;
    assert!(error.contains("rollback detected for snapshot"), "{error}");
}

#[tokio::test]
async fn cve_2022_29173_targets_go_back() {
    let mut publication = Publication::new(4, FIRST);
    publication.targets = 2;
    let error = refuses_after_three(publication).await;
    assert!(error.contains("rollback detected for targets"), "{error}");
}

#[tokio::test]
async fn cve_2024_23332_old_root_is_served_to_a_restarted_process() {
    let repository = Repository::start().await;
    repository.publish(&Publication::new(2, SECOND));
    repository
        .open(start())
        .refresh(NAME, start())
        .await
        .unwrap();
    repository.publish(&Publication::new(1, FIRST));
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("rollback"), "{}", text(&error));
    assert_eq!(in_force(&roots), digest(SECOND));
}

#[tokio::test]
async fn ghsa_3633_5h82_39pq_one_key_under_two_names() {
    let one = Key::new(1);
    let twice = Roles {
        root: vec![one.clone(), one.named("another")],
        ..Roles::default()
    };
    // In the root that all begins with.
    let repository = Repository::published().await;
    std::fs::write(repository.data().join("root.json"), twice.root(1)).unwrap();
    let error = repository.try_open(start()).unwrap_err();
    assert!(text(&error).contains("two names"), "{}", text(&error));
    // In a root that follows, signed by all who must.
    let repository = Repository::published().await;
    let mut signers = repository.roles.root.clone();
    signers.push(one.named("another"));
    repository.put("2.root.json", sign(&twice.root_json(2), &signers));
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("two names"), "{}", text(&error));
}

/// A publication whose target only the delegated role `name` lists.
fn delegating(roles: &serde_json::Value, keys: &[Key]) -> Publication {
    let mut publication = Publication::new(1, FIRST);
    publication.is_listed = false;
    let keys: BTreeMap<_, _> = keys
        .iter()
        .map(|key| (key.id.clone(), key.public()))
        .collect();
    publication.delegations = Some(json!({"keys": keys, "roles": roles}));
    publication
}

fn delegated(content: &str, keys: &[Key]) -> Vec<u8> {
    let listed = json!({"trusted_root.json": target_json(content.as_bytes())});
    sign(&targets_json(1, after(7), &listed), keys)
}

#[tokio::test]
async fn delegations_are_followed() {
    let repository = Repository::start().await;
    let key = Key::new(9);
    let roles = json!([{"name": "a", "keyids": [key.id], "threshold": 1, "paths": ["*.json"]}]);
    let mut publication = delegating(&roles, std::slice::from_ref(&key));
    let bytes = delegated(FIRST, &[key]);
    publication.delegated.insert("a".to_owned(), bytes);
    repository.publish(&publication);
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(in_force(&roots), digest(FIRST));
    // And verified as such from what was kept.
    repository.clear();
    assert_eq!(in_force(&repository.open(start())), digest(FIRST));
}

#[tokio::test]
async fn ghsa_3633_5h82_39pq_one_key_under_two_names_in_a_delegation() {
    let repository = Repository::start().await;
    let (key, same) = (Key::new(9), Key::new(9).named("another"));
    let roles = json!([
        {"name": "a", "keyids": [key.id, same.id], "threshold": 2, "paths": ["*.json"]},
    ]);
    let mut publication = delegating(&roles, &[key.clone(), same.clone()]);
    let bytes = delegated(FIRST, &[key, same]);
    publication.delegated.insert("a".to_owned(), bytes);
    repository.publish(&publication);
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("two names"), "{}", text(&error));
}

#[tokio::test]
async fn cve_2024_47534_role_lists_what_was_not_delegated_to_it() {
    let repository = Repository::start().await;
    let (other, right) = (Key::new(8), Key::new(9));
    let roles = json!([
        {"name": "other", "keyids": [other.id], "threshold": 1, "paths": ["other/*"]},
        {"name": "right", "keyids": [right.id], "threshold": 1, "paths": ["trusted_root.json"]},
    ]);
    let mut publication = delegating(&roles, &[other.clone(), right.clone()]);
    repository.put(
        &format!(
            "targets/{}.trusted_root.json",
            digest(SECOND).unwrap().to_hex()
        ),
        SECOND.as_bytes().to_vec(),
    );
    let bytes = delegated(SECOND, &[other]);
    publication.delegated.insert("other".to_owned(), bytes);
    let bytes = delegated(FIRST, &[right]);
    publication.delegated.insert("right".to_owned(), bytes);
    repository.publish(&publication);
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(in_force(&roots), digest(FIRST));
}

#[tokio::test]
async fn cve_2024_47534_role_is_signed_with_the_keys_of_another() {
    let repository = Repository::start().await;
    let (other, right) = (Key::new(8), Key::new(9));
    let roles = json!([
        {"name": "other", "keyids": [other.id], "threshold": 1, "paths": ["other/*"]},
        {"name": "right", "keyids": [right.id], "threshold": 1, "paths": ["trusted_root.json"]},
    ]);
    let mut publication = delegating(&roles, &[other.clone(), right]);
    let bytes = delegated(FIRST, &[other]);
    publication.delegated.insert("right".to_owned(), bytes);
    repository.publish(&publication);
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(
        text(&error).contains("threshold not met"),
        "{}",
        text(&error)
    );
}

#[tokio::test]
async fn cve_2026_23991_metadata_are_malformed() {
    let malformed = [
        "",
        "null",
        "[]",
        "{}",
        r#"{"signed":null,"signatures":null}"#,
        r#"{"signed":{"_type":"timestamp"},"signatures":[]}"#,
        r#"{"signed":{"_type":"timestamp","spec_version":"1.0","version":-1,"expires":"x","meta":{}},"signatures":[]}"#,
        r#"{"signed":{},"signatures":[{"keyid":"key-3","sig":"zz"},{"keyid":"key-3"}]}"#,
        r#"{"signed":[1.5],"signatures":{}}"#,
    ];
    let deep = "[".repeat(10_000);
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    for body in malformed.iter().copied().chain([deep.as_str()]) {
        for name in [
            "timestamp.json",
            "2.snapshot.json",
            "2.targets.json",
            "2.root.json",
        ] {
            repository.publish(&Publication::new(2, SECOND));
            repository.put(name, body.as_bytes().to_vec());
            let error = roots.refresh(NAME, start()).await.unwrap_err();
            assert!(matches!(error, Error::Repository(_)), "{name}: {body}");
            assert_eq!(in_force(&roots), digest(FIRST));
            repository.remove("2.root.json");
        }
    }
}

#[tokio::test]
async fn cve_2026_23992_threshold_is_zero() {
    // In a root that follows: its own threshold, and that of its timestamp.
    for role in ["root", "timestamp"] {
        let repository = Repository::published().await;
        let mut root = repository.roles.root_json(2);
        root["roles"][role]["threshold"] = json!(0);
        repository.put("2.root.json", sign(&root, &repository.roles.root));
        let roots = repository.open(start());
        let error = roots.refresh(NAME, start()).await.unwrap_err();
        assert!(text(&error).contains("threshold 0"), "{}", text(&error));
    }
    // In a delegation, with nobody's signature.
    let repository = Repository::start().await;
    let roles = json!([{"name": "a", "keyids": [], "threshold": 0, "paths": ["*.json"]}]);
    let mut publication = delegating(&roles, &[]);
    let bytes = delegated(FIRST, &[]);
    publication.delegated.insert("a".to_owned(), bytes);
    repository.publish(&publication);
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("threshold 0"), "{}", text(&error));
}

#[tokio::test]
async fn cve_2026_24137_target_leaves_its_directory() {
    let repository = Repository::published().await;
    let names = [
        "../../x",
        "a/../../x",
        "/x",
        "a//b",
        "",
        ".",
        "..",
        "http:x",
        "a?b",
        "%2e%2e/x",
    ];
    for target in names {
        let mut source = repository.source();
        if let Source::Tuf { target: name, .. } = &mut source {
            target.clone_into(name);
        }
        let sources = BTreeMap::from([(NAME.to_owned(), source)]);
        let opened = Roots::open(sources, None, max_stale(), start());
        assert!(matches!(opened, Err(Error::Target { .. })), "{target}");
    }
    // The hash in front of the name comes from the metadata.
    let mut publication = Publication::new(2, SECOND);
    publication.hash = Some("../../../x/".to_owned());
    repository.publish(&publication);
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(
        text(&error).contains("no path of a target"),
        "{}",
        text(&error)
    );
    assert!(
        repository
            .asked()
            .iter()
            .all(|path| path.starts_with("/tuf/"))
    );
}

#[tokio::test]
async fn cve_2026_24686_name_leaves_the_directory() {
    let repository = Repository::published().await;
    let name = "../../escaped";
    let sources = BTreeMap::from([(name.to_owned(), repository.source())]);
    let roots = Roots::open(sources, Some(repository.data()), max_stale(), start()).unwrap();
    roots.refresh(name, start()).await.unwrap();
    let kept: Vec<_> = std::fs::read_dir(repository.data().join("trust"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(kept, ["%2E%2E%2F%2E%2E%2Fescaped"]);
    assert!(!repository.data().join("../escaped").exists());
}

#[tokio::test]
async fn root_is_rotated_by_those_who_may() {
    let repository = Repository::published().await;
    let mut roles = repository.roles.clone();
    roles.root = vec![Key::new(11), Key::new(12)];
    let mut signers = repository.roles.root.clone();
    signers.extend(roles.root.clone());
    let roots = repository.open(start());
    // Without the old keys, without the new ones, and out of turn.
    let wrong = [
        ("2.root.json", sign(&roles.root_json(2), &roles.root)),
        (
            "2.root.json",
            sign(&roles.root_json(2), &repository.roles.root),
        ),
        ("2.root.json", sign(&roles.root_json(3), &signers)),
    ];
    for (name, bytes) in wrong {
        repository.put(name, bytes);
        assert!(roots.refresh(NAME, start()).await.is_err());
    }
    repository.put("2.root.json", sign(&roles.root_json(2), &signers));
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(roots.status(start())[0].metadata.unwrap().root, 2);
}

#[tokio::test]
async fn fast_forward_is_recovered_from_by_other_keys() {
    let mut repository = Repository::start().await;
    repository.publish(&Publication::new(1_000_000, SECOND));
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    // The snapshot's key alone is replaced: both roles start anew.
    repository.roles.snapshot = vec![Key::new(21)];
    repository.put("2.root.json", repository.roles.root(2));
    repository.publish(&Publication::new(3, FIRST));
    roots.refresh(NAME, start()).await.unwrap();
    assert_eq!(in_force(&roots), digest(FIRST));
}

#[tokio::test]
async fn target_that_nobody_could_use_is_refused() {
    let empty = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1","tlogs":[],"certificateAuthorities":[],"ctlogs":[],"timestampAuthorities":[]}"#;
    let repository = Repository::published().await;
    let roots = repository.open(start());
    roots.refresh(NAME, start()).await.unwrap();
    for (version, content) in [(2, "{}"), (3, "no json"), (4, empty)] {
        repository.publish(&Publication::new(version, content));
        let error = roots.refresh(NAME, start()).await.unwrap_err();
        assert!(
            matches!(error, Error::NotUsable(_) | Error::Empty),
            "{error}"
        );
        assert_eq!(in_force(&roots), digest(FIRST));
        assert_eq!(in_force(&repository.open(start())), digest(FIRST));
    }
}

#[tokio::test]
async fn content_with_another_hash_is_refused() {
    let repository = Repository::published().await;
    let mut publication = Publication::new(2, SECOND);
    publication.hash = Some(digest(FIRST).unwrap().to_hex());
    publication.content = FIRST.replacen('{', " {", 1).into_bytes();
    repository.publish(&publication);
    let name = format!(
        "targets/{}.trusted_root.json",
        digest(FIRST).unwrap().to_hex()
    );
    repository.put(&name, publication.content.clone());
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("integrity"), "{}", text(&error));
}
