//! Parts about different lists of images, or decided by names, which only `&&` may join.

use super::*;

/// Parts that the validations below are made of, by the letter that stands for each.
const PARTS: &[(&str, &str)] = &[
    (
        "A",
        "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
    ),
    (
        "B",
        "images.initContainers.all(j, verifyImageSignatures(j, [attestors.b]) > 0)",
    ),
    (
        "N",
        "images.containers.all(i, i.startsWith('ghcr.io/org/a'))",
    ),
    (
        "X",
        "images.containers.all(i, extractPayload(i, attestations.sbom).predicate.x == 1)",
    ),
    (
        "Y",
        "images.initContainers.all(j, extractPayload(j, attestations.sbom).predicate.y == 2)",
    ),
    (
        "Z",
        "images.containers.all(i, extractPayload(i, attestations.sbom).predicate.z == 3)",
    ),
];

/// What makes the payloads of `X`, `Y` and `Z` known.
const VOUCHED: &str = "images.containers.all(i, verifyAttestationSignatures(i, attestations.sbom, [attestors.a]) > 0)";

/// A validation in which each of [`PARTS`] that stands between `<` and `>` is written out.
fn written_out(validation: &str) -> String {
    PARTS
        .iter()
        .fold(validation.to_owned(), |validation, (letter, part)| {
            validation.replace(&format!("<{letter}>"), &format!("({part})"))
        })
}

#[test]
fn parts_about_different_lists_are_refused_in_every_form_of_a_disjunction() {
    for validation in [
        "<A> || <B>",
        "[<A>, <B>].exists(b, b)",
        "[<A>, <B>].exists(b, b == true)",
        "[<A>].exists(a, a || <B>)",
        "[<A>].all(a, a || <B>)",
        "[<A>].map(a, a ? true : <B>).all(e, e)",
        "[[<A>], [<B>]].exists(l, l.all(e, e))",
        "([<A>] + [<B>]).exists(b, b)",
        "<A> ? true : <B>",
        "<A> ? <A> : <B>",
        "[<A>, <B>].filter(b, b).size() > 0",
        "[<A>, <B>].exists_one(b, b)",
        "true in [<A>, <B>]",
        "!(!<A> && !<B>)",
        "images.containers.all(i, images.initContainers.all(j, verifyImageSignatures(i, [attestors.a]) > 0 || \
         verifyImageSignatures(j, [attestors.b]) > 0))",
        "verifyImageSignatures(images.containers[0], [attestors.a]) + \
         verifyImageSignatures(images.initContainers[0], [attestors.b]) > 0",
        "[images.containers, images.initContainers].exists(l, l.all(i, verifyImageSignatures(i, [attestors.a]) > 0))",
        "<X> || <Y>",
        "[<X>, <Y>].exists(b, b)",
        "[<X>, <Y>].exists_one(b, b)",
        "[<X>, <Y>].filter(b, b).size() > 0",
        "size([<X>, <Y>].filter(b, b)) > 0",
        "true in [<X>, <Y>]",
        "<X> == <Y>",
        "<X> != <Y>",
        "[<X>, <Y>] == [true, false]",
        "[<X>, <Y>] != [false, false]",
        "!(!<X> && !<Y>)",
        "!(<X> && <Y>)",
        "![<X>, <Y>].all(b, b)",
        "![<X>, <Y>].all(b, !b)",
        "(<X> ? 1 : 0) + (<Y> ? 1 : 0) > 0",
        "(<X> ? 'a' : '') + (<Y> ? 'a' : '') != ''",
        "{'x': <X>, 'y': <Y>}['x']",
        "images.containers.map(i, <X> && <Y>).exists(e, !e)",
        "extractPayload(images.containers[0], attestations.sbom).predicate.l.exists(m, m == \
         extractPayload(images.initContainers[0], attestations.sbom).predicate.n)",
    ] {
        // The message says it, or that signatures cannot be used in this form at all.
        refused(&[VOUCHED, &written_out(validation)]);
    }
    for validation in ["[<A>, <B>].exists(b, b)", "<X> == <Y>", "!(<X> && <Y>)"] {
        let refusal = refused(&[VOUCHED, &written_out(validation)]);
        assert!(
            refusal.contains("of one list of images, or else of another"),
            "{validation}: {refusal}"
        );
    }
}

#[test]
fn what_names_decide_is_refused_in_every_form_of_a_disjunction() {
    for validation in [
        "<N> || <A>",
        "[<N>, <A>].exists(b, b)",
        "[<N>].exists(n, n || <A>)",
        "[<A>].exists(a, a || <N>)",
        "[<N>, <A>].filter(b, b).size() > 0",
        "![<N>, images.containers.all(i, i.contains('x'))].all(b, b)",
        "images.containers.map(i, <N>).exists(e, e || <A>)",
    ] {
        let refusal = refused(&[&written_out(validation)]);
        assert!(
            refusal.contains("which images a Pod has"),
            "{validation}: {refusal}"
        );
    }
}

#[test]
fn a_variable_carries_the_lists_that_it_is_about() {
    let variables = "  variables:
    - {name: l, expression: '[images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0), \
                     images.initContainers.all(i, verifyImageSignatures(i, [attestors.b]) > 0)]'}
";
    let refusal = refused_with(variables, &["variables.l.exists(b, b)"]);
    assert!(
        refusal.contains("of one list of images, or else of another"),
        "{refusal}"
    );
    let (requirement, _) = demanded_with(variables, &["variables.l.all(b, b)"]);
    assert_eq!(
        words(&requirement),
        "all(awskms:///alias/a awskms:///alias/b)"
    );
}

#[test]
fn a_conjunction_of_parts_about_different_lists_is_demanded_in_every_form() {
    let both = "all(awskms:///alias/a awskms:///alias/b)";
    for (validation, expected) in [
        ("<A> && <B>", both),
        ("[<A>, <B>].all(b, b)", both),
        ("([<A>] + [<B>]).all(b, b)", both),
        ("[<A>].all(a, a && <B>)", both),
        ("[<A>, <B>].map(b, b).all(e, e)", both),
        (
            "images.containers.all(i, images.initContainers.all(j, verifyImageSignatures(i, [attestors.a]) > 0 && \
             verifyImageSignatures(j, [attestors.b]) > 0))",
            both,
        ),
        (
            "[images.containers, images.initContainers].all(l, l.all(i, verifyImageSignatures(i, [attestors.a]) > 0))",
            "awskms:///alias/a",
        ),
        (
            "(images.containers + images.initContainers).all(i, verifyImageSignatures(i, [attestors.a]) > 0 || \
             verifyImageSignatures(i, [attestors.b]) > 0)",
            "any(awskms:///alias/a awskms:///alias/b)",
        ),
        // Both sides are about the same images.
        (
            "[<A>, images.containers.all(i, verifyImageSignatures(i, [attestors.b]) > 0)].exists(b, b)",
            "any(awskms:///alias/a awskms:///alias/b)",
        ),
    ] {
        assert_eq!(
            demanded(&[&written_out(validation)]),
            expected,
            "{validation}"
        );
    }
    let (_, warnings) = demanded_with("", &[&written_out("[<A>, <B>].all(b, b)")]);
    assert!(
        warnings
            .iter()
            .any(|it| it.contains("what an image is pulled for is not known")),
        "{warnings:?}"
    );
    for payloads in [
        "<X> && <Y>",
        "[<X>, <Y>].all(b, b)",
        "<X> == <Z>",
        "true in [<X>, <Z>]",
    ] {
        demanded(&[VOUCHED, &written_out(payloads)]);
    }
}
