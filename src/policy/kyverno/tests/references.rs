//! `matchImageReferences`.

use super::*;
use crate::policy::kyverno::glob::Glob;
use crate::policy::kyverno::reference::{Part, ReferenceRule, Test};

fn glob(source: &str) -> ReferenceMatcher {
    ReferenceMatcher::Glob(Glob::new(source).unwrap())
}

fn rule(rule: ReferenceRule) -> ReferenceMatcher {
    ReferenceMatcher::Expression {
        source: String::new(),
        rule,
    }
}

fn whole(test: Test) -> ReferenceRule {
    ReferenceRule::Text(Part::Whole, test)
}

fn matches(source: &str) -> Test {
    Test::Matches(regex::Regex::new(source).unwrap())
}

fn covers(matcher: &ReferenceMatcher, repository: &str, tags: &[&str]) -> bool {
    let coverage = ReferenceCoverage::new(vec![matcher.clone()]);
    let tags = Tags::new(tags.iter().map(|tag| (*tag).to_owned()));
    coverage.covers(&repository.parse().unwrap(), &tags)
}

#[test]
fn a_glob_covers_what_a_pod_can_have_named() {
    let hash = "0f".repeat(32);
    let (exact, short) = (
        format!("ghcr.io/org/app@sha256:{hash}"),
        "ghcr.io/org/app@sha256:????",
    );
    for (pattern, repository, tags, covered) in [
        (&*exact, "ghcr.io/org/app", &["v1"][..], true),
        (short, "ghcr.io/org/app", &["v1"], false),
        ("ghcr.io/org/*", "ghcr.io/org/app", &[][..], true),
        ("ghcr.io/org/*", "ghcr.io/other/app", &[], false),
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app", &["v1.2"], true),
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app", &["v2"], false),
        (
            "ghcr.io/org/app:v1*",
            "ghcr.io/org/app",
            &["v2", "v1"],
            true,
        ),
        // A digest without a known tag may have been asked for under any.
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app", &[], true),
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app2", &[], false),
        ("ghcr.io/org/app:v1@*", "ghcr.io/org/app", &["v1"], true),
        ("ghcr.io/org/app:v1@*", "ghcr.io/org/app", &["v2"], false),
        ("ghcr.io/org/app:v1@*", "ghcr.io/org/app", &[], true),
        ("ghcr.io/org/app@sha256:*", "ghcr.io/org/app", &["v1"], true),
        (
            "ghcr.io/org/app@sha384:*",
            "ghcr.io/org/app",
            &["v1"],
            false,
        ),
        // A name without a tag is that of `latest`.
        ("ghcr.io/org/app", "ghcr.io/org/app", &[], true),
        ("ghcr.io/org/app", "ghcr.io/org/app", &["latest"], true),
        ("ghcr.io/org/app", "ghcr.io/org/app", &["v1"], false),
        ("ghcr.io/org/app:[0-9]*", "ghcr.io/org/app", &["v1"], false),
        ("ghcr.io/org/app:[0-9]*", "ghcr.io/org/app", &["1"], true),
        ("ghcr.io/org/app:[/@]", "ghcr.io/org/app", &[], false),
        ("ghcr.io/org/app:/*", "ghcr.io/org/app", &[], false),
        // Docker Hub, as Pods write it.
        ("nginx", "docker.io/library/nginx", &[], true),
        ("nginx:1*", "docker.io/library/nginx", &["1.27"], true),
        (
            "library/nginx:*",
            "docker.io/library/nginx",
            &["1.27"],
            true,
        ),
        (
            "docker.io/nginx:*",
            "docker.io/library/nginx",
            &["1.27"],
            true,
        ),
        (
            "docker.io/kyverno/kyverno*",
            "docker.io/kyverno/kyverno",
            &["v1"],
            true,
        ),
        ("kyverno/*", "docker.io/kyverno/kyverno", &[], true),
        ("kyverno/*", "ghcr.io/kyverno/kyverno", &[], false),
    ] {
        assert_eq!(
            covers(&glob(pattern), repository, tags),
            covered,
            "{pattern} {repository} {tags:?}"
        );
    }
}

fn registry(name: &str) -> ReferenceRule {
    ReferenceRule::Text(Part::Registry, Test::Equals(name.to_owned()))
}

fn tag(text: &str) -> ReferenceRule {
    ReferenceRule::Text(Part::Tag, Test::Equals(text.to_owned()))
}

