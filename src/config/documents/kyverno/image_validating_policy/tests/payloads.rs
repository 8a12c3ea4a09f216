//! Conditions over what attestations say.

use serde_json::{Value, json};

use super::*;
use crate::policy::{AttestationRequirement, Quantifier};

const SIGNED: &str = "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0)";

/// The only attestation that is demanded where these validations follow a signature of `a` on `sbom`.
fn attestation(condition: &str) -> AttestationRequirement {
    let validation = format!("images.containers.map(image, {condition}).all(e, e)");
    let (requirement, _) = demanded_with("", &[SIGNED, &validation]);
    let attestations = requirement.attestations();
    assert_eq!(attestations.len(), 1, "{requirement:?}");
    attestations[0].clone()
}

fn statement() -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://cyclonedx.org/bom",
        "subject": [{"name": "app"}],
        "predicate": {
            "bomFormat": "CycloneDX",
            "count": 3,
            "numbers": [1, 2],
            "map": {"n": 1},
            "accent": "\u{e9}",
            "at": "2025-06-01T00:00:00Z",
            "components": [
                {"name": "a", "licences": ["MIT"]},
                {"name": "b", "licences": ["MIT", "GPL"]},
            ],
            "scanner": {"uri": "pkg:github/x", "result": null},
        },
    })
}

fn holds(condition: &str) -> bool {
    let attestation = attestation(condition);
    let condition = attestation.condition.unwrap();
    condition
        .evaluate(
            &statement(),
            jiff::Timestamp::UNIX_EPOCH,
            &crate::policy::Fuel::default(),
        )
        .unwrap_or(false)
}

#[test]
fn a_condition_is_over_every_attestation_of_who_must_have_signed() {
    let attestation =
        attestation("extractPayload(image, attestations.sbom).predicate.bomFormat == 'CycloneDX'");
    assert_eq!(attestation.predicate_type, "https://cyclonedx.org/bom");
    assert_eq!(attestation.quantifier, Quantifier::All);
    assert_eq!(attestation.authorities.len(), 1);
    assert_eq!(attestation.authorities[0].name, "a");
    let condition = attestation.condition.unwrap();
    assert!(
        condition
            .source()
            .contains("extractPayload(image, attestations.sbom)")
    );
    assert!(
        condition
            .evaluate(
                &statement(),
                jiff::Timestamp::UNIX_EPOCH,
                &crate::policy::Fuel::default()
            )
            .unwrap()
    );
}

