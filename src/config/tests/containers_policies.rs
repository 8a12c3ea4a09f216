//! containers' `policy.json`.

use super::*;
use crate::config::check::{Checked, check};
use crate::oci::Digest;
use crate::policy::signed_name::{NamedImage, Renaming};
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
    assert_eq!(scope.signed_name, SignedName::Repository);
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

const REPOSITORY: &str = r#""signedIdentity": {"type": "matchRepository"}"#;

/// What is wrong with the only requirement of a scope is at `key` below it.
fn assert_refused(requirement: &str, key: &str) {
    let checked = checked(&document(requirement));
    let found: Vec<_> = checked.problems.iter().map(|it| it.key.clone()).collect();
    let expected = format!(r#"transports.docker."ghcr.io/org"[0]{key}"#);
    assert_eq!(found, [expected], "{requirement}");
}

#[test]
fn every_field_that_would_be_ignored_is_refused() {
    for (requirement, key) in [
        (
            r#""type": "signedBy", "keyType": "GPGKeys", "keyPath": "x""#,
            "",
        ),
        (r#""type": "unknown""#, ""),
        (r#""type": "reject", "keyPath": "x""#, ".keyPath"),
    ] {
        assert_refused(&format!("{{{requirement}}}"), key);
    }
    for (rest, key) in [
        ("", ""),
        (r#", "pki": {}"#, ".pki"),
        (r#", "fulcio": {}"#, ".fulcio"),
        (r#", "keyPaths": []"#, ".keyPaths"),
        (r#", "keyData": "bm9uc2Vuc2U=""#, ".keyData"),
        (r#", "keyPath": "a.pub", "keyData": "x""#, ""),
        (r#", "keyPath": "a.pub", "unknown": 1"#, ".unknown"),
        (
            r#", "keyPath": "a.pub", "rekorPublicKeyPath": "rekor.pub", "rekorPublicKeyData": "x""#,
            "",
        ),
        (
            r#", "keyPath": "a.pub", "rekorPublicKeyPath": "absent.pub""#,
            ".rekorPublicKeyPath",
        ),
    ] {
        let requirement = format!(r#"{{"type": "sigstoreSigned", {REPOSITORY}{rest}}}"#);
        assert_refused(&requirement, key);
    }
    // No e-mail address, and containers look at nothing else in a certificate.
    for identity in ["https://a.example/b@c", "somebody", "a@b@c"] {
        let requirement = format!(
            r#"{{"type": "sigstoreSigned", {REPOSITORY}, "rekorPublicKeyPath": "rekor.pub", "fulcio":
                {{"caPath": "fulcio_v1.crt.pem", "oidcIssuer": "https://i.example", "subjectEmail": "{identity}"}}}}"#
        );
        assert_refused(&requirement, ".fulcio.subjectEmail");
    }
}

#[test]
fn tags_are_compared_unless_something_else_is_said() {
    let signed = |identity: &str| {
        let requirement = format!(r#"{{"type": "sigstoreSigned", "keyPath": "a.pub"{identity}}}"#);
        checked(&document(&requirement))
    };
    for identity in [
        "",
        r#", "signedIdentity": {"type": "matchRepoDigestOrExact"}"#,
    ] {
        let found = signed(identity);
        assert_eq!(found.problems, []);
        assert_eq!(found.policies[0].signed_name, SignedName::RepositoryAndTag);
    }
    // Nothing is read into what is written as nothing.
    assert_eq!(signed(r#", "signedIdentity": null"#).problems.len(), 1);
}

#[test]
fn one_scope_compares_tags_or_does_not() {
    let default = r#"{"type": "sigstoreSigned", "keyPath": "a.pub"}"#;
    let repository = format!(r#"{{"type": "sigstoreSigned", "keyPath": "a.pub", {REPOSITORY}}}"#);
    for other in [
        &repository,
        &repository.replace(
            r#""matchRepository""#,
            r#""remapIdentity", "prefix": "a.io", "signedPrefix": "b.io""#,
        ),
    ] {
        let found = checked(&document(&format!("{default}, {other}")));
        assert_eq!(found.problems.len(), 1, "{other}");
    }
    let found = checked(&document(&format!("{default}, {repository}")));
    let keys: Vec<_> = found.problems.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, [r#"transports.docker."ghcr.io/org""#]);
    // What needs no signature has no name to compare.
    let found = checked(&document(&format!(
        r#"{{"type": "insecureAcceptAnything"}}, {default}"#
    )));
    assert_eq!(found.policies[0].signed_name, SignedName::RepositoryAndTag);
}

/// A document whose signatures must carry this name.
fn named(identity: &str) -> Checked {
    let requirement = format!(
        r#"{{"type": "sigstoreSigned", "keyPath": "a.pub", "signedIdentity": {identity}}}"#
    );
    checked(&document(&requirement))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn another_name_than_that_of_the_repository_may_be_demanded() {
    let digest = Digest::sha256(b"");
    let reference = |repository: &str, tag: Option<&str>, digest: Option<Digest>| {
        SignedName::OtherReference(NamedImage {
            repository: repository.parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest,
        })
    };
    let repository = |name: &str| SignedName::OtherRepository(name.parse().unwrap());
    let renamed = |prefix: &str, signed_prefix: &str| {
        SignedName::Renamed(Renaming {
            prefix: prefix.to_owned(),
            signed_prefix: signed_prefix.to_owned(),
        })
    };
    let one =
        |kind: &str, key: &str, value: &str| format!(r#"{{"type": "{kind}", "{key}": "{value}"}}"#);
    let exact_reference = |value: &str| one("exactReference", "dockerReference", value);
    let exact_repository = |value: &str| one("exactRepository", "dockerRepository", value);
    let remap = |prefix: &str, signed_prefix: &str| {
        format!(
            r#"{{"type": "remapIdentity", "prefix": "{prefix}", "signedPrefix": "{signed_prefix}"}}"#
        )
    };
    for (identity, warnings, expected) in [
        (
            exact_reference("a.io/b:c"),
            0,
            reference("a.io/b", Some("c"), None),
        ),
        (
            exact_reference("library/busybox:latest"),
            0,
            reference("docker.io/library/busybox", Some("latest"), None),
        ),
        (
            exact_reference(&format!("a.io:80/b@{digest}")),
            0,
            reference("a.io:80/b", None, Some(digest)),
        ),
        (
            exact_reference(&format!("a.io/b:c@{digest}")),
            0,
            reference("a.io/b", Some("c"), Some(digest)),
        ),
        (exact_repository("a.io/b"), 0, repository("a.io/b")),
        (
            exact_repository("busybox"),
            0,
            repository("docker.io/library/busybox"),
        ),
        (
            exact_repository("library/busybox:latest"),
            1,
            repository("docker.io/library/busybox"),
        ),
        (
            remap("ghcr.io", "quay.io"),
            0,
            renamed("ghcr.io", "quay.io"),
        ),
        (
            remap("ghcr.io/org", "docker.io/library"),
            0,
            renamed("ghcr.io/org", "docker.io/library"),
        ),
        (
            remap("ghcr.io/org", "quay.io"),
            1,
            renamed("ghcr.io/org", "quay.io"),
        ),
        (
            remap(
                "localhost",
                "example.com:80/ns1/ns2/repo.with.dots-dashes_underscores",
            ),
            0,
            renamed(
                "localhost",
                "example.com:80/ns1/ns2/repo.with.dots-dashes_underscores",
            ),
        ),
    ] {
        let found = named(&identity);
        assert_eq!(found.problems, [], "{identity}");
        assert_eq!(found.policies[0].signed_name, expected, "{identity}");
        let about_names = found.warnings.iter();
        let about_names = about_names.filter(|it| it.key.contains("signedIdentity"));
        assert_eq!(about_names.count(), warnings, "{identity}");
    }
}

/// The cases that containers refuses (`TestNewPRMExactReference`, `TestNewPRMExactRepository`,
/// `TestValidateIdentityRemappingPrefix`), and those that it takes and that nothing ever matches.
#[test]
fn what_is_no_name_is_refused() {
    let digest = Digest::sha256(b"");
    let assert_refused_at = |identity: &str, key: &str| {
        let found = named(identity);
        let keys: Vec<_> = found.problems.iter().map(|it| it.key.as_str()).collect();
        let expected = format!(r#"transports.docker."ghcr.io/org"[0].signedIdentity{key}"#);
        assert_eq!(keys, [expected], "{identity}");
    };
    for value in [
        r#""""#,
        r#""INVALIDUPPERCASE:latest""#,
        r#""library/busybox""#,
        r#""a.io/b:-""#,
        r#""a.io/b@sha256:00""#,
        r#""a.io/b:""#,
        r#"{}"#,
    ] {
        let identity = format!(r#"{{"type": "exactReference", "dockerReference": {value}}}"#);
        assert_refused_at(&identity, ".dockerReference");
    }
    for value in [r#""""#, r#""INVALIDUPPERCASE""#, r#""a.io/b:-""#, "[]"] {
        let identity = format!(r#"{{"type": "exactRepository", "dockerRepository": {value}}}"#);
        assert_refused_at(&identity, ".dockerRepository");
    }
    for prefix in [
        "",
        "repo_with_underscores",
        "example.com/",
        "/example.com",
        "example.com/UPPERCASEISINVALID",
        "example.com/repo/",
        "example.com/repo:tag",
        &format!("example.com/repo@{digest}"),
        "EXAMPLE.com",
        "*.example.com",
        "shortname",
        "ns/shortname",
        "index.docker.io/library",
    ] {
        for (first, second, key) in [
            (prefix, "quay.io", ".prefix"),
            ("ghcr.io", prefix, ".signedPrefix"),
        ] {
            let identity = format!(
                r#"{{"type": "remapIdentity", "prefix": "{first}", "signedPrefix": "{second}"}}"#
            );
            assert_refused_at(&identity, key);
        }
    }
    for identity in [
        r#"{"type": "matchRepoDigestOrExact", "prefix": "a.io"}"#,
        r#"{"type": "matchExact"}"#,
        r#"{"type": "matchRepository", "prefix": null}"#,
        r#"{"type": "exactReference"}"#,
        r#"{"type": "exactReference", "dockerReference": null}"#,
        r#"{"type": "exactReference", "dockerReference": "a.io/b:c", "dockerRepository": "a.io/b"}"#,
        r#"{"type": "exactRepository"}"#,
        r#"{"type": "exactRepository", "dockerReference": "a.io/b:c"}"#,
        r#"{"type": "remapIdentity", "prefix": "a.io", "signedPrefix": "b.io", "dockerReference": "c.io/d:e"}"#,
        r#"{"type": "remapIdentity", "prefix": "a.io"}"#,
        r#"{"type": "remapIdentity", "signedPrefix": "a.io"}"#,
        r#"{"type": "other"}"#,
    ] {
        assert_refused_at(identity, "");
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
        ("registry.hub.docker.com/org", false),
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

#[test]
fn accepting_everything_stands_under_an_auditing_default_only() {
    let accept = r#"[{"type": "insecureAcceptAnything"}]"#;
    let reject = r#"[{"type": "reject"}]"#;
    for (default, scope, expected) in [
        (accept, "docker.io", &["default"][..]),
        (reject, "", &["transports.docker."]),
        (reject, "ghcr.io/org", &[]),
    ] {
        let directory = Directory::new();
        let text = format!(
            r#"{{"default": {default}, "transports": {{"docker": {{"{scope}": {accept}, "ghcr.io": {reject}}}}}}}"#
        );
        directory.write("policy.json", &text);
        let config = "upstreams: {ghcr.io: {}}\npolicy_files: [policy.json]";
        let found = match directory.load(config) {
            Ok(_) => Vec::new(),
            Err(problems) => problems.0.into_iter().map(|it| it.key).collect(),
        };
        assert_eq!(found, expected, "{text}");
        let config = format!("{config}\ndefault: audit");
        assert!(directory.load(&config).is_ok(), "{text}");
    }
}

#[test]
fn a_scope_that_matches_something_else_shows_what_would() {
    for (scope, shown) in [
        (
            "docker.io/nginx",
            "only: the image of this name is `docker.io/library/nginx`",
        ),
        (
            "docker.io/nginx:1.0",
            "nothing: names are in full and in lower case, such as `docker.io/library/nginx:1.0`",
        ),
        ("GHCR.io/Org", "such as `ghcr.io/org`"),
        ("GHCR.io", "such as `ghcr.io`"),
        ("ghcr.io/org/app:V1", ""),
        ("*.Example.com", "such as `*.example.com`"),
        ("busybox", "such as `docker.io/library/busybox`"),
        ("org/app:v1", "such as `docker.io/org/app:v1`"),
        ("ghcr.io/-", "it is no name of an image"),
        ("docker.io/library", ""),
        ("docker.io/library/nginx", ""),
        ("docker.io/org/app", ""),
        ("docker.io", ""),
        ("localhost:5000/app", ""),
        ("", ""),
    ] {
        let text = format!(
            r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{"{scope}": [{{"type": "reject"}}]}}}}}}"#
        );
        let checked = checked(&text);
        assert_eq!(checked.problems, [], "{scope}");
        let warned: Vec<_> = checked
            .warnings
            .iter()
            .map(|it| it.message.as_str())
            .collect();
        let matching = warned.iter().filter(|it| it.contains(" matches "));
        let matching: Vec<_> = matching.collect();
        assert_eq!(
            matching.len(),
            usize::from(!shown.is_empty()),
            "{scope}: {warned:?}"
        );
        assert!(
            matching.iter().all(|it| it.contains(shown)),
            "{scope}: {warned:?}"
        );
    }
}

#[test]
fn what_is_missing_or_misspelt_is_named() {
    let said = |text: &str| -> Vec<String> {
        let problems = checked(text).problems.into_iter();
        problems
            .map(|it| format!("{}: {}", it.key, it.message))
            .collect()
    };
    for (text, expected) in [
        (
            r#"{"default": [{"typ": "reject"}]}"#,
            &[
                "default[0]: `type` is missing",
                "default[0].typ: unknown key",
            ][..],
        ),
        (
            r#"{"default": [{"type": ""}]}"#,
            &["default[0].type: no type is written here"],
        ),
        (
            r#"{"transports": {"docker": {"ghcr.io": [{"type": "reject"}]}}}"#,
            &[": `default` is missing"],
        ),
    ] {
        assert_eq!(said(text), expected, "{text}");
    }
}

#[test]
fn scopes_that_need_gpg_refuse_beside_usable_ones() {
    let gpg =
        r#"{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/etc/pki/rpm-gpg/RPM-GPG-KEY"}"#;
    let cosign = format!(r#"{{"type": "sigstoreSigned", "keyPath": "a.pub", {REPOSITORY}}}"#);
    let document = |default: &str, others: &str| {
        format!(
            r#"{{"default": [{default}], "transports": {{"docker": {{"registry.redhat.io": [{gpg}]{others}}}, "docker-daemon": {{"": [{{"type": "insecureAcceptAnything"}}]}}}}}}"#
        )
    };
    let reject = r#"{"type": "reject"}"#;
    let both = format!(r#", "ghcr.io/org": [{cosign}], "quay.io/both": [{gpg}, {cosign}]"#);
    let checked = checked(&document(reject, &both));
    assert_eq!(checked.problems, []);
    let refuses = |name: &str| {
        let policy = checked.policies.iter().find(|it| it.name == name).unwrap();
        let refuses = |it: &Requirement| matches!(it, Requirement::Refusal { .. });
        if let Requirement::All(of) = &policy.requirement {
            return of.iter().any(refuses);
        }
        refuses(&policy.requirement)
    };
    assert!(refuses("policy.json registry.redhat.io"));
    // All of its requirements must be met, and one of them cannot be.
    assert!(refuses("policy.json quay.io/both"));
    assert!(!refuses("policy.json ghcr.io/org"));
    let names: Vec<_> = checked.warnings.iter().map(|it| it.name).collect();
    let refused = names
        .iter()
        .filter(|it| **it == Some(WarningName::GpgRefused));
    assert_eq!(refused.count(), 2, "{names:?}");
    // The document of Fedora and RHEL: the default lets everything else through.
    let open = r#"{"type": "insecureAcceptAnything"}"#;
    assert_eq!(self::checked(&document(open, "")).problems, []);
    // Nothing else could ever be admitted.
    let closed = self::checked(&document(reject, ""));
    assert!(closed.policies.is_empty());
    assert_eq!(closed.problems.len(), 1);
}
