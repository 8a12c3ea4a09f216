//! What restricts a policy to some requests, and what only looks so. Restricted, an audit would let through what its
//! author did not name.

use super::*;

/// A rule that audits, with these lines in place of `match` and beside it.
fn auditing(lines: &str) -> String {
    let lines = lines.replace('\n', "\n      ");
    format!(
        "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: p}}
spec:
  validationFailureAction: Audit
  rules:
    - name: r
      {lines}
      verifyImages:
        - imageReferences: ['ghcr.io/org/*']
          attestors: [{{entries: [{{keys: {{kms: 'awskms:///alias/a'}}}}]}}]
"
    )
}

const PODS: &str = "match: {any: [{resources: {kinds: [Pod]}}]}";

#[test]
fn what_restricts_nothing_leaves_an_audit_usable() {
    for lines in [
        "match: {any: [{resources: {kinds: [Pod], namespaces: ['*']}}]}",
        "match: {any: [{resources: {kinds: [Pod], namespaces: []}}]}",
        "match: {any: [{resources: {kinds: [Pod], namespaces: [prod, '*']}}]}",
        "match: {any: [{resources: {kinds: [Pod], names: ['*'], name: '*'}}]}",
        "match: {any: [{resources: {kinds: [Pod], selector: {}, namespaceSelector: {matchLabels: {}}}}]}",
        "match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchExpressions: []}}}]}",
        "match: {any: [{resources: {kinds: [Pod], annotations: {}}}]}",
        "match: {any: [{resources: {kinds: [Pod], operations: [CREATE, UPDATE]}}]}",
        "match: {any: [{resources: {kinds: [Pod]}, subjects: [], roles: []}]}",
        "match: {any: [{resources: {kinds: [Pod, Pod/ephemeralcontainers]}}]}",
        "match: {any: [{resources: {kinds: [v1/Pod, tekton.dev/v1/TaskRun]}}]}",
        "match: {resources: {kinds: [apps/v1/Deployment, batch/v1/CronJob]}}",
        "match: {resources: {kinds: ['*/*']}}",
        // One block covers every Pod, and the other adds to it.
        "match: {any: [{resources: {kinds: [Pod]}}, {resources: {kinds: [TaskRun], namespaces: [ci]}}]}",
        "match: {any: [{}, {resources: {kinds: [Pod]}}]}",
        &format!("{PODS}\nexclude: {{}}"),
        // No image is pulled for these kinds, whoever makes them.
        &format!("{PODS}\nexclude: {{any: [{{resources: {{kinds: [ConfigMap]}}}}]}}"),
        &format!(
            "{PODS}\nexclude: {{any: [{{resources: {{kinds: [v1/Secret, example.com/v1/Widget], namespaces: [a]}}}}]}}"
        ),
        &format!(
            "{PODS}\nexclude: {{resources: {{kinds: [Service]}}, clusterRoles: [cluster-admin]}}"
        ),
        &format!(
            "{PODS}\nexclude: {{all: [{{resources: {{kinds: [ConfigMap]}}}}, {{resources: {{namespaces: [a]}}}}]}}"
        ),
        &format!("{PODS}\nexclude: {{any: []}}"),
        &format!("{PODS}\nexclude: {{any: [{{resources: {{}}}}]}}"),
        &format!(
            "{PODS}\nexclude: {{any: [{{resources: {{kinds: [Pod], operations: [DELETE]}}}}]}}"
        ),
        &format!("{PODS}\npreconditions: {{}}"),
        &format!("{PODS}\npreconditions: {{all: []}}"),
        &format!("{PODS}\npreconditions: []"),
        &format!(
            "{PODS}\npreconditions: {{all: [{{key: '{{{{ request.operation }}}}', operator: NotEquals, value: DELETE}}]}}"
        ),
        &format!(
            "{PODS}\npreconditions: {{any: [{{key: '{{{{request.operation || ''BACKGROUND''}}}}', operator: AnyNotIn, \
             value: [DELETE, CONNECT]}}]}}"
        ),
        &format!(
            "{PODS}\npreconditions: {{all: [{{key: '{{{{request.operation}}}}', operator: AnyIn, value: [UPDATE, CREATE]}}]}}"
        ),
        &format!(
            "{PODS}\npreconditions: [{{key: '{{{{request.operation}}}}', operator: NotEqual, value: DELETE}}]"
        ),
        &format!(
            "{PODS}\ncelPreconditions: [{{name: a, expression: \"request.operation != 'DELETE'\"}}]"
        ),
    ] {
        let (policies, reader) = load(&auditing(lines));
        assert_eq!(reader.problems, [], "{lines}");
        assert_eq!(policies.len(), 1, "{lines}");
        assert_eq!(reader.warnings, [], "{lines}");
    }
}

