//! Registries that nobody asks: for decisions made from what is stored alone.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;

use super::{Error, FetchedBlob, FetchedManifest, ManifestHead, Page, Purpose, Upstream};
use crate::oci::{Digest, PageQuery, Reference, RepositoryName};

/// Knows which registries are configured and connects to none: each is as if it did not answer, so that nothing is
/// taken for absent.
#[derive(Debug)]
pub struct Offline {
    hosts: BTreeSet<String>,
}

impl Offline {
    /// In the place of these registries, by their canonical names.
    #[must_use]
    pub fn new(hosts: BTreeSet<String>) -> Self {
        Self { hosts }
    }
}

fn unasked(repository: &RepositoryName) -> Error {
    Error::Failed {
        host: repository.host().to_owned(),
        reason: "nobody is asked, only what is stored counts".to_owned(),
    }
}

#[async_trait]
impl Upstream for Offline {
    fn is_configured(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        _reference: &Reference,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedManifest, Error> {
        Err(unasked(repository))
    }

    async fn head_manifest(
        &self,
        repository: &RepositoryName,
        _reference: &Reference,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<ManifestHead, Error> {
        Err(unasked(repository))
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        _digest: &Digest,
        _offset: u64,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedBlob, Error> {
        Err(unasked(repository))
    }

    async fn small_blob(
        &self,
        repository: &RepositoryName,
        _digest: &Digest,
        _limit_bytes: u64,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<Bytes, Error> {
        Err(unasked(repository))
    }

    async fn confirm_blob(
        &self,
        repository: &RepositoryName,
        _digest: &Digest,
        _size: u64,
        _deadline: Instant,
    ) -> Result<(), Error> {
        Err(unasked(repository))
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        _digest: &Digest,
        _query: Option<&PageQuery>,
        _deadline: Instant,
    ) -> Result<Page, Error> {
        Err(unasked(repository))
    }

    async fn tags(
        &self,
        repository: &RepositoryName,
        _query: Option<&PageQuery>,
        _deadline: Instant,
    ) -> Result<Page, Error> {
        Err(unasked(repository))
    }
}
