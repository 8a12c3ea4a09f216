//! What a document is.

use super::{
    cluster_image_policy, containers_policy, is_in_kustomization_file, kyverno,
    kyverno::image_validating_policy, text_under, trust_root,
};
use crate::config::reader::{Field, Reader};
use crate::config::yaml::{Node, Value};

/// What a document is, by its `apiVersion` and `kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// containers' `policy.json`.
    ContainersPolicy,
    /// policy-controller's `ClusterImagePolicy`.
    ClusterImagePolicy,
    /// policy-controller's `TrustRoot`.
    TrustRoot,
    /// Kyverno's `ClusterPolicy` or `Policy`.
    KyvernoPolicy,
    /// Kyverno's `ImageValidatingPolicy` in either of its scopes.
    ImageValidatingPolicy,
    /// Kyverno's `PolicyException`, which lets some resources of a cluster through.
    Exception,
    /// Another object of Kubernetes, or a file of kustomize. It says nothing about who must have signed an image.
    Irrelevant,
    /// Nothing that is known here, or a policy about images in a form that is not.
    Unknown,
}

/// The policies about images, whatever project they belong to: passing over one would leave out what its author demands.
const POLICIES_ABOUT_IMAGES: [&str; 4] = [
    "ClusterImagePolicy",
    "ImagePolicy",
    "ImageValidatingPolicy",
    "NamespacedImageValidatingPolicy",
];

/// The API groups whose policies are read, the older names among them.
const GROUPS: [&str; 4] = [
    "kyverno.io",
    "policies.kyverno.io",
    "policy.sigstore.dev",
    "cosigned.sigstore.dev",
];

/// The kinds of these groups that demand no signature. A misspelt or new kind is not among them, so it is reported.
const ABOUT_NO_IMAGES: [&str; 13] = [
    "ValidatingPolicy",
    "NamespacedValidatingPolicy",
    "MutatingPolicy",
    "NamespacedMutatingPolicy",
    "GeneratingPolicy",
    "NamespacedGeneratingPolicy",
    "DeletingPolicy",
    "NamespacedDeletingPolicy",
    "CleanupPolicy",
    "ClusterCleanupPolicy",
    "GlobalContextEntry",
    "PolicyException",
    "UpdateRequest",
];

/// The API groups of engines that verify signatures and that are not read.
const OTHER_ENGINES: [&str; 3] = [
    "policies.kubewarden.io",
    "config.ratify.deislabs.io",
    "config.ratify.dev",
];

/// Returns true for a kind such as `ImageVerificationPolicy`, whatever project it belongs to.
fn names_images(kind: &str) -> bool {
    kind.contains("Image") && kind.contains("Polic")
}

impl Kind {
    pub(super) fn of(document: &Field<'_>) -> Self {
        if containers_policy::is_one(document) {
            return Self::ContainersPolicy;
        }
        let kind = text_under(document, "kind").unwrap_or_default();
        let version = text_under(document, "apiVersion").unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match kind {
            cluster_image_policy::KIND if cluster_image_policy::VERSIONS.contains(&version) => {
                Self::ClusterImagePolicy
            }
            trust_root::KIND if trust_root::VERSIONS.contains(&version) => Self::TrustRoot,
            "ClusterPolicy" | "Policy" if kyverno::VERSIONS.contains(&version) => {
                Self::KyvernoPolicy
            }
            kind if image_validating_policy::KINDS.contains(&kind)
                && image_validating_policy::VERSIONS.contains(&version) =>
            {
                Self::ImageValidatingPolicy
            }
            kind if POLICIES_ABOUT_IMAGES.contains(&kind) => Self::Unknown,
            "ClusterPolicy" | "Policy" | trust_root::KIND if GROUPS.contains(&group) => {
                Self::Unknown
            }
            "PolicyException" if GROUPS.contains(&group) => Self::Exception,
            "" if is_in_kustomization_file(document.node) => Self::Irrelevant,
            "" => Self::Unknown,
            "Kustomization" => Self::Irrelevant,
            _ if version.is_empty() => Self::Unknown,
            kind if GROUPS.contains(&group) && !ABOUT_NO_IMAGES.contains(&kind) => Self::Unknown,
            kind if OTHER_ENGINES.contains(&group) || names_images(kind) => Self::Unknown,
            _ => Self::Irrelevant,
        }
    }

    /// Returns true if a policy, or what policies name, comes of it. What is not known counts, because it is reported.
    pub(super) fn is_of_use(self) -> bool {
        match self {
            Self::ContainersPolicy
            | Self::ClusterImagePolicy
            | Self::TrustRoot
            | Self::KyvernoPolicy
            | Self::ImageValidatingPolicy
            | Self::Unknown => true,
            Self::Exception | Self::Irrelevant => false,
        }
    }
}

/// The documents of a file. A list (`kubectl get … -o yaml`) stands for its items.
pub(super) fn flatten<'n>(nodes: &'n [Node], reader: &mut Reader) -> Vec<Field<'n>> {
    let mut documents = Vec::new();
    for node in nodes {
        add(Field::root(node), &mut documents, reader);
    }
    documents
}

/// The keys of a list.
const LIST_KEYS: [&str; 4] = ["apiVersion", "kind", "metadata", "items"];

/// How deep the parser lets documents nest is how deep this recurses.
fn add<'n>(document: Field<'n>, documents: &mut Vec<Field<'n>>, reader: &mut Reader) {
    if !is_list(&document) {
        let policies = policies_within(&document);
        if policies.is_empty() {
            documents.push(document);
        }
        for policy in policies {
            add(policy, documents, reader);
        }
        return;
    }
    let section = document.section(&LIST_KEYS, reader);
    let help = "write the objects under `items`";
    let items = section.required("items", help, reader);
    for item in items.map(|it| it.items(reader)).unwrap_or_default() {
        add(item, documents, reader);
    }
}

