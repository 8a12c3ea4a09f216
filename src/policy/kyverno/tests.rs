use serde::Deserialize;

use super::*;
use crate::oci::repository::OTHER_DOCKER_HUBS;
use crate::policy::{Doubt, ImportedCoverage as _, Matcher, Rule as _, Tags};

mod answers;
mod conditions;
mod globs;
mod hostile;
mod operators;
mod references;
mod times;
mod values;

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/policies/kyverno"
);

fn fixture<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[derive(Deserialize)]
struct Table<T> {
    cases: Vec<T>,
}

#[derive(Deserialize)]
struct WildcardCase {
    name: String,
    pattern: String,
    text: String,
    matched: bool,
}

#[test]
fn wildcards_match_what_kyverno_says() {
    let table: Table<WildcardCase> = fixture("wildcards.json");
    assert_eq!(table.cases.len(), 52);
    for case in table.cases {
        let matched = wildcard::matches(&case.pattern, &case.text);
        assert_eq!(
            matched, case.matched,
            "{}: {} {}",
            case.name, case.pattern, case.text
        );
        // Identities are compared by the same rule; an empty one is refused.
        match Matcher::wildcard(&case.pattern) {
            Ok(matcher) => assert_eq!(matcher.matches(&case.text), case.matched, "{}", case.name),
            Err(_empty) => assert_eq!(case.pattern, ""),
        }
    }
}

#[derive(Deserialize)]
struct ImageCase {
    reference: String,
    image: Option<String>,
}

#[test]
fn images_are_named_as_kyverno_names_them() {
    let table: Table<ImageCase> = fixture("images.json");
    for case in table.cases {
        let image = Image::parse(&case.reference).map(|image| image.to_string());
        assert_eq!(image, case.image, "{}", case.reference);
    }
}

fn coverage(images: &[&str], skip: &[&str]) -> ImageCoverage {
    coverage_with(images, skip, Doubt::Covers)
}

fn coverage_with(images: &[&str], skip: &[&str], doubt: Doubt) -> ImageCoverage {
    let owned = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
    ImageCoverage::new(owned(images), owned(skip), doubt)
}

fn covers(images: &[&str], skip: &[&str], repository: &str, tags: &[&str]) -> bool {
    let tags = Tags::new(tags.iter().map(ToString::to_string));
    coverage(images, skip).covers(&repository.parse().unwrap(), &tags)
}

#[test]
fn a_pattern_covers_by_the_tags_that_were_asked_for() {
    for (pattern, repository, tags, covered) in [
        ("ghcr.io/org/app:*", "ghcr.io/org/app", &["v1"][..], true),
        ("ghcr.io/org/app:*", "ghcr.io/org/app", &[], true),
        ("ghcr.io/org/app:*", "ghcr.io/org/app-evil", &["v1"], false),
        ("ghcr.io/org/app:*", "ghcr.io/org/app-evil", &[], false),
        ("ghcr.io/org/app:*", "ghcr.io/org/app/sub", &[], false),
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app", &["v1.2"], true),
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app", &["v2"], false),
        (
            "ghcr.io/org/app:v1*",
            "ghcr.io/org/app",
            &["v2", "v1"],
            true,
        ),
        ("ghcr.io/org/app:v1*", "ghcr.io/org/app", &[], true),
        ("ghcr.io/org/app:v?", "ghcr.io/org/app", &["v12"], false),
        ("ghcr.io/org/app", "ghcr.io/org/app", &["v1"], false),
        ("ghcr.io/org/app", "ghcr.io/org/app", &[], false),
        ("ghcr.io/org/app*", "ghcr.io/org/app-evil/x", &["v1"], true),
        ("ghcr.io/org/*", "ghcr.io/org/a/b", &["v1"], true),
        ("ghcr.io/org/*", "ghcr.io/organisation/a", &[], false),
        ("ghcr.io/org/*:v1", "ghcr.io/org/a/b", &["v1"], true),
        ("ghcr.io/org/*:v1", "ghcr.io/org/a/b", &["v2"], false),
        ("*:v1", "ghcr.io/org/a", &["v1"], true),
        ("*", "ghcr.io/org/a", &[], true),
        ("*", "ghcr.io/org/a", &["v1"], true),
        ("", "ghcr.io/org/a", &["v1"], false),
        // A pattern for digests covers whatever tags are known too: Kyverno would where a Pod names the digest.
        ("ghcr.io/org/app@sha256:*", "ghcr.io/org/app", &["v1"], true),
        ("ghcr.io/org/app@sha256:*", "ghcr.io/org/app", &[], true),
        ("ghcr.io/org/app@sha384:*", "ghcr.io/org/app", &[], false),
        ("ghcr.io/org/app@sha256:abc", "ghcr.io/org/app", &[], false),
    ] {
        assert_eq!(
            covers(&[pattern], &[], repository, tags),
            covered,
            "{pattern} {repository} {tags:?}"
        );
    }
}

