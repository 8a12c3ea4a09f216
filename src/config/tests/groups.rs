//! Groups among `authorities`: good and bad spellings, and what each says.

use super::requirements::policy;
use super::*;

/// The members' names, `all(…)`, `any(…)`, `2 of(…)`.
fn words(requirement: &Requirement) -> String {
    let list = |of: &[Requirement]| of.iter().map(words).collect::<Vec<_>>().join(", ");
    match requirement {
        Requirement::Signature(signature) => {
            let annotations = signature.annotations.len();
            let name = &signature.authority.name;
            match annotations {
                0 => name.clone(),
                _ => format!("{name}+{annotations}"),
            }
        }
        Requirement::Attestation(attestation) => {
            let names: Vec<_> = attestation.authorities.iter().map(|it| &*it.name).collect();
            format!("attested by {}", names.join("|"))
        }
        Requirement::All(of) => format!("all({})", list(of)),
        Requirement::Any(of) => format!("any({})", list(of)),
        Requirement::AtLeast { count, of } => format!("{count} of({})", list(of)),
        Requirement::Signers { count, of } => {
            let names: Vec<_> = of.iter().map(|it| it.authority.name.as_str()).collect();
            format!("{count} signers({})", names.join(", "))
        }
        Requirement::Nothing | Requirement::Refusal { .. } => panic!("{requirement:?}"),
    }
}

fn loaded(directory: &Directory, text: &str) -> String {
    let config = directory
        .load(&policy(text))
        .unwrap_or_else(|problems| panic!("{text}: {problems}"));
    words(&config.policies.policies[0].requirement)
}

const A: &str = "{name: a, key: a.pub}";
const B: &str = "{name: b, key: b.pub}";
const C: &str = "{name: c, certificate_identity: x, certificate_oidc_issuer: y}";

