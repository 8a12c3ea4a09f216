//! containers' `policy.json`.

use super::*;
use crate::config::check::{Checked, check};
use crate::policy::{Policy, Root};

fn checked(text: &str) -> Checked {
    let directory = Directory::new();
    for file in ["cosign.pub", "fulcio_v1.crt.pem", "rekor.pub"] {
        let fixtures =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies/containers");
        directory.write(file, &std::fs::read_to_string(fixtures.join(file)).unwrap());
    }
    let path = directory.write("policy.json", text);
    check(&[path], &environment)
}

/// A document that demands `requirement` of everything of `ghcr.io/org`.
fn document(requirement: &str) -> String {
    format!(
        r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{"ghcr.io/org": [{requirement}]}}}}}}"#
    )
}

fn covering(policies: &[Arc<Policy>], name: &str) -> Vec<String> {
    let name = name.parse().unwrap();
    let covering = policies
        .iter()
        .filter(|it| it.coverage.covers(&name, &Tags::default()));
    covering.map(|it| it.name.clone()).collect()
}

#[test]
fn each_scope_is_a_policy_and_the_most_specific_decides() {
    let checked = checked(&document(
        r#"{"type": "sigstoreSigned", "keyPath": "a.pub", "signedIdentity": {"type": "matchRepository"}}"#,
    ));
    assert_eq!(checked.problems, []);
    assert_eq!(
        covering(&checked.policies, "ghcr.io/org/app"),
        ["policy.json ghcr.io/org"]
    );
    assert_eq!(
        covering(&checked.policies, "docker.io/library/nginx"),
        ["policy.json default"]
    );
    let [scope, default] = checked.policies.as_slice() else {
        panic!("{:?}", checked.policies);
    };
    assert!(scope.signed_name_must_match);
    assert!(matches!(default.requirement, Requirement::Refusal { .. }));
    let authorities = scope.requirement.authorities();
    assert!(!authorities[0].transparency_log);
}

#[test]
fn all_requirements_of_a_scope_must_be_met() {
    let key = r#"{"type": "sigstoreSigned", "keyPath": "a.pub", "signedIdentity": {"type": "matchRepository"}}"#;
    let other = key.replace("a.pub", "b.pub");
    let checked = checked(&document(&format!("{key}, {other}")));
    let requirement = &checked.policies[0].requirement;
    assert!(
        matches!(requirement, Requirement::All(of) if of.len() == 2),
        "{requirement:?}"
    );
}

#[test]
fn any_of_several_keys_may_have_signed() {
    let checked = checked(&document(
        r#"{"type": "sigstoreSigned", "keyPaths": ["a.pub", "b.pub"], "rekorPublicKeyPath": "rekor.pub",
            "signedIdentity": {"type": "matchRepository"}}"#,
    ));
    assert_eq!(checked.problems, []);
    let authorities = checked.policies[0].requirement.authorities();
    let AuthoritySigner::Key { keys, .. } = &authorities[0].signer else {
        panic!("{authorities:?}");
    };
    assert_eq!(keys.versions().len(), 2);
    assert!(authorities[0].transparency_log);
    let Root::Usable { root, .. } = &authorities[0].trusted_root else {
        panic!("{authorities:?}");
    };
    // The named log, and nobody else.
    assert_eq!(root.authorities().len(), 1);
}

#[test]
fn an_identity_is_certified_by_the_named_authority_and_logged() {
    let identity = r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "rekorPublicKeyPath": "rekor.pub", "fulcio":
        {"caPath": "fulcio_v1.crt.pem", "oidcIssuer": "https://issuer.example", "subjectEmail": "a@example.com"}}"#;
    let found = checked(&document(identity));
    assert_eq!(found.problems, []);
    let authorities = found.policies[0].requirement.authorities();
    let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
        panic!("{authorities:?}");
    };
    assert_eq!(identity.identity.exact(), Some("a@example.com"));
    assert_eq!(
        identity.oidc_issuer.as_ref().unwrap().exact(),
        Some("https://issuer.example")
    );
    assert!(authorities[0].transparency_log);
}

