//! `GET` and `HEAD` of blobs, with ranges.

use axum::body::Body;
use bytes::Bytes;
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, IF_NONE_MATCH, IF_RANGE, RANGE};
use http::{HeaderValue, Response, StatusCode, Version};

use super::answer::{Answer, Asking};
use super::range::{self, Range};
use super::{Server, respond};
use crate::decision_log::Subject;
use crate::manifests::Headers;
use crate::oci::{Digest, RepositoryName};
use crate::pace::Pace;
use crate::pull::{BlobBody, ServedBlob};

/// Blobs have no type of their own here; a descriptor's is the manifest's business.
const MEDIA_TYPE: &str = "application/octet-stream";

impl Server {
    pub(super) async fn blob(
        &self,
        asking: &Asking<'_>,
        repository: &RepositoryName,
        digest: &Digest,
    ) -> Answer {
        let pull = &self.inner.pull;
        let subject = Subject {
            repository: repository.clone(),
            digest: *digest,
        };
        let remembered = pull.remembered_blob(&subject, asking.now).await;
        let is_in_memory = remembered
            .as_ref()
            .is_some_and(|served| matches!(served.body, BlobBody::Memory(_)));
        if is_in_memory && let Some(served) = remembered {
            return admitted(asking, digest, served);
        }
        let place = match self.take_place(asking) {
            Ok(place) => place,
            Err(answer) => return *answer,
        };
        let served = match remembered {
            Some(served) => Ok(served),
            None if asking.is_head() => pull.blob_size(&subject, asking.caller()).await,
            None => pull.blob(&subject, asking.caller()).await,
        };
        let answer = match served {
            Ok(served) => admitted(asking, digest, served),
            Err(refusal) => Answer::refused(&refusal),
        };
        answer.hold(place)
    }
}

fn admitted(asking: &Asking<'_>, digest: &Digest, served: ServedBlob) -> Answer {
    let ServedBlob {
        grant,
        size,
        body,
        cache,
    } = served;
    let range = match range::parse(
        asking.header(&RANGE),
        asking.header(&IF_RANGE),
        digest,
        size,
    ) {
        Range::Whole => None,
        Range::Part { start, end } => Some((start, end)),
        Range::NotSatisfiable => return Answer::plain(respond::range_not_satisfiable(size)),
    };
    let (start, end) = range.unwrap_or((0, size));
    let mut response = Response::new(if asking.is_head() {
        Body::empty()
    } else {
        let pace = match asking.request.version {
            Version::HTTP_2 => Pace::careful(),
            _ => Pace::steady(),
        };
        into_body(body, start, end, pace)
    });
    respond::content_headers(&mut response, Headers::new(digest, MEDIA_TYPE), end - start);
    if range.is_some() {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let headers = response.headers_mut();
        if let Ok(value) = HeaderValue::try_from(format!("bytes {start}-{}/{size}", end - 1)) {
            headers.insert(CONTENT_RANGE, value);
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(end - start));
    }
    let answer = Answer {
        response,
        digest: Some(*digest),
        decision: Some(grant.decision().id),
        cache: Some(cache),
        bytes: end - start,
    };
    if respond::has_etag(asking.header(&IF_NONE_MATCH), digest) {
        return answer.not_modified();
    }
    answer
}

fn into_body(body: BlobBody, start: u64, end: u64, pace: Pace) -> Body {
    match body {
        BlobBody::Memory(bytes) => Body::from(slice(&bytes, start, end)),
        BlobBody::File(file) => Body::from_stream(file.into_stream(start, end, pace)),
        // An error ends the connection: with `Content-Length` sent, no client takes that for a whole body.
        BlobBody::Transfer(transfer) => {
            let stream = transfer.stream(start, end, pace);
            Body::from_stream(stream.map_err(std::io::Error::other))
        }
    }
}

fn slice(bytes: &Bytes, start: u64, end: u64) -> Bytes {
    let within =
        |offset: u64| usize::try_from(offset).map_or(bytes.len(), |at| at.min(bytes.len()));
    let (start, end) = (within(start), within(end));
    if start >= end {
        return Bytes::new();
    }
    bytes.slice(start..end)
}
