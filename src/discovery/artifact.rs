//! Opening one artifact: its manifest is parsed and the blobs of its layers are read, all within limits.

use futures::FutureExt;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::{Discovery, Failure, FoundArtifact, Gathered};
use crate::oci::{Descriptor, Manifest, RepositoryName, media_type};
use crate::signature::{self, Artifact, Blob, Source};
use crate::upstream::{self, FetchedManifest, Purpose};

/// Blobs of one artifact that are fetched at the same time.
const CONCURRENT_BLOBS: usize = 8;

impl Discovery {
    /// The material of an artifact. A manifest of another shape has none; that is not an error.
    pub(super) async fn open(
        &self,
        repository: &RepositoryName,
        manifest: FetchedManifest,
        source: Source,
        purpose: Purpose,
        deadline: Instant,
    ) -> Gathered {
        let Ok(Manifest::Image(image)) = Manifest::parse(&manifest.bytes, &manifest.content_type)
        else {
            return Gathered::default();
        };
        if image.layers.len() > self.limits.signature_layers_max {
            return Gathered::limited(format!(
                "{} lists {} signatures, more than {}",
                manifest.digest,
                image.layers.len(),
                self.limits.signature_layers_max
            ));
        }
        // What can be no signature by its own manifest is not fetched: an image under a signature tag may be large.
        if !image.layers.iter().any(signature::is_worth_reading) {
            return Gathered::default();
        }
        let (layers, failure) = self
            .blobs(repository, &image.layers, purpose, deadline)
            .await;
        let artifact = Artifact {
            source,
            digest: manifest.digest,
            layers,
        };
        let artifacts = match failure {
            None => vec![FoundArtifact { manifest, artifact }],
            Some(_) => Vec::new(),
        };
        Gathered {
            artifacts,
            limit_exceeded: None,
            failure,
        }
    }

    async fn blobs(
        &self,
        repository: &RepositoryName,
        layers: &[Descriptor],
        purpose: Purpose,
        deadline: Instant,
    ) -> (Vec<(Descriptor, Blob)>, Option<Failure>) {
        let fetches: Vec<_> = layers
            .iter()
            .map(|layer| {
                async move {
                    let blob = self.blob(repository, layer, purpose, deadline).await;
                    (layer.clone(), blob)
                }
                .boxed()
            })
            .collect();
        let fetched: Vec<_> = stream::iter(fetches)
            .buffered(CONCURRENT_BLOBS)
            .collect()
            .await;
        // Without all of its layers an artifact is no candidate: which layers there are matters too.
        let mut failure = None;
        let mut present = Vec::with_capacity(fetched.len());
        for (layer, blob) in fetched {
            match blob {
                Ok(blob) => present.push((layer, blob)),
                Err(error) => {
                    failure.get_or_insert_with(|| Failure::from(&error));
                }
            }
        }
        (present, failure)
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        layer: &Descriptor,
        purpose: Purpose,
        deadline: Instant,
    ) -> Result<Blob, upstream::Error> {
        if !signature::is_worth_reading(layer) {
            return Ok(Blob::OtherType);
        }
        let limit_bytes = if layer
            .media_type
            .starts_with(media_type::SIGSTORE_BUNDLE_PREFIX)
        {
            self.limits.bundle_bytes_max
        } else {
            self.limits.payload_bytes_max
        };
        if layer.size > limit_bytes {
            return Ok(Blob::TooLarge);
        }
        // No more is read than the descriptor says: what is larger differs from its descriptor anyway.
        match self
            .upstream
            .small_blob(repository, &layer.digest, layer.size, purpose, deadline)
            .await
        {
            Ok(bytes) => Ok(Blob::Present(bytes)),
            Err(upstream::Error::NotFound { .. }) => Ok(Blob::Missing),
            Err(upstream::Error::TooLarge { .. }) => Ok(Blob::TooLarge),
            Err(error) => Err(error),
        }
    }
}