#[test]
fn a_digest_without_known_tags_is_never_covered_less() {
    for pattern in [
        "ghcr.io/org/app:v1",
        "ghcr.io/o*:v?",
        "*/app:*",
        "ghcr.io/org/app*",
        "*",
    ] {
        assert!(
            covers(&[pattern], &[], "ghcr.io/org/app", &["v1"]),
            "{pattern}"
        );
        assert!(covers(&[pattern], &[], "ghcr.io/org/app", &[]), "{pattern}");
    }
}

#[test]
fn docker_hub_is_covered_under_every_spelling() {
    for (pattern, covered) in [
        ("docker.io/nginx:*", true),
        ("docker.io/library/nginx:*", true),
        ("index.docker.io/library/nginx:*", true),
        ("registry-1.docker.io/library/nginx:*", true),
        ("docker.io/library/*", true),
        ("nginx:*", false),
    ] {
        assert_eq!(
            covers(&[pattern], &[], "docker.io/library/nginx", &["1"]),
            covered,
            "{pattern}"
        );
        assert_eq!(
            covers(&[pattern], &[], "docker.io/library/nginx", &[]),
            covered,
            "{pattern}"
        );
    }
    assert!(!covers(
        &["docker.io/nginx:*"],
        &[],
        "docker.io/org/nginx",
        &["1"]
    ));
    for host in OTHER_DOCKER_HUBS {
        let (pattern, name) = (format!("{host}/org/*"), "docker.io/org/app");
        for tags in [&["1"][..], &[]] {
            assert!(covers(&[&pattern], &[], name, tags), "{pattern}");
            let glob = ReferenceMatcher::Glob(glob::Glob::new(&pattern).unwrap());
            let tags = Tags::new(tags.iter().map(ToString::to_string));
            let references = ReferenceCoverage::new(vec![glob]);
            assert!(references.covers(&name.parse().unwrap(), &tags), "{host}");
        }
    }
}

#[test]
fn digests_of_either_algorithm_are_covered() {
    let app = "ghcr.io/org/app";
    for (images, skip, covered) in [
        ("ghcr.io/org/app@sha256:*", "", true),
        ("ghcr.io/org/app@sha512:*", "", true),
        ("ghcr.io/org/app@sha384:*", "", false),
        ("ghcr.io/org/app@*", "ghcr.io/org/app@sha256:*", true),
        ("ghcr.io/org/app@*", "ghcr.io/org/app@sha*", false),
    ] {
        let skip: &[&str] = if skip.is_empty() { &[] } else { &[skip] };
        assert_eq!(
            covers(&[images], skip, app, &["v1"]),
            covered,
            "{images} {skip:?}"
        );
    }
    for (pattern, covered) in [
        ("ghcr.io/org/app@sha256:*", true),
        ("ghcr.io/org/app@sha512:*", true),
        ("ghcr.io/org/app:v1@sha512:*", true),
        ("ghcr.io/org/app@sha384:*", false),
    ] {
        let glob = ReferenceMatcher::Glob(glob::Glob::new(pattern).unwrap());
        let tags = Tags::new(["v1".to_owned()]);
        let references = ReferenceCoverage::new(vec![glob]);
        assert_eq!(
            references.covers(&app.parse().unwrap(), &tags),
            covered,
            "{pattern}"
        );
    }
}

