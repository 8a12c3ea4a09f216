//! The decision itself: a pure function of digest, name, evidence, policies, keys, trusted roots and time.
//!
//! Nothing here reads a clock or a file. Whatever is not shown to satisfy every enforcing policy is refused, and what
//! cannot be shown because evidence is incomplete is undecided, which is refused too but never remembered for long.

mod attempts;
mod attestation;
mod report;
mod requirement;
mod shortfall;
mod signed_tags;
mod signers;
mod verdicts;
mod ways;

use jiff::Timestamp;

use super::denial::{Denial, Kind};
use crate::decision_log::{AttemptReport, PolicyReport, Subject};
use crate::limits::Limits;
use crate::oci::{Digest, RepositoryName};
use crate::policy::{Coverage, DefaultAction, Mode, Origin, Policies, Policy, Tags};
use crate::signature::Candidate;
use attempts::{Attempts, Reading};
pub use signed_tags::{SignedTags, UnsignedTag};
pub(super) use verdicts::Verdicts;

/// What is known about a digest when it is decided about.
#[derive(Debug)]
pub struct Known<'a> {
    /// Signatures and attestations found, newest first. The first ones are read, up to the limits.
    pub candidates: &'a [Candidate],
    /// Sources that could not be asked to their end, in words; empty when all were.
    pub failed_sources: &'a [String],
    /// A referrer that is listed and not there.
    pub absent_referrer: Option<&'a Digest>,
    /// The tags through which the digest was asked for.
    pub tags: &'a Tags,
    /// Whether it is what was stored, and the upstream could not be asked.
    pub stale: bool,
    /// A count or size beyond its limit, in words.
    pub limit_exceeded: Option<&'a str>,
    /// Whether this process itself saw that there is no more than this. Stored evidence shows what there is, never
    /// what there is not: whoever writes to the database could leave something out.
    pub witnessed: bool,
}

/// What evidence shows under the policies.
#[derive(Debug)]
pub struct Evaluation {
    /// Whether all enforcing policies are satisfied.
    pub finding: Finding,
    /// What an auditing policy (or `default: audit`) would have refused.
    pub audit: Option<Denial>,
    /// Whether an enforcing policy covers the name.
    pub enforced: bool,
    /// Whether an exception may waive what is refused: no policy refuses, or may yet refuse, for a reason that nobody
    /// waives.
    pub waivable: bool,
    /// How each policy fared.
    pub policies: Vec<PolicyReport>,
    /// Every attempt made.
    pub attempts: Vec<AttemptReport>,
    /// When the first time condition of what was found ends, if any does.
    pub valid_until: Option<Timestamp>,
    /// Digests of the trusted roots used.
    pub trusted_roots: Vec<Digest>,
    /// References of key services none of whose known versions verified a signature.
    pub unmatched_keys: Vec<String>,
    /// For which tags the enforcing policies that compare tags are satisfied, one for each. None compares them where
    /// there is nothing.
    pub signed_tags: Vec<SignedTags>,
}

/// Whether all enforcing policies are satisfied.
#[derive(Debug)]
pub enum Finding {
    /// They are, by signatures of this digest.
    Satisfied,
    /// One is not, and all that was needed to say so is known.
    Refused(Denial),
    /// One is not, but not everything is known.
    Undecided {
        /// What is missing, in words.
        missing: String,
    },
}

/// How one policy fared.
enum Outcome {
    Satisfied,
    Refused {
        kind: Kind,
        reason: String,
    },
    Undecided {
        missing: String,
        /// Whether what is known so far is refused as revoked, which no mode waives.
        revoked: bool,
    },
}

/// Decides about `subject` by the signatures in `known`.
#[must_use]
pub fn evaluate(
    subject: &Subject,
    policies: &Policies,
    known: &Known<'_>,
    limits: &Limits,
    now: Timestamp,
) -> Evaluation {
    evaluate_anew(
        subject,
        policies,
        known,
        limits,
        now,
        &Verdicts::new(limits),
    )
}

/// Decides like [`evaluate`], where the same decision may have looked at some of what is known before.
pub(super) fn evaluate_anew(
    subject: &Subject,
    policies: &Policies,
    known: &Known<'_>,
    limits: &Limits,
    now: Timestamp,
    verdicts: &Verdicts,
) -> Evaluation {
    let reading = Reading::within(known.candidates, limits);
    let known = &Known {
        limit_exceeded: known.limit_exceeded.or(reading.limit_exceeded.as_deref()),
        ..*known
    };
    let read = reading.positions.as_slice().into();
    let mut attempts = Attempts::new(
        subject,
        policies,
        known.candidates,
        read,
        limits,
        now,
        verdicts,
    );
    let mut evaluation = Evaluation {
        finding: Finding::Satisfied,
        audit: None,
        enforced: false,
        waivable: true,
        policies: Vec::new(),
        attempts: Vec::new(),
        valid_until: None,
        trusted_roots: Vec::new(),
        unmatched_keys: Vec::new(),
        signed_tags: Vec::new(),
    };
    if policies.revoked.digests.contains(&subject.digest) {
        evaluation.waivable = false;
        evaluation.finding = Finding::Refused(revoked_digest(subject));
        return evaluation;
    }
    let mut covered = false;
    for policy in policies.matching(&subject.repository, known.tags) {
        covered = true;
        evaluation.enforced |= policy.mode == Mode::Enforce;
        let (outcome, authorities) = requirement::policy(policy, &mut attempts, known);
        evaluation.policies.push(PolicyReport {
            name: policy.name.clone(),
            hash: policy.hash,
            satisfied: matches!(outcome, Outcome::Satisfied),
            authorities,
        });
        let is_satisfied = matches!(outcome, Outcome::Satisfied);
        evaluation.note(subject, policy, outcome);
        if is_satisfied && policy.compares_tags() {
            let signed = signed_tags::of(policy, &mut attempts, known);
            evaluation.signed_tags.push(signed);
        }
    }
    if !covered {
        evaluation.note_uncovered(subject, policies.default);
    }
    evaluation.valid_until = attempts.valid_until();
    evaluation.trusted_roots = attempts.trusted_roots();
    evaluation.unmatched_keys = attempts.unmatched_keys();
    evaluation.attempts = attempts.into_reports();
    evaluation
}

