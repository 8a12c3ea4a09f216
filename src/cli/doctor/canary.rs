//! Proof that enforcement enforces: an image that nobody signed, under a name of each policy, must be refused by the
//! code that decides about pulls.

use super::{Check, Outcome};
use crate::admission::evaluate::{Finding, Known, evaluate};
use crate::clock;
use crate::config::Config;
use crate::decision_log::Subject;
use crate::oci::{Digest, RepositoryName};
use crate::policy::{DefaultAction, Mode, Policies, Policy, Tags};

/// What stands for the tag of a pattern that is about tags.
const TAG: &str = "canary";

pub(super) fn examine(config: &Config, policies: &Policies) -> Vec<Check> {
    let mut checks: Vec<_> = policies
        .policies
        .iter()
        .map(|policy| match policy.mode {
            Mode::Enforce => send(config, policies, policy),
            Mode::Audit => Check::new(
                "enforcement",
                Some(&policy.name),
                Outcome::Warning,
                "the policy only audits: it refuses nothing",
            ),
        })
        .collect();
    if checks.is_empty() {
        let message = "there is no policy";
        checks.push(Check::new("enforcement", None, Outcome::Warning, message));
    }
    checks.extend(let_through(policies));
    checks
}

/// What is served although no policy is satisfied.
fn let_through(policies: &Policies) -> Vec<Check> {
    let warning = |message: String| Check::new("enforcement", None, Outcome::Warning, message);
    let uncovered = match policies.default {
        DefaultAction::Deny => None,
        DefaultAction::Audit => Some(warning(
            "`default: audit` serves whatever no policy covers".to_owned(),
        )),
    };
    let now = clock::now();
    let running = policies.exceptions.iter().filter(|it| it.runs(now));
    let excepted = running.map(|it| warning(format!("{it} lets images through")));
    uncovered.into_iter().chain(excepted).collect()
}

fn send(config: &Config, policies: &Policies, policy: &Policy) -> Check {
    let check =
        |outcome, message: String| Check::new("enforcement", Some(&policy.name), outcome, message);
    let Some((repository, tags)) = covered(policy) else {
        let message = "no name that it covers could be made up, so no canary was sent".to_owned();
        return check(Outcome::Unknown, message);
    };
    let subject = Subject {
        repository,
        digest: Digest::sha256(b"an image that nobody has signed"),
    };
    let known = Known {
        candidates: &[],
        failed_sources: &[],
        tags: &tags,
        absent_referrer: None,
        stale: false,
        limit_exceeded: None,
        witnessed: true,
    };
    let evaluation = evaluate(&subject, policies, &known, &config.limits, clock::now());
    let mut reports = evaluation.policies.iter();
    let is_unsatisfied = reports.any(|report| report.name == policy.name && !report.satisfied);
    let excepted = policies.exception(&subject.repository, &subject.digest, clock::now());
    match evaluation.finding {
        Finding::Refused(_) if is_unsatisfied && evaluation.waivable && excepted.is_some() => {
            check(
                Outcome::Warning,
                format!(
                    "an unsigned image in {} is let through by an exception",
                    subject.repository
                ),
            )
        }
        Finding::Refused(denial) if is_unsatisfied => check(
            Outcome::Ok,
            format!(
                "an unsigned image in {} is refused ({})",
                subject.repository,
                denial.kind.as_str()
            ),
        ),
        Finding::Undecided { missing } => check(
            Outcome::Problem,
            format!(
                "an unsigned image in {} cannot be decided: {missing}",
                subject.repository
            ),
        ),
        Finding::Refused(_) | Finding::Satisfied => check(
            Outcome::Problem,
            format!(
                "an unsigned image in {} satisfies the policy",
                subject.repository
            ),
        ),
    }
}

/// A name that the policy covers, and the tag it is asked for by.
fn covered(policy: &Policy) -> Option<(RepositoryName, Tags)> {
    let tags = [Tags::default(), Tags::new([TAG.to_owned()])];
    let names = policy.coverage.patterns();
    let names = names.iter().flat_map(|pattern| candidates(pattern));
    names
        .flat_map(|name| tags.iter().map(move |tags| (name.clone(), tags.clone())))
        .find(|(name, tags)| policy.coverage.covers(name, tags))
}

/// Names made from a pattern by putting something in the place of what stands for anything.
fn candidates(pattern: &str) -> Vec<RepositoryName> {
    let without_tag = match pattern.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        Some(_) | None => pattern,
    };
    let fillings = ["canary", "canary/canary", ""];
    let spelt = [pattern, without_tag].into_iter().flat_map(|text| {
        fillings.map(|filling| {
            text.replace("**", filling)
                .replace('*', filling)
                .replace('?', "c")
        })
    });
    let hosted = spelt.flat_map(|name| {
        // A pattern that covers every host begins with what is no host.
        [name.clone(), format!("canary.example/{name}")]
    });
    hosted.filter_map(|name| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_from_patterns() {
        let first = |pattern: &str| candidates(pattern).first().map(ToString::to_string);
        assert_eq!(first("ghcr.io/org/app").as_deref(), Some("ghcr.io/org/app"));
        assert_eq!(
            first("ghcr.io/org/**").as_deref(),
            Some("ghcr.io/org/canary")
        );
        assert_eq!(
            first("127.0.0.1:5000/a/*").as_deref(),
            Some("127.0.0.1:5000/a/canary")
        );
        assert!(first("**").is_some());
    }
}
