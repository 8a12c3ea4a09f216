//! Signature material passes unsigned, so that verifiers behind us work (`design.md` §3.3).
//!
//! It is known by content: every layer parses as simple signing, DSSE, a Sigstore bundle, SPDX or `CycloneDX`. A type or a
//! tag only says where it is worth looking. A runnable image under a signature tag has layers that parse as none of them.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::{Admission, Asked};
use crate::decision_log::Subject;
use crate::manifests::{Document, Error, Origin};
use crate::oci::manifest::Image;
use crate::oci::{Descriptor, Manifest};
use crate::signature;

/// Blobs or manifests looked at together.
const CONCURRENT_LOOKS: usize = 8;

/// What the manifest is, as far as looking for signatures is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// It needs a signature, or an endorsement.
    Ordinary,
    /// It is signature material itself.
    Material,
    /// It does not arrive.
    Absent,
}

impl Admission {
    pub(super) async fn nature(
        &self,
        subject: &Subject,
        asked: &Asked,
        arriving: impl Future<Output = Result<(Arc<Document>, Origin), Arc<Error>>>,
        deadline: Instant,
    ) -> Nature {
        let Ok((document, _origin)) = arriving.await else {
            return Nature::Absent;
        };
        let material = match &document.manifest {
            Manifest::Image(image) => self.is_image_material(subject, image, deadline).await,
            Manifest::Index(index) => {
                let worth_looking = asked.may_be_material
                    || index
                        .manifests
                        .iter()
                        .all(|listed| listed.artifact_type.is_some());
                worth_looking
                    && self
                        .is_index_material(subject, &index.manifests, deadline)
                        .await
            }
        };
        if material {
            Nature::Material
        } else {
            Nature::Ordinary
        }
    }

    async fn is_image_material(&self, subject: &Subject, image: &Image, deadline: Instant) -> bool {
        let limits = &self.inner.limits;
        let within = |layer: &Descriptor| {
            layer.size <= limits.bundle_bytes_max && !is_file_system(&layer.media_type)
        };
        if image.layers.is_empty()
            || image.layers.len() > limits.signature_layers_max
            || !image.layers.iter().all(within)
        {
            return false;
        }
        let looks: Vec<_> = image
            .layers
            .iter()
            .map(|layer| self.is_blob_material(subject, layer, deadline).boxed())
            .collect();
        all(looks).await
    }

    async fn is_blob_material(
        &self,
        subject: &Subject,
        layer: &Descriptor,
        deadline: Instant,
    ) -> bool {
        let stored = self.inner.store.get(&layer.digest, layer.size).await;
        let bytes = match stored {
            Ok(Some(bytes)) => bytes,
            Ok(None) | Err(_) => {
                let fetched = self
                    .inner
                    .discovery
                    .material(&subject.repository, layer, deadline)
                    .await;
                let Ok(bytes) = fetched else { return false };
                bytes
            }
        };
        u64::try_from(bytes.len()) == Ok(layer.size) && signature::is_signature_material(&bytes)
    }

    /// The referrers tag holds an index; it passes if everything it lists is material.
    async fn is_index_material(
        &self,
        subject: &Subject,
        listed: &[Descriptor],
        deadline: Instant,
    ) -> bool {
        if listed.is_empty() || listed.len() > self.inner.limits.referrers_opened_max {
            return false;
        }
        let looks: Vec<_> = listed
            .iter()
            .map(|descriptor| self.is_listed_material(subject, descriptor, deadline))
            .collect();
        all(looks).await
    }

    fn is_listed_material<'a>(
        &'a self,
        subject: &'a Subject,
        descriptor: &'a Descriptor,
        deadline: Instant,
    ) -> BoxFuture<'a, bool> {
        async move {
            let listed = Subject {
                repository: subject.repository.clone(),
                digest: descriptor.digest,
            };
            let Ok((document, _origin)) =
                self.inner.manifests.local_or_fetch(&listed, deadline).await
            else {
                return false;
            };
            match &document.manifest {
                Manifest::Image(image) => self.is_image_material(&listed, image, deadline).await,
                Manifest::Index(_) => false,
            }
        }
        .boxed()
    }
}

async fn all(looks: Vec<BoxFuture<'_, bool>>) -> bool {
    stream::iter(looks)
        .buffer_unordered(CONCURRENT_LOOKS)
        .all(|material| async move { material })
        .await
}

/// Layers that say they are file systems are believed: nobody gains by saying so of a signature.
fn is_file_system(layer_type: &str) -> bool {
    layer_type.starts_with("application/vnd.oci.image.layer.")
        || layer_type.starts_with("application/vnd.docker.image.rootfs.")
}
