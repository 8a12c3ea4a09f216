//! `matchConstraints` and `matchConditions`: for which resources Kyverno asks the policy. A pull knows none of them, so
//! the policy is for every pull: that refuses more where it is enforced, and lets through more where it only audits.

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
    let conditions = spec.get("matchConditions");
    found.extend(conditions.map(|field| (field, unknown("matchConditions"))));
    let Some(constraints) = spec.get("matchConstraints") else {
        return found;
    };
    let constraints = constraints.section(KEYS, reader);
    for key in [
        "excludeResourceRules",
        "namespaceSelector",
        "objectSelector",
    ] {
        found.extend(constraints.get(key).map(|field| (field, unknown(key))));
    }
    let rules = constraints.get("resourceRules");
    for rule in rules.map(|it| it.items(reader)).unwrap_or_default() {
        let rule = rule.section(RULE_KEYS, reader);
        found.extend(
            rule.get("resourceNames")
                .map(|field| (field, unknown("resourceNames"))),
        );
        let resources = rule.get("resources");
        let resources = resources.map(|it| it.items(reader)).unwrap_or_default();
        found.extend(
            resources
                .into_iter()
                .filter_map(|it| other_than_pods(it, reader)),
        );
    }
    found
}

fn other_than_pods<'n>(field: Field<'n>, reader: &mut Reader) -> Option<(Field<'n>, String)> {
    let name = field.text(reader)?;
    let resource = name.split('/').next().unwrap_or(name);
    let note = format!(
        "what an image is pulled for is not known: the policy covers every pull, not only those for `{name}`"
    );
    (!PODS.contains(&resource)).then_some((field, note))
}

fn unknown(key: &str) -> String {
    format!("`{key}` is not known at a pull: the policy covers every pull of its images")
}
