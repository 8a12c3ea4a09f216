//! What can never match or never be met, and what is not of its kind.

use super::*;

const SIGNER: &str = "attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]";

#[test]
fn a_signer_who_is_listed_twice_is_told() {
    let keyless = |subject: &str| format!("{{keyless: {{subject: {subject}, issuer: i}}}}");
    let (a, b) = (keyless("a@b.example"), keyless("c@b.example"));
    let with = |count: usize, entries: &[&str]| {
        let entries = entries.join(", ");
        format!(
            "imageReferences: ['ghcr.io/*']\nattestors: [{{count: {count}, entries: [{entries}]}}]"
        )
    };
    assert_warns(
        &with(2, &[&a, &a]),
        &["can never be met: 2 of 1 distinct keys and identities"],
    );
    assert_warns(&with(2, &[&a, &a, &b]), &["counts once here"]);
    for entry in [
        with(2, &[&a, &b]),
        with(1, &[&a, &a]),
        with(2, &[&a, &keyless("'https://github.com/org/*'")]),
    ] {
        let (_, reader) = load(&policy_with(&entry));
        assert_eq!(reader.warnings, [], "{entry}");
    }
}

fn attested(attestation: &str) -> String {
    format!(
        "imageReferences: ['ghcr.io/org/*']
attestations: [{{{attestation}, attestors: [{{entries: [{{keyless: {{subject: s, issuer: i}}}}]}}]}}]"
    )
}

#[test]
fn a_type_that_no_attestation_has_is_told() {
    for key in ["type", "predicateType"] {
        for (written, words) in [
            (
                "slsaprovenance",
                &["short names", "write `https://slsa.dev/provenance/v0.2`"][..],
            ),
            ("sbom/cyclone-dx", &["`sbom/cyclone-dx` is no URI"]),
        ] {
            assert_warns(&attested(&format!("{key}: {written}")), words);
        }
        for written in [
            "https://slsa.dev/provenance/v1",
            "cosign.sigstore.dev/attestation/vuln/v1",
        ] {
            let (_, reader) = load(&policy_with(&attested(&format!("{key}: {written}"))));
            assert_eq!(reader.warnings, [], "{written}");
        }
    }
}

#[test]
fn a_condition_without_an_expression_is_told() {
    let with = |condition: &str| {
        attested(&format!(
            "type: 'https://a.example/t', conditions: [{{all: [{{{condition}}}]}}]"
        ))
    };
    for (condition, words) in [
        (
            "key: buildType, operator: Equals, value: x",
            &["`buildType` is a text", "never holds", "`{{ buildType }}`"][..],
        ),
        (
            "key: buildType, operator: NotIn, value: [x, z]",
            &["`buildType` is a text", "always holds"],
        ),
    ] {
        assert_warns(&with(condition), words);
    }
    for condition in [
        "key: '{{ buildType }}', operator: Equals, value: x",
        "key: x, operator: AnyIn, value: ['{{ buildType }}']",
        "key: '{{ age }}', operator: DurationLessThan, value: 24h",
        "key: '{{ age }}', operator: DurationLessThan, value: 3600",
    ] {
        let (_, reader) = load(&policy_with(&with(condition)));
        let said = (reader.problems, reader.warnings);
        assert_eq!(said, (vec![], vec![]), "{condition}");
    }
}

#[test]
fn what_decides_nothing_is_still_of_its_kind() {
    for (written, key, message) in [
        (
            "background: 'no'",
            "spec.background",
            "`no` is not known here",
        ),
        (
            "webhookTimeoutSeconds: soon",
            "spec.webhookTimeoutSeconds",
            "`soon`",
        ),
        (
            "webhookConfiguration: 30",
            "spec.webhookConfiguration",
            "a mapping",
        ),
    ] {
        let text = policy_with(&format!("imageReferences: ['ghcr.io/*']\n{SIGNER}"));
        let text = text.replace("spec:\n", &format!("spec:\n  {written}\n"));
        let (_, reader) = load(&text);
        let [problem] = reader.problems.as_slice() else {
            panic!("{written}: {:?}", reader.problems);
        };
        assert_eq!(problem.key, key);
        assert!(problem.message.contains(message), "{problem}");
    }
}

#[test]
fn a_rule_says_what_it_is_for() {
    let text = policy_with(&format!("imageReferences: ['ghcr.io/*']\n{SIGNER}"));
    let text = text.replace("      match: {any: [{resources: {kinds: [Pod]}}]}\n", "");
    let (policies, reader) = load(&text);
    assert!(policies.is_empty());
    let said: Vec<_> = reader.problems.iter().map(|it| &it.message).collect();
    assert_eq!(said, ["`match` is missing"]);
}