#[test]
fn skipping_takes_away_what_is_surely_meant() {
    let all = &["ghcr.io/org/*"][..];
    for (skip, tags, covered) in [
        ("ghcr.io/org/app:dev*", &["dev1"][..], false),
        ("ghcr.io/org/app:dev*", &["dev1", "v1"], true),
        ("ghcr.io/org/app:dev*", &[], true),
        ("ghcr.io/org/app:*", &["v1"], false),
        ("ghcr.io/org/app:*", &[], true),
        ("ghcr.io/org/*-dev*", &["1-dev2"], false),
        ("ghcr.io/org/*-dev*", &["1"], true),
        ("ghcr.io/org/*-dev*", &[], true),
        ("ghcr.io/org/app*", &[], false),
        ("ghcr.io/org/app*", &["v1"], false),
        ("ghcr.io/org/app", &["v1"], true),
        ("ghcr.io/org/application*", &["v1"], true),
    ] {
        assert_eq!(
            covers(all, &[skip], "ghcr.io/org/app", tags),
            covered,
            "{skip} {tags:?}"
        );
    }
}

#[test]
fn only_what_is_skipped_under_every_spelling_is_skipped() {
    let nginx = "docker.io/library/nginx";
    for (images, skip, tags, covered) in [
        ("*", "docker.io/nginx:*", &["1"][..], true),
        ("*", "docker.io/library/nginx:*", &["1"], true),
        ("docker.io/library/*", "docker.io/nginx:*", &["1"], true),
        ("docker.io/nginx:*", "docker.io/nginx:1*", &["1"], false),
        ("docker.io/nginx:*", "docker.io/nginx:1*", &["1", "2"], true),
        ("docker.io/nginx*", "docker.io/library/*", &[], true),
        ("*", "*/nginx*", &[], false),
        // Other names of the registry are not what makes the difference,
        ("*", "docker.io/*", &["1"], false),
        ("*", "docker.io/*", &[], false),
        // unless the skip list is about them.
        ("*", "index.docker.io/*", &["1"], true),
        ("index.docker.io/*", "index.docker.io/*", &["1"], false),
    ] {
        assert_eq!(
            covers(&[images], &[skip], nginx, tags),
            covered,
            "{images} {skip} {tags:?}"
        );
    }
}

#[test]
fn what_lets_images_through_covers_only_what_is_certain() {
    let app = "ghcr.io/org/app";
    for (images, skip, repository, tags, covered) in [
        ("ghcr.io/org/app:*", "", app, &["v1"][..], true),
        // Whichever tag it is.
        ("ghcr.io/org/app:*", "", app, &[], true),
        ("ghcr.io/org/app:", "", app, &[], false),
        ("ghcr.io/org/app:*", "*:dev", app, &[], false),
        ("ghcr.io/org/app:v1*", "", app, &["v1"], true),
        ("ghcr.io/org/app:v1*", "", app, &["v1", "v2"], false),
        ("ghcr.io/org/app:v1*", "", app, &[], false),
        ("ghcr.io/org/app@sha256:*", "", app, &[], false),
        ("ghcr.io/org/app@sha256:*", "", app, &["v1"], false),
        ("ghcr.io/org/app*", "", app, &[], true),
        ("ghcr.io/org/*", "", app, &["v1"], true),
        ("ghcr.io/org/*", "", "ghcr.io/other/app", &["v1"], false),
        ("ghcr.io/org/*", "*:dev", app, &[], false),
        ("ghcr.io/org/*", "*:dev", app, &["v1"], true),
        ("ghcr.io/org/*", "*:dev", app, &["v1", "dev"], false),
        ("ghcr.io/org/*", "*@sha256:*", app, &[], false),
        ("ghcr.io/org/*", "ghcr.io/org/app*", app, &["v1"], false),
        (
            "docker.io/nginx:*",
            "",
            "docker.io/library/nginx",
            &["1"],
            true,
        ),
        (
            "docker.io/*",
            "docker.io/nginx:*",
            "docker.io/library/nginx",
            &["1"],
            false,
        ),
    ] {
        let skip: &[&str] = if skip.is_empty() { &[] } else { &[skip] };
        let coverage = coverage_with(&[images], skip, Doubt::DoesNotCover);
        let known = Tags::new(tags.iter().map(ToString::to_string));
        let repository = repository.parse().unwrap();
        assert_eq!(
            coverage.covers(&repository, &known),
            covered,
            "{images} {skip:?} {repository} {tags:?}"
        );
        // What it covers, it can cover.
        assert!(!covered || coverage.can_cover(&repository));
    }
    let coverage = |images| coverage_with(&[images], &[], Doubt::DoesNotCover);
    let app = app.parse().unwrap();
    assert!(coverage("ghcr.io/org/app:v1").can_cover(&app));
    assert!(!coverage("ghcr.io/org/apple:v1").can_cover(&app));
    assert_ne!(
        coverage("*").describe(),
        coverage_with(&["*"], &[], Doubt::Covers).describe()
    );
}