impl Evaluation {
    /// Whether every policy is, the auditing ones included.
    pub(super) fn is_satisfied(&self) -> bool {
        matches!(self.finding, Finding::Satisfied) && self.audit.is_none()
    }

    /// Joins a policy's outcome to those before it: a refusal outlasts everything, an undecided policy every
    /// satisfied one.
    fn note(&mut self, subject: &Subject, policy: &Policy, outcome: Outcome) {
        let denied = |kind, reason: &str| denial(subject, policy, kind, reason);
        self.waivable &= match &outcome {
            Outcome::Satisfied => true,
            Outcome::Refused { kind, .. } => kind.is_waivable(),
            // What is missing may yet show that it is by somebody who is revoked.
            Outcome::Undecided { revoked, .. } => policy.mode == Mode::Audit && !revoked,
        };
        match (policy.mode, outcome) {
            (_, Outcome::Satisfied) => {}
            // `revoked` is refused whatever a policy's mode is.
            (Mode::Enforce, Outcome::Refused { kind, reason })
            | (
                Mode::Audit,
                Outcome::Refused {
                    kind: kind @ Kind::Revoked,
                    reason,
                },
            ) => {
                if !matches!(self.finding, Finding::Refused(_)) {
                    self.finding = Finding::Refused(denied(kind, &reason));
                }
            }
            (Mode::Enforce, Outcome::Undecided { missing, .. })
            | (
                Mode::Audit,
                Outcome::Undecided {
                    missing,
                    revoked: true,
                },
            ) => {
                if matches!(self.finding, Finding::Satisfied) {
                    self.finding = Finding::Undecided { missing };
                }
            }
            (Mode::Audit, Outcome::Refused { kind, reason }) => {
                self.audit.get_or_insert_with(|| denied(kind, &reason));
            }
            (Mode::Audit, Outcome::Undecided { missing, .. }) => {
                self.audit
                    .get_or_insert_with(|| denied(Kind::Unsigned, &missing));
            }
        }
    }

    fn note_uncovered(&mut self, subject: &Subject, default: DefaultAction) {
        self.waivable = false;
        let denial = no_policy(&subject.repository, Some(subject.digest));
        match default {
            DefaultAction::Deny => self.finding = Finding::Refused(denial),
            DefaultAction::Audit => self.audit = Some(denial),
        }
    }
}

/// Whether anything may be read from the repository at all: some policy covers it, or the default only audits.
///
/// # Errors
/// The refusal, when nothing may.
pub fn refuse_uncovered(policies: &Policies, repository: &RepositoryName) -> Result<(), Denial> {
    let covered = policies.default == DefaultAction::Audit
        || policies.concerning(repository).next().is_some();
    if covered {
        Ok(())
    } else {
        Err(no_policy(repository, None))
    }
}

/// The refusal of a name that no policy covers.
#[must_use]
pub fn no_policy(repository: &RepositoryName, digest: Option<Digest>) -> Denial {
    let refused = digest.map_or_else(String::new, |digest| {
        format!("{repository}@{digest} is refused: ")
    });
    Denial {
        kind: Kind::NoPolicy,
        message: format!(
            "{refused}no policy covers {repository}, so nothing is served from it; a policy whose `images` match the \
             name would decide about it"
        ).into(),
        policy: None,
        digest,
    }
}

pub(super) fn revoked_digest(subject: &Subject) -> Denial {
    Denial {
        kind: Kind::Revoked,
        message: format!(
            "{}@{} is listed under `revoked.digests`",
            subject.repository, subject.digest
        )
        .into(),
        policy: None,
        digest: Some(subject.digest),
    }
}

fn denial(subject: &Subject, policy: &Policy, kind: Kind, reason: &str) -> Denial {
    Denial {
        kind,
        message: format!(
            "policy `{}`{} refuses {}@{}: {reason}",
            policy.name,
            document(policy),
            subject.repository,
            subject.digest
        )
        .into(),
        policy: Some(policy.name.clone()),
        digest: Some(subject.digest),
    }
}

/// Where an imported policy is written. Whoever pulls reads this, so that the folder stays out of it.
fn document(policy: &Policy) -> String {
    let imported = matches!(policy.coverage, Coverage::Imported(_));
    let origin = policy.origin.as_ref().filter(|_| imported);
    origin.map_or_else(String::new, |Origin { file, line }| {
        let file = file.rsplit('/').next().unwrap_or(file);
        format!(" ({file}:{line})")
    })
}
