//! Opening one artifact: its manifest is parsed and the blobs of its layers are read, all within limits.

use std::collections::{HashMap, HashSet};

use futures::FutureExt;
use futures::stream::{self, StreamExt};

use super::relevance::Relevance;
use super::{
    Discovery, Failure, FoundArtifact, Gathered, Place, READ_BYTES_MIN, busy, read_manifest,
};
use crate::oci::{Descriptor, Digest, Manifest, media_type};
use crate::signature::{self, Artifact, Blob};
use crate::upstream::{self, FetchedManifest};

/// Blobs of one artifact that are fetched at the same time.
const CONCURRENT_BLOBS: usize = 8;

impl Discovery {
    /// Returns the material of an artifact. A manifest of another shape has none; that is not an error. `listed_as` is the
    /// claim of the list that it was found in; without a list each layer says what it is.
    pub(super) async fn open(
        &self,
        place: Place<'_>,
        manifest: FetchedManifest,
        listed_as: Option<Relevance>,
    ) -> Gathered {
        let (bytes, content_type) = (manifest.bytes.clone(), manifest.content_type.clone());
        let Ok(read) = read_manifest(bytes, content_type, place).await else {
            return busy(place);
        };
        let Ok(Manifest::Image(image)) = read else {
            return Gathered::default();
        };
        if image.layers.len() > self.limits.signature_layers_max {
            return Gathered::limited(format!(
                "{} lists {} signatures, more than {} (`limits.signature_layers_max`)",
                manifest.digest,
                image.layers.len(),
                self.limits.signature_layers_max
            ));
        }
        // What can be no signature by its own manifest is not fetched: an image under a signature tag may be large.
        if !image.layers.iter().any(signature::is_worth_reading) {
            return Gathered::default();
        }
        let (layers, failure) = self.blobs(place, &image.layers, listed_as).await;
        let artifact = Artifact {
            source: place.source,
            digest: manifest.digest,
            layers,
        };
        let artifacts = match failure {
            None => vec![FoundArtifact { manifest, artifact }],
            Some(_) => Vec::new(),
        };
        Gathered {
            artifacts,
            failure,
            ..Gathered::default()
        }
    }

    /// Returns the blobs of all layers. Layers that name the same blob share one request. The newest, which are the last,
    /// are read first among those that can satisfy the policies equally well, so that they get the bytes that are left.
    async fn blobs(
        &self,
        place: Place<'_>,
        layers: &[Descriptor],
        listed_as: Option<Relevance>,
    ) -> (Vec<(Descriptor, Blob)>, Option<Failure>) {
        let relevance = |layer: &Descriptor| listed_as.unwrap_or_else(|| place.wanted.layer(layer));
        let mut known = HashSet::new();
        let newest_first = layers.iter().rev();
        let mut distinct: Vec<_> = newest_first
            .filter(|layer| known.insert(blob_of(layer)))
            .collect();
        distinct.sort_by_key(|layer| relevance(layer));
        let fetches: Vec<_> = distinct
            .iter()
            .map(|layer| self.blob(place, layer, relevance(layer)).boxed())
            .collect();
        let fetched: Vec<_> = stream::iter(fetches)
            .buffered(CONCURRENT_BLOBS)
            .collect()
            .await;
        // Without all of its layers an artifact is no candidate: which layers there are matters too.
        if let Some(Err(error)) = fetched.iter().find(|blob| blob.is_err()) {
            return (Vec::new(), Some(Failure::from(error)));
        }
        let blobs: HashMap<_, _> = distinct
            .iter()
            .zip(fetched)
            .filter_map(|(layer, blob)| Some((blob_of(layer), blob.ok()?)))
            .collect();
        let present = layers.iter().filter_map(|layer| {
            let blob = blobs.get(&blob_of(layer))?;
            Some((layer.clone(), blob.clone()))
        });
        (present.collect(), None)
    }

    async fn blob(
        &self,
        place: Place<'_>,
        layer: &Descriptor,
        relevance: Relevance,
    ) -> Result<Blob, upstream::Error> {
        if !signature::is_worth_reading(layer) {
            return Ok(Blob::OtherType);
        }
        let limit_bytes = if media_type::is_sigstore_bundle(&layer.media_type) {
            self.limits.bundle_bytes_max
        } else {
            self.limits.payload_bytes_max
        };
        if layer.size > limit_bytes || !place.budget.take(layer.size, relevance) {
            return Ok(Blob::TooLarge);
        }
        let fetched = self
            .upstream
            .small_blob(
                place.repository,
                &layer.digest,
                layer.size.max(READ_BYTES_MIN).min(limit_bytes),
                place.purpose,
                place.deadline,
            )
            .await;
        match fetched {
            Ok(bytes) => {
                let read = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                let unannounced = read.saturating_sub(layer.size);
                Ok(if place.budget.take(unannounced, relevance) {
                    Blob::Present(bytes)
                } else {
                    Blob::TooLarge
                })
            }
            Err(upstream::Error::NotFound { .. }) => Ok(Blob::Missing),
            Err(upstream::Error::TooLarge { .. }) => Ok(Blob::TooLarge),
            Err(error) => Err(error),
        }
    }
}

/// Returns what decides which bytes are fetched for a layer, and how many of them.
fn blob_of(layer: &Descriptor) -> (Digest, u64, &str) {
    (layer.digest, layer.size, &layer.media_type)
}
