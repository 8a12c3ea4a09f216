//! Kyverno's policies as people run them, from their files to the decision: an apps registry signed by one key of a
//! key service, and a project that signs with its workflow's identity.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::corpus;
use super::forge::{Key, Log, Signature};
use super::question::Question;
use crate::config::{Config, Source};
use crate::limits::Limits;
use crate::oci::Digest;
use crate::policy::{KeySet, Material, Policies, Policy, Root, Tags};
use crate::signature::Candidate;
use crate::verify::TrustedRoot;

const APPS: &str = "us-docker.pkg.dev/project123/apps/web";
const EXTERNAL_SECRETS: &str = "ghcr.io/external-secrets/external-secrets";
const KEY: &str = "gcpkms://projects/project123/locations/us/keyRings/test_keyring/cryptoKeys/cosign_key/versions/1";

/// The key service's answer, and what takes the place of the public good root.
#[derive(Debug)]
struct Known {
    keys: Option<Arc<KeySet>>,
    root: Arc<TrustedRoot>,
}

impl Material for Known {
    fn keys(&self, reference: &str) -> Option<Arc<KeySet>> {
        assert_eq!(reference, KEY);
        self.keys.clone()
    }

    fn trusted_root(&self, name: &str) -> Option<Root> {
        assert_eq!(name, "public-good");
        Some(Root::usable(self.root.clone()))
    }
}

/// The policies of both files as they are.
fn policies(known: &Known) -> Policies {
    let fixtures = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/policies/kyverno"
    );
    let source = Source {
        path: PathBuf::from("config.yaml"),
        text: format!(
            "upstreams: {{us-docker.pkg.dev: {{}}, ghcr.io: {{}}}}
policy_files: ['{fixtures}/*.kyverno.yaml']"
        ),
    };
    let config = Config::from_sources(&[source], &|_| None);
    let config = config.unwrap_or_else(|problems| panic!("{problems}"));
    let names: Vec<_> = config
        .policies
        .policies
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "apps-policy/check-image",
            "external-secrets-policy/external-secrets-policy"
        ]
    );
    config.policies.with_material(known, &Limits::default())
}

/// What is answered about an image of this name that was asked for by digest and, if there is one, by tag.
fn answer(
    policies: &Policies,
    name: &str,
    tag: Option<&str>,
    digest: Digest,
    candidates: Vec<Candidate>,
) -> String {
    let repository = name.parse().unwrap();
    let tags = Tags::new(tag.map(ToOwned::to_owned));
    let matching = policies.matching(&repository, &tags);
    let matching: Vec<Policy> = matching.map(|policy| policy.as_ref().clone()).collect();
    let mut question = Question::new(matching, candidates);
    question.subject.repository = repository;
    question.subject.digest = digest;
    question.answer()
}

#[test]
fn apps_must_be_signed_by_the_key_of_the_key_service() {
    let (key, stranger, log) = (Key::generate(), Key::generate(), Log::new());
    let known = Known {
        keys: Some(Arc::new(KeySet::of(key.public()))),
        root: Arc::new(log.trusted_root()),
    };
    let policies = policies(&known);
    let digest = Digest::sha256(b"an image");
    let time: Timestamp = "2025-01-01T00:00:00Z".parse().unwrap();
    let by = |key: &Key, digest: &Digest, logged| {
        let signature = Signature {
            logged,
            ..Signature::default()
        };
        vec![signature.by(key, digest).candidate()]
    };
    let logged = || Some((&log, time));
    let another = Digest::sha256(b"another image");
    for (what, name, candidates, expected) in [
        ("signed", APPS, by(&key, &digest, logged()), "satisfied"),
        ("unsigned", APPS, vec![], "unsigned"),
        (
            "by another key",
            APPS,
            by(&stranger, &digest, logged()),
            "untrusted_key",
        ),
        (
            "another image",
            APPS,
            by(&key, &another, logged()),
            "wrong_subject",
        ),
        (
            "in no log",
            APPS,
            by(&key, &digest, None),
            "transparency_log",
        ),
        (
            "deeper",
            "us-docker.pkg.dev/project123/apps/team/web",
            by(&key, &digest, logged()),
            "satisfied",
        ),
        (
            "another repository",
            "us-docker.pkg.dev/project123/application/web",
            by(&key, &digest, logged()),
            "no_policy",
        ),
        (
            "another project",
            "us-docker.pkg.dev/project1234/apps/web",
            by(&key, &digest, logged()),
            "no_policy",
        ),
    ] {
        for tag in [None, Some("v1")] {
            let answer = answer(&policies, name, tag, digest, candidates.clone());
            assert_eq!(answer, expected, "{what} {tag:?}");
        }
    }
}

#[test]
fn external_secrets_must_be_signed_by_its_workflows() {
    let known = Known {
        keys: None,
        root: corpus::root(),
    };
    let policies = policies(&known);
    let release = || corpus::signed("kf-legacy-gh");
    let bundle = || corpus::signed("kf-bundle-r1");
    let email = || corpus::signed("kf-bundle-email");
    let unsigned = || corpus::Signed {
        candidates: vec![],
        ..release()
    };
    for (what, name, image, expected) in [
        ("signed", EXTERNAL_SECRETS, release(), "satisfied"),
        (
            "signed, as a bundle",
            EXTERNAL_SECRETS,
            bundle(),
            "satisfied",
        ),
        ("unsigned", EXTERNAL_SECRETS, unsigned(), "unsigned"),
        (
            "another identity",
            EXTERNAL_SECRETS,
            email(),
            "wrong_identity",
        ),
        (
            "another repository",
            "ghcr.io/external-secrets/external-secrets-helm",
            release(),
            "no_policy",
        ),
        (
            "below the repository",
            "ghcr.io/external-secrets/external-secrets/chart",
            release(),
            "no_policy",
        ),
    ] {
        for tag in [None, Some("v1")] {
            let answer = answer(&policies, name, tag, image.digest, image.candidates.clone());
            assert_eq!(answer, expected, "{what} {tag:?}");
        }
    }
}
