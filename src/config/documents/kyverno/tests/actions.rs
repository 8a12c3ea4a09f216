//! Whether a policy's refusal counts.

use super::*;

/// The mode of the only policy of a document with this action of the policy, this of the entry, and these overrides.
fn mode(policy: &str, entry: &str, overrides: &str) -> Mode {
    let text = format!(
        "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: p}}
spec:
  {policy}
  {overrides}
  rules:
    - name: r
      match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
      verifyImages:
        - imageReferences: ['ghcr.io/org/*']
          attestors: [{{entries: [{{keyless: {{subject: a@b.example, issuer: 'https://i.example'}}}}]}}]
          {entry}
"
    );
    let (policies, reader) = load(&text);
    assert!(reader.problems.is_empty(), "{:#?}", reader.problems);
    policies[0].mode
}

#[test]
fn the_entry_decides_before_the_policy_and_audit_is_the_default() {
    let none = "";
    for (policy, entry, expected) in [
        ("validationFailureAction: enforce", none, Mode::Enforce),
        ("validationFailureAction: Enforce", none, Mode::Enforce),
        ("validationFailureAction: audit", none, Mode::Audit),
        ("validationFailureAction: Audit", none, Mode::Audit),
        (none, none, Mode::Audit),
        (none, "failureAction: Enforce", Mode::Enforce),
        (
            "validationFailureAction: Audit",
            "failureAction: Enforce",
            Mode::Enforce,
        ),
        (
            "validationFailureAction: Enforce",
            "failureAction: Audit",
            Mode::Audit,
        ),
    ] {
        assert_eq!(mode(policy, entry, none), expected, "{policy} {entry}");
    }
}

#[test]
fn of_namespaces_the_strictest_wins() {
    for (policy, action, expected) in [
        ("Audit", "Enforce", Mode::Enforce),
        ("Enforce", "Audit", Mode::Enforce),
        ("Audit", "Audit", Mode::Audit),
    ] {
        let policy = format!("validationFailureAction: {policy}");
        let overrides =
            format!("validationFailureActionOverrides: [{{action: {action}, namespaces: [dev]}}]");
        assert_eq!(mode(&policy, "", &overrides), expected, "{policy} {action}");
    }
}

#[test]
fn auditing_everything_is_refused_unless_everything_is_audited_anyway() {
    let text = policy_with(
        "imageReferences: ['*']
attestors: [{entries: [{keyless: {subject: a@b.example, issuer: 'https://i.example'}}]}]",
    );
    let (policies, _) = load(&text);
    assert_eq!(policies.len(), 1);
    let text = text.replace("failureAction: Enforce", "failureAction: Audit");
    let (policies, reader) = load(&text);
    assert!(policies.is_empty());
    assert!(
        reader.problems[0]
            .message
            .contains("covers every image and only audits")
    );
    let (policies, reader) = load_with(&text, DefaultAction::Audit);
    assert_eq!((policies.len(), reader.problems.len()), (1, 0));
}

/// The modes of the entries of one rule that have these actions.
fn modes(policy: &str, entries: &[&str]) -> Vec<Mode> {
    let entries = entries.iter().map(|action| {
        format!(
            "
        - imageReferences: ['ghcr.io/org/*']
          attestors: [{{entries: [{{keyless: {{subject: a@b.example, issuer: 'https://i.example'}}}}]}}]
          {action}"
        )
    });
    let text = format!(
        "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: p}}
spec:
  validationFailureAction: {policy}
  rules:
    - name: r
      match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
      verifyImages:{}
",
        entries.collect::<String>()
    );
    let (policies, reader) = load(&text);
    assert!(reader.problems.is_empty(), "{:#?}", reader.problems);
    policies.iter().map(|policy| policy.mode).collect()
}

#[test]
fn one_entry_of_a_rule_enforces_all_of_them() {
    let (audit, enforce) = ("failureAction: Audit", "failureAction: enforce");
    for (policy, entries, expected) in [
        ("Audit", [audit, enforce], [Mode::Enforce, Mode::Enforce]),
        ("Audit", [enforce, ""], [Mode::Enforce, Mode::Enforce]),
        ("Audit", [audit, ""], [Mode::Audit, Mode::Audit]),
        // Stricter than Kyverno, which takes the action of the first that has one.
        ("Enforce", [audit, ""], [Mode::Audit, Mode::Enforce]),
    ] {
        assert_eq!(modes(policy, &entries), expected, "{policy} {entries:?}");
    }
}

#[test]
fn what_only_audits_covers_only_what_is_certain() {
    let text = policy_with(
        "imageReferences: ['ghcr.io/org/app:v1*']
attestors: [{entries: [{keyless: {subject: a@b.example, issuer: 'https://i.example'}}]}]",
    );
    let covers = |policies: &[Arc<Policy>], tags: &[&str]| {
        let tags = crate::policy::Tags::new(tags.iter().map(ToString::to_string));
        let name = "ghcr.io/org/app".parse().unwrap();
        policies[0].coverage.covers(&name, &tags)
    };
    let (enforced, _) = load(&text);
    assert!(covers(&enforced, &[]) && covers(&enforced, &["v1", "v2"]));
    let text = text.replace("failureAction: Enforce", "failureAction: Audit");
    let (audited, reader) = load(&text);
    assert!(covers(&audited, &["v1"]));
    assert!(!covers(&audited, &[]) && !covers(&audited, &["v1", "v2"]));
    let warned = &reader.warnings[0].message;
    assert!(
        warned.contains("without a known tag is not covered"),
        "{warned}"
    );
}
