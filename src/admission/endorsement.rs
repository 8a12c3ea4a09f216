//! Endorsement: an admitted index vouches for the manifests it lists, within its repository.
//!
//! The state only hints at parents. That a parent lists the child is read from the parent's own bytes, which are hashed
//! on the way, and that the parent is admitted is decided under the configuration in force.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::decision::{Decision, Error, Outcome};
use super::{Admission, Asked};
use crate::decision_log::{Basis, Subject};
use crate::manifests::Document;
use crate::oci::Descriptor;

/// An admitted parent and what it says of the child.
#[derive(Debug)]
pub(super) struct Endorsement {
    parent: Arc<Decision>,
    descriptor: Descriptor,
}

impl Endorsement {
    pub(super) fn parent(&self) -> &Arc<Decision> {
        &self.parent
    }

    /// Whether the child is exactly what the parent says: its digest is given, its type and size must agree.
    pub(super) fn covers(&self, child: &Document) -> bool {
        self.descriptor.digest == child.subject.digest
            && self.descriptor.media_type == child.media_type
            && usize::try_from(self.descriptor.size) == Ok(child.bytes.len())
    }
}

impl Admission {
    /// The endorsement of `child` by a parent that is admitted by signature, or itself by endorsement.
    pub(super) async fn endorsement(
        &self,
        child: &Subject,
        asked: &Asked,
    ) -> Result<Option<Endorsement>, Error> {
        for parent in self.parents_listing(child, asked).await? {
            let (digest, descriptor) = parent;
            let subject = Subject {
                repository: child.repository.clone(),
                digest,
            };
            // A parent that cannot be decided about now endorses nothing now; the child's own signature may do.
            let Ok(decision) = self.decide_parent(subject, asked).await else {
                continue;
            };
            if decision.endorsement_depth < self.inner.limits.endorsement_depth_max
                && endorses(&decision)
            {
                return Ok(Some(Endorsement {
                    parent: decision,
                    descriptor,
                }));
            }
        }
        Ok(None)
    }

    /// Parents whose own bytes list the child as a manifest. Reading that first also rules out going in circles: no
    /// document can contain the digest of one that contains its own.
    async fn parents_listing(
        &self,
        child: &Subject,
        asked: &Asked,
    ) -> Result<Vec<(crate::oci::Digest, Descriptor)>, Error> {
        let limit = self.inner.limits.endorsement_parents_max;
        let hints = self
            .inner
            .state
            .parents(child, limit)
            .await
            .map_err(|error| Error::Storage {
                subject: child.clone(),
                source: error.into(),
            })?;
        let mut listing = Vec::new();
        for digest in hints {
            let subject = Subject {
                repository: child.repository.clone(),
                digest,
            };
            let Some(document) = self.parent_document(&subject, asked).await else {
                continue;
            };
            let listed = document
                .manifest
                .children()
                .iter()
                .find(|descriptor| descriptor.digest == child.digest);
            if let Some(descriptor) = listed {
                listing.push((digest, descriptor.clone()));
            }
        }
        Ok(listing)
    }

    /// The parent's bytes: from memory, disk, or, if they were evicted or altered, the upstream.
    async fn parent_document(&self, subject: &Subject, asked: &Asked) -> Option<Arc<Document>> {
        if let Some(decision) = self.remembered(subject, asked.now) {
            return decision.document().cloned();
        }
        let deadline = tokio::time::Instant::now() + self.inner.limits.stale_decision_time_max;
        match self.inner.manifests.local_or_fetch(subject, deadline).await {
            Ok((document, _origin)) => Some(document),
            Err(error) => {
                tracing::debug!(%subject, error = &error as &dyn std::error::Error, "A hinted parent is not to be had");
                None
            }
        }
    }

    /// Boxed, since deciding about a child may decide about its parent.
    pub(super) fn decide_parent<'a>(
        &'a self,
        subject: Subject,
        asked: &'a Asked,
    ) -> BoxFuture<'a, Result<Arc<Decision>, Arc<Error>>> {
        async move {
            if let Some(decision) = self.remembered(&subject, asked.now) {
                return Ok(decision);
            }
            let asked = Asked {
                reference: subject.digest.to_string(),
                previous_digest: None,
                may_be_material: false,
                stale_tag: false,
                client: asked.client.clone(),
                now: asked.now,
            };
            self.decide(&subject, None, &asked).await
        }
        .boxed()
    }
}

/// Whether an admitted manifest vouches for what it lists: what is signature material, or served only because a policy
/// audits, does not.
fn endorses(decision: &Decision) -> bool {
    match &decision.outcome {
        Outcome::Admit { basis, .. } => match basis {
            Basis::Signature | Basis::Endorsement => true,
            Basis::SignatureArtifact | Basis::Audit => false,
        },
        Outcome::Deny(_) | Outcome::Unavailable { .. } => false,
    }
}
