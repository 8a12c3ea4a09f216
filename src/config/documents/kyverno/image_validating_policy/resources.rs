//! `matchConstraints` and `matchConditions`: for which resources Kyverno asks the policy. A pull knows none of them, so
//! the policy is for every pull: that refuses more where it is enforced, and lets through more where it only audits.

use super::super::operations;
use crate::config::documents::selects_everything;
use crate::config::reader::{Field, Reader, Section};

const KEYS: &[&str] = &[
    "resourceRules",
    "excludeResourceRules",
    "namespaceSelector",
    "objectSelector",
    "matchPolicy",
];
const RULE_KEYS: &[&str] = &[
    "apiGroups",
    "apiVersions",
    "operations",
    "resources",
    "resourceNames",
    "scope",
];

/// The resources whose images a kubelet pulls.
const PODS: [&str; 9] = [
    "pods",
    "deployments",
    "daemonsets",
    "statefulsets",
    "replicasets",
    "replicationcontrollers",
    "jobs",
    "cronjobs",
    "*",
];

/// Everything that would leave some pulls out, and that it does not.
pub(super) fn left_out<'n>(spec: &Section<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let mut found = Vec::new();
    if let Some(field) = spec.get("matchConditions")
        && !operations::expressions_hold_for_pulls(&field, reader)
    {
        found.push((field, unknown("matchConditions")));
    }
    let Some(constraints) = spec.get("matchConstraints") else {
        return found;
    };
    let constraints = constraints.section(KEYS, reader);
    for key in [
        "excludeResourceRules",
        "namespaceSelector",
        "objectSelector",
    ] {
        let field = constraints
            .get(key)
            .filter(|field| !selects_everything(field));
        found.extend(field.map(|field| (field, unknown(key))));
    }
    let rules = constraints.get("resourceRules");
    let rules = rules.map(|it| it.items(reader)).unwrap_or_default();
    let rules: Vec<_> = rules
        .iter()
        .map(|rule| left_out_by_rule(rule, reader))
        .collect();
    // One rule that leaves nothing out is enough: the others only add to it.
    if !rules.iter().any(Vec::is_empty) {
        found.extend(rules.into_iter().flatten());
    }
    found
}

fn left_out_by_rule<'n>(rule: &Field<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let mut found = Vec::new();
    let rule = rule.section(RULE_KEYS, reader);
    let names = rule
        .get("resourceNames")
        .filter(|field| !selects_everything(field));
    found.extend(names.map(|field| (field, unknown("resourceNames"))));
    if let Some(operations) = rule.get("operations") {
        let words = operations.items(reader);
        let mut words = words.iter().filter_map(|it| it.text(reader));
        if !words.any(|it| ["CREATE", "*"].contains(&it)) {
            found.push((operations, unknown("operations")));
        }
    }
    let resources = rule.get("resources");
    let resources = resources.map(|it| it.items(reader)).unwrap_or_default();
    let others: Vec<_> = resources
        .iter()
        .filter_map(|it| other_than_pods(it, reader))
        .collect();
    // Beside resources for which images are pulled, others only add to them.
    if others.len() == resources.len() {
        found.extend(others);
    }
    found
}

fn other_than_pods<'n>(field: &Field<'n>, reader: &mut Reader) -> Option<(Field<'n>, String)> {
    let name = field.text(reader)?;
    let resource = name.split('/').next().unwrap_or(name);
    let note = format!(
        "what an image is pulled for is not known: the policy covers every pull, not only those for `{name}`"
    );
    (!PODS.contains(&resource)).then(|| (field.clone(), note))
}

fn unknown(key: &str) -> String {
    format!("`{key}` is not known at a pull: the policy covers every pull of its images")
}
