//! `match` of a rule: which resources, users and namespaces it is for. A pull knows none of them, so the rule is for
//! every pull: that refuses more where it is enforced, and lets through more where it only audits.

use super::super::super::reader::{Field, Reader};

const KEYS: &[&str] = &[
    "any",
    "all",
    "resources",
    "subjects",
    "roles",
    "clusterRoles",
];
const RESOURCE_KEYS: &[&str] = &[
    "kinds",
    "operations",
    "name",
    "names",
    "namespaces",
    "annotations",
    "selector",
    "namespaceSelector",
];

/// The kinds whose images a kubelet pulls.
const PODS: [&str; 8] = [
    "Pod",
    "Deployment",
    "DaemonSet",
    "StatefulSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
];

/// Everything in `match` that would leave some pulls out, and that it does not.
pub(super) fn left_out<'n>(field: &Field<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let mut found = Vec::new();
    let section = field.section(KEYS, reader);
    for key in ["any", "all"] {
        let list = section.get(key);
        for item in list.map(|it| it.items(reader)).unwrap_or_default() {
            found.extend(left_out(&item, reader));
        }
    }
    for key in ["subjects", "roles", "clusterRoles"] {
        if let Some(field) = section.get(key) {
            found.push((field, unknown(key)));
        }
    }
    let Some(resources) = section.get("resources") else {
        return found;
    };
    let resources = resources.section(RESOURCE_KEYS, reader);
    for key in RESOURCE_KEYS.iter().copied().skip(2) {
        if let Some(field) = resources.get(key) {
            found.push((field, unknown(key)));
        }
    }
    let kinds = resources.get("kinds");
    let kinds = kinds.map(|it| it.items(reader)).unwrap_or_default();
    for kind in kinds {
        let name = kind.text(reader).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        if !PODS.contains(&name) && name != "*" {
            let note = format!(
                "what an image is pulled for is not known: the rule covers every pull, not only those for a `{name}`"
            );
            found.push((kind, note));
        }
    }
    found
}

fn unknown(key: &str) -> String {
    format!("`{key}` is not known at a pull: the rule covers every pull of its images")
}