/// `List`, or what the API of a group of policies answers, such as `ClusterPolicyList`.
fn is_list(document: &Field<'_>) -> bool {
    let kind = text_under(document, "kind").unwrap_or_default();
    let version = text_under(document, "apiVersion").unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    kind == "List" && version == "v1" || kind.ends_with("List") && GROUPS.contains(&group)
}

/// The policies among the `items` of an object that is no list of policies by its kind, such as a `PodList`.
fn policies_within<'n>(document: &Field<'n>) -> Vec<Field<'n>> {
    let Value::Mapping(entries) = &document.node.value else {
        return Vec::new();
    };
    if Kind::of(document) != Kind::Irrelevant {
        return Vec::new();
    }
    let items = entries.iter().find(|(key, _)| key.name == "items");
    let Some(Value::Sequence(items)) = items.map(|(_, node)| &node.value) else {
        return Vec::new();
    };
    let separator = if document.key.is_empty() { "" } else { "." };
    let items = items.iter().enumerate().map(|(index, node)| Field {
        node,
        key: format!("{}{separator}items[{index}]", document.key),
    });
    items.filter(is_policy).collect()
}

/// Returns true if an object is a policy, or a list with one. An object without a kind is none: in a list of one kind
/// items have none.
fn is_policy(item: &Field<'_>) -> bool {
    let has_kind = text_under(item, "kind").is_some_and(|kind| !kind.is_empty());
    has_kind && Kind::of(item) != Kind::Irrelevant
        || is_list(item)
        || !policies_within(item).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::{Source, parse_documents};

    fn kind(path: &str, text: &str) -> Kind {
        let source = Source {
            path: path.into(),
            text: text.to_owned(),
        };
        let documents = parse_documents(&source).unwrap();
        Kind::of(&Field::root(&documents[0]))
    }

    #[test]
    fn tells_policies_about_images_from_other_objects() {
        for (version, name, expected) in [
            ("kyverno.io/v1", "ClusterPolicy", Kind::KyvernoPolicy),
            ("kyverno.io/v2beta1", "Policy", Kind::KyvernoPolicy),
            (
                "policies.kyverno.io/v1beta1",
                "NamespacedImageValidatingPolicy",
                Kind::ImageValidatingPolicy,
            ),
            (
                "policy.sigstore.dev/v1alpha1",
                "ClusterImagePolicy",
                Kind::ClusterImagePolicy,
            ),
            ("policy.sigstore.dev/v1alpha1", "TrustRoot", Kind::TrustRoot),
            ("kyverno.io/v2", "PolicyException", Kind::Exception),
            // Objects beside policies.
            ("v1", "ConfigMap", Kind::Irrelevant),
            ("v1", "ServiceAccount", Kind::Irrelevant),
            ("rbac.authorization.k8s.io/v1", "Role", Kind::Irrelevant),
            (
                "policies.kyverno.io/v1",
                "ValidatingPolicy",
                Kind::Irrelevant,
            ),
            ("kyverno.io/v2", "ClusterCleanupPolicy", Kind::Irrelevant),
            // Policies of other projects that share a kind with Kyverno and say nothing about signatures.
            ("nvidia.com/v1", "ClusterPolicy", Kind::Irrelevant),
            (
                "policy.open-cluster-management.io/v1",
                "Policy",
                Kind::Irrelevant,
            ),
            // Passing over these would leave out what they demand.
            ("kyverno.io/v3", "ClusterPolicy", Kind::Unknown),
            (
                "policies.kyverno.io/v9",
                "ImageValidatingPolicy",
                Kind::Unknown,
            ),
            (
                "cosigned.sigstore.dev/v1alpha1",
                "ClusterImagePolicy",
                Kind::Unknown,
            ),
            (
                "config.openshift.io/v1",
                "ClusterImagePolicy",
                Kind::Unknown,
            ),
            ("config.openshift.io/v1", "ImagePolicy", Kind::Unknown),
            ("policy.sigstore.dev/v2", "TrustRoot", Kind::Unknown),
        ] {
            let text = format!("apiVersion: {version}\nkind: {name}\n");
            assert_eq!(kind("p.yaml", &text), expected, "{version} {name}");
        }
        assert_eq!(kind("p.yaml", "kind: Kustomization"), Kind::Irrelevant);
        assert_eq!(kind("p.yaml", "kind: Namespace"), Kind::Unknown);
        assert_eq!(kind("p.yaml", "resources: [a.yaml]"), Kind::Unknown);
        assert_eq!(
            kind("a/kustomization.yaml", "resources: [a.yaml]"),
            Kind::Irrelevant
        );
    }

    #[test]
    fn policy_of_an_unknown_kind_is_not_passed_over() {
        for (version, name) in [
            ("policies.kyverno.io/v1alpha1", "ImageVerificationPolicy"),
            ("policy.sigstore.dev/v1beta1", "clusterimagepolicy"),
            ("kyverno.io/v1", "ClusterPolicys"),
            ("policies.kubewarden.io/v1", "ClusterAdmissionPolicy"),
            ("config.ratify.deislabs.io/v1beta1", "Verifier"),
            ("example.com/v1", "ImagePolicyCheck"),
        ] {
            let text = format!("apiVersion: {version}\nkind: {name}\n");
            assert_eq!(kind("p.yaml", &text), Kind::Unknown, "{version} {name}");
        }
    }
}
