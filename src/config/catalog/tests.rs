use std::collections::BTreeSet;

use jiff::civil::Date;

use super::*;
use crate::policy::{Authority, AuthoritySigner, Coverage, Matcher};

fn all() -> Vec<Entry> {
    entries().unwrap_or_else(|problems| panic!("{problems}"))
}

fn authorities() -> Vec<(String, Arc<Authority>)> {
    let entries = all();
    let policies = entries.iter().flat_map(|entry| &entry.policies);
    let authorities = policies.flat_map(|policy| {
        let of = policy.requirement.authorities().into_iter();
        of.map(|authority| (policy.name.clone(), Arc::clone(authority)))
    });
    authorities.collect()
}

#[test]
fn every_file_is_an_entry_of_its_name() {
    let entries = all();
    assert_eq!(entries.len(), FILES.entries().len());
    let listed: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(listed, names());
    assert!(listed.is_sorted());
    assert!(entries.len() >= 20, "{}", entries.len());
    for entry in &entries {
        assert!(!entry.title.trim().is_empty(), "{}", entry.name);
        assert!(!entry.policies.is_empty(), "{}", entry.name);
        for policy in &entry.policies {
            let of_entry = policy.name.strip_prefix(&entry.name);
            let of_entry = of_entry.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
            assert!(of_entry, "{}: {}", entry.name, policy.name);
        }
    }
}

#[test]
fn every_entry_says_where_and_when_it_was_read() {
    for entry in all() {
        let source: url::Url = entry.source.parse().unwrap();
        assert_eq!(source.scheme(), "https", "{}", entry.name);
        // A page of a repository is named as it was on that day.
        let segments: Vec<_> = source.path_segments().unwrap().collect();
        if source.host_str() == Some("github.com") {
            let [_, _, "blob", commit, _, ..] = segments.as_slice() else {
                panic!("{}: {source}", entry.name);
            };
            let is_commit = commit.len() == 40 && commit.bytes().all(|it| it.is_ascii_hexdigit());
            assert!(is_commit, "{}: {source}", entry.name);
        }
        let date: Date = entry.date.parse().unwrap();
        assert_eq!(date.to_string(), entry.date, "{}", entry.name);
    }
}

#[test]
fn names_of_policies_are_unique() {
    let mut seen = BTreeSet::new();
    for policy in all().iter().flat_map(|entry| &entry.policies) {
        assert!(seen.insert(policy.name.clone()), "{}", policy.name);
    }
}

/// Hosts on which every name is one publisher's.
const OWN_HOSTS: [&str; 1] = ["registry.k8s.io"];

#[test]
fn patterns_cover_the_names_of_one_publisher() {
    let entries = all();
    let mut seen: Vec<(String, crate::policy::Pattern)> = Vec::new();
    for policy in entries.iter().flat_map(|entry| &entry.policies) {
        let Coverage::Names { images, .. } = &policy.coverage else {
            panic!("{}", policy.name);
        };
        assert!(!images.is_empty(), "{}", policy.name);
        for pattern in images {
            let (host, repository) = pattern.as_str().split_once('/').unwrap();
            assert_eq!(pattern.literal_host(), Some(host));
            let owner = repository.split('/').next().unwrap_or_default();
            let names_owner = !owner.contains('*') && repository.contains('/');
            assert!(
                names_owner || OWN_HOSTS.contains(&host),
                "{}: {pattern}",
                policy.name
            );
            for (other, known) in &seen {
                let either = known.matches(pattern.as_str()) || pattern.matches(known.as_str());
                assert!(!either, "{} and {other}: {pattern}", policy.name);
            }
            seen.push((policy.name.clone(), pattern.clone()));
        }
    }
}

#[test]
fn identities_have_an_issuer_and_are_specific() {
    for (policy, authority) in authorities() {
        let AuthoritySigner::Identity(requirement) = &authority.signer else {
            continue;
        };
        let issuer = requirement.oidc_issuer.as_ref().and_then(Matcher::exact);
        let issuer = issuer.unwrap_or_else(|| panic!("{policy}: no issuer"));
        assert!(issuer.starts_with("https://"), "{policy}: {issuer}");
        assert!(requirement.certificate_authorities.is_none(), "{policy}");
        match &requirement.identity {
            Matcher::Exact(identity) => {
                let is_account = identity.contains('@');
                assert!(
                    is_account && !identity.contains('*'),
                    "{policy}: {identity}"
                );
            }
            Matcher::Expression { source, .. } => {
                let of_workflow = source.strip_prefix(r"https://github\.com/");
                let (owner, _) = of_workflow.and_then(|it| it.split_once('/')).unwrap();
                let literal = |it: char| it.is_ascii_alphanumeric() || it == '-';
                assert!(owner.chars().all(literal), "{policy}: {source}");
                assert!(
                    source.contains(r"/\.github/workflows/"),
                    "{policy}: {source}"
                );
                assert!(
                    !source.contains(".*") && !source.contains(".+"),
                    "{policy}: {source}"
                );
                let (_, reference) = source.rsplit_once('@').unwrap();
                let is_reference =
                    reference.starts_with("refs/tags/") || reference.starts_with("refs/heads/");
                assert!(is_reference, "{policy}: {source}");
                assert!(has_only_written_dots(source), "{policy}: {source}");
            }
            Matcher::Search { .. }
            | Matcher::Wildcard { .. }
            | Matcher::Any(_)
            | Matcher::All(_) => panic!("{policy}: {:?}", requirement.identity),
        }
    }
}

