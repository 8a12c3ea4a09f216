//! One digest for everything that decides, the same for the same meaning.
//!
//! Keys count by fingerprint and trusted roots by digest, so moving a file changes nothing and changing its content
//! does. Every structure is taken apart field by field: a new field does not compile until somebody has decided here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::exception::{Exception, Scope};
use super::signed_name::{NamedImage, Renaming, SignedName};
use super::{
    AttestationRequirement, Authority, AuthoritySigner, DefaultAction, IdentityRequirement, KeySet,
    KeyVersion, Matcher, Mode, Policy, Quantifier, Requirement, Revoked, Root,
    SignatureRequirement,
};
use crate::limits::Limits;
use crate::oci::{Digest, Tag};

pub(super) fn of_policies(
    policies: &[Arc<Policy>],
    default: DefaultAction,
    revoked: &Revoked,
    limits: &Limits,
) -> Digest {
    let default = match default {
        DefaultAction::Deny => "deny",
        DefaultAction::Audit => "audit",
    };
    let policies: Vec<_> = policies
        .iter()
        .map(|policy| policy.hash.to_string())
        .collect();
    digest(&json!({
        "policies": policies,
        "default": default,
        "revoked": describe_revoked(revoked),
        "limits": describe_limits(limits),
    }))
}

/// The hash of policies with these exceptions; without any, that of the policies.
pub(super) fn with_exceptions(policies: Digest, exceptions: &[Arc<Exception>]) -> Digest {
    if exceptions.is_empty() {
        return policies;
    }
    let exceptions: Vec<_> = exceptions.iter().map(|it| describe_exception(it)).collect();
    digest(&json!({ "policies": policies, "exceptions": exceptions }))
}

fn describe_exception(exception: &Exception) -> Value {
    let Exception {
        scope,
        reason,
        by,
        until,
    } = exception;
    let scope = match scope {
        Scope::Images(patterns) => {
            let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
            json!({ "images": patterns })
        }
        Scope::Digests(digests) => json!({ "digests": sorted(digests) }),
    };
    json!({ "scope": scope, "reason": reason, "by": by, "until": until.to_string() })
}

fn sorted(digests: &std::collections::HashSet<Digest>) -> Vec<Digest> {
    let mut digests: Vec<_> = digests.iter().copied().collect();
    digests.sort();
    digests
}

pub(super) fn of_policy(policy: &Policy) -> Digest {
    let Policy {
        name,
        hash: _,
        origin: _,
        coverage,
        mode,
        requirement,
        signature_repositories,
        signed_name,
        max_signature_age,
    } = policy;
    let mode = match mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    };
    digest(&json!({
        "name": name,
        "coverage": coverage.describe(),
        "mode": mode,
        "requirement": describe_requirement(requirement),
        "signature_repositories": signature_repositories,
        "signed_name": describe_signed_name(signed_name),
        "max_signature_age": max_signature_age.map(milliseconds),
    }))
}

fn describe_signed_name(signed_name: &SignedName) -> Value {
    match signed_name {
        SignedName::Any => json!("any"),
        SignedName::Repository => json!("repository"),
        SignedName::RepositoryAndTag => json!("repository_and_tag"),
        SignedName::Renamed(Renaming {
            prefix,
            signed_prefix,
        }) => json!({ "prefix": prefix, "signed_prefix": signed_prefix }),
        SignedName::OtherRepository(repository) => json!({ "other_repository": repository }),
        SignedName::OtherReference(NamedImage {
            repository,
            tag,
            digest,
        }) => json!({
            "repository": repository,
            "tag": tag.as_ref().map(Tag::as_str),
            "digest": digest,
        }),
    }
}

/// The keys of a [`Value`] object come out in a fixed order: this one builds and serialises them sorted.
fn digest(description: &Value) -> Digest {
    Digest::sha256(description.to_string().as_bytes())
}

fn describe_requirement(requirement: &Requirement) -> Value {
    let members = |of: &[Requirement]| of.iter().map(describe_requirement).collect::<Vec<_>>();
    match requirement {
        Requirement::Signature(signature) => describe_signature(signature),
        Requirement::Attestation(attestation) => describe_attestation(attestation),
        Requirement::All(of) => json!({ "all": members(of) }),
        Requirement::Any(of) => json!({ "any": members(of) }),
        Requirement::AtLeast { count, of } => json!({ "at_least": count, "of": members(of) }),
        Requirement::Signers { count, of } => {
            let of: Vec<_> = of.iter().map(describe_signature).collect();
            json!({ "signers": count, "of": of })
        }
        Requirement::Nothing => json!("nothing"),
        Requirement::Refusal { message } => json!({ "refusal": message }),
    }
}

fn describe_signature(requirement: &SignatureRequirement) -> Value {
    let SignatureRequirement {
        authority,
        annotations,
    } = requirement;
    json!({ "authority": describe_authority(authority), "annotations": annotations })
}