/// Conditions on the payload `P`, and whether they are met by [`statement`].
const CONDITIONS: &[(&str, bool)] = &[
    ("P.predicate.bomFormat == 'CycloneDX'", true),
    ("P.predicate.bomFormat == 'SPDX'", false),
    ("P.predicate.bomFormat != 'SPDX'", true),
    ("'CycloneDX' == P['predicate']['bomFormat']", true),
    ("has(P.predicate.scanner)", true),
    ("has(P.predicate.other)", false),
    ("!has(P.predicate.other)", true),
    ("P.predicate.other == 1", false),
    ("P.predicate.other != 1", false),
    ("!(P.predicate.bomFormat == 'SPDX')", true),
    ("P.predicate.count == 3", true),
    ("P.predicate.count > 2 && P.predicate.count < 4", true),
    ("P.predicate.count > 2.5", true),
    ("P.predicate.count in [1, 3]", true),
    ("P.predicate.bomFormat in ['SPDX', 'CycloneDX']", true),
    ("P.predicate.bomFormat in ['SPDX']", false),
    ("P.predicate.scanner.uri.startsWith('pkg:github/')", true),
    ("P.predicate.scanner.uri.endsWith('/y')", false),
    ("P.predicate.scanner.uri.contains('github')", true),
    ("P.predicate.scanner.uri.matches('^pkg:[a-z]+/x$')", true),
    ("P.predicate.scanner.uri.matches('^github')", false),
    ("P.predicate.scanner.result == null", true),
    ("size(P.predicate.components) == 2", true),
    ("P.predicate.components.size() == 2", true),
    ("P.predicate.components.exists(c, c.name == 'b')", true),
    (
        "P.predicate.components.all(c, c.licences.exists(l, l == 'MIT'))",
        true,
    ),
    (
        "P.predicate.components.all(c, !c.licences.exists(l, l == 'GPL'))",
        false,
    ),
    ("P.predicate.components.exists_one(c, c.name == 'b')", true),
    (
        "P.predicate.components.filter(c, c.name == 'b').size() == 1",
        true,
    ),
    ("P.predicate.components.map(c, c.name) == ['a', 'b']", true),
    ("P.predicate.components[0].name + 'x' == 'ax'", true),
    (
        "['a', 'b'].all(n, P.predicate.components.exists(c, c.name == n))",
        true,
    ),
    (
        "['a', 'z'].all(n, P.predicate.components.exists(c, c.name == n))",
        false,
    ),
    (
        "P.predicate.bomFormat == 'CycloneDX' ? P.predicate.count == 3 : false",
        true,
    ),
    (
        "P.predicate.bomFormat == 'SPDX' ? true : P.predicate.count == 4",
        false,
    ),
    ("P.predicateType == 'https://cyclonedx.org/bom'", true),
    ("P.subject[0].name == 'app'", true),
    // Nothing of its own name hides the statement.
    (
        "P.subject.all(statement, P.predicate.count == 3 && statement.name == 'app')",
        true,
    ),
    // The variable of the loop outside is not that of the loop inside.
    (
        "P.predicate.components.exists(c, [c.name].exists(n, P.predicate.components.exists(c, c.name == 'a' && n == 'b')))",
        true,
    ),
    (
        "P.predicate.count == 4 || P.predicate.bomFormat == 'CycloneDX'",
        true,
    ),
    (
        "P.predicate.other == 4 || P.predicate.bomFormat == 'CycloneDX'",
        true,
    ),
    ("'uri' in P.predicate.scanner", true),
    ("P.predicate.scanner.all(k, k in ['uri', 'result'])", true),
    ("P.predicate.scanner.exists(k, k == 'other')", false),
    ("P.predicate.numbers == [1, 2]", true),
    ("P.predicate.numbers != [1, 2]", false),
    ("P.predicate.numbers[0] != 1", false),
    ("P.predicate.map == {'n': 1}", true),
    ("P.predicate.map != {'n': 1}", false),
    ("[1] in [P.predicate.numbers, [1]]", true),
    ("!([1, 2] in [P.predicate.numbers])", false),
    ("P.predicate.count != null", true),
    ("P.predicate.scanner != null", true),
    ("size(P.predicate.accent) == 1", true),
    ("size(P.predicate.accent) > 1", false),
    // What has no fields cannot be asked for one.
    ("!has(P.predicate.scanner.result.x)", false),
    ("!has(P.predicate.bomFormat.x)", false),
    ("!has(P.predicate.count.x)", false),
    ("!('x' in P.predicate.bomFormat)", false),
    ("P.predicate.components[-1].name != 'z'", false),
    ("P.predicate.components[9].name != 'z'", false),
    ("P.predicate.numbers.all(n, n > 0)", true),
    ("!P.predicate.count.exists(n, n > 0)", false),
    ("!P.predicate.bomFormat", false),
    ("P.predicate.bomFormat < 1", false),
    ("-P.predicate.count < 0", true),
    ("P.predicate.count + 1.0 == 4.0", true),
    ("int(P.predicate.count) == 3", true),
    (
        "timestamp(P.predicate.at) > timestamp('2024-01-01T00:00:00Z')",
        true,
    ),
    (
        "timestamp(P.predicate.at) > timestamp('2026-01-01T00:00:00Z')",
        false,
    ),
    // Kyverno's numbers are all floating-point, so that these have no answer there either.
    ("P.predicate.count + 1 == 4", false),
    ("P.predicate.count / 2 == 1", false),
    // Classes are of ASCII.
    ("P.predicate.scanner.uri.matches('^\\\\w+:')", true),
];

