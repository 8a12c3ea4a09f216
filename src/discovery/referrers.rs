//! The referrers API with its pages, and the referrers tag of registries without it (distribution specification v1.1,
//! "Listing Referrers" and "Referrers Tag Schema").

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::{Discovery, Gathered, Request};
use crate::oci::{Descriptor, Manifest, Reference, RepositoryName, Tag, media_type};
use crate::signature::Source;
use crate::upstream::{self, Purpose};

/// Referrers that are opened at the same time.
const CONCURRENT_REFERRERS: usize = 8;

impl Discovery {
    pub(super) async fn referrers_api(
        &self,
        repository: &RepositoryName,
        request: &Request,
    ) -> Gathered {
        let mut listed = Vec::new();
        let mut next: Option<String> = None;
        for _page in 0..self.limits.list_pages_max {
            let page = self
                .upstream
                .referrers(
                    repository,
                    &request.digest,
                    next.as_deref(),
                    request.deadline,
                )
                .await;
            let page = match page {
                Ok(page) => page,
                // The endpoint is not there: the specification sends us to the tag, which is asked anyway.
                Err(upstream::Error::Unsupported { .. } | upstream::Error::NotFound { .. })
                    if next.is_none() =>
                {
                    return Gathered::default();
                }
                Err(error) => return Gathered::from_error(&error),
            };
            let Ok(Manifest::Index(index)) = Manifest::parse(&page.bytes, media_type::OCI_INDEX)
            else {
                // Some registries answer every unknown path with 200 (sigstore-js#1187).
                return Gathered::default();
            };
            listed.extend(index.manifests);
            if listed.len() > self.limits.referrers_listed_max {
                return self.too_many_listed(listed.len());
            }
            next = page.next;
            if next.is_none() {
                return self
                    .open_all(
                        repository,
                        listed,
                        Source::Referrers,
                        Purpose::Referrers,
                        request.deadline,
                    )
                    .await;
            }
        }
        Gathered::limited(format!(
            "the referrers have more than {} pages",
            self.limits.list_pages_max
        ))
    }

    pub(super) async fn referrers_tag(
        &self,
        repository: &RepositoryName,
        request: &Request,
    ) -> Gathered {
        let Ok(tag) = request.digest.to_tag_prefix().parse::<Tag>() else {
            return Gathered::default();
        };
        let fetched = self
            .upstream
            .manifest(
                repository,
                &Reference::Tag(tag),
                Purpose::ReferrersTag,
                request.deadline,
            )
            .await;
        let manifest = match fetched {
            Ok(manifest) => manifest,
            Err(error) => return Gathered::from_error(&error),
        };
        match Manifest::parse(&manifest.bytes, &manifest.content_type) {
            Ok(Manifest::Index(index))
                if index.manifests.len() > self.limits.referrers_listed_max =>
            {
                self.too_many_listed(index.manifests.len())
            }
            Ok(Manifest::Index(index)) => {
                self.open_all(
                    repository,
                    index.manifests,
                    Source::ReferrersTag,
                    Purpose::ReferrersTag,
                    request.deadline,
                )
                .await
            }
            Ok(Manifest::Image(_)) => {
                // Some tools put the one artifact itself under the tag.
                self.open(
                    repository,
                    manifest,
                    Source::ReferrersTag,
                    Purpose::ReferrersTag,
                    request.deadline,
                )
                .await
            }
            Err(_not_a_manifest) => Gathered::default(),
        }
    }

    fn too_many_listed(&self, listed: usize) -> Gathered {
        Gathered::limited(format!(
            "{listed} referrers are listed, more than {}",
            self.limits.referrers_listed_max
        ))
    }

    /// Opens what may be a signature, newest (last) first. Which it is, is seen by opening it: registries and tools
    /// fill a descriptor's `artifactType` with the artifact's type, its config's type, nothing, or the empty type
    /// (cosign#4641, kyverno#16664).
    async fn open_all(
        &self,
        repository: &RepositoryName,
        listed: Vec<Descriptor>,
        source: Source,
        purpose: Purpose,
        deadline: Instant,
    ) -> Gathered {
        let mut worth_opening: Vec<_> = listed.into_iter().filter(may_be_signature).collect();
        worth_opening.reverse();
        let mut gathered = Gathered::default();
        if worth_opening.len() > self.limits.referrers_opened_max {
            gathered.limit_exceeded = Some(format!(
                "{} referrers may be signatures, more than {}",
                worth_opening.len(),
                self.limits.referrers_opened_max
            ));
            worth_opening.truncate(self.limits.referrers_opened_max);
        }
        let opening: Vec<_> = worth_opening
            .iter()
            .map(|descriptor| {
                self.open_one(repository, descriptor, source, purpose, deadline)
                    .boxed()
            })
            .collect();
        let mut opened = stream::iter(opening).buffered(CONCURRENT_REFERRERS);
        while let Some(one) = opened.next().await {
            gathered.absorb(one);
        }
        gathered
    }

    async fn open_one(
        &self,
        repository: &RepositoryName,
        descriptor: &Descriptor,
        source: Source,
        purpose: Purpose,
        deadline: Instant,
    ) -> Gathered {
        let reference = Reference::Digest(descriptor.digest);
        match self
            .upstream
            .manifest(repository, &reference, purpose, deadline)
            .await
        {
            Ok(manifest) => {
                self.open(repository, manifest, source, purpose, deadline)
                    .await
            }
            Err(upstream::Error::TooLarge { limit_bytes, .. }) => Gathered::limited(format!(
                "the referrer {} is larger than {limit_bytes} bytes",
                descriptor.digest
            )),
            // Listed and gone: definite, and no reason to doubt the others.
            Err(error) => Gathered::from_error(&error),
        }
    }
}

/// Types that are certainly something else are not opened; everything unknown is.
fn may_be_signature(descriptor: &Descriptor) -> bool {
    let image = matches!(
        descriptor.media_type.as_str(),
        media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST
    );
    let certainly_other = descriptor
        .artifact_type
        .as_deref()
        .is_some_and(|artifact_type| {
            artifact_type.starts_with("application/vnd.cncf.notary.")
                || artifact_type.starts_with("application/vnd.amazon.soci.")
        });
    image && !certainly_other
}
