//! Who must have signed.

use super::*;
use crate::policy::AuthoritySigner;

const KEY: &str = "-----BEGIN PUBLIC KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8nXRh950IZbRj8Ra/N9sbqOPZrfM\\n5/KAQN0/KjHcorm/J5yctVd7iEcnessRQjU917hmKO6JWVGHpDguIyakZA==\\n-----END PUBLIC KEY-----\\n";

fn requirement(entry: &str) -> String {
    words(&loaded(&format!("imageReferences: ['ghcr.io/org/*']\n{entry}")).requirement)
}

const A: &str = "{keyless: {subject: a, issuer: i}}";
const B: &str = "{keyless: {subject: b, issuer: i}}";
const C: &str = "{keyless: {subject: c, issuer: i}}";

#[test]
fn sets_are_anded_and_count_their_entries() {
    for (attestors, expected) in [
        (format!("[{{entries: [{A}]}}]"), "a@i"),
        (format!("[{{entries: [{A}, {B}]}}]"), "all(a@i b@i)"),
        (
            format!("[{{count: 0, entries: [{A}, {B}]}}]"),
            "all(a@i b@i)",
        ),
        (
            format!("[{{count: null, entries: [{A}, {B}]}}]"),
            "all(a@i b@i)",
        ),
        (
            format!("[{{count: 1, entries: [{A}, {B}]}}]"),
            "any(a@i b@i)",
        ),
        (
            format!("[{{count: 2, entries: [{A}, {B}]}}]"),
            "2 of (a@i b@i)",
        ),
        (
            format!("[{{count: 2, entries: [{A}, {B}, {C}]}}]"),
            "2 of (a@i b@i c@i)",
        ),
        (
            format!("[{{entries: [{A}]}}, {{count: 1, entries: [{B}, {C}]}}]"),
            "all(a@i any(b@i c@i))",
        ),
        (
            format!("[{{count: 1, entries: [{A}, {{attestor: {{entries: [{B}, {C}]}}}}]}}]"),
            "any(a@i all(b@i c@i))",
        ),
    ] {
        assert_eq!(
            requirement(&format!("attestors: {attestors}")),
            expected,
            "{attestors}"
        );
    }
}

#[test]
fn each_of_several_keys_in_a_text_is_an_entry() {
    let keys = format!("{{keys: {{publicKeys: \"{KEY}{KEY}\"}}}}");
    for (set, expected) in [
        (format!("{{entries: [{keys}]}}"), "all(inline inline)"),
        (
            format!("{{count: 1, entries: [{keys}]}}"),
            "any(inline inline)",
        ),
        (
            format!("{{count: 2, entries: [{keys}, {A}]}}"),
            "2 of (inline inline a@i)",
        ),
    ] {
        assert_eq!(requirement(&format!("attestors: [{set}]")), expected);
    }
}

#[test]
fn keys_may_be_elsewhere() {
    for (keys, expected) in [
        ("kms: awskms:///alias/k", "awskms:///alias/k"),
        ("secret: {name: n, namespace: s}", "k8s://s/n"),
        ("publicKeys: k8s://s/n", "k8s://s/n"),
    ] {
        let entry = format!("attestors: [{{entries: [{{keys: {{{keys}}}}}]}}]");
        assert_eq!(requirement(&entry), expected, "{keys}");
    }
}

#[test]
fn the_older_spelling_says_the_same() {
    for (entry, expected) in [
        (format!("key: \"{KEY}\""), "inline"),
        (
            format!("key: \"{KEY}\"\nannotations: {{a: b}}"),
            "inline+a=b",
        ),
        ("issuer: i\nsubject: s".to_owned(), "s@i"),
        // Kyverno loses the signer of the entry here and lets anybody attest.
        (
            format!("key: \"{KEY}\"\nattestations: [{{predicateType: t}}]"),
            "t by inline",
        ),
        (
            format!("key: \"{KEY}\"\nattestations: [{{type: t, attestors: [{{entries: [{A}]}}]}}]"),
            "all(t by a@i t by inline)",
        ),
        (
            format!("key: \"{KEY}\"\nattestors: [{{entries: [{A}]}}]"),
            "all(a@i inline)",
        ),
    ] {
        assert_eq!(requirement(&entry), expected, "{entry}");
    }
    let policy = loaded("image: 'ghcr.io/org/*'\nissuer: i\nsubject: s");
    assert_eq!(policy.coverage.patterns(), ["ghcr.io/org/*"]);
}

#[test]
fn attestations_stand_beside_signatures() {
    let entry = format!(
        "attestors: [{{entries: [{A}]}}]
attestations:
  - type: t
    attestors: [{{count: 1, entries: [{B}, {C}]}}]
    conditions: [{{all: [{{key: '{{{{ x }}}}', operator: Equals, value: 1}}]}}]
  - predicateType: u
    attestors: [{{entries: [{B}]}}, {{entries: [{C}]}}]"
    );
    assert_eq!(
        requirement(&entry),
        "all(a@i any(t? by b@i t? by c@i) all(u by b@i u by c@i))"
    );
}

#[test]
fn annotations_of_an_attestor_replace_those_of_the_entry() {
    let entry = "annotations: {a: '1'}
attestors:
  - entries:
      - keyless: {subject: a, issuer: i}
      - {annotations: {b: '2'}, keyless: {subject: b, issuer: i}}";
    assert_eq!(requirement(entry), "all(a@i+a=1 b@i+b=2)");
}

