//! Validations that are for some names of images.

use super::*;
use crate::policy::Tags;

/// The policies with these validations: what each requires, and of which of these images.
fn by_name(validations: &[&str], images: &[&str]) -> Vec<(String, Vec<String>)> {
    let text = document("", validations);
    let (policies, reader) = load(&text);
    assert!(reader.problems.is_empty(), "{:#?}\n{text}", reader.problems);
    let policies = policies.iter().map(|policy| {
        let covered = images.iter().filter(|image| {
            let name = image.parse().unwrap();
            policy.coverage.covers(&name, &Tags::default())
        });
        let requirement = if matches!(policy.requirement, Requirement::Refusal { .. }) {
            "refused".to_owned()
        } else {
            words(&policy.requirement)
        };
        (requirement, covered.map(|it| (*it).to_owned()).collect())
    });
    policies.collect()
}

const APP: &str = "ghcr.io/org/app";
const TOOL: &str = "ghcr.io/org/tool";
const OTHER: &str = "ghcr.io/other/app";

fn key(name: &str) -> String {
    format!("awskms:///alias/{name}")
}

#[test]
fn each_name_must_satisfy_the_validations_that_are_for_it() {
    for validations in [
        &[
            "images.containers.filter(i, i.startsWith('ghcr.io/org/app')).map(i, verifyImageSignatures(i, [attestors.a])).all(e, e > 0)",
            "images.containers.filter(i, !i.startsWith('ghcr.io/org/app')).map(i, verifyImageSignatures(i, [attestors.b])).all(e, e > 0)",
        ][..],
        &[
            "images.containers.all(i, i.startsWith('ghcr.io/org/app') ? verifyImageSignatures(i, [attestors.a]) > 0 : verifyImageSignatures(i, [attestors.b]) > 0)",
        ],
        &[
            "images.containers.all(i, !i.startsWith('ghcr.io/org/app') || verifyImageSignatures(i, [attestors.a]) > 0)",
            "images.containers.all(i, parseImageReference(i).repository().startsWith('org/app') || verifyImageSignatures(i, [attestors.b]) > 0)",
        ],
        &[
            "(images.containers + images.?initContainers.orValue([])).filter(i, i.contains('/org/app')).all(i, verifyImageSignatures(i, [attestors.a]) > 0) \
           && images.containers.filter(i, !i.contains('/org/app')).all(i, verifyImageSignatures(i, [attestors.b]) > 0)",
        ],
        &[
            "images.containers.all(i, ['ghcr.io/org/app', 'ghcr.io/org/application'].exists(p, i.startsWith(p)) ? verifyImageSignatures(i, [attestors.a]) > 0 \
           : verifyImageSignatures(i, [attestors.b]) > 0)",
        ],
        &[
            "images.containers.all(i, i.matches('^ghcr\\\\.io/org/app') ? verifyImageSignatures(i, [attestors.a]) > 0 : verifyImageSignatures(i, [attestors.b]) > 0)",
        ],
    ] {
        let found = by_name(validations, &[APP, TOOL, OTHER]);
        let of = |image: &str| {
            let covering = found
                .iter()
                .filter(|(_, images)| images.iter().any(|it| it == image));
            covering.map(|(words, _)| words.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(APP), [key("a")], "{validations:?}");
        assert_eq!(of(TOOL), [key("b")], "{validations:?}");
        // `matchImageReferences` is for `ghcr.io/org/*` alone.
        assert_eq!(of(OTHER), [""; 0], "{validations:?}");
    }
}

#[test]
fn a_name_of_which_nothing_is_demanded_is_covered_by_nothing() {
    let filtered = "images.containers.filter(i, i.startsWith('ghcr.io/org/app')).all(i, verifyImageSignatures(i, [attestors.a]) > 0)";
    let found = by_name(&[filtered], &[APP, TOOL]);
    assert_eq!(found, [(key("a"), vec![APP.to_owned()])]);
}

#[test]
fn a_name_that_a_validation_excludes_is_refused() {
    for validation in [
        "images.containers.all(i, i.startsWith('ghcr.io/org/app'))",
        "images.containers.map(i, parseImageReference(i).repository() == 'org/app').all(e, e)",
        "!images.containers.exists(i, i.startsWith('ghcr.io/org/tool'))",
    ] {
        let signed = "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)";
        let found = by_name(&[validation, signed], &[APP, TOOL]);
        let of = |image: &str| {
            let covering = found
                .iter()
                .filter(|(_, images)| images.iter().any(|it| it == image));
            covering.map(|(words, _)| words.clone()).collect::<Vec<_>>()
        };
        assert_eq!(of(APP), [key("a")], "{validation}");
        assert_eq!(of(TOOL), ["refused"], "{validation}");
    }
}

#[test]
fn policies_for_names_are_numbered_and_say_for_which_they_are() {
    let text = document(
        "",
        &[
            "images.containers.all(i, i.startsWith('ghcr.io/org/app') ? verifyImageSignatures(i, [attestors.a]) > 0 : verifyImageSignatures(i, [attestors.b]) > 0)",
        ],
    );
    let (policies, _) = load(&text);
    let shown: Vec<_> = policies
        .iter()
        .map(|it| (it.name.as_str(), it.coverage.patterns()))
        .collect();
    let starts = "image.startsWith(\"ghcr.io/org/app\")";
    assert_eq!(
        shown,
        [
            ("p#1", vec![format!("ghcr.io/org/* where {starts}")]),
            ("p#2", vec![format!("ghcr.io/org/* where !({starts})")]),
        ]
    );
    assert_ne!(policies[0].hash, policies[1].hash);
}

#[test]
fn a_demand_for_digests_is_left_to_the_proxy() {
    let signed = "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)";
    for digest in [
        "images.containers.map(image, image.contains('@sha256:')).all(e, e)",
        "images.containers.all(i, parseImageReference(i).containsDigest())",
        "images.containers.all(i, i.matches('@sha256:[a-f0-9]{64}$'))",
        "images.containers.all(i, i.matches('^.+@sha256:[0-9a-f]+$'))",
    ] {
        let (requirement, warnings) = demanded_with("", &[digest, signed]);
        assert_eq!(words(&requirement), key("a"), "{digest}");
        assert!(
            warnings
                .iter()
                .any(|it| it.contains("pulls by tag are not refused")),
            "{warnings:?}"
        );
        // Alone, it demands nothing that a pull can be asked for.
        assert!(
            refused(&[digest]).contains("demand no signature"),
            "{digest}"
        );
    }
    let both = "images.containers.all(i, i.matches('@sha256:[a-f0-9]{64}$') && verifyImageSignatures(i, [attestors.a]) > 0)";
    let (requirement, warnings) = demanded_with("", &[both]);
    assert_eq!(words(&requirement), key("a"));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    // A signature that only names without a digest need is demanded of all.
    let either = "images.containers.all(i, i.contains('@sha256:') || verifyImageSignatures(i, [attestors.a]) > 0)";
    let found = by_name(&[either], &[APP]);
    assert_eq!(found, [(key("a"), vec![APP.to_owned()])]);
}

#[test]
fn what_names_cannot_decide_at_a_pull_is_refused() {
    for (validation, message) in [
        // Of a Pod with two images, each would satisfy its own half.
        (
            "images.containers.all(i, i.startsWith('ghcr.io/a')) || images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
            "which images a Pod has",
        ),
        (
            "!images.containers.exists(i, i.startsWith('ghcr.io/a')) || images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
            "which images a Pod has",
        ),
        (
            "images.containers.exists(i, i.startsWith('ghcr.io/a')) ? images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0) : true",
            "which images a Pod has",
        ),
        (
            "!(images.containers.exists(i, i.startsWith('ghcr.io/a')) && images.containers.exists(i, i.startsWith('ghcr.io/b')))",
            "which images a Pod has",
        ),
        (
            "['ghcr.io/a'].all(p, images.containers.all(i, i.startsWith(p))) || images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)",
            "which images a Pod has",
        ),
        (
            "images.containers.exists_one(i, i.startsWith('ghcr.io/a'))",
            "which images a Pod has",
        ),
        (
            "size(images.containers.filter(i, i.startsWith('ghcr.io/a'))) <= 1",
            "which other images a Pod has",
        ),
        // Which tag a Pod names is not always known.
        (
            "images.containers.all(i, !i.endsWith(':latest') && verifyImageSignatures(i, [attestors.a]) > 0)",
            "no image is refused for it",
        ),
        (
            "images.containers.all(i, i.matches('^ghcr[.]io/org/[a-z]+@sha256:[a-f0-9]{64}$'))",
            "no image is refused for it",
        ),
        (
            "images.containers.all(i, i == 'ghcr.io/org/' + i)",
            "the name of the image",
        ),
    ] {
        let refusal = refused(&[validation]);
        assert!(refusal.contains(message), "{validation}: {refusal}");
    }
}

#[test]
fn too_many_questions_about_names_are_refused() {
    let validations: Vec<_> = (0..8)
        .map(|number| {
            format!("images.containers.filter(i, i.contains('/{number}/')).all(i, verifyImageSignatures(i, [attestors.a]) > 0)")
        })
        .collect();
    let validations: Vec<_> = validations.iter().map(String::as_str).collect();
    assert!(refused(&validations).contains("too many different questions"));
    // Of beginnings each excludes the others, so there are no more cases than names.
    let validations: Vec<_> = (10..30)
        .map(|number| {
            format!("images.containers.filter(i, i.startsWith('ghcr.io/org/{number}/')).all(i, verifyImageSignatures(i, [attestors.a]) > 0)")
        })
        .collect();
    let validations: Vec<_> = validations.iter().map(String::as_str).collect();
    let found = by_name(&validations, &["ghcr.io/org/17/app", APP]);
    assert_eq!(found, [(key("a"), vec!["ghcr.io/org/17/app".to_owned()])]);
}

#[test]
fn an_attestor_of_notary_is_left_out_among_others() {
    let with = |validation: &str| {
        document("", &[validation]).replace(
            "    - {name: b, ",
            "    - {name: y, notary: {certs: {value: x}}}\n    - {name: b, ",
        )
    };
    let signed =
        "images.containers.all(i, verifyImageSignatures(i, [attestors.y, attestors.a]) > 0)";
    let (policies, reader) = load(&with(signed));
    assert_eq!(reader.problems, []);
    assert_eq!(words(&policies[0].requirement), key("a"));
    let named = |name| reader.warnings.iter().any(|it| it.name == Some(name));
    assert!(named(WarningName::NotaryLeftOut));
    // One that no validation asks for is only noted.
    let unused = "images.containers.all(i, verifyImageSignatures(i, [attestors.a]) > 0)";
    let (policies, reader) = load(&with(unused));
    assert_eq!((policies.len(), reader.problems.len()), (1, 0));
    assert!(
        reader
            .notes
            .iter()
            .any(|it| it.message.contains("`y` is one of Notary"))
    );
    // Where it would have to vouch, the policy is refused.
    for validation in [
        "images.containers.all(i, verifyImageSignatures(i, [attestors.y]) > 0)",
        "images.containers.all(i, verifyImageSignatures(i, [attestors.y, attestors.a]) > 1)",
        "images.containers.all(i, verifyImageSignatures(i, [attestors.y, attestors.a]) == 2)",
    ] {
        let (policies, reader) = load(&with(validation));
        assert!(policies.is_empty(), "{validation}");
        assert!(
            reader.problems[0].message.contains("Notary"),
            "{validation}"
        );
    }
}
