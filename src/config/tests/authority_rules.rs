use super::requirements::{IDENTITY, authority, policy};
use super::*;
use crate::policy::KeySet;
use crate::trust::Source;

#[test]
fn an_authority_is_a_key_or_an_identity_with_its_issuer() {
    let directory = Directory::new();
    let key = "c.yaml:3:55: policies[0].authorities[0]";
    for (text, problems) in [
        (
            "certificate_identity: a",
            vec![format!(
                "{key}: neither `certificate_oidc_issuer` nor `certificate_oidc_issuer_regexp`"
            )],
        ),
        (
            "certificate_oidc_issuer: a",
            vec![format!(
                "{key}: neither `certificate_identity` nor `certificate_identity_regexp`"
            )],
        ),
        (
            "name: nobody",
            vec![
                format!("{key}: neither `certificate_identity` nor `certificate_identity_regexp`"),
                format!(
                    "{key}: neither `certificate_oidc_issuer` nor `certificate_oidc_issuer_regexp`"
                ),
            ],
        ),
        (
            "key: a.pub, certificate_identity: a, sct: required",
            vec![format!("{key}: a key has no certificate_identity, sct")],
        ),
        (
            "certificate_identity: a, certificate_identity_regexp: a, certificate_oidc_issuer: b",
            vec![format!(
                "{key}: both `certificate_identity` and `certificate_identity_regexp`"
            )],
        ),
    ] {
        assert_eq!(directory.problems(&authority(text)), problems, "{text}");
    }
    for text in [
        "certificate_identity: '', certificate_oidc_issuer: b",
        "certificate_identity_regexp: '', certificate_oidc_issuer: b",
        "certificate_identity_regexp: 'a)|(b', certificate_oidc_issuer: b",
        "certificate_identity: a, certificate_oidc_issuer_regexp: '['",
        "certificate_identity_regexp: '(\\w{500}){500}', certificate_oidc_issuer: b",
    ] {
        assert_eq!(directory.problems(&authority(text)).len(), 1, "{text}");
    }
}

#[test]
fn extensions_are_known_by_name() {
    let directory = Directory::new();
    let config = directory
        .load(&authority(&format!(
            "{IDENTITY}, certificate_extensions: {{source_repository_ref: refs/heads/main}}"
        )))
        .unwrap();
    let authorities = config.policies.policies[0].requirement.authorities();
    let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
        panic!("an identity");
    };
    assert_eq!(
        identity.extensions["source_repository_ref"].exact(),
        Some("refs/heads/main")
    );
    let problems = directory.problems(&authority(&format!(
        "{IDENTITY}, certificate_extensions: {{source_repository: x}}"
    )));
    assert!(
        problems[0].contains("no certificate extension of this name"),
        "{problems:?}"
    );
    let problems = directory.problems(&authority(&format!(
        "{IDENTITY}, certificate_extensions: {{source_repository_ref: ''}}"
    )));
    assert!(
        problems.len() == 1 && problems[0].ends_with("source_repository_ref: empty"),
        "{problems:?}"
    );
}

#[test]
fn an_identity_needs_a_verified_time() {
    let directory = Directory::new();
    let without =
        |more: &str| authority(&format!("{IDENTITY}, transparency_log: not_required{more}"));
    for text in [without(""), without(", signed_timestamp: accepted")] {
        let problems = directory.problems(&text);
        assert!(
            problems.len() == 1 && problems[0].contains("needs a verified time"),
            "{problems:?}"
        );
    }
    directory
        .load(&without(", signed_timestamp: required"))
        .unwrap();
    // A key may do without: it has no certificate that expires.
    directory
        .load(&authority("key: a.pub, transparency_log: not_required"))
        .unwrap();
}

