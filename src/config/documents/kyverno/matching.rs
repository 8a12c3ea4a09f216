//! `match` and `exclude` of a rule: which resources, users and namespaces it is for. A pull knows none of them, so the
//! rule is for every pull: that only ever refuses more.

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

/// Warns of everything in `match` that would leave some pulls out.
pub(super) fn note(field: &Field<'_>, reader: &mut Reader) {
    let section = field.section(KEYS, reader);
    for key in ["any", "all"] {
        let list = section.get(key);
        for item in list.map(|it| it.items(reader)).unwrap_or_default() {
            note(&item, reader);
        }
    }
    for key in ["subjects", "roles", "clusterRoles"] {
        if let Some(field) = section.get(key) {
            warn_unknown(&field, key, reader);
        }
    }
    let Some(resources) = section.get("resources") else {
        return;
    };
    let resources = resources.section(RESOURCE_KEYS, reader);
    for key in RESOURCE_KEYS.iter().copied().skip(2) {
        if let Some(field) = resources.get(key) {
            warn_unknown(&field, key, reader);
        }
    }
    let kinds = resources.get("kinds");
    let kinds = kinds.map(|it| it.items(reader)).unwrap_or_default();
    for kind in &kinds {
        let name = kind.text(reader).unwrap_or_default();
        let name = name.rsplit('/').next().unwrap_or_default();
        if !PODS.contains(&name) && name != "*" {
            reader.warn(
                kind,
                format!(
                    "what an image is pulled for is not known: the rule covers every pull, not only those for a \
                     `{name}`"
                ),
            );
        }
    }
}

fn warn_unknown(field: &Field<'_>, key: &str, reader: &mut Reader) {
    reader.warn(
        field,
        format!("`{key}` is not known at a pull: the rule covers every pull of its images"),
    );
}
