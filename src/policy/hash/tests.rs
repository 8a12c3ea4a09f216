//! Everything that decides is in the hash: what was decided before must not outlast a change of any of it.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use super::*;
use crate::policy::pattern::Pattern;
use crate::policy::{Condition, Coverage};
use crate::verify::{PublicKey, RootParts, TrustedRoot};

const K1: &str = include_str!("../../../tests/fixtures/corpus/keys/k1.pub");
const K2: &str = include_str!("../../../tests/fixtures/corpus/keys/k2.pub");
const ROOT: &str = include_str!("../../../tests/fixtures/corpus/trust/trusted_root.json");
const OTHER_ROOT: &str =
    include_str!("../../../tests/fixtures/corpus/trust/trusted_root_no_tsa.json");

fn keys(pem: &str) -> Arc<KeySet> {
    Arc::new(KeySet::of(PublicKey::from_pem(pem).unwrap()))
}

fn root(json: &str) -> Root {
    Root::usable(Arc::new(TrustedRoot::from_json(json).unwrap()))
}

fn parts(text: &str) -> Arc<RootParts> {
    Arc::new(RootParts::from_json(text).unwrap())
}

fn exact(text: &str) -> Matcher {
    Matcher::Exact(text.to_owned())
}

fn by_key(pem: &str) -> AuthoritySigner {
    AuthoritySigner::Key {
        reference: "inline".to_owned(),
        keys: keys(pem),
    }
}

fn by_identity(identity: Matcher, oidc_issuer: Option<Matcher>) -> AuthoritySigner {
    by_extension(identity, oidc_issuer, &[])
}

fn by_extension(
    identity: Matcher,
    oidc_issuer: Option<Matcher>,
    extensions: &[(&str, &str)],
) -> AuthoritySigner {
    AuthoritySigner::Identity(IdentityRequirement {
        identity,
        oidc_issuer,
        extensions: extensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), exact(value)))
            .collect(),
        certificate_authorities: None,
    })
}

fn authority() -> Authority {
    Authority {
        name: "one".to_owned(),
        signer: by_key(K1),
        trusted_root_name: "root".to_owned(),
        trusted_root: root(ROOT),
        root_parts: None,
        transparency_log: false,
        signed_timestamp: false,
        sct: false,
    }
}

/// The authority, and what differs from it in one respect.
fn authorities() -> Vec<Authority> {
    let unusable = || Root::Unusable {
        reason: "away".to_owned(),
    };
    let no_key = AuthoritySigner::Key {
        reference: "kms://key".to_owned(),
        keys: Arc::new(KeySet::Unusable {
            reason: "away".to_owned(),
        }),
    };
    let named = |name: &str| Authority {
        name: name.to_owned(),
        ..authority()
    };
    let signed = |signer| Authority {
        signer,
        ..authority()
    };
    let trusting = |trusted_root| Authority {
        trusted_root,
        ..authority()
    };
    let all = |texts: &[&str]| Matcher::All(texts.iter().map(|text| exact(text)).collect());
    let any = |texts: &[&str]| Matcher::Any(texts.iter().map(|text| exact(text)).collect());
    vec![
        authority(),
        named("two"),
        signed(by_key(K2)),
        signed(no_key),
        signed(by_identity(exact("a"), Some(exact("i")))),
        signed(by_identity(exact("b"), Some(exact("i")))),
        signed(by_identity(exact("a"), Some(exact("j")))),
        signed(by_identity(exact("a"), None)),
        signed(by_identity(Matcher::expression("a").unwrap(), None)),
        signed(by_identity(Matcher::expression("b").unwrap(), None)),
        signed(by_identity(Matcher::search("a").unwrap(), None)),
        signed(by_identity(Matcher::wildcard("a").unwrap(), None)),
        signed(by_identity(any(&["a", "b"]), None)),
        signed(by_identity(any(&["a", "c"]), None)),
        signed(by_identity(all(&["a", "b"]), None)),
        signed(by_identity(all(&["a", "c"]), None)),
        signed(by_extension(exact("a"), None, &[("ref", "x")])),
        signed(by_extension(exact("a"), None, &[("ref", "y")])),
        signed(by_extension(exact("a"), None, &[("sha", "x")])),
        trusting(root(OTHER_ROOT)),
        trusting(unusable()),
        Authority {
            trusted_root_name: "other".to_owned(),
            ..authority()
        },
        Authority {
            root_parts: Some(parts(ROOT)),
            ..authority()
        },
        Authority {
            root_parts: Some(parts(OTHER_ROOT)),
            ..authority()
        },
        Authority {
            transparency_log: true,
            ..authority()
        },
        Authority {
            signed_timestamp: true,
            ..authority()
        },
        Authority {
            sct: true,
            ..authority()
        },
    ]
}

