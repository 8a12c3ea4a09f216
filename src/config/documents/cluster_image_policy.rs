//! policy-controller's `ClusterImagePolicy`.
//!
//! One of a policy's authorities must vouch, and every policy that covers an image must be satisfied. An authority with
//! attestations asks for those in place of a signature.

mod attestations;
mod authority;
mod identities;
mod keys;

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) use identities::read_search;

use super::trust_root::TrustRoots;
use crate::config::policies::Surroundings;
use crate::config::reader::{Field, Reader, Section};
use crate::oci::{Digest, RepositoryName};
use crate::policy::glob::{Glob, GlobCoverage};
use crate::policy::{Coverage, Mode, Policy, Requirement, SignedName};

pub(super) const KIND: &str = "ClusterImagePolicy";
pub(super) const VERSIONS: [&str; 2] = [
    "policy.sigstore.dev/v1alpha1",
    "policy.sigstore.dev/v1beta1",
];

const KEYS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
const SPEC_KEYS: &[&str] = &["images", "authorities", "policy", "mode", "match"];
const IMAGE_KEYS: &[&str] = &["glob"];
const MATCH_KEYS: &[&str] = &["group", "version", "resource", "selector"];

/// The workloads that policy-controller looks at.
const RESOURCES: [&str; 7] = [
    "pods",
    "replicasets",
    "deployments",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
];

/// What an authority asks for, and where else signatures are looked for because of it.
#[derive(Debug)]
struct Vouching {
    requirement: Requirement,
    signature_repositories: Vec<RepositoryName>,
}

/// The policy; nothing when it is not usable, which has been reported.
pub(super) fn read(
    document: &Field<'_>,
    roots: &TrustRoots<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Arc<Policy>> {
    let section = document.section(KEYS, reader);
    let name = super::read_name(&section, reader);
    let help = "write `spec` with `images` and `authorities`";
    let spec = section.required("spec", help, reader)?;
    let spec = spec.section(SPEC_KEYS, reader);
    let has_policy = refuse_policy(&spec, reader);
    let mode = spec.get("mode").map_or(Some(Mode::Enforce), |field| {
        field.choice(&[("enforce", Mode::Enforce), ("warn", Mode::Audit)], reader)
    });
    let vouching = read_authorities(&spec, roots, surroundings, reader);
    let globs = read_images(&spec, reader);
    if has_policy {
        return None;
    }
    let (mode, vouching) = (mode?, vouching?);
    let waives = super::waives(mode, &vouching.requirement);
    read_match(&spec, waives.is_some(), reader)?;
    let coverage = GlobCoverage::new(globs?, super::doubt(waives));
    let images = spec.get("images")?;
    if super::undoes_default(&coverage, waives, &images, surroundings, reader) {
        return None;
    }
    let policy = Policy {
        name: name?,
        hash: Digest::sha256(b""),
        origin: Some(document.node.position.origin()),
        coverage: Coverage::Imported(Arc::new(coverage)),
        mode,
        requirement: vouching.requirement,
        signature_repositories: vouching.signature_repositories,
        signed_name: SignedName::Any,
        max_signature_age: None,
    };
    Some(Arc::new(policy.with_hash()))
}

fn read_images(spec: &Section<'_>, reader: &mut Reader) -> Option<Vec<Glob>> {
    let help = "list globs, such as {glob: ghcr.io/org/**}";
    let field = spec.required("images", help, reader)?;
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(&field, "the policy covers no image", help);
        return None;
    }
    let globs: Vec<_> = items.iter().map(|item| read_glob(item, reader)).collect();
    globs.into_iter().collect()
}

fn read_glob(field: &Field<'_>, reader: &mut Reader) -> Option<Glob> {
    let section = field.section(IMAGE_KEYS, reader);
    let help = "`*` stands for part of a path component, `**` for anything: ghcr.io/org/**";
    let field = section.required("glob", help, reader)?;
    match Glob::new(field.text(reader)?) {
        Ok(glob) => {
            if !super::has_scheme(glob.source(), "covers", &field, reader) && glob.is_about_tags() {
                reader.warn(
                    &field, WarningName::TagsDecide,
                    format!(
                        "`{}` is about tags or digests: at a pull it is compared with the tags through which the image \
                         was asked for, and where none is known, whatever of the repository it can cover is covered",
                        glob.source()
                    ),
                );
            }
            Some(glob)
        }
        Err(error) => {
            reader.problem(&field, field.explain(&error), help);
            None
        }
    }
}

