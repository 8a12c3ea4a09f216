//! Signature material passes unsigned, so that verifiers behind us work.
//!
//! It is known by content: every layer parses as simple signing, DSSE, a Sigstore bundle, SPDX or `CycloneDX`, and the
//! config describes nothing that could run. Types and tags only say where it is worth looking. A runnable image under
//! a signature tag has layers that parse as none of them.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::{Admission, Reliance};
use crate::compute;
use crate::decision_log::Subject;
use crate::manifests::{Document, Error, Origin};
use crate::oci::manifest::Image;
use crate::oci::{Descriptor, Manifest, media_type};
use crate::signature;
use crate::upstream;

/// Blobs or manifests looked at together.
const CONCURRENT_LOOKS: usize = 8;
/// The most bytes of a config of signature material: cosign's has a few hundred per signature.
const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// What a manifest is, as far as the need of a signature is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// It needs a signature, or an endorsement.
    Ordinary,
    /// It is signature material itself.
    Material,
    /// Nobody has looked yet.
    Unchecked,
    /// What it refers to could not be read now.
    Unknown,
    /// It does not arrive.
    Absent,
}

impl Admission {
    /// The nature of an arriving image; an index is not looked into here, since that would cost requests for images
    /// that are signed.
    pub(super) async fn image_nature(
        &self,
        subject: &Subject,
        arriving: impl Future<Output = Result<(Arc<Document>, Origin), Arc<Error>>>,
        deadline: Instant,
    ) -> Nature {
        let Ok((document, _origin)) = arriving.await else {
            return Nature::Absent;
        };
        match &document.manifest {
            Manifest::Image(image) => self.nature_of_image(subject, image, deadline).await,
            Manifest::Index(_) => Nature::Unchecked,
        }
    }

    /// The nature of a manifest, looked into if nobody has.
    pub(super) async fn nature(
        &self,
        subject: &Subject,
        document: &Document,
        known: Nature,
        deadline: Instant,
    ) -> Nature {
        match (known, &document.manifest) {
            (Nature::Unchecked, Manifest::Image(image)) => {
                self.nature_of_image(subject, image, deadline).await
            }
            (Nature::Unchecked, Manifest::Index(index)) => {
                let looking = self.nature_of_index(subject, &index.manifests, deadline);
                self.or_by_platforms(looking.await, document)
            }
            (known, _) => known,
        }
    }

    /// Whether an image is worth looking into.
    pub(super) fn may_be_material(&self, image: &Image) -> bool {
        let limits = &self.inner.limits;
        let within = |layer: &Descriptor| {
            layer.size <= limits.bundle_bytes_max && !is_file_system(&layer.media_type)
        };
        let bytes = image
            .layers
            .iter()
            .fold(0_u64, |bytes, layer| bytes.saturating_add(layer.size));
        !image.layers.is_empty()
            && image.layers.len() <= limits.signature_layers_max
            && image.config.size <= CONFIG_BYTES_MAX
            && bytes <= limits.discovery_bytes_max
            && image.layers.iter().all(within)
    }

    async fn nature_of_image(&self, subject: &Subject, image: &Image, deadline: Instant) -> Nature {
        if !self.may_be_material(image) {
            return Nature::Ordinary;
        }
        let config = self
            .nature_of_blob(subject, &image.config, is_bare_config, deadline)
            .boxed();
        let layers = image.layers.iter().map(|layer| {
            self.nature_of_blob(subject, layer, signature::is_signature_material, deadline)
                .boxed()
        });
        all(std::iter::once(config).chain(layers).collect()).await
    }

    async fn nature_of_blob(
        &self,
        subject: &Subject,
        descriptor: &Descriptor,
        is_material: fn(&[u8]) -> bool,
        deadline: Instant,
    ) -> Nature {
        let bytes: Bytes = match self.confirmed_bytes(subject, descriptor).await {
            Ok(Some(bytes)) => bytes,
            Err(Error::Busy(_)) => return Nature::Unknown,
            Ok(None) | Err(_) => {
                let fetched = self
                    .inner
                    .discovery
                    .material(&subject.repository, descriptor, deadline)
                    .await;
                match fetched {
                    Ok(bytes) => bytes,
                    Err(upstream::Error::NotFound { .. } | upstream::Error::TooLarge { .. }) => {
                        return Nature::Ordinary;
                    }
                    Err(_) => return Nature::Unknown,
                }
            }
        };
        let size = bytes.len();
        if u64::try_from(size) != Ok(descriptor.size) {
            return Nature::Ordinary;
        }
        match compute::run(size, deadline, move || is_material(&bytes)).await {
            Ok(true) => Nature::Material,
            Ok(false) => Nature::Ordinary,
            Err(_full) => Nature::Unknown,
        }
    }

    /// Reads a blob from the store if this repository's own upstream has shown that it holds the blob. The author of a
    /// manifest chooses the digests in it, so the answer must not show content that another repository brought here.
    async fn confirmed_bytes(
        &self,
        subject: &Subject,
        descriptor: &Descriptor,
    ) -> Result<Option<Bytes>, Error> {
        let blob = Subject {
            repository: subject.repository.clone(),
            digest: descriptor.digest,
        };
        let may_read = match self.inner.reliance {
            // A replay serves nothing and asks no upstream.
            Reliance::Recorded => true,
            Reliance::Fresh => matches!(self.inner.state.is_blob_confirmed(&blob).await, Ok(true)),
        };
        if !may_read {
            return Ok(None);
        }
        let manifests = &self.inner.manifests;
        let stored = manifests.stored(&descriptor.digest, descriptor.size, 1);
        Ok(stored.await?.map(|(bytes, _hold)| bytes))
    }