#[test]
fn what_restricts_is_a_problem_of_an_audit_and_a_warning_of_what_is_enforced() {
    for lines in [
        "match: {any: [{resources: {kinds: [Pod], namespaces: [prod]}}]}",
        "match: {any: [{resources: {kinds: [Pod], namespaces: ['prod-*']}}]}",
        "match: {any: [{resources: {kinds: [Pod], name: 'a*'}}]}",
        "match: {any: [{resources: {kinds: [Pod], selector: {matchLabels: {a: b}}}}]}",
        "match: {any: [{resources: {kinds: [Pod], namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}}}]}",
        "match: {any: [{resources: {kinds: [Pod], annotations: {a: b}}}]}",
        "match: {any: [{resources: {kinds: [Pod], operations: [DELETE]}}]}",
        "match: {any: [{resources: {kinds: [Pod]}, roles: [a]}]}",
        "match: {any: [{resources: {kinds: [TaskRun]}}]}",
        "match: {any: [{resources: {kinds: [Pod], namespaces: [a]}}, {resources: {kinds: [TaskRun]}}]}",
        // Kyverno matches nothing by a block that says nothing.
        "match: {}",
        "match: {any: []}",
        "match: {any: [{}]}",
        "match: {any: [{}, {}]}",
        "match: {any: [{resources: {}}]}",
        "match: {any: [{resources: {kinds: []}}]}",
        "match: {all: [{}]}",
        "match: {all: [{resources: {kinds: [Pod]}}, {}]}",
        "match: {resources: {}}",
        "match: {any: [{}], resources: {kinds: [Pod]}}",
        // Kyverno takes no resources without kinds.
        "match: {any: [{resources: {namespaces: ['*']}}]}",
        "match: {resources: {operations: [CREATE]}}",
        "match: {any: [{}, {resources: {kinds: [Pod], namespaces: [a]}}]}",
        "match: {all: [{resources: {kinds: [Pod]}}, {resources: {namespaces: [a]}}]}",
        &format!("{PODS}\nexclude: {{any: [{{resources: {{namespaces: [kube-system]}}}}]}}"),
        &format!("{PODS}\nexclude: {{any: [{{resources: {{operations: [UPDATE]}}}}]}}"),
        &format!("{PODS}\nexclude: {{any: [{{clusterRoles: [cluster-admin]}}]}}"),
        &format!("{PODS}\nexclude: {{resources: {{kinds: [Pod]}}}}"),
        &format!("{PODS}\nexclude: {{any: [{{resources: {{kinds: [ConfigMap, Deployment]}}}}]}}"),
        &format!("{PODS}\nexclude: {{any: [{{resources: {{kinds: [Pod/ephemeralcontainers]}}}}]}}"),
        &format!("{PODS}\nexclude: {{any: [{{resources: {{kinds: ['*']}}}}]}}"),
        &format!("{PODS}\nexclude: {{any: [{{resources: {{kinds: ['C*Job']}}}}]}}"),
        &format!(
            "{PODS}\nexclude: {{all: [{{resources: {{kinds: [Pod]}}}}, {{resources: {{namespaces: [a]}}}}]}}"
        ),
        &format!("{PODS}\npreconditions: {{any: []}}"),
        &format!(
            "{PODS}\npreconditions: {{all: [{{key: '{{{{request.operation}}}}', operator: Equals, value: DELETE}}]}}"
        ),
        &format!(
            "{PODS}\npreconditions: {{all: [{{key: '{{{{request.operation}}}}', operator: NotEquals, value: CREATE}}]}}"
        ),
        &format!(
            "{PODS}\npreconditions: {{all: [{{key: '{{{{request.operation}}}}', operator: NotEquals, value: DELETE}}, {{key: \
             '{{{{request.object.metadata.namespace}}}}', operator: Equals, value: a}}]}}"
        ),
        &format!(
            "{PODS}\ncelPreconditions: [{{name: a, expression: \"object.metadata.namespace == 'a'\"}}]"
        ),
    ] {
        let text = auditing(lines);
        let (policies, reader) = load(&text);
        assert!(!reader.problems.is_empty(), "{lines}");
        assert!(policies.is_empty(), "{lines}");
        let enforced = text.replace(
            "validationFailureAction: Audit",
            "validationFailureAction: Enforce",
        );
        let (policies, reader) = load(&enforced);
        assert_eq!(reader.problems, [], "{lines}");
        assert_eq!(policies.len(), 1, "{lines}");
        let names: Vec<_> = reader.warnings.iter().map(|it| it.name).collect();
        assert!(
            names.contains(&Some(WarningName::ClusterScope)),
            "{lines}: {names:?}"
        );
    }
}