#[test]
fn every_field_that_would_be_ignored_is_refused() {
    let signed = |rest: &str| {
        format!(
            r#"{{"type": "sigstoreSigned", "keyPath": "a.pub", "signedIdentity": {{"type": "matchRepository"}}, {rest}}}"#
        )
    };
    let named = |identity: &str| {
        format!(r#"{{"type": "sigstoreSigned", "keyPath": "a.pub", "signedIdentity": {identity}}}"#)
    };
    let scope = r#"transports.docker."ghcr.io/org"[0]"#;
    for (requirement, key) in [
        (
            r#"{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "x"}"#.to_owned(),
            "",
        ),
        (r#"{"type": "unknown"}"#.to_owned(), ""),
        (
            r#"{"type": "reject", "keyPath": "x"}"#.to_owned(),
            ".keyPath",
        ),
        (r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}}"#.to_owned(), ""),
        // By default, and by this name, tags are compared.
        (r#"{"type": "sigstoreSigned", "keyPath": "a.pub"}"#.to_owned(), ""),
        (named(r#"{"type": "matchRepoDigestOrExact"}"#), ".signedIdentity"),
        (named(r#"{"type": "matchRepository", "prefix": "a"}"#), ".signedIdentity"),
        (named(r#"{"type": "exactReference", "dockerReference": "a.example/b:c"}"#), ".signedIdentity"),
        (
            r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "pki": {}}"#.to_owned(),
            ".pki",
        ),
        (
            r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "fulcio": {}}"#.to_owned(),
            ".fulcio",
        ),
        (
            r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "keyPaths": []}"#.to_owned(),
            ".keyPaths",
        ),
        (
            r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "keyData": "bm9uc2Vuc2U="}"#.to_owned(),
            ".keyData",
        ),
        (
            r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "rekorPublicKeyPath": "rekor.pub", "fulcio":
                {"caPath": "fulcio_v1.crt.pem", "oidcIssuer": "https://i.example", "subjectEmail": "https://a.example/b@c"}}"#
                .to_owned(),
            ".fulcio.subjectEmail",
        ),
        (
            r#"{"type": "sigstoreSigned", "signedIdentity": {"type": "matchRepository"}, "rekorPublicKeyPath": "rekor.pub", "fulcio":
                {"caPath": "fulcio_v1.crt.pem", "oidcIssuer": "https://i.example", "subjectEmail": "somebody"}}"#
                .to_owned(),
            ".fulcio.subjectEmail",
        ),
        (signed(r#""keyData": "x""#), ""),
        (signed(r#""unknown": 1"#), ".unknown"),
        (
            signed(r#""rekorPublicKeyPath": "rekor.pub", "rekorPublicKeyData": "x""#),
            "",
        ),
        (
            signed(r#""rekorPublicKeyPath": "absent.pub""#),
            ".rekorPublicKeyPath",
        ),
        (
            named(r#"{"type": "matchExact"}"#),
            ".signedIdentity",
        ),
        (
            named(r#"{"type": "exactRepository", "dockerRepository": "a.example/b"}"#),
            ".signedIdentity",
        ),
        (
            named(r#"{"type": "remapIdentity", "prefix": "a", "signedPrefix": "b"}"#),
            ".signedIdentity",
        ),
    ] {
        let checked = checked(&document(&requirement));
        let found: Vec<_> = checked.problems.iter().map(|it| it.key.clone()).collect();
        assert_eq!(found, [format!("{scope}{key}")], "{requirement}");
    }
}

#[test]
fn documents_that_say_something_else_are_refused() {
    for (text, key) in [
        (r#"{"transports": {"docker": {}}, "apiVersion": ""}"#, ""),
        (r#"{"default": []}"#, "default"),
        (
            r#"{"default": [{"type": "reject"}], "unknown": 1}"#,
            "unknown",
        ),
    ] {
        let checked = checked(text);
        assert!(
            checked.problems.iter().any(|it| it.key == key),
            "{text} {:?}",
            checked.problems
        );
    }
}

#[test]
fn scopes_that_cannot_decide_here_are_refused() {
    let accepting = document(r#"{"type": "insecureAcceptAnything"}"#);
    for (scope, usable) in [
        ("ghcr.io", true),
        ("localhost:5000/org", true),
        ("*.example.com", true),
        ("docker.io/library/busybox:1.36", true),
        ("ghcr.io/org@sha256:00", false),
        ("*.*.com", false),
        ("ghcr.io/*/app", false),
        ("https://ghcr.io", false),
        ("ghcr.io/ org", false),
        ("/org", false),
        ("ghcr.io/org/", false),
        // Names of Docker Hub beside its own.
        ("registry-1.docker.io/org", false),
        ("index.docker.io", false),
    ] {
        let checked = checked(&accepting.replace("ghcr.io/org", scope));
        let keys: Vec<_> = checked.problems.iter().map(|it| it.key.as_str()).collect();
        assert_eq!(keys.is_empty(), usable, "{scope} {keys:?}");
        assert!(
            keys.iter().all(|key| key.contains(scope)),
            "{scope} {keys:?}"
        );
    }
}

#[test]
fn other_transports_are_left_out_and_said() {
    let text = r#"{"default": [{"type": "reject"}], "transports": {"dir": {"": [{"type": "insecureAcceptAnything"}]}}}"#;
    let checked = checked(text);
    assert_eq!((checked.problems.len(), checked.policies.len()), (0, 1));
    assert!(checked.warnings[0].message.contains("`dir`"));
}

/// What containers' own tests take away from a valid document and put into it, each of which its reader refuses.
#[test]
fn documents_that_containers_refuse_are_refused() {
    const INVALID: &str = include_str!("../../../tests/fixtures/policies/containers/invalid.txt");
    const VALID: &str = include_str!("../../../tests/fixtures/policies/containers/valid.txt");
    for text in VALID.lines() {
        assert_eq!(checked(text).problems, [], "{text}");
    }
    assert_eq!(INVALID.lines().count(), 75);
    for text in INVALID.lines() {
        let checked = checked(text);
        let named = checked.problems.iter().all(|it| it.position.is_some());
        assert!(!checked.problems.is_empty() && named, "{text}");
    }
}
