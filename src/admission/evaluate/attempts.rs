//! Trying candidates against authorities: bounded, reported, and each crypto result used once.

mod order;
mod proven;
mod reading;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::report;
use super::verdicts::{Unread, Verdicts};
use crate::admission::TIMED_MEMORY;
use crate::admission::conclusion::later;
use crate::admission::denial::Kind;
use crate::decision_log::{AttemptReport, Subject};
use crate::limits::Limits;
use crate::oci::{Digest, Tag};
use crate::policy::{
    Authority, AuthoritySigner, ConditionError, KeySet, KeyVersion, Mode, Policies, Policy, RootAt,
    Rule,
};
use crate::signature::Candidate;
use crate::verify::{
    self, Attempt, Demand, Examined, FailedCheck, Failure, NameDemand, Proof, Purpose, Signer,
    TrustedRoot,
};
pub(super) use order::in_order_of_claims;
pub(super) use proven::{Voucher, annotations};
pub(super) use reading::Reading;

/// A candidate that satisfies an authority.
#[derive(Debug)]
pub(super) struct Vouched {
    pub(super) voucher: Voucher,
    pub(super) proof: Box<Proof>,
    /// The reason for which the shared trusted root is unusable, if the proof was made without it: a log or a timestamp authority of
    /// that root may prove an earlier time of signing.
    pub(super) undated: Option<String>,
}

/// Why a candidate does not count, ranked by how far it got.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) rank: Rank,
    pub(super) kind: Kind,
    pub(super) reason: String,
}

/// How far an attempt got before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// There is nothing to try.
    Nothing,
    Check(FailedCheck),
    Age,
    Condition,
    Threshold,
    Limit,
    Revoked,
}

/// What trying one candidate against one authority gave.
#[derive(Debug)]
pub(super) enum Tried {
    NotApplicable,
    Vouched(Vouched),
    Refused(Refusal),
    /// It exceeds a limit: whether it vouches, and for what, is not known.
    Cut(Refusal),
    /// It is listed and not to be had.
    Absent(Refusal),
    /// It may vouch, but the authority's key or trusted root is not to be had.
    Unusable(String),
    /// The limit on attempts is used up.
    Exhausted,
}

/// Why a condition does not hold.
#[derive(Clone, Copy)]
pub(super) enum Unmet<'e> {
    /// It says so.
    False,
    /// It gives no answer.
    Unanswered(&'e ConditionError),
    /// The statement cannot be read.
    Unreadable(&'e dyn fmt::Display),
}

/// All attempts of one decision.
#[derive(Debug)]
pub(super) struct Attempts<'a> {
    pub(super) subject: &'a Subject,
    pub(super) candidates: &'a [Candidate],
    /// The candidates that are tried, by position: those that are read, or of them those that name a single tag.
    pub(super) tried: Arc<[usize]>,
    /// True while only those are tried that name a single tag.
    is_for_tag: bool,
    policies: &'a Policies,
    limits: &'a Limits,
    now: Timestamp,
    verdicts: &'a Verdicts,
    made: usize,
    /// The attempts made for policies of the other mode. An auditing policy takes none from an enforcing one.
    made_for_other_mode: usize,
    mode: Mode,
    reports: Vec<AttemptReport>,
    valid_until: Option<Timestamp>,
    trusted_roots: Vec<Digest>,
    unmatched_keys: Vec<String>,
    /// The trusted root of each authority that was tried. While a shared root is unusable, the root of an authority's own
    /// parts is built, which costs more than an attempt.
    roots: Vec<(Arc<Authority>, Option<Arc<RootAt>>)>,
    /// Verifying a certificate does not depend on which identity is wanted, so identity authorities with the same
    /// demands share one result.
    certified: HashMap<Certified, Attempt>,
    /// Whether a candidate, by position, was signed with the key of this fingerprint.
    signed: HashMap<(usize, Digest), bool>,
}

