//! One digest for everything that decides, the same for the same meaning.
//!
//! Keys count by fingerprint and trusted roots by digest, so moving a file changes nothing and changing its content
//! does. Every structure is taken apart field by field: a new field does not compile until somebody has decided here.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{
    AttestationRequirement, Authority, AuthoritySigner, DefaultAction, IdentityRequirement,
    Matcher, Mode, Pattern, Policy, Quantifier, Revoked, SignatureRequirement,
};
use crate::limits::Limits;
use crate::oci::Digest;

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

pub(super) fn of_policy(policy: &Policy) -> Digest {
    let Policy {
        name,
        hash: _,
        images,
        exclude,
        mode,
        signature,
        attestations,
        signature_repository,
        signed_name_must_match,
        max_signature_age,
    } = policy;
    let mode = match mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
    };
    let attestations: Vec<_> = attestations.iter().map(describe_attestation).collect();
    digest(&json!({
        "name": name,
        "images": describe_patterns(images),
        "exclude": describe_patterns(exclude),
        "mode": mode,
        "signature": signature.as_ref().map(describe_signature),
        "attestations": attestations,
        "signature_repository": signature_repository,
        "signed_name_must_match": signed_name_must_match,
        "max_signature_age": max_signature_age.map(milliseconds),
    }))
}

/// The keys of a [`Value`] object come out in a fixed order: this one builds and serialises them sorted.
fn digest(description: &Value) -> Digest {
    Digest::sha256(description.to_string().as_bytes())
}

fn describe_patterns(patterns: &[Pattern]) -> Vec<&str> {
    patterns.iter().map(Pattern::as_str).collect()
}

fn describe_signature(requirement: &SignatureRequirement) -> Value {
    let SignatureRequirement {
        authorities,
        threshold,
        annotations,
    } = requirement;
    json!({
        "authorities": describe_authorities(authorities),
        "threshold": threshold,
        "annotations": annotations,
    })
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
        "condition": condition.as_ref().map(super::Condition::source),
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
        transparency_log,
        signed_timestamp,
        sct,
    } = authority;
    let signer = match signer {
        AuthoritySigner::Key { reference: _, key } => json!({ "key": key.fingerprint }),
        AuthoritySigner::Identity(IdentityRequirement {
            identity,
            oidc_issuer,
            extensions,
        }) => json!({
            "identity": describe_matcher(identity),
            "oidc_issuer": describe_matcher(oidc_issuer),
            "extensions": extensions,
        }),
    };
    json!({
        "name": name,
        "signer": signer,
        "trusted_root_name": trusted_root_name,
        "trusted_root": trusted_root.digest,
        "transparency_log": transparency_log,
        "signed_timestamp": signed_timestamp,
        "sct": sct,
    })
}

fn describe_matcher(matcher: &Matcher) -> Value {
    match matcher {
        Matcher::Exact(value) => json!({ "exact": value }),
        Matcher::Expression {
            source,
            expression: _,
        } => json!({ "expression": source }),
    }
}

fn describe_revoked(revoked: &Revoked) -> Value {
    let Revoked {
        digests,
        keys,
        identities,
    } = revoked;
    let sorted = |digests: &std::collections::HashSet<Digest>| {
        let mut digests: Vec<_> = digests.iter().copied().collect();
        digests.sort();
        digests
    };
    let identities: Vec<_> = identities.iter().map(describe_matcher).collect();
    json!({ "digests": sorted(digests), "keys": sorted(keys), "identities": identities })
}

/// Limits on what a decision takes in. Those on time, concurrency and space change when an answer comes, not which.
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
    })
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
