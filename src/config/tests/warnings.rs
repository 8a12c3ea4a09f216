//! What is allowed and probably not meant.

use jiff::SignedDuration;

use super::*;

#[test]
fn what_is_excluded_altogether_covers_nothing() {
    let directory = Directory::new();
    let with = |images: &str, exclude: &str| {
        directory.warnings(&format!(
            "upstreams: {{ghcr.io: {{}}}}
policies: [{{name: p, images: [{images}], exclude: [{exclude}], authorities: [{{key: a.pub}}]}}]"
        ))
    };
    for (images, exclude) in [
        ("ghcr.io/org/a", "'ghcr.io/**'"),
        ("ghcr.io/org/a", "ghcr.io/org/a"),
        ("'ghcr.io/org/*'", "'ghcr.io/org/*'"),
        ("'ghcr.io/org/x-*'", "'ghcr.io/*/*'"),
        ("'ghcr.io/org/**'", "'ghcr.io/org/**'"),
    ] {
        let warnings = with(images, exclude);
        let (images, exclude) = (images.trim_matches('\''), exclude.trim_matches('\''));
        let said = format!(
            "policies[0].exclude: `{images}` covers nothing: `{exclude}` excludes all of it"
        );
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(&said),
            "{warnings:?}"
        );
    }
    for (images, exclude) in [
        ("'ghcr.io/org/**'", "'ghcr.io/org/*'"),
        ("'ghcr.io/org/*'", "ghcr.io/org/a"),
        ("'ghcr.io/*/a'", "'ghcr.io/org/*'"),
    ] {
        assert_eq!(with(images, exclude), [""; 0], "{images} {exclude}");
    }
}

#[test]
fn an_exception_that_is_over_or_for_a_whole_registry_is_told() {
    let directory = Directory::new();
    let from_now = |hours: i64| {
        let hours = SignedDuration::from_hours(hours);
        (crate::clock::now() + hours).to_string()
    };
    let with = |about: &str, until: &str| {
        directory.warnings(&with_policy(&format!(
            "exceptions: [{{{about}, reason: r, by: b, until: '{until}'}}]"
        )))
    };
    let digest = format!("digests: ['sha256:{}']", "0".repeat(64));
    let (past, soon, late) = (from_now(-1), from_now(29 * 24), from_now(31 * 24));
    for about in ["images: [ghcr.io/org/a]", &digest] {
        let warnings = with(about, &past);
        let said = format!("exceptions[0]: over since {past}: it lets nothing through");
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(&said),
            "{warnings:?}"
        );
    }
    for registry in ["ghcr.io/**", "*.io/**"] {
        let warnings = with(&format!("images: ['{registry}']"), &late);
        let said = format!("`{registry}` is a whole registry, excepted for more than 30 days");
        assert!(
            warnings.len() == 1 && warnings[0].ends_with(&said),
            "{warnings:?}"
        );
        assert_eq!(with(&format!("images: ['{registry}']"), &soon), [""; 0]);
    }
    for about in ["images: ['ghcr.io/org/**', 'ghcr.io/*']", &digest] {
        assert_eq!(with(about, &late), [""; 0], "{about}");
    }
}
