//! What validations demand.

use super::*;

#[test]
fn signatures() {
    let by = |function: &str| format!("images.containers.map(image, {function}).all(e, e > 0)");
    for (validation, expected) in [
        (by("verifyImageSignatures(image, [attestors.a])"), "awskms:///alias/a"),
        (
            by("verifyImageSignatures(image, [attestors.a, attestors.b])"),
            "any(awskms:///alias/a awskms:///alias/b)",
        ),
        (
            by("verifyImageSignatures(image, [attestors.i])"),
            "any(one@b.example@https://i.example two@b.example@https://i.example)",
        ),
        (
            by("verifyImageSignatures(image, [attestors.n])"),
            "awskms:///alias/n+env=prod",
        ),
        (
            by("verifyImageSignatures(image, [attestors['a']])"),
            "awskms:///alias/a",
        ),
        (
            "images.containers.all(image, verifyImageSignatures(image, [attestors.a]) > 0)".to_owned(),
            "awskms:///alias/a",
        ),
        (
            "images['containers'].all(image, verifyImageSignatures(image, [attestors.a]) > 0)".to_owned(),
            "awskms:///alias/a",
        ),
        (
            "(images.containers + images.?ephemeralContainers.orValue([])).map(image, \
             verifyImageSignatures(image, [attestors.a])).all(e, e > 0)"
                .to_owned(),
            "awskms:///alias/a",
        ),
        (
            "images.containers.exists(image, verifyImageSignatures(image, [attestors.a]) > 0)".to_owned(),
            "awskms:///alias/a",
        ),
        (
            "verifyImageSignatures(images.containers[0], [attestors.a]) > 0".to_owned(),
            "awskms:///alias/a",
        ),
        (
            "[attestors.a, attestors.b].all(by, images.containers.all(image, \
             verifyImageSignatures(image, [by]) > 0))"
                .to_owned(),
            "all(awskms:///alias/a awskms:///alias/b)",
        ),
        (
            "images.containers.map(image, verifyImageSignatures(image, [attestors.a]) > 0).all(e, e == true)".to_owned(),
            "awskms:///alias/a",
        ),
        (
            "images.containers.filter(image, true).all(image, verifyImageSignatures(image, [attestors.a]) > 0)".to_owned(),
            "awskms:///alias/a",
        ),
    ] {
        assert_eq!(demanded(&[&validation]), expected, "{validation}");
    }
}

