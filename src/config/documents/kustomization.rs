//! kustomize's own files, which are not applied here.

use super::text_under;
use crate::config::reader::Field;
use crate::config::yaml::{Node, Value};

/// The fields of a kustomization that leave policies as they stand in their files: which files there are, and what is
/// only about other objects or about labels.
const LEAVES_POLICIES: [&str; 18] = [
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "bases",
    "namespace",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "buildMetadata",
    "sortOptions",
    "validators",
    "crds",
    "openapi",
    "replicas",
];

/// The fields of Flux's `Kustomization` that change what it applies.
const CHANGES_OF_FLUX: [&str; 6] = [
    "patches",
    "images",
    "components",
    "postBuild",
    "namePrefix",
    "nameSuffix",
];

/// Returns true if a node stands in a file that kustomize reads by its name, and which therefore needs no kind.
pub(in crate::config) fn is_in_kustomization_file(node: &Node) -> bool {
    let name = node.position.file.file_name();
    name.is_some_and(|name| {
        ["kustomization.yaml", "kustomization.yml", "Kustomization"]
            .iter()
            .any(|it| name == *it)
    })
}

/// Returns true if the document is a kustomization, or a component of one.
pub(super) fn is_one(document: &Field<'_>) -> bool {
    let version = text_under(document, "apiVersion").unwrap_or_default();
    let is_component = version.starts_with("kustomize.config.k8s.io/");
    text_under(document, "kind") == Some("Kustomization")
        || is_component
        || is_in_kustomization_file(document.node)
}

/// The fields by which a kustomization changes objects, or adds some that are not in the files beside it. A field that is
/// not known here counts.
pub(super) fn changes<'n>(document: &Field<'n>) -> Vec<&'n str> {
    if !is_one(document) {
        return Vec::new();
    }
    let version = text_under(document, "apiVersion").unwrap_or_default();
    if version.starts_with("kustomize.toolkit.fluxcd.io/") {
        let spec = entries(document.node).find(|(name, _)| *name == "spec");
        let fields = spec.into_iter().flat_map(|(_, spec)| entries(spec));
        let changes = fields.filter(|(name, node)| CHANGES_OF_FLUX.contains(name) && is_set(node));
        return changes.map(|(name, _)| name).collect();
    }
    let changes = entries(document.node);
    let changes = changes.filter(|(name, node)| !LEAVES_POLICIES.contains(name) && is_set(node));
    changes.map(|(name, _)| name).collect()
}

fn entries(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let entries = if let Value::Mapping(entries) = &node.value {
        entries.as_slice()
    } else {
        &[]
    };
    entries.iter().map(|(key, node)| (key.name.as_str(), node))
}

fn is_set(node: &Node) -> bool {
    match &node.value {
        Value::Null => false,
        Value::Scalar(scalar) => !scalar.text.is_empty(),
        Value::Sequence(items) => !items.is_empty(),
        Value::Mapping(entries) => !entries.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{Source, parse_documents};

    #[test]
    fn tells_what_changes_objects_from_what_does_not() {
        for (path, text, expected) in [
            ("kustomization.yaml", "resources: [p.yaml]", &[][..]),
            (
                "kustomization.yaml",
                "resources: [p.yaml]\npatches: []\nnamespace: x\ncommonLabels: {a: b}",
                &[],
            ),
            (
                "kustomization.yml",
                "patches: [{path: a.yaml}]\nnamePrefix: x-",
                &["patches", "namePrefix"],
            ),
            (
                "k.yaml",
                "kind: Kustomization\nreplacements: [{path: r.yaml}]",
                &["replacements"],
            ),
            (
                "k.yaml",
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ntransformers: [t.yaml]",
                &["transformers"],
            ),
            (
                "kustomization.yaml",
                "images: [{name: a, newTag: b}]",
                &["images"],
            ),
            (
                "kustomization.yaml",
                "inventedField: {a: b}",
                &["inventedField"],
            ),
            (
                "f.yaml",
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n\
                 spec: {path: ./a, interval: 5m, patches: [{patch: x}]}",
                &["patches"],
            ),
            (
                "f.yaml",
                "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nspec: {path: ./a}",
                &[],
            ),
            ("p.yaml", "kind: Namespace\npatches: [{path: a}]", &[]),
        ] {
            let source = Source {
                path: path.into(),
                text: text.to_owned(),
            };
            let documents = parse_documents(&source).unwrap();
            assert_eq!(changes(&Field::root(&documents[0])), expected, "{text}");
        }
    }
}
