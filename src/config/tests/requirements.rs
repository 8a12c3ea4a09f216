use super::*;

pub(super) fn policy(text: &str) -> String {
    format!(
        "upstreams: {{ghcr.io: {{}}, docker.io: {{}}}}\npolicies:\n  - {{name: p, images: [ghcr.io/org/**], {text}}}\n"
    )
}

pub(super) fn authority(text: &str) -> String {
    policy(&format!("authorities: [{{{text}}}]"))
}

pub(super) const IDENTITY: &str = "certificate_identity: a, certificate_oidc_issuer: b";

#[test]
fn defaults_demand_the_most() {
    let config = Directory::new().load(&authority(IDENTITY)).unwrap();
    let policy = &config.policies.policies[0];
    assert_eq!(policy.mode, Mode::Enforce);
    assert!(matches!(&policy.coverage, Coverage::Names { exclude, .. } if exclude.is_empty()));
    assert!(policy.signed_name == SignedName::Any && policy.max_signature_age.is_none());
    let Requirement::Signers { count: 1, of } = &policy.requirement else {
        panic!("one signer and nothing else");
    };
    let authority = &of[0].authority;
    assert_eq!(authority.name, "authority-1");
    assert!(authority.transparency_log && !authority.signed_timestamp && authority.sct);
}

#[test]
fn a_policy_that_requires_nothing_does_not_load() {
    let directory = Directory::new();
    for (text, part) in [
        ("mode: enforce", "the policy requires nothing"),
        ("authorities: []", "lets nobody vouch"),
        ("attestations: []", "demands none"),
        ("threshold: 1", "the policy requires nothing"),
        ("attestations: [{predicate_type: spdx}]", "nobody may vouch"),
        (
            "annotations: {a: b}, attestations: [{predicate_type: spdx, authorities: [{key: a.pub}]}]",
            "`annotations` is about signatures",
        ),
        (
            "authorities: [{key: a.pub}], threshold: 0",
            "zero would require nothing",
        ),
        (
            "authorities: [{key: a.pub}], threshold: -1",
            "invalid digit",
        ),
        (
            "authorities: [{key: a.pub}], max_signature_age: 0s",
            "zero would refuse",
        ),
        (
            "authorities: [{key: a.pub}], signed_name: maybe",
            "`maybe` is not known here",
        ),
        (
            "authorities: [{key: a.pub}], signature_repository: quay.io/x",
            "the host of `quay.io/x` is not among the upstreams",
        ),
        (
            "authorities: [{name: a, key: a.pub}, {name: a, key: b.pub}]",
            "`a` is the name of two authorities",
        ),
    ] {
        let problems = directory.problems(&policy(text));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
    }
    let problems = directory.problems("policies: [{authorities: [{key: a.pub}]}, {name: p, images: [], authorities: [{key: a.pub}]}]");
    assert!(problems[0].contains("`name` is missing"), "{problems:?}");
    assert!(problems[1].contains("covers no image"), "{problems:?}");
}

#[test]
fn attestations_use_the_policys_authorities_unless_they_have_their_own() {
    let config = Directory::new()
        .load(&policy(
            "authorities: [{name: a, key: a.pub}], attestations: [
               {predicate_type: slsaprovenance},
               {predicate_type: 'https://example.com/x/v1', match: all, condition: 'predicate.ok', authorities: [{name: b, key: b.pub}]},
               {predicate_type: cosign.sigstore.dev/attestation/v1},
               {predicate_type: spdxjson, match: newest}]",
        ))
        .unwrap();
    let attestations = config.policies.policies[0].requirement.attestations();
    let shown: Vec<_> = attestations
        .iter()
        .map(|attestation| {
            (
                attestation.predicate_type.as_str(),
                attestation.authorities[0].name.as_str(),
                attestation.quantifier,
                attestation.condition.is_some(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "https://slsa.dev/provenance/v0.2",
                "a",
                Quantifier::Any,
                false
            ),
            ("https://example.com/x/v1", "b", Quantifier::All, true),
            (
                "cosign.sigstore.dev/attestation/v1",
                "a",
                Quantifier::Any,
                false
            ),
            ("https://spdx.dev/Document", "a", Quantifier::Newest, false),
        ]
    );
}

#[test]
fn only_attestations_are_enough_with_authorities() {
    let config = Directory::new()
        .load(&policy(
            "attestations: [{predicate_type: vuln, authorities: [{key: a.pub}]}]",
        ))
        .unwrap();
    assert!(matches!(
        config.policies.policies[0].requirement,
        Requirement::Attestation(_)
    ));
}