fn equals(text: &str) -> ReferenceRule {
    whole(Test::Equals(text.to_owned()))
}

fn starts(text: &str) -> ReferenceRule {
    whole(Test::StartsWith(text.to_owned()))
}

fn not(rule: ReferenceRule) -> ReferenceRule {
    ReferenceRule::Not(Box::new(rule))
}

fn assert_covers(cases: &[(ReferenceRule, &str, &[&str], bool)]) {
    for (case, repository, tags, covered) in cases {
        let matcher = rule(case.clone());
        assert_eq!(
            covers(&matcher, repository, tags),
            *covered,
            "{matcher:?} {repository} {tags:?}"
        );
    }
}

#[test]
fn an_expression_covers_what_it_may_be_true_of() {
    assert_covers(&[
        (registry("ghcr.io"), "ghcr.io/org/app", &[], true),
        (registry("ghcr.io"), "quay.io/org/app", &[], false),
        (
            registry("index.docker.io"),
            "docker.io/library/nginx",
            &[],
            true,
        ),
        (
            ReferenceRule::Text(Part::Repository, Test::Equals("library/nginx".to_owned())),
            "docker.io/library/nginx",
            &[],
            true,
        ),
        (starts("ghcr.io/org/"), "ghcr.io/org/app", &[], true),
        (starts("ghcr.io/org/"), "ghcr.io/other/app", &[], false),
        (starts("ghcr.io/org/app:v1"), "ghcr.io/org/app", &[], true),
        (
            starts("ghcr.io/org/app:v1"),
            "ghcr.io/org/app",
            &["v2"],
            false,
        ),
        (not(starts("ghcr.io/org/")), "ghcr.io/org/app", &[], false),
        (not(starts("ghcr.io/org/")), "ghcr.io/other/app", &[], true),
        (equals("ghcr.io/org/app:v1"), "ghcr.io/org/app", &[], true),
        (
            equals("ghcr.io/org/app:v1"),
            "ghcr.io/org/app",
            &["v2"],
            false,
        ),
        (equals("ghcr.io/org/app:v1"), "ghcr.io/org/web", &[], false),
        // Also where it is not equal: the digest is not.
        (
            not(equals("ghcr.io/org/app:v1")),
            "ghcr.io/org/app",
            &["v1"],
            true,
        ),
        (tag("v1"), "ghcr.io/org/app", &["v1"], true),
        (tag("v1"), "ghcr.io/org/app", &["v2"], false),
        (tag("v1"), "ghcr.io/org/app", &[], true),
        (ReferenceRule::HasDigest, "ghcr.io/org/app", &["v1"], true),
        (
            not(ReferenceRule::HasDigest),
            "ghcr.io/org/app",
            &["v1"],
            true,
        ),
        (ReferenceRule::Constant(true), "ghcr.io/org/app", &[], true),
        (
            ReferenceRule::Constant(false),
            "ghcr.io/org/app",
            &[],
            false,
        ),
        (
            ReferenceRule::All(vec![registry("ghcr.io"), tag("v1")]),
            "ghcr.io/org/app",
            &["v2"],
            false,
        ),
        (
            ReferenceRule::Any(vec![registry("ghcr.io"), tag("v1")]),
            "ghcr.io/org/app",
            &["v2"],
            true,
        ),
    ]);
}

#[test]
fn an_expression_over_what_is_not_known_may_be_true() {
    assert_covers(&[
        (tag("latest"), "ghcr.io/org/app", &["latest"], true),
        (
            whole(matches("^ghcr\\.io/org/")),
            "ghcr.io/org/app",
            &[],
            true,
        ),
        (
            whole(matches("^ghcr\\.io/org/")),
            "quay.io/org/app",
            &[],
            false,
        ),
        (
            whole(matches("^ghcr\\.io/org/.*:v1$")),
            "ghcr.io/org/app",
            &["v2"],
            true,
        ),
        (
            whole(matches("^ghcr\\.iox?/org/")),
            "ghcr.io/org/app",
            &[],
            true,
        ),
        // Nothing says where it begins.
        (
            whole(matches("ghcr\\.io/org/")),
            "quay.io/org/app",
            &[],
            true,
        ),
        (whole(matches("^a|^quay")), "quay.io/org/app", &[], true),
        (
            whole(Test::Contains("/org/".to_owned())),
            "ghcr.io/org/app",
            &[],
            true,
        ),
        (
            whole(Test::Contains("/other/".to_owned())),
            "ghcr.io/org/app",
            &[],
            false,
        ),
        (
            whole(Test::Contains("app:v".to_owned())),
            "ghcr.io/org/app",
            &[],
            true,
        ),
        (
            whole(Test::EndsWith(":v1".to_owned())),
            "ghcr.io/org/app",
            &[],
            true,
        ),
        (
            whole(Test::EndsWith(":v1".to_owned())),
            "ghcr.io/org/app",
            &["v2"],
            false,
        ),
    ]);
}

