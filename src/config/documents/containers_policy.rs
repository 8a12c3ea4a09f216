//! containers' `policy.json`, which podman, CRI-O, skopeo and buildah read.
//!
//! Each scope of the `docker` transport becomes a policy, and the default one more. Of all that match an image the most
//! specific decides alone; all of its requirements must be met.

mod requirement;
mod signed_identity;

use crate::config::WarningName;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::sync::Arc;

use crate::config::policies::Surroundings;
use crate::config::reader::{Field, Reader};
use crate::oci::repository::{OTHER_DOCKER_HUBS, canonical_host, looks_like_host};
use crate::oci::{Digest, RepositoryName};
use crate::policy::scope::{ScopeCoverage, Scopes, is_for_one_image};
use crate::policy::{Coverage, Mode, Policy, Requirement, SignedName};

const KEYS: &[&str] = &["default", "transports"];
const DOCKER: &str = "docker";

/// Whether the document is one: it has no kind, and a default or transports.
pub(super) fn is_one(document: &Field<'_>) -> bool {
    let is_of_kubernetes = document.has("kind") || document.has("apiVersion");
    !is_of_kubernetes && (document.has("default") || document.has("transports"))
}

/// The policies of the document.
pub(super) fn read(
    document: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let section = document.section(KEYS, reader);
    let scopes = section
        .get("transports")
        .map(|field| read_scopes(&field, surroundings, reader))
        .unwrap_or_default();
    let all: Scopes = Arc::new(
        scopes
            .iter()
            .map(|(scope, _)| scope.clone())
            .collect::<BTreeSet<_>>(),
    );
    let file = document.node.position.file.file_name();
    let file = file
        .unwrap_or_else(|| OsStr::new("policy.json"))
        .to_string_lossy();
    let mut policies = Vec::new();
    let mut by_gpg = Vec::new();
    for (scope, field) in &scopes {
        by_gpg.extend(field.items(&mut Reader::default()));
        let name = match scope.as_str() {
            "" => format!("{file} docker"),
            scope => format!("{file} {scope}"),
        };
        let coverage = ScopeCoverage::scope(scope, all.clone());
        policies.extend(read_policy(name, coverage, field, surroundings, reader));
    }
    let help = "write [{\"type\": \"reject\"}]";
    if let Some(field) = section.required("default", help, reader) {
        by_gpg.extend(field.items(&mut Reader::default()));
        let coverage = ScopeCoverage::default_of(all);
        policies.extend(read_policy(
            format!("{file} default"),
            coverage,
            &field,
            surroundings,
            reader,
        ));
    }
    by_gpg.retain(requirement::is_by_gpg);
    note_gpg(&by_gpg, policies, reader)
}

/// The policies, of which those that ask for GPG signatures refuse everything. A document of which nothing else comes is
/// of no use.
fn note_gpg(
    by_gpg: &[Field<'_>],
    policies: Vec<Arc<Policy>>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let is_of_use = policies
        .iter()
        .any(|it| !refuses_everything(&it.requirement));
    for field in by_gpg {
        let message = "signatures by GPG keys are not supported";
        if is_of_use {
            reader.warn(
                field,
                WarningName::GpgRefused,
                format!("{message}: whatever the scope covers is refused"),
            );
        } else {
            reader.problem(
                field,
                message,
                "sign with cosign and write {\"type\": \"sigstoreSigned\", \"keyPath\": …}",
            );
        }
    }
    if is_of_use || by_gpg.is_empty() {
        policies
    } else {
        Vec::new()
    }
}

fn refuses_everything(requirement: &Requirement) -> bool {
    match requirement {
        Requirement::Refusal { .. } => true,
        Requirement::All(of) => of.iter().any(refuses_everything),
        Requirement::Any(of) => of.iter().all(refuses_everything),
        Requirement::Signature(_)
        | Requirement::Signers { .. }
        | Requirement::Attestation(_)
        | Requirement::AtLeast { .. }
        | Requirement::Nothing => false,
    }
}

/// The scopes of the `docker` transport. No other transport goes through a registry.
fn read_scopes<'n>(
    field: &Field<'n>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<(String, Field<'n>)> {
    let mut found = Vec::new();
    for (transport, field) in field.entries(reader) {
        if transport.name != DOCKER {
            reader.warn(
                &field,
                WarningName::TransportLeftOut,
                format!(
                    "nothing is pulled through here by the transport `{}`: left out",
                    transport.name
                ),
            );
            continue;
        }
        for (scope, field) in field.entries(reader) {
            if check_scope(&scope.name, &field, reader) {
                note_what_matches(&scope.name, &field, surroundings, reader);
                found.push((scope.name.clone(), field));
            }
        }
    }
    found
}

