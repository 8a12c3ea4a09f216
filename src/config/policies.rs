//! `policies:`

mod images;

use crate::config::WarningName;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(super) use images::read_patterns;

use super::members::{self, Member};
use super::reader::{Field, Reader, Section};
use super::trusted_roots::TrustedRoots;
use super::{Position, attestations, warning};
use crate::oci::{Digest, RepositoryName};
use crate::policy::{
    Authority, AuthoritySigner, Coverage, DefaultAction, Mode, Policy, Requirement,
    SignatureRequirement, SignedName,
};
use images::{read_exclusions, read_images, refuse_audit_of_everything};

pub(super) const KEYS: &[&str] = &[
    "name",
    "images",
    "exclude",
    "mode",
    "authorities",
    "threshold",
    "annotations",
    "attestations",
    "signature_repository",
    "signed_name",
    "max_signature_age",
    "acknowledge",
];

/// What policies are read against.
#[derive(Debug)]
pub(super) struct Surroundings<'a> {
    pub(super) roots: &'a TrustedRoots,
    /// The configured upstreams' hosts.
    pub(super) hosts: Vec<&'a str>,
    pub(super) default: DefaultAction,
}

impl Surroundings<'_> {
    /// Whether there are no upstreams, as where documents are read without a configuration: what is among them is not
    /// for documents to say.
    pub(super) fn are_of_documents(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether a registry is among the upstreams, as far as there are any.
    pub(super) fn can_reach(&self, host: &str) -> bool {
        self.are_of_documents() || self.hosts.contains(&host)
    }
}

/// The policies that are usable; every other one has been reported.
pub(super) fn read(
    field: Option<&Field<'_>>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Policy>> {
    let items = field.map(|field| field.items(reader)).unwrap_or_default();
    let mut names: BTreeMap<String, Position> = BTreeMap::new();
    let mut policies = Vec::new();
    for item in items {
        let section = item.section(KEYS, reader);
        let help = "name the policy: the name is in every refusal and in the log";
        let Some(name_field) = section.required("name", help, reader) else {
            continue;
        };
        let Some(name) = name_field.text(reader) else {
            continue;
        };
        if name.is_empty() {
            reader.problem(&name_field, "an empty name", help);
        }
        let position = name_field.node.position.clone();
        if let Some(first) = names.insert(name.to_owned(), position) {
            reader.problem(
                &name_field,
                format!("`{name}` is the name of two policies"),
                format!("the other one is at {first}; rename one of them"),
            );
        }
        let known_warnings = reader.warnings.len();
        if let Some(policy) = read_policy(name, &section, surroundings, reader) {
            policies.push(Arc::new(policy.with_hash()));
        }
        let acknowledged = warning::read(section.get("acknowledge").as_ref(), reader);
        reader.acknowledge(known_warnings, &acknowledged);
    }
    policies
}