#[test]
fn conditions_of_the_webhook_restrict_the_policy() {
    let with = |conditions: &str| {
        auditing(PODS).replace(
            "  rules:\n",
            &format!("  webhookConfiguration: {{timeoutSeconds: 5, matchConditions: {conditions}}}\n  rules:\n"),
        )
    };
    for (conditions, usable) in [
        ("[]", true),
        (
            "[{name: a, expression: 'request.operation != \"DELETE\"'}]",
            true,
        ),
        (
            "[{name: a, expression: \"object.metadata.namespace == 'a'\"}]",
            false,
        ),
    ] {
        let (policies, reader) = load(&with(conditions));
        assert_eq!(
            reader.problems.is_empty(),
            usable,
            "{conditions}: {reader:?}"
        );
        assert_eq!(policies.len(), usize::from(usable), "{conditions}");
    }
}

#[test]
fn audit_of_the_background_alone_is_a_problem() {
    let with = |action: &str, admission: bool| {
        let spec = format!("spec:\n  admission: {admission}\n  validationFailureAction: {action}");
        auditing(PODS).replace("spec:\n  validationFailureAction: Audit", &spec)
    };
    let (policies, reader) = load(&with("Audit", false));
    assert_eq!(policies.len(), 0);
    let [problem] = reader.problems.as_slice() else {
        panic!("{:?}", reader.problems);
    };
    assert_eq!(problem.key, "spec.admission");
    assert!(
        problem
            .message
            .contains("would only report in the background")
    );
    for (text, warned, default) in [
        (with("Audit", true), false, DefaultAction::Deny),
        (with("Enforce", false), true, DefaultAction::Deny),
        (with("Audit", false), true, DefaultAction::Audit),
    ] {
        let (policies, reader) = load_with(&text, default);
        assert_eq!((policies.len(), reader.problems), (1, vec![]), "{text}");
        let names: Vec<_> = reader.warnings.iter().map(|it| it.name).collect();
        let is_warned = names.contains(&Some(WarningName::BackgroundOnly));
        assert_eq!(is_warned, warned, "{text}");
    }
}

#[test]
fn an_attestation_without_attestors_takes_those_of_its_entry() {
    let entry = "imageReferences: ['ghcr.io/*']
attestors: [{entries: [{keyless: {subject: s, issuer: i}}]}]
attestations: [{type: 'https://a.example/v1'}]";
    let policy = loaded(entry);
    assert_eq!(
        words(&policy.requirement),
        "all(s@i https://a.example/v1 by s@i)"
    );
    assert_warns(entry, &["without `attestors`", "those of the entry must"]);
    // Where the entry has none either, anybody could vouch.
    let found =
        problems("imageReferences: ['ghcr.io/*']\nattestations: [{type: 'https://a.example/v1'}]");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("anybody with a certificate"), "{found:?}");
}