fn check_scope(scope: &str, field: &Field<'_>, reader: &mut Reader) -> bool {
    if scope.contains('@') {
        // Covered is a name, or a name and a tag; which digest it is comes later.
        reader.problem(
            field,
            "a scope for one digest is not supported",
            "to refuse a digest, list it under `revoked` in the configuration; to admit it, give its repository a scope",
        );
        return false;
    }
    let problem = if scope.contains("://") || scope.contains(char::is_whitespace) {
        Some("no scope has a scheme or blanks")
    } else if scope.starts_with('/') || scope.ends_with('/') {
        Some("a scope neither begins nor ends with a slash")
    } else if scope.strip_prefix("*.").unwrap_or(scope).contains('*') {
        Some("the only wildcard is `*.` before a domain")
    } else if scope.split('/').next().is_some_and(is_other_docker_hub) {
        Some("here this is one with docker.io, whose scopes decide")
    } else {
        None
    };
    if let Some(problem) = problem {
        reader.problem(
            field,
            problem,
            "write a host, a namespace or a repository in full: docker.io/library/busybox",
        );
        return false;
    }
    if is_for_one_image(scope) {
        reader.warn(
            field, WarningName::TagsDecide,
            format!(
                "`{scope}` is for one tag: at a pull, tags are those through which the image was asked for, and \
                 where none is known, both this and what decides about the rest of the repository must be met"
            ),
        );
    }
    true
}

/// The names of Docker Hub that are not its canonical one. To containers the first is docker.io too, and the others are
/// registries of their own.
fn is_other_docker_hub(host: &str) -> bool {
    let host = host.split(':').next().unwrap_or(host);
    OTHER_DOCKER_HUBS.contains(&host)
}

/// Names of images are in full and in lower case: other scopes match nothing, or something else than was meant.
fn note_what_matches(
    scope: &str,
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) {
    let full = match in_full(scope, surroundings) {
        Some(full) if full == scope => return,
        Some(full) => full,
        None => {
            reader.warn(
                field,
                WarningName::CoversNothing,
                format!("`{scope}` matches nothing: it is no name of an image"),
            );
            return;
        }
    };
    let namespace = scope.strip_prefix("docker.io/");
    let is_namespace = namespace.is_some_and(|it| it == it.to_lowercase() && !it.contains(':'));
    reader.warn(
        field,
        WarningName::CoversNothing,
        if is_namespace {
            format!("`{scope}` matches images below it only: the image of this name is `{full}`")
        } else {
            format!(
                "`{scope}` matches nothing: names are in full and in lower case, such as `{full}`"
            )
        },
    );
}

/// The scope as the names that it is for begin; nothing if there is no such name.
fn in_full(scope: &str, surroundings: &Surroundings<'_>) -> Option<String> {
    let (name, tag) = match scope.rsplit_once(':') {
        Some((name, tag)) if is_for_one_image(scope) => (name, format!(":{tag}")),
        Some(_) | None => (scope, String::new()),
    };
    let name = name.to_lowercase();
    if name.is_empty() || name.starts_with("*.") || name == "docker.io/library" {
        return Some(name);
    }
    let (host, rest) = match name.split_once('/') {
        Some((host, rest)) => (host, Some(rest)),
        None => (name.as_str(), None),
    };
    let (host, rest) = if looks_like_host(host) || surroundings.hosts.contains(&host) {
        (host, rest)
    } else {
        ("docker.io", Some(name.as_str()))
    };
    let full = match rest {
        Some(rest) => RepositoryName::new(host, rest).ok()?.as_str().to_owned(),
        None => canonical_host(host).ok()?.to_owned(),
    };
    Some(full + &tag)
}

fn read_policy(
    name: String,
    coverage: ScopeCoverage,
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Arc<Policy>> {
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(
            field,
            "an empty list of requirements",
            "write [{\"type\": \"reject\"}], or what is required",
        );
        return None;
    }
    let read: Vec<_> = items
        .iter()
        .map(|item| requirement::read(item, reader))
        .collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    let (read, names): (Vec<_>, Vec<_>) = read.into_iter().unzip();
    let signed_name = read_names(field, names, reader)?;
    let requirement = Requirement::all(read);
    let waives = super::waives(Mode::Enforce, &requirement);
    if super::undoes_default(&coverage, waives, field, surroundings, reader) {
        return None;
    }
    let policy = Policy {
        name,
        hash: Digest::sha256(b""),
        origin: Some(field.node.position.origin()),
        coverage: Coverage::Imported(Arc::new(coverage)),
        mode: Mode::Enforce,
        signed_name,
        requirement,
        signature_repositories: Vec::new(),
        max_signature_age: None,
    };
    Some(Arc::new(policy.with_hash()))
}

/// What the names in the signatures must be, which is one thing for all requirements of a scope.
fn read_names(
    field: &Field<'_>,
    names: Vec<SignedName>,
    reader: &mut Reader,
) -> Option<SignedName> {
    let compared = |it: &SignedName| *it != SignedName::Any;
    let mut names = names.into_iter().filter(compared);
    let first = names.next().unwrap_or_default();
    if names.all(|it| it == first) {
        return Some(first);
    }
    reader.problem(
        field,
        "some requirements of the scope compare another name than others",
        "give all of them the same `signedIdentity`",
    );
    None
}