#[test]
fn conditions_mean_what_they_say() {
    const P: &str = "extractPayload(image, attestations.sbom)";
    let with_payload = |condition: &str| {
        let fields = condition.replace("P.", &format!("{P}."));
        fields.replace("P[", &format!("{P}["))
    };
    let otherwise: Vec<_> = CONDITIONS
        .iter()
        .filter(|(condition, expected)| holds(&with_payload(condition)) != *expected)
        .collect();
    assert!(otherwise.is_empty(), "{otherwise:#?}");
}

#[test]
fn classes_in_expressions_are_of_ascii() {
    let condition = "extractPayload(image, attestations.sbom).predicate.n.matches('^\\\\d$')";
    let condition = attestation(condition).condition.unwrap();
    let says = |n: &str| {
        condition
            .evaluate(
                &json!({ "predicate": { "n": n } }),
                jiff::Timestamp::UNIX_EPOCH,
                &crate::policy::Fuel::default(),
            )
            .unwrap()
    };
    assert!(says("7"));
    assert!(!says("\u{0667}"));
}

#[test]
fn a_payload_that_nobody_vouches_for_is_refused() {
    let condition = "extractPayload(image, attestations.sbom).predicate.x == 1";
    let payload = format!("images.containers.all(image, {condition})");
    let vuln = "images.containers.all(image, verifyAttestationSignatures(image, attestations.vuln, [attestors.a]) > 0)";
    let signature = "images.containers.all(image, verifyImageSignatures(image, [attestors.a]) > 0)";
    let either = "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0 \
                  || verifyImageSignatures(image, [attestors.b]) > 0)";
    let other_side = format!(
        "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0 || {condition})"
    );
    let no_side = format!(
        "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0 ? true : {condition})"
    );
    for validations in [
        vec![payload.as_str()],
        vec![signature, &payload],
        vec![vuln, &payload],
        // It is not demanded, or not before.
        vec![either, &payload],
        vec![&payload, SIGNED],
        vec![&other_side],
        vec![&no_side],
    ] {
        let refusal = refused(&validations);
        assert!(
            refusal.contains("nobody vouches for the payload of `sbom`"),
            "{validations:?} {refusal}"
        );
    }
}

#[test]
fn who_vouches_may_be_said_before_in_the_same_expression() {
    let condition = "extractPayload(image, attestations.sbom).predicate.x == 1";
    let signed = |by: &str| {
        format!("verifyAttestationSignatures(image, attestations.sbom, [attestors.{by}]) > 0")
    };
    let expected = "https://cyclonedx.org/bom? by awskms:///alias/a";
    for validation in [
        format!("{} && {condition}", signed("a")),
        format!("{} ? {condition} : false", signed("a")),
    ] {
        let validation = format!("images.containers.all(image, {validation})");
        assert_eq!(demanded(&[&validation]), expected, "{validation}");
    }
    let validation = format!(
        "images.containers.all(image, ({} || {}) && {condition})",
        signed("a"),
        signed("b")
    );
    assert_eq!(
        demanded(&[&validation]),
        "all(any(any https://cyclonedx.org/bom by awskms:///alias/a any https://cyclonedx.org/bom by awskms:///alias/b) \
         https://cyclonedx.org/bom? by awskms:///alias/a|awskms:///alias/b)"
    );
}

/// Kyverno keeps the last payload of a type that it verified, whoever signed it.
#[test]
fn a_condition_is_over_the_attestations_of_all_who_may_vouch_for_the_type() {
    let condition =
        "images.containers.all(image, extractPayload(image, attestations.sbom).predicate.x == 1)";
    let optional = "images.containers.all(image, verifyAttestationSignatures(image, attestations.same, [attestors.b]) > 0 \
                    || verifyImageSignatures(image, [attestors.c]) > 0)";
    assert_eq!(
        demanded(&[SIGNED, condition, optional]),
        "all(any https://cyclonedx.org/bom by awskms:///alias/a https://cyclonedx.org/bom? by \
         awskms:///alias/a|awskms:///alias/b any(any https://cyclonedx.org/bom by awskms:///alias/b awskms:///alias/c))"
    );
}

