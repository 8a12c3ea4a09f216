//! What is allowed and probably not meant.

use jiff::SignedDuration;

use super::requirements::{authority, policy};
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

#[test]
fn an_identity_that_says_something_else_than_it_seems_is_told() {
    let directory = Directory::new();
    let with = |identity: &str| directory.warnings(&authority(identity));
    for (identity, said) in [
        (
            "certificate_identity_regexp: 'https://github\\.com/org.*', certificate_oidc_issuer: i",
            "certificate_identity_regexp: `https://github\\.com/org.*` also accepts `https://github.com/org-evil/x/",
        ),
        (
            "certificate_identity: a, certificate_oidc_issuer_regexp: 'https://gitlab\\.com.*'",
            "also accepts `https://gitlab.com.evil.example/x`",
        ),
        (
            "certificate_identity: 'https://github.com/org/*', certificate_oidc_issuer: i",
            "certificate_identity: `https://github.com/org/*` is compared as it is: `*` stands for itself",
        ),
        (
            "certificate_identity: a, certificate_oidc_issuer: 'https://*.corp.example'",
            "certificate_oidc_issuer: `https://*.corp.example` is compared as it is",
        ),
        (
            "certificate_identity: a, certificate_oidc_issuer: b, certificate_extensions: {github_workflow_ref: 'refs/tags/*'}",
            "github_workflow_ref: `refs/tags/*` is compared as it is",
        ),
        (
            "certificate_identity_regexp: 'https://github.com/org/.*', certificate_oidc_issuer: i",
            "a dot stands for any character in `github.com`: write `github\\.com`",
        ),
        // One warning for an expression is enough.
        (
            "certificate_identity_regexp: 'https://github.com/org.*', certificate_oidc_issuer: i",
            "also accepts",
        ),
    ] {
        let warnings = with(identity);
        assert!(
            warnings.len() == 1 && warnings[0].contains(said),
            "{identity}: {warnings:?}"
        );
    }
    let quiet = "certificate_identity_regexp: 'https://github\\.com/org/.*', \
                 certificate_oidc_issuer: 'https://token.actions.githubusercontent.com'";
    assert_eq!(with(quiet), [""; 0]);
    let other = directory.warnings(
        "upstreams: {ghcr.io: {}}
policies: [{name: p, images: [ghcr.io/org/a], authorities: [{certificate_identity_regexp: '${PASSWORD}.*', certificate_oidc_issuer_regexp: 'https://${PASSWORD}.*'}]}]",
    );
    assert!(
        !other.is_empty() && !other.join("").contains("hunter2"),
        "{other:?}"
    );
}

#[test]
fn an_expression_that_revokes_nobody_is_told() {
    let directory = Directory::new();
    let with = |identity: &str| {
        directory.warnings(&with_policy(&format!(
            "revoked: {{identities: [{identity}]}}"
        )))
    };
    for (identity, said) in [
        (
            "{regexp: 'external-secrets'}",
            "revoked.identities[0].regexp: an expression must match the whole identity, and none is just \
             `external-secrets`: write `.*external-secrets.*`",
        ),
        ("{regexp: 'a.*b'}", "write `.*a.*b.*`"),
        ("'https://github.com/org/*'", "`*` stands for itself"),
    ] {
        let warnings = with(identity);
        assert!(
            warnings.len() == 1 && warnings[0].contains(said),
            "{identity}: {warnings:?}"
        );
    }
    for identity in [
        "{regexp: '.*external-secrets'}",
        "{regexp: 'external.+'}",
        "{regexp: '.*'}",
        "{regexp: 'https://github\\.com/org/.*'}",
        "{regexp: 'mallory@corp\\.example'}",
        "mallory@corp.example",
    ] {
        assert_eq!(with(identity), [""; 0], "{identity}");
    }
}

#[test]
fn a_condition_that_says_the_same_of_everything_is_told() {
    let directory = Directory::new();
    let with = |condition: &str| {
        policy(&format!(
            "attestations: [{{predicate_type: spdx, authorities: [{{key: a.pub}}], condition: '{condition}'}}]"
        ))
    };
    for (condition, said) in [
        ("true", "always true: any attestation of the type will do"),
        ("1 > 2", "always false: every image is refused"),
    ] {
        let warnings = directory.warnings(&with(condition));
        assert!(
            warnings.len() == 1 && warnings[0].contains(said),
            "{condition}: {warnings:?}"
        );
    }
    assert_eq!(directory.warnings(&with("predicate.a")), [""; 0]);
    for (condition, said) in [
        ("1 + 1", "the condition is neither true nor false but a sum"),
        ("nofunc(predicate)", "there is no function `nofunc`"),
    ] {
        let problems = directory.problems(&with(condition));
        assert!(
            problems.len() == 1 && problems[0].contains(said),
            "{condition}: {problems:?}"
        );
    }
}

#[test]
fn an_age_that_nothing_proves_is_told() {
    let directory = Directory::new();
    let with = |authority: &str| {
        directory.warnings(&policy(&format!(
            "authorities: [{{name: k, key: a.pub, {authority}}}], max_signature_age: 90d"
        )))
    };
    let warnings = with("transparency_log: not_required");
    assert!(
        warnings.len() == 1
            && warnings[0]
                .contains("max_signature_age: signatures by `k` need neither a log entry"),
        "{warnings:?}"
    );
    for proven in [
        "transparency_log: required",
        "transparency_log: not_required, signed_timestamp: required",
    ] {
        assert_eq!(with(proven), [""; 0], "{proven}");
    }
}

#[test]
fn plain_http_beyond_this_machine_is_told() {
    let directory = Directory::new();
    let with = |upstream: &str| {
        directory.warnings(&format!(
            "upstreams: {{{upstream}}}\npolicies: [{{name: p, images: ['**'], authorities: [{{key: a.pub}}]}}]"
        ))
    };
    for upstream in [
        "registry.internal: {plain_http: true}",
        "192.0.2.1:5000: {plain_http: true}",
        "localhost:5000: {endpoint: 'http://192.0.2.1', plain_http: true}",
    ] {
        let warnings = with(upstream);
        assert!(
            warnings.len() == 1
                && warnings[0].contains("plain_http: plain HTTP beyond this machine"),
            "{upstream}: {warnings:?}"
        );
    }
    for upstream in [
        "127.0.0.1:5000: {plain_http: true}",
        "'[::1]:5000': {plain_http: true}",
        "localhost:5000: {plain_http: true}",
        "quay.io: {endpoint: 'http://127.0.0.1:5000', plain_http: true}",
        "registry.internal: {plain_http: false}",
    ] {
        assert_eq!(with(upstream), [""; 0], "{upstream}");
    }
}