#[test]
fn a_reference_matches_by_kyvernos_own_rule() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (pattern, reference, matched) in [
        ("docker.io/nginx:latest", "nginx".to_owned(), true),
        ("docker.io/library/nginx*", "nginx".to_owned(), false),
        ("ghcr.io/org/app:*", "ghcr.io/org/app:v1".to_owned(), true),
        (
            "ghcr.io/org/app:*",
            format!("ghcr.io/org/app@{digest}"),
            false,
        ),
        (
            "ghcr.io/org/app:*",
            format!("ghcr.io/org/app:v1@{digest}"),
            false,
        ),
        (
            "ghcr.io/org/app@*",
            format!("ghcr.io/org/app:v1@{digest}"),
            true,
        ),
        ("*", "++".to_owned(), false),
    ] {
        assert_eq!(
            coverage(&[pattern], &[]).matches(&reference),
            matched,
            "{pattern} {reference}"
        );
    }
    assert!(!coverage(&["*"], &["docker.io/nginx*"]).matches("nginx"));
}

#[test]
fn tells_what_is_about_tags() {
    for (pattern, about) in [
        ("ghcr.io/org/app:*", false),
        ("ghcr.io/org/*", false),
        ("*", false),
        ("ghcr.io/org/app:v1*", true),
        ("ghcr.io/org/app:v1", true),
        ("ghcr.io/org/app@sha256:*", true),
        ("*:v1", true),
        ("ghcr.io/*/app*", false),
        ("ghcr.io/org/*-app:*", false),
        ("ghcr.io/org/app**", false),
        ("ghcr.io/org/*-dev*", true),
        ("ghcr.io/org/app?*", true),
        ("ghcr.io/org/app", true),
    ] {
        assert_eq!(
            coverage(&[pattern], &[]).is_about_tags(),
            about,
            "{pattern}"
        );
    }
    assert!(coverage(&["*"], &["*:v1"]).is_about_tags());
    assert!(coverage(&["*"], &["ghcr.io/org/*-dev*"]).is_about_tags());
    assert!(!coverage(&["*"], &["ghcr.io/org/*"]).is_about_tags());
    // A digest whose known tags are all skipped is, and no other.
    assert!(coverage(&["*"], &["ghcr.io/org/app:*"]).is_about_tags());
}

#[test]
fn knows_what_covers_everything() {
    for (images, skip, expected) in [
        (&["*"][..], &[][..], true),
        (&["*:*"], &[], true),
        (&["*@*"], &[], true),
        (&["*@sha256:*"], &[], true),
        (&["*:latest"], &[], true),
        (&["*:dev-?*"], &[], true),
        (&["*.*/*"], &[], true),
        (&["ghcr.io/*", "*/*:v1"], &[], true),
        (&["*"], &["ghcr.io/*"], true),
        (&["*"], &["*"], false),
        (&["ghcr.io/*"], &[], false),
        (&["*/org/app:*"], &[], false),
        (&["k7w.example/*"], &[], false),
    ] {
        let covers = coverage(images, skip).covers_everything();
        assert_eq!(covers, expected, "{images:?} {skip:?}");
    }
}