#[test]
fn subjects_are_alternatives_and_issuers_are_not() {
    let policy = loaded(
        "imageReferences: ['ghcr.io/org/*']
attestors: [{entries: [{keyless: {subject: 'zs*', subjectRegExp: team, issuer: 'zi*', issuerRegExp: jota}}]}]",
    );
    let authorities = policy.requirement.authorities();
    let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
        panic!("an identity");
    };
    for (subject, matched) in [("zs1", true), ("a-team-b", true), ("x", false)] {
        assert_eq!(identity.identity.matches(subject), matched, "{subject}");
    }
    for (issuer, matched) in [("zi-jota", true), ("zi", false), ("jota", false)] {
        assert_eq!(
            identity.oidc_issuer.as_ref().unwrap().matches(issuer),
            matched,
            "{issuer}"
        );
    }
}

#[test]
fn extensions_may_be_named_either_way() {
    let policy = loaded(
        "imageReferences: ['ghcr.io/org/*']
attestors:
  - entries:
      - keyless:
          subject: s
          issuer: i
          additionalExtensions: {githubWorkflowTrigger: push, 1.3.6.1.4.1.57264.1.6: refs/heads/*}",
    );
    let authorities = policy.requirement.authorities();
    let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
        panic!("an identity");
    };
    let matches = |name: &str, value: &str| identity.extensions[name].matches(value);
    assert!(matches("github_workflow_trigger", "push"));
    assert!(!matches("github_workflow_trigger", "pull_request"));
    assert!(matches("github_workflow_ref", "refs/heads/main"));
    assert!(!matches("github_workflow_ref", "refs/tags/v1"));
}

#[test]
fn proofs_are_demanded_as_kyverno_does() {
    for (signer, log, timestamp, sct) in [
        (A.to_owned(), true, false, true),
        ("{keyless: {subject: a, issuer: i, ctlog: {ignoreSCT: true}}}".to_owned(), true, false, false),
        (
            "{keyless: {subject: a, issuer: i, rekor: {url: 'https://rekor.sigstore.dev', ignoreTlog: true}}}".to_owned(),
            false,
            true,
            true,
        ),
        (format!("{{keys: {{publicKeys: \"{KEY}\"}}}}"), true, false, false),
        (format!("{{keys: {{publicKeys: \"{KEY}\", rekor: {{ignoreTlog: true}}}}}}"), false, false, false),
        (format!("{{keys: {{publicKeys: \"{KEY}\", rekor: {{ignoreTlog: false}}}}}}"), true, false, false),
    ] {
        let policy = loaded(&format!("imageReferences: ['ghcr.io/org/*']\nattestors: [{{entries: [{signer}]}}]"));
        let authority = policy.requirement.authorities()[0];
        assert_eq!(authority.trusted_root_name, "public-good");
        let proofs = (authority.transparency_log, authority.signed_timestamp, authority.sct);
        assert_eq!(proofs, (log, timestamp, sct), "{signer}");
    }
}

#[test]
fn certificate_beside_a_chain_must_lead_to_its_root() {
    let certificate = serde_json::json!(include_str!("../../../tests/own_authority.pem"));
    let other = serde_json::json!(include_str!("../../../tests/other_authority.pem"));
    let with = |chain: &serde_json::Value, rest: &str| {
        let fields = format!("cert: {certificate}, certChain: {chain}{rest}");
        format!(
            "imageReferences: ['ghcr.io/org/*']\nattestors: [{{entries: [{{certificates: {{{fields}}}}}]}}]"
        )
    };
    let waived = ", ctlog: {ignoreSCT: true}";
    let policy = loaded(&with(&certificate, waived));
    assert_eq!(words(&policy.requirement), "inline");
    let found = problems(&with(&other, waived));
    assert_eq!(
        found,
        [
            "attestors[0].entries[0].certificates.certChain: no certificate of the chain issued it, up to the root at its end"
        ]
    );
    // As in Kyverno, nobody can vouch by a certificate that must have been published and was not.
    let unpublished = with(&certificate, "");
    let policy = loaded(&unpublished);
    assert!(
        matches!(policy.requirement, Requirement::Refusal { .. }),
        "{policy:?}"
    );
    assert_warns(
        &unpublished,
        &[
            "no promise of a certificate-transparency log",
            "as in Kyverno",
        ],
    );
}

#[test]
fn roots_of_a_document_vouch_for_whomever_they_certify() {
    let roots = serde_json::json!(include_str!("../../../tests/own_authority.pem"));
    let with = |fields: &str| {
        format!(
            "imageReferences: ['ghcr.io/org/*']
attestors: [{{entries: [{{keyless: {{{fields}ctlog: {{ignoreSCT: true}}, roots: {roots}}}}}]}}]"
        )
    };
    for (fields, subject, issuer, warned) in [
        ("", "*", None, true),
        ("issuer: i, ", "*", Some("i"), true),
        ("subject: s, ", "s", None, false),
        ("subject: s, issuer: i, ", "s", Some("i"), false),
    ] {
        let entry = with(fields);
        let policy = loaded(&entry);
        let authorities = policy.requirement.authorities();
        let AuthoritySigner::Identity(identity) = &authorities[0].signer else {
            panic!("an identity");
        };
        assert!(identity.certificate_authorities.is_some(), "{fields}");
        assert_eq!(identity.identity.source(), subject, "{fields}");
        let found = identity
            .oidc_issuer
            .as_ref()
            .map(crate::policy::Matcher::source);
        assert_eq!(found.as_deref(), issuer, "{fields}");
        if warned {
            assert_warns(
                &entry,
                &["whoever has a certificate by one of these authorities"],
            );
        }
    }
}