/// Conditions over `e`, how many of a, b and c have signed, with what they demand.
const COUNTS: &[(&str, &str)] = &[
    (
        "e > 0",
        "any(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e >= 1",
        "any(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e != 0",
        "any(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "0 < e",
        "any(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "1 <= e",
        "any(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e > 1",
        "2 of (awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e >= 2",
        "2 of (awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e >= 1 + 1",
        "2 of (awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e > 2",
        "all(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e >= 3",
        "all(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "e == 3",
        "all(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
    (
        "3 == e",
        "all(awskms:///alias/a awskms:///alias/b awskms:///alias/c)",
    ),
];

/// Conditions over `e` that are refused, with a part of why.
const NO_COUNTS: &[(&str, &str)] = &[
    ("e == 0", "no more than so many"),
    ("e == 1", "no more than so many"),
    ("e == 2", "no more than so many"),
    ("e != 1", "no more than so many"),
    ("e < 1", "no more than so many"),
    ("e < 4", "no more than so many"),
    ("e <= 3", "no more than so many"),
    ("3 > e", "no more than so many"),
    ("e >= 0", "no more than so many"),
    ("e > -1", "no more than so many"),
    ("e > 3", "4 of 3 attestors cannot be"),
    ("e == 4", "no more than so many"),
    ("e > 0.5", "only be compared with a whole number"),
    ("e > e", "counted and compared with a number"),
    (
        "!(e > 0)",
        "cannot be demanded that somebody has not signed",
    ),
    (
        "(e > 0) == false",
        "cannot be demanded that somebody has not signed",
    ),
    (
        "(e > 0) != true",
        "cannot be demanded that somebody has not signed",
    ),
    (
        "e > 0 ? false : true",
        "cannot be demanded that somebody has not signed",
    ),
    ("e", "how many have signed is neither true nor false"),
    ("string(e) == '1'", "the function `string` is not supported"),
    ("e + 1 > 1", "counted and compared with a number"),
];

/// `e` stands for how many of a, b and c have signed.
#[test]
fn counts() {
    for &(condition, expected) in COUNTS {
        let list = "[attestors.a, attestors.b, attestors.c]";
        let counts = format!("images.containers.map(image, verifyImageSignatures(image, {list}))");
        assert_eq!(
            demanded(&[&format!("{counts}.all(e, {condition})")]),
            expected,
            "{condition}"
        );
    }
    assert_eq!(
        demanded(&[
            "images.containers.all(image, verifyImageSignatures(image, [attestors.a]) + \
                    verifyImageSignatures(image, [attestors.b]) > 1)"
        ]),
        "all(awskms:///alias/a awskms:///alias/b)"
    );
    for &(condition, message) in NO_COUNTS {
        let list = "[attestors.a, attestors.b, attestors.c]";
        let counts = format!("images.containers.map(image, verifyImageSignatures(image, {list}))");
        let refusal = refused(&[&format!("{counts}.all(e, {condition})")]);
        assert!(refusal.contains(message), "{condition}: {refusal}");
        assert!(
            refusal.starts_with("spec.validations[0].expression"),
            "{refusal}"
        );
    }
}

/// `A`, `B` and `C` stand for a signature of each.
#[test]
fn connectives() {
    for (condition, expected) in [
        ("A && B", "all(awskms:///alias/a awskms:///alias/b)"),
        ("A || B", "any(awskms:///alias/a awskms:///alias/b)"),
        ("A && A", "awskms:///alias/a"),
        (
            "A && (B || C)",
            "all(awskms:///alias/a any(awskms:///alias/b awskms:///alias/c))",
        ),
        (
            "A || B && C",
            "any(awskms:///alias/a all(awskms:///alias/b awskms:///alias/c))",
        ),
        ("A ? B : false", "all(awskms:///alias/a awskms:///alias/b)"),
        ("A ? true : B", "any(awskms:///alias/a awskms:///alias/b)"),
        ("true ? A : B", "awskms:///alias/a"),
        ("1 > 2 ? A : B", "awskms:///alias/b"),
        ("A && true", "awskms:///alias/a"),
        ("false || A", "awskms:///alias/a"),
        // What is never evaluated is never looked at.
        ("true && A || false && object.x", "awskms:///alias/a"),
        ("!!true && A", "awskms:///alias/a"),
    ] {
        let condition = ["A", "B", "C"]
            .iter()
            .fold(condition.to_owned(), |condition, name| {
                let signed = format!(
                    "verifyImageSignatures(image, [attestors.{}]) > 0",
                    name.to_lowercase()
                );
                condition.replace(name, &format!("({signed})"))
            });
        let validation = format!("images.containers.all(image, {condition})");
        assert_eq!(demanded(&[&validation]), expected, "{validation}");
    }
}

#[test]
fn all_validations_must_be_true() {
    let signed = |by: &str| {
        format!("images.containers.all(image, verifyImageSignatures(image, [attestors.{by}]) > 0)")
    };
    assert_eq!(
        demanded(&[&signed("a"), "true", &signed("b"), &signed("a")]),
        "all(awskms:///alias/a awskms:///alias/b)"
    );
    let (_, warnings) = demanded_with("", &[&signed("a"), "true"]);
    assert!(
        warnings.iter().any(|it| it.contains("demands nothing")),
        "{warnings:?}"
    );
}

#[test]
fn variables_stand_for_their_expressions() {
    let variables = "  variables:
    - {name: by, expression: '[attestors.a, attestors.b]'}
    - {name: images, expression: 'images.containers + images.initContainers'}
    - {name: counts, expression: 'variables.images.map(image, verifyImageSignatures(image, variables.by))'}
    - {name: unused, expression: object.spec.x}
";
    let (requirement, warnings) = demanded_with(variables, &["variables.counts.all(e, e > 1)"]);
    assert_eq!(
        words(&requirement),
        "all(awskms:///alias/a awskms:///alias/b)"
    );
    assert_eq!(warnings, Vec::<String>::new());
    let refusal = refused_with(
        variables,
        &["variables.unused == 1 && variables.counts.all(e, e > 1)"],
    );
    assert!(
        refusal.contains("in `variables.unused`: `object` is not known at a pull (character 1)"),
        "{refusal}"
    );
}

#[test]
fn a_variable_sees_only_what_is_defined_before_it() {
    let variables = "  variables:
    - {name: one, expression: variables.two}
    - {name: two, expression: 'true'}
";
    let refusal = refused_with(variables, &["variables.one"]);
    assert!(
        refusal.contains("no `two` is defined under `variables`"),
        "{refusal}"
    );
    let itself = "  variables: [{name: one, expression: variables.one}]\n";
    let refusal = refused_with(itself, &["variables.one"]);
    assert!(
        refusal.contains("no `one` is defined under `variables`"),
        "{refusal}"
    );
    // Nothing of the place where it is used.
    let image =
        "  variables: [{name: one, expression: 'verifyImageSignatures(image, [attestors.a])'}]\n";
    let refusal = refused_with(image, &["images.containers.all(image, variables.one > 0)"]);
    assert!(refusal.contains("`image` is not known"), "{refusal}");
}

#[test]
fn attestations() {
    let by = |function: &str| format!("images.containers.map(image, {function}).all(e, e > 0)");
    for (validation, expected) in [
        (
            by("verifyAttestationSignatures(image, attestations.sbom, [attestors.a])"),
            "any https://cyclonedx.org/bom by awskms:///alias/a",
        ),
        (
            by(
                "verifyAttestationSignatures(image, attestations['sbom'], [attestors.a, attestors.b])",
            ),
            "any https://cyclonedx.org/bom by awskms:///alias/a|awskms:///alias/b",
        ),
        (
            by("verifyAttestationSignatures(image, 'sbom', [attestors.i])"),
            "any https://cyclonedx.org/bom by one@b.example@https://i.example|two@b.example@https://i.example",
        ),
        (
            by("verifyAttestationSignatures(image, attestations.short, [attestors.a])"),
            "any https://openvex.dev/ns by awskms:///alias/a",
        ),
        (
            "images.containers.all(image, verifyAttestationSignatures(image, attestations.sbom, \
             [attestors.a, attestors.b]) == 2)"
                .to_owned(),
            "all(any https://cyclonedx.org/bom by awskms:///alias/a any https://cyclonedx.org/bom by awskms:///alias/b)",
        ),
    ] {
        assert_eq!(demanded(&[&validation]), expected, "{validation}");
    }
}

#[test]
fn different_demands_of_different_lists_are_pointed_out() {
    let signed = |list: &str, by: &str| {
        format!("images.{list}.all(image, verifyImageSignatures(image, [attestors.{by}]) > 0)")
    };
    let (requirement, warnings) = demanded_with(
        "",
        &[&signed("containers", "a"), &signed("initContainers", "b")],
    );
    assert_eq!(
        words(&requirement),
        "all(awskms:///alias/a awskms:///alias/b)"
    );
    assert!(
        warnings
            .iter()
            .any(|it| it.contains("what an image is pulled for is not known"))
    );
    let both = format!(
        "{} && {}",
        signed("containers", "a"),
        signed("initContainers", "b")
    );
    let (_, warnings) = demanded_with("", &[&both]);
    assert!(
        warnings
            .iter()
            .any(|it| it.contains("what an image is pulled for is not known"))
    );
    let (_, warnings) = demanded_with(
        "",
        &[&signed("containers", "a"), &signed("containers", "b")],
    );
    assert_eq!(warnings, Vec::<String>::new());
}
