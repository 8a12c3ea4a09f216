//! `match` and `exclude` of a rule: which resources, users and namespaces it is for. A pull knows none of them, so the
//! rule is for every pull: that refuses more where it is enforced, and lets through more where it only audits.

use super::super::super::reader::{Field, Reader, Section};
use super::super::super::yaml::Value;
use super::super::selects_everything;

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
const USER_KEYS: [&str; 3] = ["subjects", "roles", "clusterRoles"];

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
    if says_nothing(&field.node.value) {
        return vec![(field.clone(), MATCHES_NOTHING.to_owned())];
    }
    let section = field.section(KEYS, reader);
    let mut found = left_out_by_block(&section, reader);
    if let Some(resources) = section.get("resources")
        && !says_nothing(&resources.node.value)
        && !names_kinds(&resources)
    {
        found.push((resources, NAMES_NO_KIND.to_owned()));
    }
    if let Some(any) = section.get("any") {
        found.extend(left_out_by_any(&any, reader));
    }
    let all = section.get("all");
    for item in all.map(|it| it.items(reader)).unwrap_or_default() {
        if says_nothing(&item.node.value) {
            found.push((item, MATCHES_NOTHING.to_owned()));
        } else {
            let block = item.section(KEYS, reader);
            found.extend(left_out_by_block(&block, reader));
        }
    }
    found
}

fn names_kinds(resources: &Field<'_>) -> bool {
    let Value::Mapping(entries) = &resources.node.value else {
        return false;
    };
    let mut entries = entries.iter();
    entries.any(|(key, node)| key.name == "kinds" && !says_nothing(&node.value))
}

fn left_out_by_any<'n>(any: &Field<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let items = any.items(reader);
    // A block that says nothing adds nothing to the others.
    let blocks = items.iter().filter(|it| !says_nothing(&it.node.value));
    let blocks: Vec<_> = blocks.map(|it| left_out(it, reader)).collect();
    if blocks.is_empty() && !items.is_empty() {
        return vec![(any.clone(), MATCHES_NOTHING.to_owned())];
    }
    // One block that leaves nothing out is enough: the others only add to it.
    if blocks.iter().any(Vec::is_empty) {
        return Vec::new();
    }
    blocks.into_iter().flatten().collect()
}

fn left_out_by_block<'n>(section: &Section<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let mut found = Vec::new();
    let mut leave_out = |field: Option<Field<'n>>, key: &str| {
        found.extend(
            field
                .filter(|field| !selects_everything(field))
                .map(|field| (field, unknown(key))),
        );
    };
    for key in USER_KEYS {
        leave_out(section.get(key), key);
    }
    let Some(resources) = section.get("resources") else {
        return found;
    };
    let resources = resources.section(RESOURCE_KEYS, reader);
    for key in ["name", "names", "namespaces"] {
        leave_out(resources.get(key).filter(|it| !names_all(it)), key);
    }
    for key in ["annotations", "selector", "namespaceSelector"] {
        leave_out(resources.get(key), key);
    }
    if let Some(operations) = resources.get("operations") {
        let words = texts(&operations, reader);
        leave_out(
            Some(operations).filter(|_| !words.contains(&"CREATE")),
            "operations",
        );
    }
    found.extend(other_kinds(&resources, reader));
    found
}

/// Kyverno takes a block that says nothing for one that matches nothing, and refuses such a policy.
const MATCHES_NOTHING: &str =
    "it says nothing, so Kyverno matches nothing by it: the rule covers every pull of its images";

/// Kyverno refuses `resources` without `kinds`.
const NAMES_NO_KIND: &str =
    "`kinds` is missing, so Kyverno takes no such policy: the rule covers every pull of its images";

/// Returns true if nothing is written there but empty lists and mappings.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Scalar(_) => false,
        Value::Sequence(items) => items.iter().all(|it| says_nothing(&it.value)),
        Value::Mapping(entries) => entries.iter().all(|(_, it)| says_nothing(&it.value)),
    }
}

/// The kinds, where no image is pulled for any of them. Beside one for which images are pulled, others only add to it.
fn other_kinds<'n>(resources: &Section<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let kinds = resources.get("kinds");
    let kinds = kinds.map(|it| it.items(reader)).unwrap_or_default();
    let mut others = Vec::new();
    for kind in kinds {
        let name = kind_of(kind.text(reader).unwrap_or_default());
        if PODS.contains(&name) || name == "*" {
            return Vec::new();
        }
        let note = format!(
            "what an image is pulled for is not known: the rule covers every pull, not only those for a `{name}`"
        );
        others.push((kind, note));
    }
    others
}