fn signature(authority: Authority, annotations: &[(&str, &str)]) -> SignatureRequirement {
    SignatureRequirement {
        authority: Arc::new(authority),
        annotations: annotations
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
    }
}

fn attestation() -> AttestationRequirement {
    AttestationRequirement {
        predicate_type: "https://scan.example/v1".to_owned(),
        authorities: vec![Arc::new(authority())],
        quantifier: Quantifier::Any,
        condition: None,
    }
}

fn attestations() -> Vec<AttestationRequirement> {
    let quantified = |quantifier| AttestationRequirement {
        quantifier,
        ..attestation()
    };
    let only_if = |source: &str| AttestationRequirement {
        condition: Some(Arc::new(Condition::new(source).unwrap())),
        ..attestation()
    };
    let by = |authorities: Vec<Authority>| AttestationRequirement {
        authorities: authorities.into_iter().map(Arc::new).collect(),
        ..attestation()
    };
    let other = || Authority {
        signer: by_key(K2),
        ..authority()
    };
    vec![
        attestation(),
        quantified(Quantifier::All),
        quantified(Quantifier::Newest),
        only_if("predicate.a"),
        only_if("predicate.b"),
        by(vec![other()]),
        by(vec![authority(), other()]),
        AttestationRequirement {
            predicate_type: "https://scan.example/v2".to_owned(),
            ..attestation()
        },
    ]
}

fn requirements() -> Vec<Requirement> {
    let one = || signature(authority(), &[]);
    let single = || Requirement::Signature(one());
    let signers = |count, of| Requirement::Signers { count, of };
    let at_least = |count, of| Requirement::AtLeast { count, of };
    let refusal = |message: &str| Requirement::Refusal {
        message: message.to_owned(),
    };
    let mut requirements = vec![
        Requirement::Signature(signature(authority(), &[("env", "prod")])),
        Requirement::Signature(signature(authority(), &[("env", "test")])),
        Requirement::All(vec![single()]),
        Requirement::All(vec![single(), single()]),
        Requirement::Any(vec![single()]),
        at_least(1, vec![single()]),
        at_least(1, vec![single(), single()]),
        at_least(2, vec![single(), single()]),
        signers(1, vec![one()]),
        signers(1, vec![one(), one()]),
        signers(2, vec![one(), one()]),
        Requirement::Nothing,
        refusal("one"),
        refusal("two"),
    ];
    let of_authorities = authorities().into_iter();
    requirements.extend(of_authorities.map(|it| Requirement::Signature(signature(it, &[]))));
    requirements.extend(attestations().into_iter().map(Requirement::Attestation));
    requirements
}

fn policy() -> Policy {
    Policy {
        name: "apps".to_owned(),
        hash: Digest::sha256(b""),
        origin: None,
        coverage: names(&["ghcr.io/**"], &[]),
        mode: Mode::Enforce,
        requirement: Requirement::Nothing,
        signature_repositories: Vec::new(),
        signed_name: SignedName::Any,
        max_signature_age: None,
    }
}

fn names(images: &[&str], exclude: &[&str]) -> Coverage {
    let patterns = |texts: &[&str]| -> Vec<Pattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    };
    Coverage::Names {
        images: patterns(images),
        exclude: patterns(exclude),
    }
}

fn policies() -> Vec<Policy> {
    let covering = |coverage| Policy {
        coverage,
        ..policy()
    };
    let ageing = |seconds| Policy {
        max_signature_age: Some(Duration::from_secs(seconds)),
        ..policy()
    };
    let looking = |repository: &str| Policy {
        signature_repositories: vec![repository.parse().unwrap()],
        ..policy()
    };
    let mut policies = vec![
        covering(names(&["ghcr.io/*"], &[])),
        covering(names(&["ghcr.io/**"], &["ghcr.io/a/*"])),
        ageing(60),
        ageing(61),
        looking("ghcr.io/signatures/a"),
        looking("ghcr.io/signatures/b"),
        Policy {
            name: "others".to_owned(),
            ..policy()
        },
        Policy {
            mode: Mode::Audit,
            ..policy()
        },
    ];
    policies.extend(signed_names().into_iter().map(|signed_name| Policy {
        signed_name,
        ..policy()
    }));
    policies.extend(requirements().into_iter().map(|requirement| Policy {
        requirement,
        ..policy()
    }));
    policies
}