fn describe_attestation(requirement: &AttestationRequirement) -> Value {
    let AttestationRequirement {
        predicate_type,
        authorities,
        quantifier,
        condition,
    } = requirement;
    let quantifier = match quantifier {
        Quantifier::Any => "any",
        Quantifier::All => "all",
        Quantifier::Newest => "newest",
    };
    json!({
        "predicate_type": predicate_type,
        "authorities": describe_authorities(authorities),
        "match": quantifier,
        "condition": condition.as_ref().map(|condition| condition.source()),
    })
}

fn describe_authorities(authorities: &[Arc<Authority>]) -> Vec<Value> {
    authorities
        .iter()
        .map(|authority| describe_authority(authority))
        .collect()
}

fn describe_authority(authority: &Authority) -> Value {
    let Authority {
        name,
        signer,
        trusted_root_name,
        trusted_root,
        root_parts,
        transparency_log,
        signed_timestamp,
        sct,
    } = authority;
    let signer = match signer {
        AuthoritySigner::Key { reference: _, keys } => json!({ "keys": describe_keys(keys) }),
        AuthoritySigner::Identity(IdentityRequirement {
            identity,
            oidc_issuer,
            extensions,
            certificate_authorities,
        }) => json!({
            "identity": describe_matcher(identity),
            "oidc_issuer": oidc_issuer.as_ref().map(describe_matcher),
            "extensions": extensions
                .iter()
                .map(|(name, matcher)| (name.clone(), describe_matcher(matcher)))
                .collect::<serde_json::Map<_, _>>(),
            "certificate_authorities": certificate_authorities.as_ref().map(|it| it.digest),
        }),
    };
    json!({
        "name": name,
        "signer": signer,
        "trusted_root_name": trusted_root_name,
        "trusted_root": describe_root(trusted_root),
        "root_parts": root_parts.as_ref().map(|parts| parts.digest),
        "transparency_log": transparency_log,
        "signed_timestamp": signed_timestamp,
        "sct": sct,
    })
}

/// Versions count by what they are, in order: the newest is tried first, which no outcome depends on, but a log does.
fn describe_keys(keys: &KeySet) -> Value {
    match keys {
        KeySet::Known(versions) => versions
            .iter()
            .map(|KeyVersion { version, key }| json!([version, key.fingerprint]))
            .collect(),
        KeySet::Unusable { reason: _ } => Value::Null,
    }
}

fn describe_root(root: &Root) -> Option<Digest> {
    match root {
        // Until when it may be believed moves with every refresh and decides nothing until then.
        Root::Usable { root, until: _ } => Some(root.digest),
        Root::Unusable { reason: _ } => None,
    }
}

fn describe_matcher(matcher: &Matcher) -> Value {
    match matcher {
        Matcher::Exact(value) => json!({ "exact": value }),
        Matcher::Expression {
            source,
            expression: _,
        } => json!({ "expression": source }),
        Matcher::Search {
            source,
            expression: _,
        } => json!({ "search": source }),
        Matcher::Wildcard {
            source,
            expression: _,
        } => json!({ "wildcard": source }),
        Matcher::Any(matchers) => json!({ "any": describe_matchers(matchers) }),
        Matcher::All(matchers) => json!({ "all": describe_matchers(matchers) }),
    }
}

fn describe_matchers(matchers: &[Matcher]) -> Vec<Value> {
    matchers.iter().map(describe_matcher).collect()
}

fn describe_revoked(revoked: &Revoked) -> Value {
    let Revoked {
        digests,
        keys,
        certificates,
        serial_numbers,
        identities,
    } = revoked;
    let mut serial_numbers: Vec<_> = serial_numbers.iter().collect();
    serial_numbers.sort();
    let identities: Vec<_> = identities.iter().map(describe_matcher).collect();
    json!({
        "digests": sorted(digests),
        "keys": sorted(keys),
        "certificates": sorted(certificates),
        "serial_numbers": serial_numbers,
        "identities": identities,
    })
}

/// Limits on what a decision takes in, and on the work that conditions may be. The others on time, and those on
/// concurrency and space, change when an answer comes, not which.
fn describe_limits(limits: &Limits) -> Value {
    json!({
        "manifest_bytes_max": limits.manifest_bytes_max,
        "payload_bytes_max": limits.payload_bytes_max,
        "bundle_bytes_max": limits.bundle_bytes_max,
        "discovery_bytes_max": limits.discovery_bytes_max,
        "list_bytes_max": limits.list_bytes_max,
        "signature_layers_max": limits.signature_layers_max,
        "referrers_listed_max": limits.referrers_listed_max,
        "referrers_opened_max": limits.referrers_opened_max,
        "list_pages_max": limits.list_pages_max,
        "attempts_max": limits.attempts_max,
        "log_entries_max": limits.log_entries_max,
        "signed_timestamps_max": limits.signed_timestamps_max,
        "chain_certificates_max": limits.chain_certificates_max,
        "subjects_max": limits.subjects_max,
        "index_manifests_max": limits.index_manifests_max,
        "endorsement_depth_max": limits.endorsement_depth_max,
        "endorsement_parents_max": limits.endorsement_parents_max,
        "condition_cpu_time_max": milliseconds(limits.condition_cpu_time_max),
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
