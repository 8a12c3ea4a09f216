//! One question to the decision, and its answer in one word.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::forge::{Key, Layer, Log, Signature};
use crate::admission::Denial;
use crate::admission::evaluate::{Evaluation, Finding, Known, UnsignedTag, evaluate};
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::oci::{Digest, RepositoryName, Tag};
use crate::policy::{
    AttestationRequirement, Authority, AuthoritySigner, Coverage, DefaultAction, KeySet, Mode,
    Policies, Policy, Requirement, Revoked, Root, SignatureRequirement, SignedName, Tags,
};
use crate::signature::Candidate;
use crate::verify::TrustedRoot;

pub(super) fn now() -> Timestamp {
    "2026-11-24T00:00:00Z".parse().unwrap()
}

pub(super) fn repository() -> RepositoryName {
    RepositoryName::new("registry.example", "apps/web").unwrap()
}

/// An authority that is the holder of `key`, and demands no log entry.
pub(super) fn authority(name: &str, key: &Key, root: &Arc<TrustedRoot>) -> Arc<Authority> {
    Arc::new(Authority {
        name: name.to_owned(),
        signer: AuthoritySigner::Key {
            reference: format!("{name}.pub"),
            keys: Arc::new(KeySet::of(key.public())),
        },
        trusted_root_name: "private".to_owned(),
        trusted_root: Root::usable(Arc::clone(root)),
        root_parts: None,
        transparency_log: false,
        signed_timestamp: false,
        sct: false,
    })
}

/// A policy for everything under `registry.example` that requires nothing yet.
pub(super) fn policy(name: &str) -> Policy {
    Policy {
        name: name.to_owned(),
        hash: Digest::sha256(b"set below"),
        origin: None,
        coverage: Coverage::Names {
            images: vec!["registry.example/**".parse().unwrap()],
            exclude: Vec::new(),
        },
        mode: Mode::Enforce,
        requirement: Requirement::All(Vec::new()),
        signature_repositories: Vec::new(),
        signed_name: SignedName::Any,
        max_signature_age: None,
    }
    .with_hash()
}

pub(super) fn signature(authority: &Arc<Authority>) -> SignatureRequirement {
    SignatureRequirement {
        authority: Arc::clone(authority),
        annotations: BTreeMap::new(),
    }
}

pub(super) fn signers(authorities: &[&Arc<Authority>], count: usize) -> Requirement {
    Requirement::Signers {
        count,
        of: authorities.iter().map(|it| signature(it)).collect(),
    }
}

pub(super) fn signed_by(authorities: &[&Arc<Authority>], threshold: usize) -> Policy {
    Policy {
        requirement: signers(authorities, threshold),
        ..policy("apps")
    }
}

pub(super) fn attested_by(requirement: AttestationRequirement) -> Policy {
    Policy {
        requirement: Requirement::Attestation(requirement),
        ..policy("apps")
    }
}

/// What is asked: under these policies, with this evidence. The usual arrangement has one key and one log.
pub(super) struct Question {
    pub(super) subject: Subject,
    pub(super) policies: Vec<Policy>,
    pub(super) default: DefaultAction,
    pub(super) revoked: Revoked,
    pub(super) candidates: Vec<Candidate>,
    pub(super) failed_sources: Vec<String>,
    pub(super) absent_referrer: Option<Digest>,
    pub(super) stale: bool,
    pub(super) tags: Tags,
    pub(super) limit_exceeded: Option<String>,
    pub(super) witnessed: bool,
    pub(super) limits: Limits,
    pub(super) now: Timestamp,
}

impl Question {
    pub(super) fn new(policies: Vec<Policy>, candidates: Vec<Candidate>) -> Self {
        Self {
            subject: Subject {
                repository: repository(),
                digest: Digest::sha256(b"an image"),
            },
            policies,
            default: DefaultAction::Deny,
            revoked: Revoked::default(),
            candidates,
            failed_sources: Vec::new(),
            absent_referrer: None,
            stale: false,
            tags: Tags::default(),
            witnessed: true,
            limit_exceeded: None,
            limits: Limits::default(),
            now: now(),
        }
    }

    pub(super) fn failing(mut self) -> Self {
        self.failed_sources = vec!["the referrers API did not answer".to_owned()];
        self
    }

    pub(super) fn limited(mut self) -> Self {
        self.limit_exceeded = Some("101 referrers may be signatures".to_owned());
        self
    }

