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

/// The resources whose images a kubelet pulls, with the API group of each.
const PODS: [(&str, &str); 8] = [
    ("pods", ""),
    ("replicationcontrollers", ""),
    ("deployments", "apps"),
    ("daemonsets", "apps"),
    ("statefulsets", "apps"),
    ("replicasets", "apps"),
    ("jobs", "batch"),
    ("cronjobs", "batch"),
];

/// Everything that would leave some pulls out, and that it does not.
pub(super) fn left_out<'n>(
    spec: &Section<'n>,
    only_audits: bool,
    reader: &mut Reader,
) -> Vec<(Field<'n>, String)> {
    let mut found = Vec::new();
    if let Some(field) = spec.get("matchConditions")
        && !operations::expressions_hold_for_pulls(&field, reader)
    {
        found.push((field, unknown("matchConditions")));
    }
    let Some(field) = spec.get("matchConstraints") else {
        // Without constraints an enforced policy only refuses more.
        found.extend(only_audits.then(|| (spec.field().clone(), NAMES_NOTHING.to_owned())));
        return found;
    };
    let constraints = field.section(KEYS, reader);
    let excluded = constraints.get("excludeResourceRules");
    found.extend(excluded.filter(|it| excludes(it, reader)).map(|field| {
        let note = unknown("excludeResourceRules");
        (field, note)
    }));
    for key in ["namespaceSelector", "objectSelector"] {
        let field = constraints
            .get(key)
            .filter(|field| !selects_everything(field));
        found.extend(field.map(|field| (field, unknown(key))));
    }
    let rules = constraints.get("resourceRules");
    let items = rules
        .as_ref()
        .map(|it| it.items(reader))
        .unwrap_or_default();
    if items.is_empty() {
        found.push((rules.unwrap_or(field), NAMES_NOTHING.to_owned()));
        return found;
    }
    let rules: Vec<_> = items
        .iter()
        .map(|rule| left_out_by_rule(rule, reader))
        .collect();
    // One rule that leaves nothing out is enough: the others only add to it.
    if !rules.iter().any(Vec::is_empty) {
        found.extend(rules.into_iter().flatten());
    }
    found
}

/// Kyverno refuses a policy without rules, and earlier releases of it never asked one.
const NAMES_NOTHING: &str = "no resource is named under `resourceRules`, so Kyverno asks this policy about nothing: here it covers every pull of its images";

fn left_out_by_rule<'n>(field: &Field<'n>, reader: &mut Reader) -> Vec<(Field<'n>, String)> {
    let mut found = Vec::new();
    let rule = field.section(RULE_KEYS, reader);
    let names = rule
        .get("resourceNames")
        .filter(|field| !selects_everything(field));
    found.extend(names.map(|field| (field, unknown("resourceNames"))));
    if let Some(operations) = rule.get("operations") {
        let words = texts(&operations, reader);
        if !words.iter().any(|it| ["CREATE", "*"].contains(it)) {
            found.push((operations, unknown("operations")));
        }
    }
    let pods_are_namespaced = |it: &Field<'_>| it.scalar().is_some_and(|it| it.text == "Cluster");
    let scope = rule.get("scope").filter(pods_are_namespaced);
    found.extend(scope.map(|field| (field, unknown("scope"))));
    let resources = rule.get("resources");
    let resources = resources.map(|it| it.items(reader)).unwrap_or_default();
    if resources.is_empty() {
        found.push((field.clone(), NAMES_NOTHING.to_owned()));
    }
    let others: Vec<_> = resources
        .iter()
        .filter_map(|it| other_than_pods(it, &rule, reader))
        .collect();
    // Beside resources for which images are pulled, others only add to them.
    if others.len() == resources.len() {
        found.extend(others);
    }
    found
}

fn other_than_pods<'n>(
    field: &Field<'n>,
    rule: &Section<'_>,
    reader: &mut Reader,
) -> Option<(Field<'n>, String)> {
    let name = field.text(reader)?;
    let mut allows = |key: &'static str, is_known: &dyn Fn(&str) -> bool| {
        let words = rule.get(key).map(|it| texts(&it, reader));
        words.is_none_or(|words| words.iter().any(|it| *it == "*" || is_known(it)))
    };
    // A subresource is named by a path of its own, and `*` names none of them.
    let is_every = matches!(name, "*" | "*/*");
    let groups: Vec<_> = PODS
        .iter()
        .filter(|(resource, _)| is_every || *resource == name)
        .map(|(_, group)| *group)
        .collect();
    let is_of_pods = !groups.is_empty()
        && allows("apiGroups", &|it| groups.contains(&it))
        && allows("apiVersions", &|it| it.starts_with("v1"));
    let note = format!(
        "what an image is pulled for is not known: the policy covers every pull, not only those for `{name}`"
    );
    (!is_of_pods).then(|| (field.clone(), note))
}

/// Returns true if a rule takes away any pull. A rule that names only other resources takes away none.
fn excludes(field: &Field<'_>, reader: &mut Reader) -> bool {
    let rules = field.items(reader);
    rules.iter().any(|rule| {
        let rule = rule.section(RULE_KEYS, reader);
        let resources = rule.get("resources").map(|it| texts(&it, reader));
        resources.is_none_or(|resources| {
            resources.iter().any(|name| {
                let resource = name.split('/').next().unwrap_or(name);
                resource.contains('*') || PODS.iter().any(|(it, _)| *it == resource)
            })
        })
    })
}

fn texts<'n>(field: &Field<'n>, reader: &mut Reader) -> Vec<&'n str> {
    let items = field.items(reader);
    items.iter().filter_map(|it| it.text(reader)).collect()
}

fn unknown(key: &str) -> String {
    format!("`{key}` is not known at a pull: the policy covers every pull of its images")
}