#[test]
fn attestations_are_checked() {
    let directory = Directory::new();
    for (text, part) in [
        ("predicate_type: provenance", "is no predicate type"),
        ("predicate_type: example/type", "is no predicate type"),
        (
            "predicate_type: 'example.com/a type'",
            "is no predicate type",
        ),
        (
            "predicate_type: spdx, condition: 'a +'",
            "not a CEL expression",
        ),
        (
            "predicate_type: spdx, condition: 'image.x'",
            "`image` is not known",
        ),
        (
            "predicate_type: spdx, match: some",
            "`some` is not known here",
        ),
        ("match: any", "`predicate_type` is missing"),
    ] {
        let problems = directory.problems(&policy(&format!(
            "authorities: [{{key: a.pub}}], attestations: [{{{text}}}]"
        )));
        assert!(
            problems.len() == 1 && problems[0].contains(part),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn names_of_policies_are_unique() {
    let one = "{name: p, images: [ghcr.io/a], authorities: [{key: a.pub}]}";
    let problems = Directory::new().problems(&format!(
        "upstreams: {{ghcr.io: {{}}}}\npolicies:\n  - {one}\n  - {one}"
    ));
    assert_eq!(
        problems,
        ["c.yaml:4:12: policies[1].name: `p` is the name of two policies"]
    );
}

#[test]
fn auditing_everything_needs_an_auditing_default() {
    let directory = Directory::new();
    let text = |images: &str, default: &str| {
        format!(
            "default: {default}\npolicies: [{{name: p, mode: audit, images: [{images}], authorities: [{{key: a.pub}}]}}]"
        )
    };
    for images in ["'**'", "ghcr.io/a, '*/**'"] {
        let problems = directory.problems(&text(images, "deny"));
        assert!(problems[0].contains("covers every name"), "{problems:?}");
        directory.load(&text(images, "audit")).unwrap();
    }
    directory.load(&text("ghcr.io/**", "deny")).unwrap();
}

#[test]
fn what_cannot_be_met_or_constrains_little_is_warned_about() {
    let directory = Directory::new();
    for (text, part) in [
        (
            "authorities: [{name: a, key: a.pub}, {name: b, key: a.pub}], threshold: 2",
            "can never be met: 2 of 1",
        ),
        (
            "authorities: [{name: a, certificate_identity: x, certificate_oidc_issuer: y}, {name: b, certificate_identity: x, certificate_oidc_issuer: y}], threshold: 2",
            "can never be met: 2 of 1",
        ),
        (
            "authorities: [{certificate_identity_regexp: '.*', certificate_oidc_issuer: y}]",
            "`.*` matches almost anybody",
        ),
        (
            "authorities: [{certificate_identity: x, certificate_oidc_issuer_regexp: '.+'}]",
            "`.+` matches almost anybody",
        ),
    ] {
        let warnings = directory.warnings(&policy(text));
        assert!(
            warnings.len() == 1 && warnings[0].contains(part),
            "{text}: {warnings:?}"
        );
    }
    for text in [
        "authorities: [{name: a, key: a.pub}, {name: b, key: b.pub}], threshold: 2",
        // Any number of identities may match an expression.
        "authorities: [{certificate_identity_regexp: 'x-.*', certificate_oidc_issuer: y}], threshold: 2",
    ] {
        assert_eq!(directory.warnings(&policy(text)), [""; 0], "{text}");
    }
    let warnings = directory.warnings(
        "upstreams: {ghcr.io: {}}\npolicies: [{name: p, images: [quay.io/**], authorities: [{key: a.pub}]}]",
    );
    assert!(
        warnings[0].contains("quay.io is not among the upstreams"),
        "{warnings:?}"
    );
}

#[test]
fn hashes_follow_the_meaning_and_nothing_else() {
    let directory = Directory::new();
    let base = "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}";
    let hashes = |text: &str| {
        let config = directory.load(text).unwrap();
        (config.policies.hash, config.policies.policies[0].hash)
    };
    let (all, one) = hashes(&policy(base));
    directory.write("moved.pub", KEY_A);
    for same in [
        policy(base),
        policy(
            "annotations: {y: 2, x: 1}, mode: enforce, authorities: [{key: moved.pub, name: a}]",
        ),
        format!("limits: {{connections_max: 5}}\n{}", policy(base)),
    ] {
        assert_eq!(hashes(&same), (all, one), "{same}");
    }
    for other in [
        "authorities: [{name: a, key: b.pub}], annotations: {x: '1', y: '2'}",
        "authorities: [{name: b, key: a.pub}], annotations: {x: '1', y: '2'}",
        "authorities: [{name: a, key: a.pub, transparency_log: not_required}], annotations: {x: '1', y: '2'}",
        "authorities: [{name: a, key: a.pub, signed_timestamp: required}], annotations: {x: '1', y: '2'}",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '3'}",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, mode: audit",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, threshold: 2",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, exclude: [ghcr.io/org/x]",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, signed_name: match",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, max_signature_age: 1d",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, signature_repository: ghcr.io/s",
        "authorities: [{name: a, key: a.pub}], annotations: {x: '1', y: '2'}, attestations: [{predicate_type: spdx}]",
    ] {
        let (other_all, other_one) = hashes(&policy(other));
        assert!(other_all != all && other_one != one, "{other}");
    }
    for other in [
        "default: audit",
        "revoked: {identities: [x]}",
        "revoked: {keys: [b.pub]}",
        "limits: {attempts_max: 5}",
    ] {
        let (other_all, other_one) = hashes(&format!("{other}\n{}", policy(base)));
        assert!(other_all != all && other_one == one, "{other}");
    }
    // An exact value and an expression of the same letters are two things.
    let exact = hashes(&authority(IDENTITY));
    let expression = hashes(&authority(
        "certificate_identity_regexp: a, certificate_oidc_issuer: b",
    ));
    assert_ne!(exact, expression);
}

#[test]
fn what_is_revoked_is_named() {
    let directory = Directory::new();
    let hex = "0".repeat(64);
    let config = directory
        .load(&with_policy(&format!(
            "revoked: {{digests: ['sha256:{hex}'], keys: ['sha256:{hex}', a.pub], identities: [x, {{regexp: 'y.*'}}]}}"
        )))
        .unwrap();
    let revoked = &config.policies.revoked;
    assert_eq!((revoked.digests.len(), revoked.keys.len()), (1, 2));
    assert!(matches!(&revoked.identities[0], Matcher::Exact(text) if text == "x"));
    assert!(revoked.identities[1].matches("yes") && !revoked.identities[1].matches("ayes"));
    let problems = directory.problems(&with_policy(
        "revoked: {digests: [latest], keys: ['sha256:00', none.pub], identities: ['', {regexp: '('}, {exact: x}]}",
    ));
    assert_eq!(problems.len(), 7, "{problems:#?}");
}