fn read_policy(
    name: &str,
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Policy> {
    let help = "list the repositories, such as ghcr.io/org/* or ghcr.io/org/**";
    let images = section
        .required("images", help, reader)
        .and_then(|field| read_images(&field, surroundings, reader));
    let exclude = section
        .get("exclude")
        .map(|field| read_exclusions(&field, images.as_deref(), reader))
        .unwrap_or_default();
    let mode = section
        .get("mode")
        .and_then(|field| {
            field.choice(
                &[("enforce", Mode::Enforce), ("audit", Mode::Audit)],
                reader,
            )
        })
        .unwrap_or(Mode::Enforce);
    if let (Some(images), Mode::Audit) = (&images, mode) {
        refuse_audit_of_everything(images, section, surroundings, reader);
    }
    let requirement = read_requirement(section, surroundings, reader)?;
    if let Some(field) = section.get("max_signature_age") {
        warn_of_unproven_times(&field, &requirement, reader);
    }
    Some(Policy {
        name: name.to_owned(),
        hash: Digest::sha256(b""),
        origin: Some(section.field().node.position.origin()),
        coverage: Coverage::Names {
            images: images?,
            exclude,
        },
        mode,
        requirement,
        signature_repositories: section
            .get("signature_repository")
            .and_then(|field| read_signature_repository(&field, surroundings, reader))
            .into_iter()
            .collect(),
        signed_name: section
            .get("signed_name")
            .and_then(|field| {
                let words = [("match", true), ("any", false)];
                field.choice(&words, reader)
            })
            .map_or(SignedName::Any, |matches| {
                if matches {
                    SignedName::Repository
                } else {
                    SignedName::Any
                }
            }),
        max_signature_age: section.get("max_signature_age").and_then(|field| {
            let age = field.duration(reader)?;
            if age.is_zero() {
                reader.problem(
                    &field,
                    "zero would refuse every signature",
                    "write a duration such as 90d, or leave the key out",
                );
            }
            Some(age)
        }),
    })
}

/// An age is counted from a proven time.
fn warn_of_unproven_times(field: &Field<'_>, requirement: &Requirement, reader: &mut Reader) {
    let authorities = requirement.authorities();
    let mut authorities = authorities.iter();
    let unproven = authorities.find(|it| !it.transparency_log && !it.signed_timestamp);
    if let Some(authority) = unproven {
        reader.warn(
            field, WarningName::NeverSatisfied,
            format!(
                "signatures by `{}` need neither a log entry nor a timestamp, and one without either is always too old: \
                 leave `transparency_log` at required, or set `signed_timestamp: required`",
                authority.name
            ),
        );
    }
}

/// What must be there: signatures, attestations or both. A policy that requires nothing is none.
fn read_requirement(
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Requirement> {
    let authorities_field = section.get("authorities");
    let attestations_field = section.get("attestations");
    if authorities_field.is_none() && attestations_field.is_none() {
        reader.problem(
            section.field(),
            "the policy requires nothing",
            "add `authorities`, `attestations` or both; to let images through unsigned, use `mode: audit`",
        );
        return None;
    }
    let members = authorities_field
        .as_ref()
        .and_then(|field| members::read(field, surroundings.roots, reader));
    let signature = read_signature(section, members.as_deref(), reader);
    if authorities_field.is_none() {
        refuse_without_authorities(section, reader);
    }
    let authorities: Option<Vec<_>> = members
        .as_ref()
        .map(|members| members.iter().flat_map(Member::authorities).collect());
    let attestations = match &attestations_field {
        Some(field) => {
            attestations::read(field, authorities.as_deref(), surroundings.roots, reader)?
        }
        None => Vec::new(),
    };
    let mut required = Vec::new();
    if authorities_field.is_some() {
        required.push(signature?);
    }
    required.extend(attestations.into_iter().map(Requirement::Attestation));
    Some(Requirement::all(required))
}

/// Who must have signed: so many distinct of the authorities, or what the groups say.
fn read_signature(
    section: &Section<'_>,
    members: Option<&[Member]>,
    reader: &mut Reader,
) -> Option<Requirement> {
    let annotations = section
        .get("annotations")
        .map(|field| field.texts(reader))
        .unwrap_or_default();
    let flat: Option<Vec<_>> = members.map(|members| {
        let authorities = members.iter().filter_map(Member::authority);
        authorities.cloned().collect()
    });
    let threshold = read_threshold(section, flat.as_deref(), reader);
    let (members, flat) = (members?, flat?);
    if flat.len() == members.len() {
        let of = flat.into_iter().map(|authority| SignatureRequirement {
            authority,
            annotations: annotations.clone(),
        });
        return Some(Requirement::Signers {
            count: threshold,
            of: of.collect(),
        });
    }
    if let Some(field) = section.get("threshold") {
        reader.problem(
            &field,
            "`threshold` counts authorities, and some of these are groups",
            "write {at_least: 2, of: […]} among the authorities instead",
        );
    }
    let of = members.iter().map(|it| it.requirement(&annotations));
    Some(Requirement::Any(of.collect()))
}

/// Keys about signatures where none are required would promise what is not checked.
fn refuse_without_authorities(section: &Section<'_>, reader: &mut Reader) {
    for key in ["threshold", "annotations", "signed_name"] {
        if let Some(field) = section.get(key) {
            reader.problem(
                &field,
                format!("`{key}` is about signatures and the policy has no `authorities`"),
                "add `authorities` to the policy, or remove the key",
            );
        }
    }
}

fn read_threshold(
    section: &Section<'_>,
    authorities: Option<&[Arc<Authority>]>,
    reader: &mut Reader,
) -> usize {
    let Some(field) = section.get("threshold") else {
        return 1;
    };
    let help = "write how many distinct keys or identities must have signed, at least 1";
    let Some(threshold) = field.parse::<usize>(help, reader) else {
        return 1;
    };
    if threshold == 0 {
        reader.problem(&field, "zero would require nothing", help);
        return 1;
    }
    if let Some(authorities) = authorities {
        warn_of_too_few(&field, threshold, authorities, reader);
    }
    threshold
}

/// Whether there are fewer signers than are needed, which has been reported.
pub(super) fn warn_of_too_few(
    field: &Field<'_>,
    count: usize,
    authorities: &[Arc<Authority>],
    reader: &mut Reader,
) -> bool {
    let distinct = count_distinct(authorities).filter(|distinct| *distinct < count);
    if let Some(distinct) = distinct {
        reader.warn(
            field, WarningName::NeverSatisfied,
            format!(
                "can never be met: {count} of {distinct} distinct keys and identities; every image is refused"
            ),
        );
    }
    distinct.is_some()
}

/// How many signers there can be; `None` when an expression leaves it open.
pub(super) fn count_distinct(authorities: &[Arc<Authority>]) -> Option<usize> {
    let signers: Option<HashSet<_>> = authorities
        .iter()
        .map(|authority| match &authority.signer {
            AuthoritySigner::Key { reference, keys } => match keys.versions() {
                [only] => Some((only.key.fingerprint.to_string(), String::new())),
                _ => Some((reference.clone(), String::new())),
            },
            AuthoritySigner::Identity(requirement) => {
                let identity = requirement.identity.exact()?.to_owned();
                let issuer = requirement.oidc_issuer.as_ref()?.exact()?;
                Some((identity, issuer.to_owned()))
            }
        })
        .collect();
    signers.map(|signers| signers.len())
}

fn read_signature_repository(
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<RepositoryName> {
    let name: RepositoryName = field.parse(
        "write host/repository, such as ghcr.io/org/signatures",
        reader,
    )?;
    if !surroundings.hosts.contains(&name.host()) {
        reader.problem(
            field,
            format!(
                "the host of `{}` is not among the upstreams",
                field.written()
            ),
            "add it under `upstreams`",
        );
    }
    Some(name)
}