/// Everything that decides about a certificate signature before policy looks at the identity.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Certified {
    candidate: usize,
    trusted_root: Digest,
    predicate_type: Option<String>,
    demands: [bool; 3],
    /// The name that is demanded, with everything about it.
    name: Option<String>,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        subject: &'a Subject,
        policies: &'a Policies,
        candidates: &'a [Candidate],
        tried: Arc<[usize]>,
        limits: &'a Limits,
        now: Timestamp,
        verdicts: &'a Verdicts,
    ) -> Self {
        Self {
            subject,
            candidates,
            tried,
            is_for_tag: false,
            policies,
            limits,
            now,
            verdicts,
            made: 0,
            made_for_other_mode: 0,
            mode: Mode::Enforce,
            reports: Vec::new(),
            valid_until: None,
            trusted_roots: Vec::new(),
            unmatched_keys: Vec::new(),
            roots: Vec::new(),
            certified: HashMap::new(),
            signed: HashMap::new(),
        }
    }

    /// Counts the attempts that follow for policies of this mode.
    pub(super) fn count_for(&mut self, mode: Mode) {
        if self.mode != mode {
            self.mode = mode;
            std::mem::swap(&mut self.made, &mut self.made_for_other_mode);
        }
    }

    /// Tries the candidate at `index` against one authority of `policy`.
    pub(super) fn try_candidate(
        &mut self,
        index: usize,
        policy: &Policy,
        authority: &Arc<Authority>,
        purpose: Purpose<'_>,
    ) -> Tried {
        let Some(candidate) = self.candidates.get(index) else {
            return Tried::NotApplicable;
        };
        let Some(root_at) = self.root_of(authority) else {
            return unusable(candidate, purpose, "the trusted root is not usable");
        };
        let RootAt {
            root,
            until,
            unusable: root_unusable,
        } = root_at.as_ref();
        let trusted_root = root.as_ref();
        let name = policy.signed_name.repository(&self.subject.repository);
        let demand = Demand {
            signer: Signer::Certificate,
            purpose,
            trusted_root,
            transparency_log: authority.transparency_log,
            signed_timestamp: authority.signed_timestamp,
            sct: authority.sct,
            signed_name: name.as_deref().map(|repository| NameDemand {
                repository,
                version: policy.signed_name.version(),
            }),
        };
        let made = self.made;
        let verified = match &authority.signer {
            AuthoritySigner::Identity(_) => self
                .verified(index, candidate, &demand)
                .map(|it| (it, None)),
            AuthoritySigner::Key { reference, keys } => match keys.as_ref() {
                KeySet::Unusable { reason } => {
                    return if self.is_by_known_key(index, policy, candidate, purpose) {
                        by_another(authority)
                    } else {
                        unusable(candidate, purpose, reason)
                    };
                }
                KeySet::Known(versions) => self.by_any(reference, versions, candidate, &demand),
            },
        };
        let Some((attempt, version)) = verified else {
            return Tried::Exhausted;
        };
        if let Some(reason) = root_unusable
            && needs_root(policy, authority, &attempt)
        {
            return unusable(candidate, purpose, reason);
        }
        let judged = match &attempt {
            Attempt::NotApplicable => return Tried::NotApplicable,
            Attempt::Proven(proof) => self.judge(policy, authority, proof),
            Attempt::Failed(failure) => Err(refusal(failure.check, failure.reason.clone())),
        };
        // Whoever is trusted may sign as many tags as they like.
        if self.is_for_tag && judged.is_ok() {
            self.made = made;
        }
        if root_unusable.is_none() {
            self.note_root(trusted_root, *until);
        }
        self.reports.push(report::attempt(
            candidate,
            authority,
            version,
            &attempt,
            judged.as_ref().err(),
        ));
        let undated = root_unusable.as_ref();
        let undated = undated.filter(|_| authority.is_dated_by_shared_root());
        tried(attempt, judged, undated.cloned())
    }

    /// Returns true if the candidate says that it was made with a known key of the policy, and that key verifies it. Then
    /// it needs no other key. The claim alone proves nothing, because anybody can write it.
    ///
    /// Verifying counts as an attempt, once for each candidate. When no attempt is left, the answer is no, which leaves the
    /// outcome undecided.
    fn is_by_known_key(
        &mut self,
        index: usize,
        policy: &Policy,
        candidate: &Candidate,
        purpose: Purpose<'_>,
    ) -> bool {
        if !verify::may_prove(candidate, purpose) {
            return false;
        }
        let authorities = policy.requirement.authorities().into_iter();
        let known = authorities.filter_map(|authority| match &authority.signer {
            AuthoritySigner::Key { keys, .. } => Some(keys.versions()),
            AuthoritySigner::Identity(_) => None,
        });
        let claimed = known
            .flatten()
            .find(|version| verify::claims_key(candidate, &version.key));
        let Some(KeyVersion { key, .. }) = claimed else {
            return false;
        };
        let signed = (index, key.fingerprint);
        if let Some(is_signed) = self.signed.get(&signed) {
            return *is_signed;
        }
        if self.made >= self.limits.attempts_max {
            return false;
        }
        self.made += 1;
        let is_signed = verify::is_signed_with(candidate, key);
        self.signed.insert(signed, is_signed);
        is_signed
    }

    /// Returns the trusted root of an authority, which is built once.
    fn root_of(&mut self, authority: &Arc<Authority>) -> Option<Arc<RootAt>> {
        let mut known = self.roots.iter();
        if let Some((_, root)) = known.find(|(known, _)| Arc::ptr_eq(known, authority)) {
            return root.clone();
        }
        let root = authority.root_at(self.now).map(Arc::new);
        self.roots.push((Arc::clone(authority), root.clone()));
        root
    }

    pub(super) fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }

    pub(super) fn trusted_roots(&self) -> Vec<Digest> {
        self.trusted_roots.clone()
    }

    /// References of key services none of whose known versions verified a signature: there may be a newer one.
    pub(super) fn unmatched_keys(&self) -> Vec<String> {
        self.unmatched_keys.clone()
    }

    pub(super) fn into_reports(self) -> Vec<AttemptReport> {
        self.reports
    }

    /// Asks a condition about a statement, unless it was asked before. It may give another answer the next moment, if it
    /// depends on the time.
    pub(super) fn ask(
        &mut self,
        condition: &Arc<dyn Rule>,
        statement: &Bytes,
        refusal: impl Fn(Unmet<'_>) -> Refusal,
    ) -> Result<(), Refusal> {
        if condition.depends_on_time() {
            self.note_until(later(self.now, TIMED_MEMORY));
        }
        let answers = self.verdicts.for_mode(self.mode);
        answers.of(condition, statement, |statement| {
            let answer = match statement {
                Ok(statement) => condition.evaluate(statement, self.now, &answers.fuel),
                Err(Unread::OutOfFuel(error)) => Err(error.into()),
                Err(Unread::Broken(error)) => return Err(refusal(Unmet::Unreadable(&error))),
            };
            match answer {
                Ok(true) => Ok(()),
                Ok(false) => Err(refusal(Unmet::False)),
                Err(error) => Err(refusal(Unmet::Unanswered(&error))),
            }
        })
    }

    /// What is decided holds until then at most.
    fn note_until(&mut self, until: Timestamp) {
        self.valid_until = Some(self.valid_until.map_or(until, |earlier| earlier.min(until)));
    }

    fn count(&mut self, attempt: &Attempt) {
        if costs_crypto(attempt) {
            self.made += 1;
        }
    }

    /// Returns the tags that candidates name, each with its candidates. The tag that is named first comes first.
    fn named_tags(&self) -> Vec<(Tag, Vec<usize>)> {
        let mut named: Vec<(Tag, Vec<usize>)> = Vec::new();
        let mut positions: HashMap<Tag, usize> = HashMap::new();
        for &index in self.tried.iter() {
            let candidate = self.candidates.get(index);
            let tag = candidate.and_then(|it| verify::claimed_tag(it, &self.subject.digest));
            let Some(tag) = tag else {
                continue;
            };
            let position = *positions.entry(tag.clone()).or_insert(named.len());
            match named.get_mut(position) {
                Some((_, indexes)) => indexes.push(index),
                None => named.push((tag, vec![index])),
            }
        }
        named
    }

    /// Calls `try_tag` for each tag that candidates name, while only these candidates are tried. They were tried for the
    /// digest before, so that these attempts are no part of the report.
    pub(super) fn for_each_tag(&mut self, mut try_tag: impl FnMut(&mut Self, Tag)) {
        let of_the_digest = (Arc::clone(&self.tried), self.reports.len());
        self.is_for_tag = true;
        for (tag, indexes) in self.named_tags() {
            self.tried = indexes.into();
            try_tag(self, tag);
        }
        self.is_for_tag = false;
        self.tried = of_the_digest.0;
        self.reports.truncate(of_the_digest.1);
    }

    /// A decision holds no longer than the roots that it rests on.
    fn note_root(&mut self, root: &TrustedRoot, until: Option<Timestamp>) {
        if let Some(until) = until {
            self.note_until(until);
        }
        if !self.trusted_roots.contains(&root.digest) {
            self.trusted_roots.push(root.digest);
        }
    }

    /// What verifying with the versions of one key gives: the first that proves it, else what got furthest. A candidate
    /// that says which of the versions made it is tried with no other; each that is tried is an attempt.
    fn by_any<'k>(
        &mut self,
        reference: &str,
        versions: &'k [KeyVersion],
        candidate: &Candidate,
        demand: &Demand<'_>,
    ) -> Option<(Attempt, Option<&'k KeyVersion>)> {
        let is_claimed = |version: &KeyVersion| verify::claims_key(candidate, &version.key);
        let says_which = versions.len() > 1 && versions.iter().any(is_claimed);
        let mut best: Option<(Attempt, Option<&KeyVersion>)> = None;
        for version in versions {
            if says_which && !is_claimed(version) {
                continue;
            }
            if self.made >= self.limits.attempts_max {
                return None;
            }
            let demand = Demand {
                signer: Signer::Key(&version.key),
                ..*demand
            };
            let attempt = verify::verify(
                candidate,
                &self.subject.digest,
                &demand,
                self.limits,
                self.now,
            );
            self.count(&attempt);
            let better = best
                .as_ref()
                .is_none_or(|(best, _)| progress(best) < progress(&attempt));
            if better {
                best = Some((attempt, Some(version)));
            }
            if matches!(best, Some((Attempt::Proven(_), _))) {
                break;
            }
        }
        let (attempt, version) = best.unwrap_or((Attempt::NotApplicable, None));
        // Files have no versions: only a key service may know of another one.
        let is_new = reference.contains("://")
            && !self.unmatched_keys.iter().any(|known| known == reference);
        if is_new && is_by_no_version(&attempt) {
            self.unmatched_keys.push(reference.to_owned());
        }
        Some((attempt, version))
    }

    /// What verifying gives, or nothing when the limit on attempts is used up. A result that is already there is free.
    fn verified(
        &mut self,
        index: usize,
        candidate: &Candidate,
        demand: &Demand<'_>,
    ) -> Option<Attempt> {
        let certified = Certified::of(index, demand);
        if let Some(attempt) = certified.as_ref().and_then(|key| self.certified.get(key)) {
            return Some(attempt.clone());
        }
        if self.made >= self.limits.attempts_max {
            return None;
        }
        let attempt = verify::verify(
            candidate,
            &self.subject.digest,
            demand,
            self.limits,
            self.now,
        );
        self.count(&attempt);
        if let Some(key) = certified {
            self.certified.insert(key, attempt.clone());
        }
        Some(attempt)
    }
}

