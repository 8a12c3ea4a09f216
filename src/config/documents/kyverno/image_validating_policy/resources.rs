//! `matchConstraints` and `matchConditions`: for which resources Kyverno asks the policy. A pull knows none of them, so
//! the policy is for every pull: that only ever refuses more.

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

/// Warns of everything that would leave some pulls out.
pub(super) fn note(spec: &Section<'_>, reader: &mut Reader) {
    if let Some(field) = spec.get("matchConditions") {
        warn_unknown(&field, "matchConditions", reader);
    }
    let Some(constraints) = spec.get("matchConstraints") else {
        return;
    };
    let constraints = constraints.section(KEYS, reader);
    for key in [
        "excludeResourceRules",
        "namespaceSelector",
        "objectSelector",
    ] {
        if let Some(field) = constraints.get(key) {
            warn_unknown(&field, key, reader);
        }
    }
    let rules = constraints.get("resourceRules");
    for rule in rules.map(|it| it.items(reader)).unwrap_or_default() {
        let rule = rule.section(RULE_KEYS, reader);
        if let Some(field) = rule.get("resourceNames") {
            warn_unknown(&field, "resourceNames", reader);
        }
        let resources = rule.get("resources");
        for resource in resources.map(|it| it.items(reader)).unwrap_or_default() {
            note_resource(&resource, reader);
        }
    }
}

fn note_resource(field: &Field<'_>, reader: &mut Reader) {
    let Some(name) = field.text(reader) else {
        return;
    };
    let resource = name.split('/').next().unwrap_or(name);
    if !PODS.contains(&resource) {
        reader.warn(
            field,
            format!(
                "what an image is pulled for is not known: the policy covers every pull, not only those for `{name}`"
            ),
        );
    }
}

fn warn_unknown(field: &Field<'_>, key: &str, reader: &mut Reader) {
    reader.warn(
        field,
        format!("`{key}` is not known at a pull: the policy covers every pull of its images"),
    );
}
