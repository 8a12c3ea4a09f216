//! The usual arrangement: one registry, one key, one proxy with one policy.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::client::Answer;
use super::configuration::{Configuration, key_policy};
use super::image::Image;
use super::proxy::Proxy;
use super::registry::FakeRegistry;
use super::signing::SigningKey;

/// A policy named `apps` demands the key's signature for everything under `apps/` of the registry.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) registry: FakeRegistry,
    pub(crate) key: SigningKey,
    pub(crate) proxy: Proxy,
}

impl Scene {
    pub(crate) async fn start() -> Self {
        Self::with(|configuration, _| configuration).await
    }

    /// The same, with changes to the configuration.
    pub(crate) async fn with(
        change: impl FnOnce(Configuration, &FakeRegistry) -> Configuration,
    ) -> Self {
        let registry = FakeRegistry::start().await;
        let key = SigningKey::generate();
        let images = format!("{}/apps/**", registry.name());
        let configuration =
            Configuration::new(&[&registry]).policy(key_policy("apps", &images, &[&key]));
        let proxy = Proxy::start(change(configuration, &registry)).await;
        Self {
            registry,
            key,
            proxy,
        }
    }

    /// The canonical name of a repository of the registry.
    pub(crate) fn repository(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.name())
    }

    /// The path of a manifest at the proxy.
    pub(crate) fn manifest_path(&self, name: &str, reference: &str) -> String {
        format!("/v2/{}/manifests/{reference}", self.repository(name))
    }

    /// The path of a blob at the proxy.
    pub(crate) fn blob_path(&self, name: &str, digest: &str) -> String {
        format!("/v2/{}/blobs/{digest}", self.repository(name))
    }

    pub(crate) async fn manifest(&self, name: &str, reference: &str) -> Answer {
        self.proxy.get(&self.manifest_path(name, reference)).await
    }

    pub(crate) async fn blob(&self, name: &str, digest: &str) -> Answer {
        self.proxy.get(&self.blob_path(name, digest)).await
    }

    /// Asks for a manifest until it is served, for as long as a failure to decide may be remembered.
    pub(crate) async fn manifest_soon(&self, name: &str, reference: &str) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.manifest(name, reference).await;
            if answer.status == 200 || started.elapsed() > Duration::from_secs(6) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// An image in the registry, not signed.
    pub(crate) fn unsigned(&self, name: &str, tag: &str) -> Image {
        let image = Image::new(&format!("{name}:{tag}"));
        self.registry.push_tagged(name, tag, &image);
        image
    }

    /// An image in the registry with a legacy signature.
    pub(crate) fn signed(&self, name: &str, tag: &str) -> Image {
        let image = self.unsigned(name, tag);
        self.registry.sign_legacy(name, &image, &self.key);
        image
    }

    /// Puts an image into the registry under `tag` with a legacy signature.
    pub(crate) fn push_signed(&self, name: &str, tag: &str, image: &Image) {
        self.registry.push_tagged(name, tag, image);
        self.registry.sign_legacy(name, image, &self.key);
    }
}

/// Runs all at the same time.
pub(crate) async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    join_all(futures).await
}
