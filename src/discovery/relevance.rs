//! Orders signature material before it is opened: material that can satisfy the policies comes first.
//!
//! Scanners attach far more attestations to an image than there are signatures. The annotations of a descriptor tell
//! them apart, but they are a claim of the pusher. So they decide about the order only: everything that may be a
//! signature is opened up to the limits, and a refusal is `limit_exceeded` if something was left out.

use std::collections::HashMap;

use crate::oci::annotation::{BUNDLE_PREDICATE_TYPE, LAYER_PREDICATE_TYPE};
use crate::oci::{Descriptor, media_type};

/// The signatures and attestations that could satisfy the policies of an image.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// True if a signature is required.
    pub signatures: bool,
    /// The predicate types that attestations are required of, each once.
    pub predicate_types: Vec<String>,
}

/// The contribution of an artifact to the decision, by its own claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relevance {
    /// It claims to be what a policy requires.
    Wanted,
    /// It claims nothing. Registries and older tools leave annotations out.
    Unsaid,
    /// It claims to be something that no policy requires.
    Other,
}

/// The predicate type of cosign's signatures in bundles.
const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The artifact type of a legacy signature that is attached as a referrer (cosign 2, experimental).
const LEGACY_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

impl Wanted {
    /// Returns the relevance of a referrer.
    pub(super) fn referrer(&self, descriptor: &Descriptor) -> Relevance {
        if let Some(claimed) = descriptor.annotations.get(BUNDLE_PREDICATE_TYPE) {
            return self.claimed(claimed);
        }
        match descriptor.artifact_type.as_deref() {
            Some(said) if media_type::same(said, LEGACY_SIGNATURE) => self.signature(),
            Some(_) if says_it_is_another(descriptor) => Relevance::Other,
            Some(_) | None => Relevance::Unsaid,
        }
    }

    /// Returns the relevance of a layer in a legacy manifest.
    pub(super) fn layer(&self, descriptor: &Descriptor) -> Relevance {
        if media_type::same(&descriptor.media_type, media_type::SIMPLE_SIGNING) {
            return self.signature();
        }
        let claimed = descriptor.annotations.get(LAYER_PREDICATE_TYPE);
        claimed.map_or(Relevance::Unsaid, |claimed| self.claimed(claimed))
    }

    /// Sorts referrers into the order in which they are opened. Lists grow at their end, so the newest comes first. The
    /// wanted types take turns, so that many attestations of one type do not keep another from being opened.
    pub(super) fn in_opening_order(&self, listed: Vec<Descriptor>) -> Vec<Descriptor> {
        let mut before: HashMap<String, usize> = HashMap::new();
        let mut ranked: Vec<_> = listed
            .into_iter()
            .rev()
            .map(|descriptor| {
                let relevance = self.referrer(&descriptor);
                let turn = match (relevance, descriptor.annotations.get(BUNDLE_PREDICATE_TYPE)) {
                    (Relevance::Wanted, claimed) => {
                        let claimed = claimed.map_or(SIGNATURE, |claimed| without_scheme(claimed));
                        let turn = before.entry(claimed.to_owned()).or_default();
                        *turn += 1;
                        *turn
                    }
                    (Relevance::Unsaid | Relevance::Other, _) => 0,
                };
                ((relevance, turn), descriptor)
            })
            .collect();
        ranked.sort_by_key(|(rank, _)| *rank);
        ranked
            .into_iter()
            .map(|(_, descriptor)| descriptor)
            .collect()
    }

    fn claimed(&self, predicate_type: &str) -> Relevance {
        let same = |wanted: &String| without_scheme(wanted) == without_scheme(predicate_type);
        if predicate_type == SIGNATURE {
            self.signature()
        } else if self.predicate_types.iter().any(same) {
            Relevance::Wanted
        } else {
            Relevance::Other
        }
    }

    fn signature(&self) -> Relevance {
        if self.signatures {
            Relevance::Wanted
        } else {
            Relevance::Other
        }
    }
}

/// Old versions of cosign wrote some predicate types without a scheme.
fn without_scheme(predicate_type: &str) -> &str {
    predicate_type
        .strip_prefix("https://")
        .unwrap_or(predicate_type)
}

/// Returns true if a descriptor may be that of a signature. Types that are certainly something else are not opened.
/// Everything unknown is opened, because registries and tools fill `artifactType` with the artifact's type, its config's type, nothing, or
/// the empty type (cosign#4641, kyverno#16664).
pub(super) fn may_be_signature(descriptor: &Descriptor) -> bool {
    let media_type = descriptor.media_type.as_str();
    let is_manifest =
        media_type::is_image_manifest(media_type) || media_type::is_generic(media_type);
    let certainly_other = descriptor
        .artifact_type
        .as_deref()
        .is_some_and(|artifact_type| {
            media_type::starts_with(artifact_type, "application/vnd.cncf.notary.")
                || media_type::starts_with(artifact_type, "application/vnd.amazon.soci.")
        });
    is_manifest && !certainly_other
}