#[test]
fn keys_are_files_text_or_in_key_services() {
    let directory = Directory::new();
    let inline = KEY_A.replace('\n', "\\n");
    let config = directory
        .load(&policy(&format!(
            "authorities: [{{name: file, key: a.pub}}, {{name: inline, key: \"{inline}\"}}]"
        )))
        .unwrap();
    let authorities = config.policies.policies[0].requirement.authorities();
    let keys: Vec<_> = authorities
        .iter()
        .map(|authority| match &authority.signer {
            AuthoritySigner::Key { reference, keys } => {
                (reference.as_str(), keys.versions()[0].key.fingerprint)
            }
            AuthoritySigner::Identity(_) => panic!("a key"),
        })
        .collect();
    assert_eq!((keys[0].0, keys[1].0), ("a.pub", "inline"));
    assert_eq!(keys[0].1, keys[1].1);

    for service in [
        "gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "awskms:///alias/a",
        "azurekms://v.vault.azure.net/k",
        "hashivault://k",
        "k8s://a/b",
    ] {
        let config = directory
            .load(&authority(&format!("key: '{service}'")))
            .unwrap();
        let authority = config.policies.policies[0].requirement.authorities()[0];
        let AuthoritySigner::Key { reference, keys } = &authority.signer else {
            panic!("a key");
        };
        assert_eq!(reference, service);
        // Nothing is asked for while a configuration is read.
        assert!(matches!(keys.as_ref(), KeySet::Unusable { .. }));
    }
    for (service, part) in [
        ("gcpkms://p", "does not consist of projects"),
        ("k8s://a", "a reference looks like `k8s://"),
        ("https://a/b", "the scheme is none of gcpkms://"),
    ] {
        let problems = directory.problems(&authority(&format!("key: '{service}'")));
        assert!(problems[0].contains(part), "{problems:?}");
    }
    directory.write("junk.pub", "junk");
    let problems = directory.problems(&authority("key: junk.pub"));
    assert!(
        problems[0].contains("junk.pub holds no usable public key"),
        "{problems:?}"
    );
}

#[test]
fn trusted_roots_are_named() {
    let directory = Directory::new();
    let problems = directory.problems(&authority("key: a.pub, trusted_root: private"));
    assert!(
        problems[0].contains("there is no trusted root `private`"),
        "{problems:?}"
    );
    directory.write("root.json", "{}");
    let text = format!(
        "trusted_roots: {{private: {{file: root.json}}, other: web, none: {{}}}}\n{}",
        authority("key: a.pub, trusted_root: private")
    );
    let problems = directory.problems(&text);
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(
        problems[0].contains("root.json holds no usable trusted root"),
        "{problems:?}"
    );
    assert!(
        problems[1].contains("`web` is not known here"),
        "{problems:?}"
    );
    assert!(
        problems[2].contains("no one place where the root comes from"),
        "{problems:?}"
    );
}

#[test]
fn trusted_roots_come_from_mirrors_and_repositories() {
    let directory = Directory::new();
    directory.write("root.json", "{}");
    let config = directory
        .load(
            "trusted_roots: {public-good: {mirror: 'https://tuf.example/'}, \
             own: {tuf: {url: 'https://own.example/tuf', root: root.json}}}",
        )
        .unwrap();
    let sources = &config.root_sources;
    assert!(
        matches!(&sources["public-good"], Source::BuiltIn { mirror: Some(url) } if url.as_str() == "https://tuf.example/")
    );
    assert!(matches!(&sources["own"], Source::Tuf { target, .. } if target == Source::TARGET));
    for (text, part) in [
        (
            "{tuf: {url: 'https://x/', root: absent.json}}",
            "absent.json",
        ),
        ("{tuf: {root: root.json}}", "`url` is missing"),
        ("{file: root.json, mirror: 'https://x/'}", "no one place"),
        ("{mirror: nowhere}", "relative URL"),
    ] {
        let problems = directory.problems(&format!("trusted_roots: {{own: {text}}}"));
        assert!(problems[0].contains(part), "{text}: {problems:?}");
    }
}

#[test]
fn key_services_may_be_elsewhere() {
    let directory = Directory::new();
    let config = directory
        .load("key_providers: {gcpkms: {endpoint: 'http://127.0.0.1:9'}, k8s: {endpoint: 'https://k.example'}}")
        .unwrap();
    assert_eq!(config.key_providers.len(), 2);
    for (text, part) in [
        ("{gcp: {}}", "no such key service"),
        (
            "{gcpkms: {endpoint: 'http://kms.example'}}",
            "cannot be asked safely",
        ),
        (
            "{gcpkms: {endpoint: 'ftp://127.0.0.1'}}",
            "cannot be asked safely",
        ),
        ("{gcpkms: {address: x}}", "unknown key"),
    ] {
        let problems = directory.problems(&format!("key_providers: {text}"));
        assert!(problems[0].contains(part), "{text}: {problems:?}");
    }
}

#[test]
fn a_root_may_not_go_stale_before_it_is_refreshed() {
    let directory = Directory::new();
    let config = directory.load("freshness: {root_max_stale: 10d}").unwrap();
    assert_eq!(config.root_max_stale.as_secs(), 10 * 24 * 60 * 60);
    let problems = directory.problems("freshness: {root_max_stale: 1d}");
    assert!(
        problems[0].contains("would stop every admission"),
        "{problems:?}"
    );
}
