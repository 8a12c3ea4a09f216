//! What has no meaning at a pull.

use super::*;

/// Validations, with a part of why they are refused.
const REFUSED: &[(&str, &str)] = &[
    (
        "object.metadata.name == 'x'",
        "`object` is not known at a pull (character 1)",
    ),
    (
        "true && request.operation == 'CREATE'",
        "`request` is not known at a pull (character 9)",
    ),
    (
        "namespaceObject.metadata.name == 'x'",
        "`namespaceObject` is not known",
    ),
    ("oldObject == null", "`oldObject` is not known"),
    (
        "resource.get('v1', 'configmaps', 'a', 'b').data.x == 'y'",
        "`resource` is not known",
    ),
    (
        "globalContext.get('a', 'b') == 1",
        "`globalContext` is not known",
    ),
    ("http.get('https://x.example') == 1", "`http` is not known"),
    (
        "image.GetMetadata('ghcr.io/org/app').config.architecture == 'amd64'",
        "`image` is not known",
    ),
    (
        "images.containers.all(i, getImageData(i).config.architecture == 'amd64')",
        "looks into the image",
    ),
    (
        "images.initContainers.exists(i, true) ? images.initContainers.all(i, verifyImageSignatures(i, [attestors.a]) > 0) \
         : images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
        "which images a Pod has, and how many, is not known",
    ),
    (
        "(images.initContainers.exists(i, true) || images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0))",
        "which images a Pod has, and how many, is not known",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0) \
         || images.initContainers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
        "of one list of images, or else of another",
    ),
    (
        "'ghcr.io/org/app' in images.containers",
        "which other images a Pod has is not known",
    ),
    (
        "size(images.containers) > 0",
        "which other images a Pod has is not known",
    ),
    (
        "images.containers.size() == 1",
        "which other images a Pod has is not known",
    ),
    (
        "images.containers == images.initContainers",
        "which other images a Pod has is not known",
    ),
    (
        "images.containers.exists_one(i, verifyImageSignatures(i, [attestors.a]) > 0)",
        "neither true nor false",
    ),
    (
        "verifyImageSignatures('ghcr.io/org/app', [attestors.a]) > 0",
        "its own image and no other",
    ),
    (
        "verifyImageSignatures(images.containers, [attestors.a]) > 0",
        "its own image and no other",
    ),
    (
        "verifyImageSignatures((images.containers + ['ghcr.io/org/app'])[0], [attestors.a]) > 0",
        "which other images",
    ),
    (
        "(images.containers + ['ghcr.io/org/app']).all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
        "its own image and no other",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, [attestors.z]) > 0)",
        "no `z` is defined under `attestors`",
    ),
    (
        "images.others.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
        "no `others` is defined under `images`",
    ),
    (
        "images.containers.all(i, verifyAttestationSignatures(i, attestations.z, [attestors.a]) > 0)",
        "no `z` is defined under `attestations`",
    ),
    (
        "images.containers.all(i, verifyAttestationSignatures(i, 'z', [attestors.a]) > 0)",
        "no `z` is defined under `attestations`",
    ),
    (
        "images.containers.all(i, verifyAttestationSignatures(i, attestors.a, [attestors.a]) > 0)",
        "no attestation",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, []) > 0)",
        "an empty list of attestors",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, ['a']) > 0)",
        "no attestor",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, attestors) > 0)",
        "no list of attestors",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, [attestors.a, attestors.a]) > 1)",
        "an attestor is counted twice",
    ),
    (
        "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) + verifyImageSignatures(i, [attestors.a]) > 1)",
        "an attestor is counted twice",
    ),
    (
        "images.containers.all(i, verifyAttestationSignatures(i, attestations.sbom, [attestors.n]) > 0)",
        "`n` demands annotations, which are not looked for on attestations",
    ),
    (
        "attestors.a == attestors.b",
        "can be given to functions, and nothing else",
    ),
    (
        "images.all(k, images[k].all(i, verifyImageSignatures(i, [attestors.a]) > 0))",
        "nothing here to loop over",
    ),
    (
        "images.containers.all(i, imageverify.verify(i))",
        "`imageverify` is not known",
    ),
    ("'x'", "neither true nor false"),
    ("true", "demand no signature"),
    ("1 == 1", "demand no signature"),
    ("false", "can never be true"),
    (
        "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0) || true",
        "demand no signature",
    ),
    (
        "images.containers.all(i, true)",
        "which images a Pod has, and how many, is not known",
    ),
    ("(", "not a CEL expression"),
    (
        "images.containers.all(i, verifyAttestationSignatures(i, attestations.short, [attestors.a]) > 0 && \
         extractPayload(i, attestations.short).predicate.x == 1)",
        "Kyverno finds no payload of `short`",
    ),
];

