//! A registry that holds the repositories of one derived input, and checks digests as the real client does.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::world::Repository;
use crate::oci::{Digest, PageQuery, Reference, RepositoryName, media_type};
use crate::shares::Hold;
use crate::upstream::{
    self, FetchedBlob, FetchedManifest, ManifestHead, NextPage, Page, Purpose, Upstream,
};

#[derive(Debug)]
pub(super) struct Hub {
    /// What stands before the names of the repositories.
    pub(super) prefix: String,
    pub(super) repositories: BTreeMap<String, Repository>,
}

impl Hub {
    fn repository(&self, name: &RepositoryName) -> Result<&Repository, upstream::Error> {
        name.as_str()
            .strip_prefix(&format!("{}/", self.prefix))
            .and_then(|name| self.repositories.get(name))
            .ok_or_else(absent)
    }
}

fn absent() -> upstream::Error {
    upstream::Error::NotFound {
        host: "registry.example".to_owned(),
        name_unknown: false,
    }
}

fn wrong() -> upstream::Error {
    upstream::Error::WrongDigest {
        host: "registry.example".to_owned(),
    }
}

#[async_trait]
impl Upstream for Hub {
    fn is_configured(&self, _host: &str) -> bool {
        true
    }

    async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedManifest, upstream::Error> {
        let repository = self.repository(repository)?;
        let digest = repository.resolve(&reference.to_string());
        let stored = repository.manifests.get(&digest).ok_or_else(absent)?;
        if let Reference::Digest(asked) = reference
            && !asked.matches(&stored.bytes)
        {
            return Err(wrong());
        }
        Ok(FetchedManifest {
            bytes: stored.bytes.clone(),
            digest: Digest::sha256(&stored.bytes),
            content_type: stored.media_type.clone(),
            hold: Hold::default(),
        })
    }

    async fn small_blob(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        limit_bytes: u64,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<Bytes, upstream::Error> {
        let repository = self.repository(repository)?;
        let bytes = repository
            .blobs
            .get(&digest.to_string())
            .ok_or_else(absent)?;
        if bytes.len() as u64 > limit_bytes {
            let host = "registry.example".to_owned();
            return Err(upstream::Error::TooLarge { host, limit_bytes });
        }
        if !digest.matches(bytes) {
            return Err(wrong());
        }
        Ok(bytes.clone())
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        _query: Option<&PageQuery>,
        _deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        let repository = self.repository(repository)?;
        if !repository.has_referrers_api {
            return Err(absent());
        }
        let listed = repository.referrers(&digest.to_string());
        Ok(Page {
            bytes: json!({"schemaVersion": 2, "manifests": listed})
                .to_string()
                .into(),
            content_type: media_type::OCI_INDEX.to_owned(),
            next: NextPage::None,
            hold: Hold::default(),
        })
    }

    async fn head_manifest(
        &self,
        _repository: &RepositoryName,
        _reference: &Reference,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<ManifestHead, upstream::Error> {
        unimplemented!("tags are not resolved here")
    }

    async fn blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _offset: u64,
        _purpose: Purpose,
        _deadline: Instant,
    ) -> Result<FetchedBlob, upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn confirm_blob(
        &self,
        _repository: &RepositoryName,
        _digest: &Digest,
        _size: u64,
        _deadline: Instant,
    ) -> Result<(), upstream::Error> {
        unimplemented!("blobs are not transferred here")
    }

    async fn tags(
        &self,
        _repository: &RepositoryName,
        _query: Option<&PageQuery>,
        _deadline: Instant,
    ) -> Result<Page, upstream::Error> {
        unimplemented!("tags are not listed here")
    }
}
