use jiff::Timestamp;

use super::*;
use crate::oci::Digest;
use crate::policy::{
    Authority, Coverage, DefaultAction, IdentityRequirement, Matcher, Mode, Requirement, Revoked,
    SignatureRequirement, SignedName,
};
use crate::verify::TrustedRoot;

/// Signatures by one identity, under a root that may be believed until then.
fn until(until: Timestamp, root: &Arc<TrustedRoot>) -> Arc<Policies> {
    let authority = Authority {
        name: "release".to_owned(),
        signer: AuthoritySigner::Identity(IdentityRequirement {
            identity: Matcher::Exact("release@org.example".to_owned()),
            oidc_issuer: Some(Matcher::Exact("https://issuer.example".to_owned())),
            extensions: std::collections::BTreeMap::new(),
            certificate_authorities: None,
        }),
        trusted_root_name: "public-good".to_owned(),
        trusted_root: Root::Usable {
            root: Arc::clone(root),
            until: Some(until),
        },
        root_parts: None,
        transparency_log: true,
        signed_timestamp: false,
        sct: true,
    };
    let policy = Policy {
        name: "apps".to_owned(),
        hash: Digest::sha256(b"set below"),
        origin: None,
        coverage: Coverage::Names {
            images: vec!["registry.example/**".parse().unwrap()],
            exclude: Vec::new(),
        },
        mode: Mode::Enforce,
        requirement: Requirement::Signature(SignatureRequirement {
            authority: Arc::new(authority),
            annotations: std::collections::BTreeMap::new(),
        }),
        signature_repositories: Vec::new(),
        signed_name: SignedName::Any,
        max_signature_age: None,
    };
    Arc::new(Policies::new(
        vec![Arc::new(policy.with_hash())],
        DefaultAction::Deny,
        Revoked::default(),
        &Limits::default(),
    ))
}

fn in_force_until(in_force: &InForce) -> Vec<Option<Timestamp>> {
    let policies = in_force.policies();
    let policies = policies.policies.iter();
    let authorities = policies.flat_map(|policy| policy.requirement.authorities());
    let roots = authorities.map(|authority| match &authority.trusted_root {
        Root::Usable { until, .. } => *until,
        Root::Unusable { .. } => None,
    });
    roots.collect()
}

#[test]
fn a_root_that_may_be_believed_for_longer_is() {
    let root = Arc::new(TrustedRoot::public_good().unwrap());
    let [first, second] = ["2026-12-01T00:00:00Z", "2026-12-31T00:00:00Z"];
    let [first, second] = [first, second].map(|time| time.parse().unwrap());
    let in_force = InForce::fixed(until(first, &root));
    let changes = in_force.changes();
    let hash = in_force.policies().hash;
    assert!(!in_force.inner.renew(until(second, &root)));
    assert_eq!(in_force_until(&in_force), [Some(second)]);
    // Nothing is decided otherwise now, and nothing that was decided is decided again.
    assert_eq!(in_force.policies().hash, hash);
    assert!(!changes.has_changed().unwrap());
}
