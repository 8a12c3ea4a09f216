//! `GET` and `HEAD` of manifests.

use std::sync::Arc;

use axum::body::Body;
use http::Response;
use http::header::IF_NONE_MATCH;

use super::answer::{Answer, Asking};
use super::{Server, respond};
use crate::admission::Admitted;
use crate::manifests::Document;
use crate::oci::{Reference, RepositoryName};
use crate::pull::{Refusal, ServedManifest};

impl Server {
    pub(super) async fn manifest(
        &self,
        asking: &Asking<'_>,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Answer {
        let pull = &self.inner.pull;
        if let Some(served) = pull.remembered_manifest(repository, reference, asking.now) {
            return Self::served_manifest(asking, served);
        }
        let place = match self.take_place(asking) {
            Ok(place) => place,
            Err(answer) => return *answer,
        };
        let served = pull.manifest(repository, reference, asking.caller()).await;
        Self::served_manifest(asking, served).hold(place)
    }

    fn served_manifest(asking: &Asking<'_>, served: Result<ServedManifest, Refusal>) -> Answer {
        match served {
            Ok(served) => admitted(asking, &served),
            Err(refusal) => Self::refused_manifest(asking, &refusal),
        }
    }

    /// A refusal; as a `HEAD`, for clients that hide why a `HEAD` failed, a 200 without content if so configured.
    fn refused_manifest(asking: &Asking<'_>, refusal: &Refusal) -> Answer {
        let answer = Answer::refused(refusal);
        let Refusal::Denied(refused) = refusal else {
            return answer;
        };
        match &refused.described {
            Some(described) if asking.rules.compat.head_allows && asking.is_head() => Answer {
                response: respond::head_allowed(described),
                ..answer
            },
            Some(_) | None => answer,
        }
    }
}

/// The only way a manifest's bytes get into a response: through the proof that they were admitted.
fn admitted(asking: &Asking<'_>, served: &ServedManifest) -> Answer {
    let manifest: &Admitted<Arc<Document>> = &served.manifest;
    let document = manifest.content();
    let digest = document.subject.digest;
    let bytes = u64::try_from(document.bytes.len()).unwrap_or(u64::MAX);
    let mut response = Response::new(Body::from(document.bytes.clone()));
    respond::content_headers(&mut response, document.headers.clone(), bytes);
    if let Some(denial) = manifest.warning() {
        respond::warn(&mut response, &denial.message);
    }
    let answer = Answer {
        response,
        digest: Some(digest),
        decision: Some(manifest.decision().id),
        cache: Some(served.cache),
        bytes,
    };
    if respond::has_etag(asking.header(&IF_NONE_MATCH), &digest) {
        return answer.not_modified();
    }
    answer
}