fn signed_names() -> Vec<SignedName> {
    let renamed = |prefix: &str, signed_prefix: &str| {
        SignedName::Renamed(Renaming {
            prefix: prefix.to_owned(),
            signed_prefix: signed_prefix.to_owned(),
        })
    };
    let reference = |name: &str, tag: Option<&str>, digest: Option<&[u8]>| {
        SignedName::OtherReference(NamedImage {
            repository: name.parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: digest.map(Digest::sha256),
        })
    };
    let (a, b) = ("ghcr.io/a/a", "ghcr.io/b/b");
    vec![
        SignedName::Repository,
        SignedName::RepositoryAndTag,
        renamed("ghcr.io/a", "ghcr.io/b"),
        renamed("ghcr.io/b", "ghcr.io/a"),
        renamed("ghcr.io/a", "ghcr.io/c"),
        renamed("ghcr.io/c", "ghcr.io/b"),
        SignedName::OtherRepository(a.parse().unwrap()),
        SignedName::OtherRepository(b.parse().unwrap()),
        reference(a, Some("v1"), None),
        reference(b, Some("v1"), None),
        reference(a, Some("v2"), None),
        reference(a, None, Some(b"1")),
        reference(a, None, Some(b"2")),
        reference(a, Some("v1"), Some(b"1")),
    ]
}

#[test]
fn whatever_of_a_policy_differs_its_hash_does() {
    let mut known: HashMap<Digest, String> = HashMap::new();
    for policy in policies() {
        let shown = format!("{policy:?}");
        // The same meaning has the same hash.
        assert_eq!(of_policy(&policy), of_policy(&policy.clone()));
        if let Some(other) = known.insert(of_policy(&policy), shown.clone()) {
            panic!("the same hash: {other}\n{shown}");
        }
    }
    assert!(known.len() > 50, "{}", known.len());
}

#[test]
fn whatever_of_the_whole_differs_its_hash_does() {
    let one = Digest::sha256(b"one");
    let set = |digest: Digest| [digest].into();
    let revoked = [
        Revoked::default(),
        Revoked {
            digests: set(one),
            ..Revoked::default()
        },
        Revoked {
            digests: set(Digest::sha256(b"two")),
            ..Revoked::default()
        },
        Revoked {
            keys: set(one),
            ..Revoked::default()
        },
        Revoked {
            certificates: set(one),
            ..Revoked::default()
        },
        Revoked {
            serial_numbers: ["ab".to_owned()].into(),
            ..Revoked::default()
        },
        Revoked {
            identities: vec![exact("a")],
            ..Revoked::default()
        },
        Revoked {
            identities: vec![exact("b")],
            ..Revoked::default()
        },
    ];
    let limits = Limits::default();
    let mut hashes: Vec<Digest> = revoked
        .iter()
        .map(|revoked| of_policies(&[], DefaultAction::Deny, revoked, &limits))
        .collect();
    let nothing = Revoked::default();
    hashes.push(of_policies(&[], DefaultAction::Audit, &nothing, &limits));
    let policies = [Arc::new(policy().with_hash())];
    hashes.push(of_policies(
        &policies,
        DefaultAction::Deny,
        &nothing,
        &limits,
    ));
    let fewer = Limits {
        attempts_max: 1,
        ..Limits::default()
    };
    hashes.push(of_policies(&[], DefaultAction::Deny, &nothing, &fewer));
    hashes.extend(exceptions().map(|it| with_exceptions(one, &[Arc::new(it)])));
    hashes.push(with_exceptions(one, &[]));
    let distinct: std::collections::BTreeSet<_> = hashes.iter().collect();
    assert_eq!(distinct.len(), hashes.len(), "{hashes:?}");
}

fn exceptions() -> impl Iterator<Item = Exception> {
    let exception = |scope: Scope, until: i64| Exception {
        scope,
        reason: "a move".to_owned(),
        by: "somebody".to_owned(),
        until: Timestamp::from_second(until).unwrap(),
    };
    let images = |pattern: &str| Scope::Images(vec![pattern.parse().unwrap()]);
    let digests = |text: &str| Scope::Digests([Digest::sha256(text.as_bytes())].into());
    [
        exception(images("ghcr.io/a"), 1),
        exception(images("ghcr.io/b"), 1),
        exception(images("ghcr.io/a"), 2),
        exception(digests("a"), 1),
        exception(digests("b"), 1),
    ]
    .into_iter()
}