#[test]
fn several_conditions_on_one_attestation_are_one() {
    let with = |condition: &str| {
        format!(
            "images.containers.all(image, extractPayload(image, attestations.sbom).predicate.{condition})"
        )
    };
    let (requirement, _) = demanded_with(
        "",
        &[
            SIGNED,
            &with("count == 3"),
            &with("bomFormat == 'CycloneDX'"),
        ],
    );
    let attestations = requirement.attestations();
    assert_eq!(attestations.len(), 1);
    let condition = attestations[0].condition.as_ref().unwrap();
    assert!(
        condition
            .evaluate(
                &statement(),
                jiff::Timestamp::UNIX_EPOCH,
                &crate::policy::Fuel::default()
            )
            .unwrap()
    );
    let mut other = statement();
    other["predicate"]["count"] = json!(4);
    assert!(
        !condition
            .evaluate(
                &other,
                jiff::Timestamp::UNIX_EPOCH,
                &crate::policy::Fuel::default()
            )
            .unwrap()
    );
}

#[test]
fn conditions_on_two_attestations_are_two() {
    let both = "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0 && \
                verifyAttestationSignatures(image, attestations.vuln, [attestors.b]) > 0)";
    let with = |condition: &str| format!("images.containers.all(image, {condition})");
    let one = "extractPayload(image, attestations.sbom).predicate.x == 1";
    let two = "extractPayload(image, attestations.vuln).predicate.x == 1";
    assert_eq!(
        demanded(&[both, &with(&format!("{one} && {two}"))]),
        "all(https://cyclonedx.org/bom? by awskms:///alias/a https://v.example/v1? by awskms:///alias/b)"
    );
    assert_eq!(
        demanded(&[both, &with(&format!("!({one} && {two})"))]),
        "all(any https://cyclonedx.org/bom by awskms:///alias/a any https://v.example/v1 by awskms:///alias/b \
         any(https://cyclonedx.org/bom? by awskms:///alias/a https://v.example/v1? by awskms:///alias/b))"
    );
    let compared = "extractPayload(image, attestations.sbom).predicate.x == extractPayload(image, attestations.vuln).predicate.x";
    let refusal = refused(&[both, &with(compared)]);
    assert!(
        refusal.contains("several attestations cannot be compared"),
        "{refusal}"
    );
}

#[test]
fn steps_are_bounded() {
    let condition = "extractPayload(image, attestations.sbom).predicate.n.all(a, \
                     extractPayload(image, attestations.sbom).predicate.n.all(b, a + b >= 0.0))";
    let condition = attestation(condition).condition.unwrap();
    let numbers = |count: usize| json!({ "predicate": { "n": vec![0.0; count] } });
    assert!(
        condition
            .evaluate(
                &numbers(10),
                jiff::Timestamp::UNIX_EPOCH,
                &crate::policy::Fuel::default()
            )
            .unwrap()
    );
    assert!(
        condition
            .evaluate(
                &numbers(2000),
                jiff::Timestamp::UNIX_EPOCH,
                &crate::policy::Fuel::default()
            )
            .is_err()
    );
}

#[test]
fn a_field_that_no_statement_has_is_pointed_out() {
    let condition = "images.containers.all(image, extractPayload(image, attestations.sbom).bomFormat == 'CycloneDX')";
    let (_, warnings) = demanded_with("", &[SIGNED, condition]);
    assert!(
        warnings
            .iter()
            .any(|it| it.contains("has no `bomFormat` of its own")),
        "{warnings:?}"
    );
}

#[test]
fn the_hash_of_a_policy_follows_its_conditions_and_variables() {
    let hash = |rest: &str, condition: &str| {
        let validation = format!(
            "images.containers.all(image, extractPayload(image, attestations.sbom).predicate.x == {condition})"
        );
        let (policies, reader) = load(&document(rest, &[SIGNED, &validation]));
        assert!(reader.problems.is_empty(), "{:?}", reader.problems);
        policies[0].hash
    };
    let variable = |value: &str| format!("  variables: [{{name: x, expression: '{value}'}}]\n");
    assert_eq!(hash("", "1"), hash("", "1"));
    assert_ne!(hash("", "1"), hash("", "2"));
    assert_ne!(
        hash(&variable("1"), "variables.x"),
        hash(&variable("2"), "variables.x")
    );
}