#[test]
fn groups_are_read_as_written() {
    let directory = Directory::new();
    for (text, expected) in [
        (format!("authorities: [{A}]"), "1 signers(a)"),
        (
            format!("authorities: [{A}, {B}], threshold: 2"),
            "2 signers(a, b)",
        ),
        // Of the members of the list one suffices, as without groups.
        (
            format!("authorities: [{A}, {{all: [{B}, {C}]}}]"),
            "any(a, all(b, c))",
        ),
        (
            format!("authorities: [{{any: [{A}, {B}]}}]"),
            "any(any(a, b))",
        ),
        (
            format!("authorities: [{{at_least: 2, of: [{A}, {B}, {C}]}}]"),
            "any(2 of(a, b, c))",
        ),
        (
            format!("authorities: [{{of: [{A}], at_least: 1}}]"),
            "any(1 of(a))",
        ),
        (
            format!("authorities: [{{all: [{A}, {{any: [{B}, {{at_least: 1, of: [{C}]}}]}}]}}]"),
            "any(all(a, any(b, 1 of(c))))",
        ),
        (
            format!("authorities: [{A}, {{all: [{B}]}}], annotations: {{x: y}}"),
            "any(a+1, all(b+1))",
        ),
        // An attestation without its own takes any authority of the policy, wherever it stands.
        (
            format!("authorities: [{{all: [{A}, {B}]}}], attestations: [{{predicate_type: spdx}}]"),
            "all(any(all(a, b)), attested by a|b)",
        ),
    ] {
        assert_eq!(loaded(&directory, &text), expected, "{text}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn groups_that_cannot_be_meant_do_not_load() {
    let directory = Directory::new();
    let deep = |levels: usize| {
        let (open, close) = ("{all: [".repeat(levels), "]}".repeat(levels));
        format!("authorities: [{open}{A}{close}]")
    };
    loaded(&directory, &deep(8));
    for (text, part) in [
        (
            format!("authorities: [{{at_least: 0, of: [{A}]}}]"),
            "0 of 1 members cannot be",
        ),
        (
            format!("authorities: [{{at_least: 3, of: [{A}, {B}]}}]"),
            "3 of 2 members cannot be",
        ),
        (
            format!("authorities: [{{at_least: two, of: [{A}, {B}]}}]"),
            "invalid digit",
        ),
        (
            format!("authorities: [{{at_least: -1, of: [{A}, {B}]}}]"),
            "invalid digit",
        ),
        (
            format!("authorities: [{{of: [{A}, {B}]}}]"),
            "no group of a known form",
        ),
        (
            "authorities: [{at_least: 1}]".to_owned(),
            "no group of a known form",
        ),
        (
            format!("authorities: [{{all: [{A}], any: [{B}]}}]"),
            "no group of a known form",
        ),
        (
            format!("authorities: [{{all: [{A}], at_least: 1, of: [{B}]}}]"),
            "no group of a known form",
        ),
        (
            format!("authorities: [{{all: [{A}], threshold: 1}}]"),
            "threshold",
        ),
        (
            format!("authorities: [{{all: [{A}], name: group}}]"),
            "name",
        ),
        (format!("authorities: [{{none: [{A}]}}]"), "none"),
        ("authorities: [{all: []}]".to_owned(), "lets nobody vouch"),
        ("authorities: [{any: []}]".to_owned(), "lets nobody vouch"),
        (
            "authorities: [{at_least: 1, of: []}]".to_owned(),
            "lets nobody vouch",
        ),
        ("authorities: [{all: a.pub}]".to_owned(), "list"),
        (deep(9), "nested more than 8 deep"),
        (
            format!("authorities: [{A}, {{all: [{B}]}}], threshold: 1"),
            "`threshold` counts authorities, and some of these are groups",
        ),
        (
            format!("authorities: [{A}, {{all: [{{name: a, key: b.pub}}]}}]"),
            "`a` is the name of two authorities",
        ),
        (
            format!("attestations: [{{predicate_type: spdx, authorities: [{{all: [{A}, {B}]}}]}}]"),
            "an attestation is vouched for by one authority, not by a group",
        ),
    ] {
        let problems = directory.problems(&policy(&text));
        assert!(
            problems.iter().any(|problem| problem.contains(part)),
            "{text}: {problems:?}"
        );
    }
}

#[test]
fn a_group_that_can_never_be_met_is_warned_about() {
    let directory = Directory::new();
    let twice = "{name: d, key: a.pub}";
    let warnings = directory.warnings(&policy(&format!(
        "authorities: [{{at_least: 2, of: [{A}, {twice}]}}]"
    )));
    assert!(
        warnings.len() == 1 && warnings[0].contains("can never be met: 2 of 1"),
        "{warnings:?}"
    );
    let met = policy(&format!("authorities: [{{at_least: 2, of: [{A}, {B}]}}]"));
    assert_eq!(directory.warnings(&met), [""; 0]);
}

#[test]
fn hashes_follow_the_structure_of_groups() {
    let directory = Directory::new();
    let hash = |text: &str| {
        let config = directory.load(&policy(text)).unwrap();
        config.policies.policies[0].hash
    };
    let texts = [
        format!("authorities: [{A}, {B}, {C}]"),
        format!("authorities: [{{all: [{A}, {B}, {C}]}}]"),
        format!("authorities: [{{any: [{A}, {B}, {C}]}}]"),
        format!("authorities: [{{at_least: 1, of: [{A}, {B}, {C}]}}]"),
        format!("authorities: [{{at_least: 2, of: [{A}, {B}, {C}]}}]"),
        format!("authorities: [{{all: [{A}, {{any: [{B}, {C}]}}]}}]"),
        format!("authorities: [{{all: [{{any: [{A}, {B}]}}, {C}]}}]"),
    ];
    let hashes: std::collections::HashSet<_> = texts.iter().map(|text| hash(text)).collect();
    assert_eq!(hashes.len(), texts.len());
    let spaced = format!("authorities:   [{{  of: [ {A}, {B}, {C} ], at_least: 2 }}]");
    assert_eq!(hash(&spaced), hash(&texts[4]));
}