/// Returns true if it is listed as something else than a signature or attestation. Types that registries write when they
/// know no better one do not count.
pub(super) fn says_it_is_another(descriptor: &Descriptor) -> bool {
    const UNSAID: [&str; 3] = [
        "",
        "application/vnd.oci.empty.v1+json",
        media_type::OCI_IMAGE_CONFIG,
    ];
    descriptor.artifact_type.as_deref().is_some_and(|said| {
        let folded = said.to_ascii_lowercase();
        let is_signature = ["sigstore", "cosign", "dsse", "in-toto"];
        !UNSAID.iter().any(|unsaid| media_type::same(unsaid, said))
            && !is_signature.iter().any(|word| folded.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    const SCAN: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";
    const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

    fn listed(name: &str, artifact_type: Option<&str>, claimed: Option<&str>) -> Descriptor {
        let claimed = claimed.map(|it| (BUNDLE_PREDICATE_TYPE.to_owned(), it.to_owned()));
        Descriptor {
            media_type: media_type::OCI_MANIFEST.to_owned(),
            digest: Digest::sha256(name.as_bytes()),
            size: 1,
            artifact_type: artifact_type.map(str::to_owned),
            annotations: claimed.into_iter().collect(),
        }
    }

    fn opened(wanted: &Wanted, listed: &[&Descriptor]) -> Vec<Digest> {
        let listed = listed.iter().map(|it| (*it).clone()).collect();
        let ordered = wanted.in_opening_order(listed);
        ordered.into_iter().map(|it| it.digest).collect()
    }

    #[test]
    fn what_a_policy_requires_is_opened_before_what_it_does_not() {
        let signature = listed("signature", Some(BUNDLE), Some(SIGNATURE));
        let scan = listed("scan", Some(BUNDLE), Some(SCAN));
        let newer_scan = listed("newer scan", Some(BUNDLE), Some(SCAN));
        let unsaid = listed("unsaid", Some(BUNDLE), None);
        let sbom = listed("sbom", Some("application/spdx+json"), None);
        let all = [&signature, &unsaid, &scan, &sbom, &newer_scan];
        let digests = |order: &[&Descriptor]| order.iter().map(|it| it.digest).collect::<Vec<_>>();
        let wanted = Wanted {
            signatures: true,
            predicate_types: Vec::new(),
        };
        assert_eq!(
            opened(&wanted, &all),
            digests(&[&signature, &unsaid, &newer_scan, &sbom, &scan])
        );
        let wanted = Wanted {
            signatures: false,
            predicate_types: vec![SCAN.trim_start_matches("https://").to_owned()],
        };
        assert_eq!(
            opened(&wanted, &all),
            digests(&[&newer_scan, &scan, &unsaid, &sbom, &signature])
        );
        // Both types take turns.
        let wanted = Wanted {
            signatures: true,
            predicate_types: vec![SCAN.to_owned(), PROVENANCE.to_owned()],
        };
        assert_eq!(
            opened(&wanted, &all),
            digests(&[&newer_scan, &signature, &scan, &unsaid, &sbom])
        );
    }

    #[test]
    fn a_claim_never_keeps_a_manifest_from_being_opened() {
        for (artifact_type, claimed) in [
            (Some(BUNDLE), Some(PROVENANCE)),
            (Some("application/spdx+json"), None),
            (None, Some("nonsense")),
            (None, None),
        ] {
            let descriptor = listed("any", artifact_type, claimed);
            assert!(may_be_signature(&descriptor), "{descriptor:?}");
            let ordered = Wanted::default().in_opening_order(vec![descriptor.clone()]);
            assert_eq!(ordered, [descriptor]);
        }
        let typed = |media_type: &str| Descriptor {
            media_type: media_type.to_owned(),
            ..listed("any", None, None)
        };
        for opened in [
            "Application/vnd.oci.image.manifest.v1+json; charset=utf-8",
            "application/json",
            "",
        ] {
            assert!(may_be_signature(&typed(opened)), "{opened}");
        }
        assert!(!may_be_signature(&typed(media_type::OCI_INDEX)));
        let notary = Some("Application/vnd.cncf.notary.signature");
        assert!(!may_be_signature(&listed("any", notary, None)));
    }

    #[test]
    fn layers_of_a_legacy_manifest_say_what_they_are() {
        let layer = |media_type: &str, claimed: Option<&str>| {
            let claimed = claimed.map(|it| (LAYER_PREDICATE_TYPE.to_owned(), it.to_owned()));
            Descriptor {
                media_type: media_type.to_owned(),
                annotations: claimed.into_iter().collect(),
                ..listed("layer", None, None)
            }
        };
        let wanted = Wanted {
            signatures: true,
            predicate_types: vec![SCAN.to_owned()],
        };
        for (media_type, claimed, expected) in [
            (media_type::SIMPLE_SIGNING, None, Relevance::Wanted),
            (media_type::DSSE_ENVELOPE, Some(SCAN), Relevance::Wanted),
            (
                media_type::DSSE_ENVELOPE,
                Some(PROVENANCE),
                Relevance::Other,
            ),
            (media_type::DSSE_ENVELOPE, None, Relevance::Unsaid),
        ] {
            assert_eq!(wanted.layer(&layer(media_type, claimed)), expected);
        }
        let signature = layer(media_type::SIMPLE_SIGNING, None);
        assert_eq!(Wanted::default().layer(&signature), Relevance::Other);
    }

    #[test]
    fn a_missing_referrer_counts_unless_it_was_listed_as_something_else() {
        let says = |said: Option<&str>| says_it_is_another(&listed("gone", said, None));
        for said in [
            None,
            Some(""),
            Some("application/vnd.oci.empty.v1+json"),
            Some(media_type::OCI_IMAGE_CONFIG),
            Some("application/vnd.dev.sigstore.bundle.v0.3+json"),
            Some("application/vnd.dev.cosign.artifact.sig.v1+json"),
            Some(media_type::DSSE_ENVELOPE),
            Some("application/vnd.in-toto+json"),
            Some("Application/vnd.In-Toto+json"),
        ] {
            assert!(!says(said), "{said:?}");
        }
        for said in [
            "application/spdx+json",
            "application/vnd.cncf.helm.config.v1+json",
        ] {
            assert!(says(Some(said)), "{said}");
        }
    }
}