/// Whether every dot that stands for itself is written so; `[0-9.]` needs no backslash.
fn has_only_written_dots(source: &str) -> bool {
    let mut is_escaped = false;
    let mut in_class = false;
    for character in source.chars() {
        match character {
            '.' if !is_escaped && !in_class => return false,
            '[' if !is_escaped => in_class = true,
            ']' if !is_escaped => in_class = false,
            _ => {}
        }
        is_escaped = character == '\\' && !is_escaped;
    }
    true
}

#[test]
fn a_workflow_that_others_may_call_is_held_to_its_caller() {
    let reusable = [
        "argo-cd",
        "argo-rollouts",
        "cloudnative-pg-postgresql",
        "dex",
        "falco",
        "flux",
        "opentelemetry-collector",
        "opentelemetry-collector-tools",
        "trivy",
    ];
    for (policy, authority) in authorities() {
        let AuthoritySigner::Identity(requirement) = &authority.signer else {
            continue;
        };
        let of_caller = requirement
            .extensions
            .keys()
            .any(|name| name.starts_with("source_repository_"));
        assert_eq!(of_caller, reusable.contains(&policy.as_str()), "{policy}");
    }
}

#[test]
fn nothing_but_what_the_publisher_cannot_give_is_waived() {
    for (policy, authority) in authorities() {
        let is_identity = matches!(authority.signer, AuthoritySigner::Identity(_));
        assert_eq!(authority.transparency_log, is_identity, "{policy}");
        assert_eq!(authority.sct, is_identity, "{policy}");
    }
    for policy in all().iter().flat_map(|entry| &entry.policies) {
        assert_eq!(policy.mode, Mode::Enforce, "{}", policy.name);
    }
}

#[test]
fn certificates_of_publishers_match() {
    // What certificates of their images say; the last of each is a slip that must not.
    for (policy, identities, other) in [
        (
            "argo-cd",
            &[
                "https://github.com/argoproj/argo-cd/.github/workflows/image-reuse.yaml@refs/tags/v2.7.0",
            ] as &[_],
            "https://github.com/argoproj/argo-cd/.github/workflows/image-reuse.yaml@refs/heads/master",
        ),
        (
            "external-secrets",
            &[
                "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/main",
            ],
            "https://github.com/external-secrets/external-secrets/.github/workflows/release.yml@refs/heads/mains",
        ),
        (
            "flux",
            &[
                "https://github.com/fluxcd/gha-workflows/.github/workflows/controller-release.yaml@refs/tags/v0.11.0",
                "https://github.com/fluxcd/source-controller/.github/workflows/release.yml@refs/tags/v1.0.0",
            ],
            "https://github.com/fluxcd/source-controller/.github/workflows/controller-release.yaml@refs/tags/v1.0.0",
        ),
        (
            "kyverno",
            &[
                "https://github.com/kyverno/kyverno/.github/workflows/release.yaml@refs/tags/v1.18.2",
            ],
            "https://github.com/kyverno/kyverno/.github/workflows/release.yaml@refs/tags/v1/x",
        ),
        (
            "linkerd",
            &[
                "https://github.com/linkerd/linkerd2/.github/workflows/release.yml@refs/tags/edge-26.8.2",
            ],
            "https://github.com/linkerd/linkerd2/.github/workflows/release.yml@refs/tags/stable-2.14",
        ),
        (
            "spire",
            &[
                "https://github.com/spiffe/spire/.github/workflows/release_build.yaml@refs/tags/v1.14.0",
            ],
            "https://github.com/spiffe/spire/.github/workflows/nightly_build.yaml@refs/heads/main",
        ),
    ] {
        let (_, authority) = authorities()
            .into_iter()
            .find(|(name, _)| name == policy)
            .unwrap();
        let AuthoritySigner::Identity(requirement) = &authority.signer else {
            panic!("{policy}");
        };
        for identity in identities {
            assert!(requirement.identity.matches(identity), "{identity}");
        }
        assert!(!requirement.identity.matches(other), "{other}");
    }
}

#[test]
fn unknown_names_are_told_with_those_near() {
    let entries = all();
    let tell = |name: &str| {
        select(&entries, &[name.to_owned()])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        tell("kubernets"),
        "the catalogue has no `kubernets`; it has kubernetes"
    );
    assert_eq!(
        tell("argo"),
        "the catalogue has no `argo`; it has argo-cd, argo-rollouts, kargo"
    );
    assert_eq!(tell("zzz"), "the catalogue has no `zzz`");
    assert_eq!(tell(""), "the catalogue has no ``");
}