/// Joins an attempt and the policy's judgement of it. `undated` says why the time of a proof may be incomplete.
fn tried(attempt: Attempt, judged: Result<Voucher, Refusal>, undated: Option<String>) -> Tried {
    match (judged, attempt) {
        (Ok(voucher), Attempt::Proven(proof)) => Tried::Vouched(Vouched {
            voucher,
            proof,
            undated,
        }),
        (Err(refusal), Attempt::Failed(failure)) => match failure.examined {
            Examined::Absent => Tried::Absent(refusal),
            Examined::Cut => Tried::Cut(refusal),
            Examined::Shape | Examined::Content => Tried::Refused(refusal),
        },
        (Err(refusal), Attempt::Proven(_) | Attempt::NotApplicable) => Tried::Refused(refusal),
        (Ok(_), Attempt::Failed(_) | Attempt::NotApplicable) => Tried::NotApplicable,
    }
}

/// Returns true if an attempt without the shared root says nothing, because the root could prove the failed check, or an
/// earlier time of signing for a policy that limits the age.
fn needs_root(policy: &Policy, authority: &Authority, attempt: &Attempt) -> bool {
    match attempt {
        Attempt::NotApplicable => false,
        Attempt::Proven(_) => {
            policy.max_signature_age.is_some() && authority.is_dated_by_shared_root()
        }
        Attempt::Failed(failure) => uses_root(failure),
    }
}