    /// The referrers tag holds an index; it passes if everything it lists is material.
    async fn nature_of_index(
        &self,
        subject: &Subject,
        listed: &[Descriptor],
        deadline: Instant,
    ) -> Nature {
        let Some((first, others)) = listed.split_first() else {
            return Nature::Ordinary;
        };
        if listed.len() > self.inner.limits.referrers_opened_max {
            return Nature::Ordinary;
        }
        // One look tells most images from lists of signatures.
        let first = self.nature_of_listed(subject, first, deadline).await;
        if first != Nature::Material {
            return first;
        }
        let looks = others
            .iter()
            .map(|descriptor| self.nature_of_listed(subject, descriptor, deadline));
        all(looks.collect()).await
    }

    /// In a replay, manifests that nobody has pulled are not there to be read. An index whose every entry is for a
    /// platform is then believed to be none of material: nobody gains by saying so of a list of signatures.
    fn or_by_platforms(&self, nature: Nature, index: &Document) -> Nature {
        match (nature, self.inner.reliance) {
            (Nature::Unknown, Reliance::Recorded) if lists_platforms(&index.bytes) => {
                Nature::Ordinary
            }
            (nature, Reliance::Recorded | Reliance::Fresh) => nature,
        }
    }

    fn nature_of_listed<'a>(
        &'a self,
        subject: &'a Subject,
        descriptor: &'a Descriptor,
        deadline: Instant,
    ) -> BoxFuture<'a, Nature> {
        async move {
            let listed = Subject {
                repository: subject.repository.clone(),
                digest: descriptor.digest,
            };
            match self.inner.manifests.local_or_fetch(&listed, deadline).await {
                Ok((document, _origin)) => match &document.manifest {
                    Manifest::Image(image) => self.nature_of_image(&listed, image, deadline).await,
                    Manifest::Index(_) => Nature::Ordinary,
                },
                Err(
                    Error::Upstream(upstream::Error::NotFound { .. }) | Error::Malformed { .. },
                ) => Nature::Ordinary,
                Err(_) => Nature::Unknown,
            }
        }
        .boxed()
    }
}

/// Material if all are; ordinary as soon as one is, whatever could not be read.
async fn all(looks: Vec<BoxFuture<'_, Nature>>) -> Nature {
    let mut natures = stream::iter(looks).buffer_unordered(CONCURRENT_LOOKS);
    let mut together = Nature::Material;
    while let Some(nature) = natures.next().await {
        match nature {
            Nature::Material => {}
            Nature::Ordinary => return Nature::Ordinary,
            Nature::Unchecked | Nature::Unknown | Nature::Absent => together = Nature::Unknown,
        }
    }
    together
}

/// Whether an index says of everything it lists for which platform it is.
fn lists_platforms(index: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Index {
        manifests: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        platform: Option<Platform>,
    }
    #[derive(serde::Deserialize)]
    struct Platform {
        os: String,
    }
    serde_json::from_slice(index).is_ok_and(|index: Index| {
        let mut platforms = index.manifests.iter().map(|entry| entry.platform.as_ref());
        !index.manifests.is_empty()
            && platforms.all(|platform| platform.is_some_and(|it| !it.os.is_empty()))
    })
}

/// Layers that say they are file systems are believed: nobody gains by saying so of a signature.
fn is_file_system(layer_type: &str) -> bool {
    [
        "application/vnd.oci.image.layer.",
        "application/vnd.docker.image.rootfs.",
    ]
    .into_iter()
    .any(|prefix| media_type::starts_with(layer_type, prefix))
}

/// Whether a config says nothing that a runtime could act on: `{}`, or the image configuration that cosign writes, of
/// no platform, with nothing to execute. It is served together with the material, so it must be neither a manifest, nor
/// a layer, nor the configuration of something runnable.
fn is_bare_config(bytes: &[u8]) -> bool {
    let Ok(serde_json::Value::Object(config)) = serde_json::from_slice(bytes) else {
        return false;
    };
    config.iter().all(|(key, value)| match key.as_str() {
        "created" | "author" | "history" | "rootfs" => true,
        "architecture" | "os" => value.as_str() == Some(""),
        "config" => value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty),
        _ => false,
    })
}

#[cfg(test)]
mod config_tests {
    use super::*;

    #[test]
    fn knows_what_cannot_run() {
        for config in [
            "{}",
            r#"{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{}],"os":"","rootfs":{"type":"layers","diff_ids":[]},"config":{}}"#,
        ] {
            assert!(is_bare_config(config.as_bytes()), "{config}");
        }
        for config in [
            "[]",
            "\x1f\u{8b}",
            r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#,
            r#"{"config":{"Entrypoint":["/bin/sh"]}}"#,
            r#"{"schemaVersion":2,"layers":[],"config":{}}"#,
            r#"{"manifests":[]}"#,
        ] {
            assert!(!is_bare_config(config.as_bytes()), "{config}");
        }
    }
}
