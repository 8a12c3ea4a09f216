//! Legacy cosign tags: `sha256-<hex>.sig`, and `.att` for attestations.

use super::{Discovery, Gathered, Request};
use crate::oci::{Reference, RepositoryName, Tag};
use crate::signature::Source;
use crate::upstream::Purpose;

impl Discovery {
    pub(super) async fn cosign_tags(
        &self,
        repository: &RepositoryName,
        request: &Request,
    ) -> Gathered {
        let signatures = self.cosign_tag(repository, ".sig", request);
        if !request.attestations {
            return signatures.await;
        }
        let (mut gathered, attestations) =
            tokio::join!(signatures, self.cosign_tag(repository, ".att", request));
        gathered.absorb(attestations);
        gathered
    }

    /// The tag is got once and its bytes are what is judged: registries that are not consistent across regions have
    /// answered a later request by digest with 404.
    async fn cosign_tag(
        &self,
        repository: &RepositoryName,
        suffix: &str,
        request: &Request,
    ) -> Gathered {
        let Ok(tag) = format!("{}{suffix}", request.digest.to_tag_prefix()).parse::<Tag>() else {
            return Gathered::default();
        };
        let fetched = self
            .upstream
            .manifest(
                repository,
                &Reference::Tag(tag),
                Purpose::CosignTag,
                request.deadline,
            )
            .await;
        match fetched {
            Ok(manifest) => {
                self.open(
                    repository,
                    manifest,
                    Source::CosignTag,
                    Purpose::CosignTag,
                    request.deadline,
                )
                .await
            }
            Err(error) => Gathered::from_error(&error),
        }
    }
}