/// Whether anything was verified: what is refused by its shape costs nothing, and must not use up the limit.
fn costs_crypto(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::NotApplicable => false,
        Attempt::Proven(_) => true,
        Attempt::Failed(failure) => match failure.examined {
            Examined::Absent | Examined::Cut | Examined::Shape => false,
            Examined::Content => true,
        },
    }
}

/// How far an attempt got, for choosing among those by several versions of one key.
fn progress(attempt: &Attempt) -> (u8, Option<FailedCheck>) {
    match attempt {
        Attempt::NotApplicable => (0, None),
        Attempt::Failed(failure) => (1, Some(failure.check)),
        Attempt::Proven(_) => (2, None),
    }
}

fn is_by_no_version(attempt: &Attempt) -> bool {
    match attempt {
        Attempt::NotApplicable | Attempt::Proven(_) => false,
        Attempt::Failed(failure) => matches!(
            failure.check,
            FailedCheck::UntrustedKey | FailedCheck::InvalidSignature
        ),
    }
}

/// What cannot be told while a key or trusted root is missing. A candidate of another purpose vouches for nothing
/// whatever the key.
fn unusable(candidate: &Candidate, purpose: Purpose<'_>, reason: &str) -> Tried {
    if verify::may_prove(candidate, purpose) {
        Tried::Unusable(reason.to_owned())
    } else {
        Tried::NotApplicable
    }
}