    /// A referrer is listed and not there.
    pub(super) fn lacking(mut self) -> Self {
        self.absent_referrer = Some(Digest::sha256(b"a referrer"));
        self
    }

    /// The evidence was stored by another process.
    pub(super) fn unwitnessed(mut self) -> Self {
        self.witnessed = false;
        self
    }

    pub(super) fn revoking(mut self, revoked: Revoked) -> Self {
        self.revoked = revoked;
        self
    }

    pub(super) fn ask(self) -> Evaluation {
        let policies = self
            .policies
            .into_iter()
            .map(|policy| Arc::new(policy.with_hash()))
            .collect();
        let known = Known {
            tags: &self.tags,
            candidates: &self.candidates,
            failed_sources: &self.failed_sources,
            absent_referrer: self.absent_referrer.as_ref(),
            stale: self.stale,
            limit_exceeded: self.limit_exceeded.as_deref(),
            witnessed: self.witnessed,
        };
        let policies = Policies::new(policies, self.default, self.revoked, &self.limits);
        evaluate(&self.subject, &policies, &known, &self.limits, self.now)
    }

    /// The answer: `satisfied`, `undecided`, or the kind of the denial; ` (audit: …)` where an auditing policy would
    /// have refused.
    pub(super) fn answer(self) -> String {
        words(&self.ask())
    }
}

pub(super) fn words(evaluation: &Evaluation) -> String {
    let kind = |denial: &Denial| denial.kind.as_str().to_owned();
    let finding = match &evaluation.finding {
        Finding::Satisfied => "satisfied".to_owned(),
        Finding::Undecided { .. } => "undecided".to_owned(),
        Finding::Refused(denial) => kind(denial),
    };
    match &evaluation.audit {
        Some(denial) => format!("{finding} (audit: {})", kind(denial)),
        None => finding,
    }
}

/// What becomes of a pull by `tag` that was not signed, in a word.
pub(super) fn unsigned_tag(
    evaluation: &Evaluation,
    subject: &Subject,
    tag: &Tag,
) -> Option<String> {
    let mut signed = evaluation.signed_tags.iter();
    let unsigned = signed.find_map(|signed| signed.unsigned(subject, tag))?;
    Some(match unsigned {
        UnsignedTag::Refused(denial) => denial.kind.as_str().to_owned(),
        UnsignedTag::Undecided(_) => "undecided".to_owned(),
    })
}

/// Two keys, one log, and the authorities of both keys.
pub(super) struct World {
    pub(super) key: Key,
    pub(super) other: Key,
    pub(super) log: Log,
    pub(super) root: Arc<TrustedRoot>,
    pub(super) authority: Arc<Authority>,
    pub(super) other_authority: Arc<Authority>,
    pub(super) digest: Digest,
}

impl World {
    pub(super) fn new() -> Self {
        let (key, other, log) = (Key::generate(), Key::generate(), Log::new());
        let root = Arc::new(log.trusted_root());
        Self {
            authority: authority("first", &key, &root),
            other_authority: authority("second", &other, &root),
            key,
            other,
            log,
            root,
            digest: Digest::sha256(b"an image"),
        }
    }

    /// A signature by the first key.
    pub(super) fn signature(&self) -> Candidate {
        self.by(&self.key)
    }

    pub(super) fn by(&self, key: &Key) -> Candidate {
        Signature::default().by(key, &self.digest).candidate()
    }

    pub(super) fn annotated(&self, key: &Key, annotations: &[(&str, &str)]) -> Candidate {
        let signature = Signature {
            annotations,
            ..Signature::default()
        };
        signature.by(key, &self.digest).candidate()
    }

    /// A signature by the first key that the log has seen at `time`.
    pub(super) fn signed_at(&self, time: &str) -> Candidate {
        let signature = Signature {
            logged: Some((&self.log, time.parse().unwrap())),
            ..Signature::default()
        };
        signature.by(&self.key, &self.digest).candidate()
    }

    pub(super) fn attestation(
        &self,
        predicate: &serde_json::Value,
        time: Option<&str>,
    ) -> Candidate {
        self.attestation_layer(predicate, time).candidate()
    }

    pub(super) fn attestation_layer(
        &self,
        predicate: &serde_json::Value,
        time: Option<&str>,
    ) -> Layer {
        let logged = time.map(|time| (&self.log, time.parse().unwrap()));
        super::forge::attestation(&self.key, &self.digest, SCAN, predicate, logged)
    }
}

/// The predicate type of the attestations made here.
pub(super) const SCAN: &str = "https://scan.example/v1";