/// Messages and the log tell authorities by their names; nothing where two have the same, which has been reported.
fn check_names(authorities: &[Field<'_>], reader: &mut Reader) -> Option<()> {
    let mut names = BTreeMap::new();
    let mut distinct = Some(());
    for field in authorities {
        // An empty name is none, to policy-controller too, which then numbers them.
        let name = super::text_under(field, "name").filter(|name| !name.is_empty());
        let Some(name) = name else {
            continue;
        };
        if let Some(first) = names.insert(name, field.key.as_str()) {
            distinct = None;
            reader.problem(
                field,
                format!("`{name}` is the name of two authorities"),
                format!("rename this one or {first}"),
            );
        }
    }
    distinct
}

fn read_authorities(
    spec: &Section<'_>,
    roots: &TrustRoots<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Vouching> {
    let help = "add a key, an identity with its issuer, or {static: {action: fail}}; policy-controller refuses a policy \
                without authorities too";
    let field = spec.required("authorities", help, reader)?;
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(
            &field,
            "an empty list of authorities lets nobody vouch",
            help,
        );
        return None;
    }
    let named = check_names(&items, reader);
    let read: Vec<_> = items
        .iter()
        .enumerate()
        .map(|(index, item)| authority::read(item, index, roots, surroundings, reader))
        .collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    named?;
    let mut requirements = Vec::new();
    let mut signature_repositories = Vec::new();
    for vouching in read {
        requirements.push(vouching.requirement);
        for repository in vouching.signature_repositories {
            if !signature_repositories.contains(&repository) {
                signature_repositories.push(repository);
            }
        }
    }
    Some(Vouching {
        requirement: any(requirements),
        signature_repositories,
    })
}

/// One of `requirements`; where all are about signatures, they are said in one.
fn any(requirements: Vec<Requirement>) -> Requirement {
    let mut signers = Vec::new();
    for requirement in &requirements {
        match requirement {
            Requirement::Signers { count: 1, of } => signers.extend(of.iter().cloned()),
            Requirement::Signers { .. }
            | Requirement::Signature(_)
            | Requirement::Attestation(_)
            | Requirement::All(_)
            | Requirement::Any(_)
            | Requirement::AtLeast { .. }
            | Requirement::Nothing
            | Requirement::Refusal { .. } => return Requirement::Any(requirements),
        }
    }
    Requirement::Signers {
        count: 1,
        of: signers,
    }
}

/// Whether an image that nobody signed can satisfy it.
pub(super) fn needs_nothing(requirement: &Requirement) -> bool {
    match requirement {
        Requirement::Nothing => true,
        Requirement::Any(of) => of.iter().any(needs_nothing),
        Requirement::All(of) => of.iter().all(needs_nothing),
        Requirement::AtLeast { count, of } => {
            of.iter().filter(|it| needs_nothing(it)).count() >= *count
        }
        Requirement::Signature(_)
        | Requirement::Signers { .. }
        | Requirement::Attestation(_)
        | Requirement::Refusal { .. } => false,
    }
}

/// A pull knows no workload: what is asked of some is asked of all, unless that lets more through.
fn read_match(spec: &Section<'_>, lets_through: bool, reader: &mut Reader) -> Option<()> {
    let Some(field) = spec.get("match") else {
        return Some(());
    };
    let items = field.items(reader);
    let read: Vec<_> = items.iter().map(|it| check_match(it, reader)).collect();
    read.into_iter().collect::<Option<()>>()?;
    // One that covers every Pod is enough: the others only add to it.
    if items.is_empty() || items.iter().any(covers_every_pod) {
        return Some(());
    }
    if lets_through {
        reader.problem(
            &field,
            "a pull knows no workload, and for every workload this policy would let through what it was written to let \
             through for some",
            "remove `match` if that is meant, or keep this policy in the cluster",
        );
        return None;
    }
    reader.warn(
        &field,
        WarningName::ClusterScope,
        "a pull knows no workload: the policy holds for whoever pulls what `images` covers",
    );
    Some(())
}

/// Images are pulled for Pods, so what is asked of all of them is asked of every pull.
fn covers_every_pod(field: &Field<'_>) -> bool {
    // Unknown keys are reported once, by `check_match`.
    let section = field.section(MATCH_KEYS, &mut Reader::default());
    let resource = section.get("resource");
    let resource = resource.as_ref().and_then(Field::scalar);
    let is_selected = section
        .get("selector")
        .is_some_and(|it| !super::selects_everything(&it));
    let is = |key, known: &[&str]| {
        section.get(key).is_none_or(|field| {
            field
                .scalar()
                .is_some_and(|it| known.contains(&it.text.as_str()))
        })
    };
    let is_core = is("group", &[""]) && is("version", &["", "v1"]);
    resource.is_some_and(|it| it.text == "pods") && is_core && !is_selected
}

fn check_match(field: &Field<'_>, reader: &mut Reader) -> Option<()> {
    let section = field.section(MATCH_KEYS, reader);
    if let Some(resource) = section.get("resource") {
        let words = RESOURCES.map(|word| (word, ()));
        return resource.choice(&words, reader);
    }
    if let Some(selector) = section.get("selector") {
        reader.problem(
            &selector,
            "a selector without a resource",
            "name the resource",
        );
        return None;
    }
    Some(())
}

/// What sees several signatures, the workload or the configuration of the image cannot be asked before a pull.
fn refuse_policy(spec: &Section<'_>, reader: &mut Reader) -> bool {
    let Some(field) = spec.get("policy") else {
        return false;
    };
    reader.problem(
        &field,
        "a policy over the outcome of all authorities is not supported",
        "say what it says with one ClusterImagePolicy for each authority that must vouch (all that cover an image must \
         be satisfied), and conditions on attestations under `attestations[].policy` in Rego",
    );
    true
}
