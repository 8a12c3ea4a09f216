//! Legacy cosign tags: `sha256-<hex>.sig`, and `.att` for attestations.

use super::{Discovery, Gathered, Place, Request};
use crate::oci::{Reference, Tag};

impl Discovery {
    pub(super) async fn cosign_tags(&self, place: Place<'_>, request: &Request) -> Gathered {
        let signatures = self.cosign_tag(place, ".sig", request);
        if !request.attestations {
            return signatures.await;
        }
        let (mut gathered, attestations) =
            tokio::join!(signatures, self.cosign_tag(place, ".att", request));
        gathered.absorb(attestations);
        gathered
    }

    /// The tag is got once and its bytes are what is judged: registries that are not consistent across regions have
    /// answered a later request by digest with 404.
    async fn cosign_tag(&self, place: Place<'_>, suffix: &str, request: &Request) -> Gathered {
        let Ok(tag) = format!("{}{suffix}", request.digest.to_tag_prefix()).parse::<Tag>() else {
            return Gathered::default();
        };
        let fetched = self
            .upstream
            .manifest(
                place.repository,
                &Reference::Tag(tag),
                place.purpose,
                place.deadline,
            )
            .await;
        match fetched {
            Ok(manifest) => self.open(place, manifest, None).await,
            Err(error) => Gathered::from_error(&error),
        }
    }
}
