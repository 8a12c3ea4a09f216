//! Replays: decisions made again from what is stored. They ask nobody, and nothing is served by them. And recordings,
//! which store it for that.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::Instant;

use super::Admission;
use super::decision::{Error, StorageError};
use super::evidence::Gathering;
use crate::decision_log::Subject;
use crate::manifests::Document;
use crate::oci::{Digest, Manifest, Tag};
use crate::signature::Candidate;
use crate::state::{self, Batch};
use crate::upstream;

impl Admission {
    /// Takes note of what is known of a subject before it, or anything it lists, is decided about in a replay: the tags
    /// through which it was asked for; those in the state that led to it when they were last looked up, about which a proxy
    /// asks again; and, where it is an index, what it lists. The state hints at what admitted indexes list, and in a replay
    /// others may be admitted.
    ///
    /// # Errors
    /// When the state or the store fails.
    pub async fn note_for_replay(&self, subject: &Subject, tags: &[Tag]) -> Result<(), Error> {
        let state = |error: state::Error| storage(subject, error.into());
        for tag in tags {
            self.asked_through(subject, tag).await.map_err(state)?;
        }
        let stored = self.inner.state.asked_tags(subject).await.map_err(state)?;
        let stored = stored.unwrap_or_default();
        for tag in stored.iter().filter_map(|tag| tag.parse::<Tag>().ok()) {
            let row = self.inner.state.tag(&subject.repository, &tag);
            let row = row.await.map_err(state)?;
            if row.is_some_and(|row| row.digest == subject.digest) {
                self.asked_through(subject, &tag).await.map_err(state)?;
            }
        }
        let document = self.stored_manifest(subject).await?;
        let listed: Vec<_> = document
            .iter()
            .flat_map(|document| document.manifest.children())
            .map(|child| child.digest)
            .collect();
        if listed.is_empty() {
            return Ok(());
        }
        let batch = Batch {
            parents: vec![(subject.clone(), listed)],
            ..Batch::default()
        };
        self.inner.state.write(batch).await.map_err(state)
    }

    /// Takes note in a replay that a subject is asked for through these tags, and nothing through any other: those in the
    /// state and those noted before are forgotten.
    ///
    /// # Errors
    /// When the state fails.
    pub async fn ask_only_through(&self, subject: &Subject, tags: &[Tag]) -> Result<(), Error> {
        let state = |error: state::Error| storage(subject, error.into());
        let batch = Batch {
            forgets_asked_tags: true,
            ..Batch::default()
        };
        self.inner.state.write(batch).await.map_err(state)?;
        self.inner.asked_tags.invalidate_all();
        for tag in tags {
            self.asked_through(subject, tag).await.map_err(state)?;
        }
        Ok(())
    }

    /// What is not stored of what a decision about the subject is made from, in words; nothing where all of it is.
    ///
    /// # Errors
    /// When the state or the store fails.
    pub async fn lacking(&self, subject: &Subject) -> Result<Vec<String>, Error> {
        let mut lacking = Vec::new();
        if self.stored_manifest(subject).await?.is_none() {
            lacking.push("its manifest is not stored".to_owned());
        }
        let evidence = self.inner.state.evidence(subject).await;
        let evidence = evidence.map_err(|error| storage(subject, error.into()))?;
        if evidence.is_none() {
            lacking.push("nothing is stored of its signatures".to_owned());
            return Ok(lacking);
        }
        let Some(stored) = self.stored_evidence(subject).await? else {
            lacking.push("signatures that were found are no longer stored".to_owned());
            return Ok(lacking);
        };
        let matching = self.covering(&subject.repository);
        let request = self.discovery_request(subject, &matching, Instant::now());
        lacking.extend(stored.extended_to(&request).failed_sources());
        Ok(lacking)
    }

    /// The signatures and attestations that are stored for a subject, parsed and not believed.
    ///
    /// # Errors
    /// When the state or the store fails.
    pub async fn stored_candidates(&self, subject: &Subject) -> Result<Vec<Candidate>, Error> {
        let stored = self.stored_evidence(subject).await?;
        Ok(stored.map_or_else(Vec::new, |stored| stored.candidates().to_vec()))
    }

    /// Looks for everything that can be found of a manifest's signatures, attestations included whatever the policies
    /// demand, and keeps it with what tells whether the manifest is signature material itself. Returns what could not be
    /// had, in words; then no evidence is kept.
    ///
    /// # Errors
    /// When the state or the store fails.
    pub async fn gather_for_recording(
        &self,
        document: &Document,
        now: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let subject = &document.subject;
        let deadline = Instant::now() + self.inner.limits.decision_time_max;
        let matching = self.covering(&subject.repository);
        let mut request = self.discovery_request(subject, &matching, deadline);
        request.attestations = true;
        let mut gathering = Gathering::begin(&request, now);
        let mut findings = self.inner.discovery.findings(&request).boxed();
        while let Some(finding) = findings.next().await {
            gathering.add(finding, &self.inner.limits);
        }
        let mut failed = gathering.failed_sources();
        let (mut contents, unread) = self.possible_material(document, deadline).await;
        failed.extend(unread);
        if !failed.is_empty() {
            return Ok(failed);
        }
        contents.extend(gathering.contents());
        for (digest, bytes) in contents {
            let kept = self.inner.store.put(&digest, bytes).await;
            kept.map_err(|error| storage(subject, error.into()))?;
        }
        let batch = Batch {
            evidence: vec![(subject.clone(), gathering.to_evidence())],
            ..Batch::default()
        };
        let written = self.inner.state.write(batch).await;
        written.map_err(|error| storage(subject, error.into()))?;
        Ok(Vec::new())
    }

    /// The blobs that tell whether an image is signature material, and which could not be had, in words. What the
    /// upstream does not have is known not to be.
    async fn possible_material(
        &self,
        document: &Document,
        deadline: Instant,
    ) -> (Vec<(Digest, Bytes)>, Vec<String>) {
        let (mut contents, mut failed) = (Vec::new(), Vec::new());
        let Manifest::Image(image) = &document.manifest else {
            return (contents, failed);
        };
        if !self.may_be_material(image) {
            return (contents, failed);
        }
        let repository = &document.subject.repository;
        for blob in document.manifest.blobs() {
            let discovery = &self.inner.discovery;
            match discovery.material(repository, blob, deadline).await {
                Ok(bytes) => contents.push((blob.digest, bytes)),
                Err(upstream::Error::NotFound { .. } | upstream::Error::TooLarge { .. }) => {}
                Err(error) => failed.push(format!("the blob {}: {error}", blob.digest)),
            }
        }
        (contents, failed)
    }

    async fn stored_manifest(&self, subject: &Subject) -> Result<Option<Arc<Document>>, Error> {
        let stored = self.inner.manifests.local(subject).await;
        stored.map_err(|error| storage(subject, StorageError::Manifest(Arc::new(error))))
    }
}

fn storage(subject: &Subject, source: StorageError) -> Error {
    Error::Storage {
        subject: subject.clone(),
        source,
    }
}