#[test]
fn what_a_pull_does_not_know_is_a_problem_that_names_it() {
    for &(validation, message) in REFUSED {
        let refusal = refused(&[validation]);
        assert!(refusal.contains(message), "{validation}: {refusal}");
    }
}

/// Conditions on the payload `P`, with a part of why they are refused.
const REFUSED_OF_PAYLOADS: &[(&str, &str)] = &[
    (
        "P.subject[0].name == image",
        "the name of the image is not looked at here",
    ),
    ("P.predicate.x == object.x", "`object` is not known"),
    (
        "P.predicate.l.all(m, verifyImageSignatures(image, [attestors.a]) > 0)",
        "counted and compared",
    ),
    ("P.predicate.l.all(m, m == image)", "the name of the image"),
    (
        "P.predicate.x.lowerAscii() == 'x'",
        "the function `lowerAscii` is not supported",
    ),
    (
        "P.predicate.x % 2 == 1",
        "the function `_%_` is not supported",
    ),
    (
        "time.now() > timestamp(P.predicate.x)",
        "`time` is not known",
    ),
    (
        "string(P.predicate.x) == '1'",
        "the function `string` is not supported",
    ),
    (
        "P.predicate.x.matches(P.predicate.y)",
        "an expression that is not written out",
    ),
    (
        "P.predicate.x.orValue(1) == 1",
        "the function `orValue` is not supported",
    ),
    ("P.predicate.?x.orValue(1) == 1", "is not supported"),
    (
        "P.predicate.x == verifyImageSignatures(image, [attestors.a])",
        "only be compared with a whole number",
    ),
    (
        "extractPayload(image, attestations.vuln).predicate.x == 1",
        "nobody vouches for the payload of `vuln`",
    ),
    (
        "extractPayload('ghcr.io/org/other', attestations.sbom).predicate.x == 1",
        "its own image and no other",
    ),
];

/// Each follows a signature of `a` on the attestation; `P` is its payload.
#[test]
fn what_cannot_be_asked_of_a_payload_is_a_problem() {
    const SIGNED: &str = "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0)";
    for &(condition, message) in REFUSED_OF_PAYLOADS {
        let condition = condition.replace("P.", "extractPayload(image, attestations.sbom).");
        let validation = format!("images.containers.all(image, {condition})");
        let refusal = refused(&[SIGNED, &validation]);
        assert!(refusal.contains(message), "{condition}: {refusal}");
        assert!(
            refusal.starts_with("spec.validations[1].expression"),
            "{refusal}"
        );
    }
}

#[test]
fn size_is_bounded() {
    let long = format!("'{}' == ''", "a".repeat(20_000));
    assert!(refused(&[&long]).contains("longer than 16384 bytes"));
    // Each variable is twice the one before it.
    let mut variables = "  variables:\n    - {name: v0, expression: '1 == 1'}\n".to_owned();
    for index in 1..16 {
        let before = index - 1;
        variables.push_str(&format!(
            "    - {{name: v{index}, expression: 'variables.v{before} == variables.v{before}'}}\n"
        ));
    }
    let refusal = refused_with(&variables, &["variables.v15"]);
    assert!(refusal.contains("too large"), "{refusal}");
    let signed = "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, [attestors.a]) > 0)";
    let payload = "extractPayload(image, attestations.sbom).predicate.x";
    let mut doubled = "  variables:\n    - {name: v0, expression: '[attestors.a]'}\n".to_owned();
    for index in 1..16 {
        let before = index - 1;
        doubled.push_str(&format!(
            "    - {{name: v{index}, expression: '[variables.v{before}, variables.v{before}]'}}\n"
        ));
    }
    let refusal = refused_with(&doubled, &["variables.v15 == variables.v15"]);
    assert!(refusal.contains("too large"), "{refusal}");
    let deep = format!("{payload}{} == 'x'", " + 'x'".repeat(80));
    let refusal = refused(&[signed, &format!("images.containers.all(image, {deep})")]);
    assert!(refusal.contains("too deep"), "{refusal}");
    // A loop over many texts is as deep as it has rounds, unless it is taken apart.
    let items: Vec<_> = (0..200).map(|index| format!("'{index}'")).collect();
    let unrolled = format!("[{}].exists(i, {payload} == i)", items.join(", "));
    let (requirement, _) = demanded_with(
        "",
        &[signed, &format!("images.containers.all(image, {unrolled})")],
    );
    assert_eq!(requirement.attestations().len(), 141);
}