/// Coverage without known tags is that with any tags, and more.
#[test]
fn known_tags_only_leave_out_what_they_are_not() {
    let patterns = [
        "*",
        "ghcr.io/*",
        "*:v?",
        "*a*",
        "ghcr.io/org/app",
        "ghcr.io/org/app:v1",
        "*@sha256:*",
        "{ghcr.io/org/app:v1,quay.io/*}",
        "*[0-9]",
    ];
    for pattern in patterns {
        for repository in ["ghcr.io/org/app", "quay.io/b", "docker.io/library/nginx"] {
            for tag in ["latest", "v1", "x"] {
                let matcher = glob(pattern);
                let with = covers(&matcher, repository, &[tag]);
                let without = covers(&matcher, repository, &[]);
                assert!(!with || without, "{pattern} {repository} {tag}");
                let coverage = ReferenceCoverage::new(vec![matcher]);
                if !coverage.is_about_tags() {
                    assert_eq!(with, without, "{pattern} {repository} {tag}");
                }
            }
        }
    }
}

#[test]
fn matching_is_over_the_text_as_it_is_written() {
    let coverage = ReferenceCoverage::new(vec![glob("ghcr.io/org/app:*"), glob("nginx")]);
    for (reference, matched) in [
        ("ghcr.io/org/app:v1", true),
        ("ghcr.io/org/app", false),
        ("ghcr.io/org/app@sha256:00", false),
        ("nginx", true),
        ("nginx:latest", false),
        ("docker.io/library/nginx", false),
    ] {
        assert_eq!(coverage.matches(reference), matched, "{reference}");
    }
    let rules = ReferenceRule::All(vec![
        ReferenceRule::Text(Part::Registry, Test::Equals("index.docker.io".to_owned())),
        ReferenceRule::Text(Part::Repository, Test::Equals("library/nginx".to_owned())),
        ReferenceRule::Text(Part::Tag, Test::Equals("latest".to_owned())),
        ReferenceRule::Not(Box::new(ReferenceRule::HasDigest)),
    ]);
    let coverage = ReferenceCoverage::new(vec![rule(rules)]);
    for (reference, matched) in [
        ("nginx", true),
        ("nginx:latest", true),
        ("docker.io/nginx", true),
        ("nginx:1", false),
        ("nginx@sha256:00", false),
        ("ghcr.io/nginx", false),
    ] {
        assert_eq!(coverage.matches(reference), matched, "{reference}");
    }
    let identifier = |part| {
        let test = Test::Equals("sha256:00".to_owned());
        ReferenceCoverage::new(vec![rule(ReferenceRule::Text(part, test))])
    };
    assert!(identifier(Part::Identifier).matches("a@sha256:00"));
    assert!(identifier(Part::Digest).matches("a:v1@sha256:00"));
    assert!(!identifier(Part::Tag).matches("a@sha256:00"));
    assert!(ReferenceCoverage::new(Vec::new()).matches("anything"));
    assert!(ReferenceCoverage::new(Vec::new()).covers_everything());
    assert!(!ReferenceCoverage::new(vec![glob("ghcr.io/*")]).covers_everything());
    assert!(ReferenceCoverage::new(vec![glob("*")]).covers_everything());
}

#[test]
fn the_hash_of_a_policy_sees_every_matcher() {
    let described = |matchers| ReferenceCoverage::new(matchers).describe();
    assert_ne!(described(vec![glob("a")]), described(vec![glob("b")]));
    assert_ne!(described(vec![glob("a")]), described(Vec::new()));
    let expression = |source: &str| ReferenceMatcher::Expression {
        source: source.to_owned(),
        rule: ReferenceRule::Constant(true),
    };
    assert_ne!(
        described(vec![expression("a")]),
        described(vec![expression("b")])
    );
    assert_ne!(described(vec![expression("a")]), described(vec![glob("a")]));
}
