//! Images in Kubernetes objects, custom resources among them.

use serde_json::{Map, Value};

use super::Names;

/// The groups with known fields: an `image` there is always a container image.
const KNOWN_GROUPS: [&str; 3] = ["apps", "batch", "extensions"];
/// The kinds that only describe or carry texts.
const SKIPPED_KINDS: [&str; 3] = ["CustomResourceDefinition", "ConfigMap", "Secret"];
/// The members that describe the object and its past.
const SKIPPED_MEMBERS: [&str; 2] = ["metadata", "status"];

/// Adds the images of every container, init container, ephemeral container and image volume in an object or list.
pub(super) fn read(object: &Value, names: &mut Names) {
    walk(object, false, names);
}

/// In an object of an unknown group, `image` may also name a machine image, which has neither a path nor a tag.
fn walk(value: &Value, is_known: bool, names: &mut Names) {
    match value {
        Value::Array(items) => {
            for item in items {
                walk(item, is_known, names);
            }
        }
        Value::Object(members) => {
            let is_known = match group(members) {
                Some(group) => KNOWN_GROUPS.contains(&group) || group.is_empty(),
                None => is_known,
            };
            let kind = members.get("kind").and_then(Value::as_str);
            if kind.is_some_and(|kind| SKIPPED_KINDS.contains(&kind)) {
                return;
            }
            for (key, member) in members {
                match (key.as_str(), member) {
                    ("image", Value::String(name)) => {
                        if is_known || name.contains(['/', ':', '@']) {
                            names.push(Ok(name.clone()));
                        }
                    }
                    ("image", Value::Object(parts)) => match composed(parts) {
                        Some(name) => names.push(Ok(name)),
                        None => walk(member, is_known, names),
                    },
                    (key, _) if SKIPPED_MEMBERS.contains(&key) => {}
                    (_, member) => walk(member, is_known, names),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The group in `apiVersion: <group>/<version>`, empty for the core group.
fn group(members: &Map<String, Value>) -> Option<&str> {
    members.get("kind")?;
    let version = members.get("apiVersion")?.as_str()?;
    Some(
        version
            .split_once('/')
            .map_or("", |(group, _version)| group),
    )
}

/// An image in parts: `reference` of an image volume, or `repository` with `registry`, `tag` and `digest` as operators
/// and charts have them.
fn composed(parts: &Map<String, Value>) -> Option<String> {
    let part = |key: &str| {
        let part = parts.get(key).and_then(Value::as_str);
        part.filter(|part| !part.is_empty())
    };
    if let Some(reference) = part("reference") {
        return Some(reference.to_owned());
    }
    let mut name = part("repository")?.to_owned();
    if let Some(registry) = part("registry") {
        name = format!("{registry}/{name}");
    }
    if let Some(tag) = part("tag") {
        name = format!("{name}:{tag}");
    }
    if let Some(digest) = part("digest") {
        name = format!("{name}@{digest}");
    }
    Some(name)
}