/// Returns true if the failed check asks the trusted root. The others fail with any root.
fn uses_root(failure: &Failure) -> bool {
    match failure.check {
        // A missing entry is missing whichever logs are trusted.
        FailedCheck::TransparencyLog => failure.transparency_log.is_some(),
        FailedCheck::Malformed
        | FailedCheck::LimitExceeded
        | FailedCheck::UntrustedKey
        | FailedCheck::InvalidSignature
        | FailedCheck::WrongSubject
        | FailedCheck::WrongName => false,
        FailedCheck::Timestamp
        | FailedCheck::InvalidCertificate
        | FailedCheck::WrongIdentity
        | FailedCheck::WrongIssuer
        | FailedCheck::AnnotationMismatch => true,
    }
}

/// Refuses a candidate that was made with a key of another authority.
fn by_another(authority: &Authority) -> Tried {
    Tried::Refused(refusal(
        FailedCheck::UntrustedKey,
        format!(
            "the signature was made with another key than that of `{}`",
            authority.name
        ),
    ))
}

impl Certified {
    /// Only certificate signatures are shared: a key is tried once anyway.
    fn of(candidate: usize, demand: &Demand<'_>) -> Option<Self> {
        match demand.signer {
            Signer::Key(_) => None,
            Signer::Certificate => Some(Self {
                candidate,
                trusted_root: demand.trusted_root.digest,
                predicate_type: match demand.purpose {
                    Purpose::Signature => None,
                    Purpose::Attestation { predicate_type } => Some(predicate_type.to_owned()),
                },
                demands: [demand.transparency_log, demand.signed_timestamp, demand.sct],
                name: demand.signed_name.map(|name| format!("{name:?}")),
            }),
        }
    }
}

fn refusal(check: FailedCheck, reason: String) -> Refusal {
    Refusal {
        rank: Rank::Check(check),
        kind: check.into(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::RepositoryName;
    use crate::policy::{DefaultAction, Revoked, Root};

    fn without_shared_root(name: &str) -> Arc<Authority> {
        let reason = || "it could not be refreshed".to_owned();
        Arc::new(Authority {
            name: name.to_owned(),
            signer: AuthoritySigner::Key {
                reference: format!("{name}.pub"),
                keys: Arc::new(KeySet::Unusable { reason: reason() }),
            },
            trusted_root_name: "private".to_owned(),
            trusted_root: Root::Unusable { reason: reason() },
            root_parts: None,
            transparency_log: false,
            signed_timestamp: false,
            sct: false,
        })
    }

    #[test]
    fn the_root_of_an_authority_is_built_once() {
        let limits = Limits::default();
        let policies = Policies::new(Vec::new(), DefaultAction::Deny, Revoked::default(), &limits);
        let subject = Subject {
            repository: RepositoryName::new("registry.example", "apps/web").unwrap(),
            digest: Digest::sha256(b"an image"),
        };
        let (none, now) = (Arc::from([]), Timestamp::UNIX_EPOCH);
        let verdicts = Verdicts::new(&limits);
        let mut attempts = Attempts::new(&subject, &policies, &[], none, &limits, now, &verdicts);
        let (first, second) = (without_shared_root("first"), without_shared_root("second"));
        let [built, again, another] =
            [&first, &first, &second].map(|it| attempts.root_of(it).unwrap());
        assert!(built.unusable.is_some());
        assert!(Arc::ptr_eq(&built, &again));
        assert!(!Arc::ptr_eq(&built, &another));
    }
}
