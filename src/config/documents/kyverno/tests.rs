use std::path::{Path, PathBuf};

use super::*;
use crate::config::WarningName;
use crate::config::trusted_roots::TrustedRoots;
use crate::config::yaml::{Source, parse_documents};
use crate::policy::{AuthoritySigner, DefaultAction, Quantifier, Requirement};

mod actions;
mod attestors;
mod examples;
mod fields;
mod never;
mod restrictions;
mod warnings;

pub(super) const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/policies/kyverno"
);

/// The policies of the documents of a text, with what was reported.
pub(super) fn load_with(text: &str, default: DefaultAction) -> (Vec<Arc<Policy>>, Reader) {
    load_among(
        &["ghcr.io", "docker.io", "us-docker.pkg.dev"],
        text,
        default,
    )
}

/// The same with these upstreams; with none, as a document without a configuration.
pub(super) fn load_among(
    hosts: &[&str],
    text: &str,
    default: DefaultAction,
) -> (Vec<Arc<Policy>>, Reader) {
    let source = Source {
        path: PathBuf::from("p.yaml"),
        text: text.to_owned(),
    };
    let documents = parse_documents(&source).unwrap_or_else(|problems| panic!("{problems:?}"));
    let mut reader = Reader::default();
    let mut policies = Vec::new();
    for node in &documents {
        let document = Field::root(node);
        let version = super::super::text_under(&document, "apiVersion").unwrap_or_default();
        let kind = super::super::text_under(&document, "kind").unwrap_or_default();
        if !version.starts_with("kyverno.io/") && !image_validating_policy::KINDS.contains(&kind) {
            continue;
        }
        let roots = TrustedRoots::read(None, &document, &mut reader);
        let surroundings = Surroundings {
            roots: &roots,
            hosts: hosts.to_vec(),
            default,
        };
        let documents =
            super::super::read_documents(std::slice::from_ref(node), &surroundings, &mut reader);
        policies.extend(documents.policies);
    }
    (policies, reader)
}

pub(super) fn load(text: &str) -> (Vec<Arc<Policy>>, Reader) {
    load_with(text, DefaultAction::Deny)
}

/// A policy named `p` with one rule `r` whose only entry has these lines, each an item of a YAML mapping.
fn policy_with(entry: &str) -> String {
    let entry = entry.trim_end().replace('\n', "\n          ");
    format!(
        "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: p}}
spec:
  rules:
    - name: r
      match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
      verifyImages:
        - failureAction: Enforce
          {entry}
"
    )
}

/// The one policy of a document without problems.
fn loaded(entry: &str) -> Arc<Policy> {
    let (policies, reader) = load(&policy_with(entry));
    assert!(reader.problems.is_empty(), "{:#?}", reader.problems);
    assert_eq!(policies.len(), 1);
    policies[0].clone()
}

/// The problems, as they are shown, without their way out. A document with a problem is no policy.
fn problems(entry: &str) -> Vec<String> {
    let (policies, reader) = load(&policy_with(entry));
    assert!(policies.is_empty(), "{policies:#?}");
    let problems = reader.problems.into_iter();
    problems
        .map(|problem| {
            assert!(!problem.help.is_empty(), "no way out: {problem}");
            let position = problem.position.as_ref().unwrap();
            assert!(position.line > 1 && position.column > 1);
            let key = problem.key.rsplit_once("verifyImages[0]").unwrap().1;
            format!("{}: {}", key.trim_start_matches('.'), problem.message)
        })
        .collect()
}

/// The warnings and notes that contain all of these words are exactly one.
fn assert_warns(entry: &str, words: &[&str]) {
    let (policies, reader) = load(&policy_with(entry));
    assert!(reader.problems.is_empty(), "{:#?}", reader.problems);
    assert_eq!(policies.len(), 1);
    let said = |message: &str| words.iter().all(|word| message.contains(word));
    let told = reader.warnings.iter().chain(&reader.notes);
    let found = told.filter(|it| said(&it.message));
    assert_eq!(found.count(), 1, "{words:?} in {reader:#?}");
}

/// The requirement in one line: `all(…)`, `any(…)`, `2 of (…)`, `key`, `identity`, `… by …` for every attestation of a type, `any … by …` for one.
pub(super) fn words(requirement: &Requirement) -> String {
    let list = |of: &[Requirement]| of.iter().map(words).collect::<Vec<_>>().join(" ");
    let signer = |signer: &AuthoritySigner| match signer {
        AuthoritySigner::Key { reference, .. } => reference.clone(),
        AuthoritySigner::Identity(it) => {
            let issuer = it.oidc_issuer.as_ref().unwrap().source();
            format!("{}@{issuer}", it.identity.source())
        }
    };
    match requirement {
        Requirement::Signature(it) => {
            let annotations: Vec<_> = it
                .annotations
                .iter()
                .map(|(k, v)| format!("+{k}={v}"))
                .collect();
            format!("{}{}", signer(&it.authority.signer), annotations.concat())
        }
        Requirement::Attestation(it) => {
            let condition = if it.condition.is_some() { "?" } else { "" };
            let by: Vec<_> = it.authorities.iter().map(|by| signer(&by.signer)).collect();
            let which = match it.quantifier {
                Quantifier::All => "",
                Quantifier::Any => "any ",
                Quantifier::Newest => panic!("Kyverno has no newest"),
            };
            format!(
                "{which}{}{condition} by {}",
                it.predicate_type,
                by.join("|")
            )
        }
        Requirement::All(of) => format!("all({})", list(of)),
        Requirement::Any(of) => format!("any({})", list(of)),
        Requirement::AtLeast { count, of } => format!("{count} of ({})", list(of)),
        Requirement::Signers { .. } | Requirement::Nothing | Requirement::Refusal { .. } => {
            panic!("Kyverno has no {requirement:?}")
        }
    }
}
