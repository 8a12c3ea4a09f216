use super::super::tests::{load, load_among, load_with, words};
use super::*;
use crate::config::WarningName;
use crate::policy::{DefaultAction, Requirement};

mod attestors;
mod fields;
mod joined;
mod names;
mod payloads;
mod refusals;
mod validations;

/// Attestors `a`, `b` and `c` by a key each, `i` by two identities, `n` with annotations; attestations `sbom` and `vuln`,
/// `same` of the type of `sbom`, and `short` by a short name.
const NAMED: &str = "  attestors:
    - {name: a, cosign: {key: {kms: 'awskms:///alias/a'}}}
    - {name: b, cosign: {key: {kms: 'awskms:///alias/b'}}}
    - {name: c, cosign: {key: {kms: 'awskms:///alias/c'}}}
    - name: i
      cosign:
        keyless:
          identities:
            - {subject: one@b.example, issuer: 'https://i.example'}
            - {subject: two@b.example, issuer: 'https://i.example'}
    - {name: n, cosign: {key: {kms: 'awskms:///alias/n'}, annotations: {env: prod}}}
  attestations:
    - {name: sbom, intoto: {type: 'https://cyclonedx.org/bom'}}
    - {name: vuln, intoto: {type: 'https://v.example/v1'}}
    - {name: same, intoto: {type: 'https://cyclonedx.org/bom'}}
    - {name: short, intoto: {type: openvex}}
";

fn document(rest: &str, validations: &[&str]) -> String {
    let validations: Vec<_> = validations
        .iter()
        .map(|it| format!("    - expression: {}\n", serde_json::json!(it)))
        .collect();
    format!(
        "apiVersion: policies.kyverno.io/v1
kind: ImageValidatingPolicy
metadata: {{name: p}}
spec:
  matchConstraints: {{resourceRules: [{{apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [pods]}}]}}
  matchImageReferences: [{{glob: 'ghcr.io/org/*'}}]
{NAMED}{rest}  validations:
{}",
        validations.concat()
    )
}

/// The requirement of a policy with these validations, which has no problems.
fn demanded_with(rest: &str, validations: &[&str]) -> (Requirement, Vec<String>) {
    let text = document(rest, validations);
    let (policies, reader) = load(&text);
    assert!(reader.problems.is_empty(), "{:#?}\n{text}", reader.problems);
    assert_eq!(policies.len(), 1);
    let warnings = reader.warnings.iter().map(|it| it.message.clone());
    // Of the attestor `n`, which is in every document.
    let warnings = warnings.filter(|it| !it.contains("the annotations that were signed"));
    (policies[0].requirement.clone(), warnings.collect())
}

fn demanded(validations: &[&str]) -> String {
    let (requirement, _) = demanded_with("", validations);
    words(&requirement)
}

/// The only problem of a policy with these validations.
fn refused_with(rest: &str, validations: &[&str]) -> String {
    let text = document(rest, validations);
    let (policies, reader) = load(&text);
    let understood: Vec<_> = policies.iter().map(|it| words(&it.requirement)).collect();
    assert!(understood.is_empty(), "{understood:?}\n{text}");
    assert_eq!(reader.problems.len(), 1, "{:#?}\n{text}", reader.problems);
    let problem = &reader.problems[0];
    assert!(!problem.help.is_empty());
    assert!(problem.position.as_ref().unwrap().line > 1);
    format!("{}: {}", problem.key, problem.message)
}

fn refused(validations: &[&str]) -> String {
    refused_with("", validations)
}

const SIGNED: &str =
    "images.containers.all(image, verifyImageSignatures(image, [attestors.x]) > 0)";
/// A policy whose only attestor `x` is what `cosign` says, a mapping in YAML.
fn with_attestor(cosign: &str) -> String {
    format!(
        "apiVersion: policies.kyverno.io/v1
kind: ImageValidatingPolicy
metadata: {{name: p}}
spec:
  matchImageReferences: [{{glob: 'ghcr.io/org/*'}}]
  attestors: [{{name: x, cosign: {cosign}}}]
  validations: [{{expression: '{SIGNED}'}}]
"
    )
}

/// A policy signed by a key, with this in its `spec`.
fn with_spec(spec: &str) -> String {
    let text = with_attestor("{key: {kms: 'awskms:///alias/x'}}");
    format!("{text}  {spec}\n")
}

fn outcome(text: &str) -> (Vec<Arc<Policy>>, Vec<String>, Vec<String>) {
    let (policies, reader) = load(text);
    let problems = reader.problems.iter().map(|problem| {
        assert!(!problem.help.is_empty(), "{problem}");
        format!("{}: {}", problem.key, problem.message)
    });
    let warnings = reader.warnings.iter().chain(&reader.notes);
    let warnings = warnings.map(|warning| format!("{}: {}", warning.key, warning.message));
    (policies, problems.collect(), warnings.collect())
}

fn assert_refused(text: &str, key: &str, message: &str) {
    let (policies, problems, _) = outcome(text);
    assert!(policies.is_empty(), "{policies:#?}\n{text}");
    let said = |problem: &String| problem.starts_with(key) && problem.contains(message);
    assert!(problems.iter().any(said), "{key} {message}: {problems:#?}");
}

/// The policy, which has no problems and these warnings, by a part of each.
fn loaded(text: &str, warned: &[&str]) -> Arc<Policy> {
    let (policies, problems, warnings) = outcome(text);
    assert_eq!(problems, Vec::<String>::new(), "{text}");
    assert_eq!(warnings.len(), warned.len(), "{warnings:#?}\n{text}");
    for (warning, expected) in warnings.iter().zip(warned) {
        assert!(warning.contains(expected), "{warning} {expected}");
    }
    policies[0].clone()
}