/// The kind in `group/version/kind/subresource`, of which it alone begins with a capital letter. A kind of a foreign group
/// and a subresource are returned as they are written, because no image is pulled for them.
fn kind_of(written: &str) -> &str {
    let parts: Vec<_> = written.split(['/', '.']).collect();
    let is_kind = |part: &&str| part.starts_with(|it: char| it.is_ascii_uppercase());
    let place = parts
        .iter()
        .position(is_kind)
        .or_else(|| parts.iter().position(|part| *part == "*"));
    let Some((before, [kind, after @ ..])) = place.and_then(|place| parts.split_at_checked(place))
    else {
        return written;
    };
    let is_known = |part: &&str| WORKLOAD_GROUPS.contains(part) || is_version(part);
    if before.iter().all(is_known) && after.iter().all(|part| *part == "*") {
        kind
    } else {
        written
    }
}

/// The API groups of the kinds in [`PODS`], and the wildcard.
const WORKLOAD_GROUPS: [&str; 4] = ["*", "apps", "batch", "extensions"];

fn is_version(part: &str) -> bool {
    part.strip_prefix('v')
        .is_some_and(|rest| rest.starts_with(|it: char| it.is_ascii_digit()))
}

/// Returns true if `exclude` takes away any pull.
pub(super) fn excludes(field: &Field<'_>, reader: &mut Reader) -> bool {
    let section = field.section(KEYS, reader);
    let by_block = excludes_by_block(&section, reader);
    let mut by_each = |key: &'static str| {
        let list = section.get(key);
        let items = list.map(|it| it.items(reader)).unwrap_or_default();
        let excludes = items.iter().map(|it| excludes(it, reader));
        excludes.collect::<Vec<_>>()
    };
    let (any, all) = (by_each("any"), by_each("all"));
    // Something is taken away by `all` if each of its blocks takes it away.
    by_block || any.contains(&true) || all.contains(&true) && !all.contains(&false)
}

/// Returns true if an image may be pulled for the kind, or for what a wildcard in it stands for.
fn may_pull(kind: &str) -> bool {
    let mut parts = kind.split(['/', '.']);
    let named = parts.find(|part| part.starts_with(|it: char| it.is_ascii_uppercase()));
    named.is_none_or(|part| part.contains(['*', '?']) || PODS.contains(&part))
}

fn excludes_by_block(section: &Section<'_>, reader: &mut Reader) -> bool {
    let users = USER_KEYS
        .iter()
        .any(|key| section.get(key).is_some_and(|it| !selects_everything(&it)));
    let Some(resources) = section.get("resources") else {
        return users;
    };
    let resources = resources.section(RESOURCE_KEYS, reader);
    let operations = resources.get("operations");
    let operations = operations.map(|it| texts(&it, reader)).unwrap_or_default();
    let starts_pulls = |operation: &&str| !["DELETE", "CONNECT"].contains(operation);
    if !operations.is_empty() && !operations.iter().any(starts_pulls) {
        // An object that is deleted pulls nothing.
        return false;
    }
    let kinds = resources.get("kinds").map(|it| texts(&it, reader));
    if kinds.is_some_and(|kinds| !kinds.is_empty() && !kinds.iter().any(|it| may_pull(it))) {
        // Every part of a block must hold, and no image is pulled for these kinds.
        return false;
    }
    users
        || RESOURCE_KEYS.iter().any(|key| {
            resources
                .get(key)
                .is_some_and(|it| !selects_everything(&it))
        })
}

/// Returns true if `*` is the name, or one of the names.
fn names_all(field: &Field<'_>) -> bool {
    let is_wildcard = |value: &Value| match value {
        Value::Scalar(scalar) => scalar.text == "*",
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => false,
    };
    match &field.node.value {
        Value::Sequence(items) => items.iter().any(|it| is_wildcard(&it.value)),
        value @ (Value::Null | Value::Scalar(_) | Value::Mapping(_)) => is_wildcard(value),
    }
}

fn texts<'n>(field: &Field<'n>, reader: &mut Reader) -> Vec<&'n str> {
    let items = field.items(reader);
    items.iter().filter_map(|it| it.text(reader)).collect()
}

fn unknown(key: &str) -> String {
    format!("`{key}` is not known at a pull: the rule covers every pull of its images")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_out_of_groups_and_versions() {
        for (written, kind) in [
            ("Pod", "Pod"),
            ("v1/Pod", "Pod"),
            ("apps/v1/Deployment", "Deployment"),
            ("apps/*/Deployment", "Deployment"),
            ("*/Pod", "Pod"),
            ("Pod/*", "Pod"),
            ("*", "*"),
            // No image is pulled for these.
            ("Pod/exec", "Pod/exec"),
            ("Pod.exec", "Pod.exec"),
            ("v1/Pod/ephemeralcontainers", "v1/Pod/ephemeralcontainers"),
            (
                "batch.volcano.sh/v1alpha1/Job",
                "batch.volcano.sh/v1alpha1/Job",
            ),
        ] {
            assert_eq!(kind_of(written), kind, "{written}");
        }
    }
}
