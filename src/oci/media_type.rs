//! Media types that have a meaning here.
//!
//! Type and subtype ignore case, and parameters such as `charset` change nothing (RFC 9110 §8.3.1), so types are compared
//! with [`same`].

/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker manifest list, the ancestor of the OCI index.
pub const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The configuration of a runnable image.
pub const OCI_IMAGE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// One layer of a legacy cosign signature: the simple-signing payload.
pub const SIMPLE_SIGNING: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// One layer of a legacy cosign attestation.
pub const DSSE_ENVELOPE: &str = "application/vnd.dsse.envelope.v1+json";
/// The beginning of every Sigstore bundle's media type, in every version and spelling.
const SIGSTORE_BUNDLE_PREFIX: &str = "application/vnd.dev.sigstore.bundle";

/// The types of manifests and indexes.
const MANIFEST_TYPES: [&str; 4] = [
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_MANIFEST,
];

/// Types that registries send when they do not know what they serve (static files, object stores, old proxies).
const GENERIC_TYPES: [&str; 6] = [
    "",
    "application/json",
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
    "text/html",
];

/// The value of `Accept` with which manifests are asked for: everything a runtime understands.
pub const ACCEPT_MANIFEST: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*";

/// Returns the type without its parameters.
#[must_use]
pub fn essence(media_type: &str) -> &str {
    media_type
        .split_once(';')
        .map_or(media_type, |(essence, _parameters)| essence)
        .trim()
}

/// Returns true if both name the same type. Case and parameters are ignored.
#[must_use]
pub fn same(one: &str, other: &str) -> bool {
    essence(one).eq_ignore_ascii_case(essence(other))
}

/// Returns the manifest type that `declared` names, in its usual spelling. `None` if it names none of the four.
#[must_use]
pub fn manifest_type(declared: &str) -> Option<&'static str> {
    MANIFEST_TYPES
        .into_iter()
        .find(|known| same(known, declared))
}

/// Returns true for the type of an image manifest, and false for that of an index.
#[must_use]
pub fn is_image_manifest(media_type: &str) -> bool {
    same(media_type, OCI_MANIFEST) || same(media_type, DOCKER_MANIFEST)
}

/// Returns true if the type does not tell the content.
#[must_use]
pub fn is_generic(media_type: &str) -> bool {
    GENERIC_TYPES
        .iter()
        .any(|generic| same(generic, media_type))
}

/// Returns true for the type of a Sigstore bundle of any version.
#[must_use]
pub fn is_sigstore_bundle(media_type: &str) -> bool {
    starts_with(media_type, SIGSTORE_BUNDLE_PREFIX)
}

/// Returns true if the type starts with `prefix`. Case is ignored.
#[must_use]
pub fn starts_with(media_type: &str, prefix: &str) -> bool {
    media_type
        .trim_start()
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_compared_without_case_and_parameters() {
        for declared in [
            OCI_MANIFEST,
            "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
            "Application/VND.OCI.Image.Manifest.v1+JSON",
            " application/vnd.oci.image.manifest.v1+json ;charset=utf-8;q=1",
        ] {
            assert_eq!(manifest_type(declared), Some(OCI_MANIFEST), "{declared}");
            assert!(is_image_manifest(declared), "{declared}");
        }
        for declared in [
            "",
            ";",
            "application/json",
            "application/vnd.oci.image.manifest.v1",
            "application/vnd.oci.image.manifest.v1+json/",
            "x;application/vnd.oci.image.manifest.v1+json",
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
        ] {
            assert_eq!(manifest_type(declared), None, "{declared}");
        }
        assert!(!is_image_manifest(OCI_INDEX));
        assert!(is_sigstore_bundle(
            "Application/vnd.dev.sigstore.bundle.v0.3+json; a=b"
        ));
        assert!(!is_sigstore_bundle("application/vnd.dev.sigstore"));
        assert!(!is_sigstore_bundle("ä"));
    }

    #[test]
    fn generic_types_say_nothing_of_the_content() {
        for generic in ["", "Text/Plain; charset=utf-8", "application/json"] {
            assert!(is_generic(generic), "{generic}");
        }
        for telling in [OCI_INDEX, SIMPLE_SIGNING, "application/xml"] {
            assert!(!is_generic(telling), "{telling}");
        }
    }
}
