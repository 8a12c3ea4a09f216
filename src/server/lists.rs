//! Tag lists and referrers.

use std::convert::Infallible;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LINK};
use http::{HeaderName, HeaderValue, Response};

use super::answer::{Answer, Asking};
use super::{Server, respond};
use crate::decision_log::Subject;
use crate::oci::{Digest, PageQuery, RepositoryName, media_type};

const OCI_FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

impl Server {
    pub(super) async fn tags(
        &self,
        asking: &Asking<'_>,
        repository: &RepositoryName,
        query: Option<&PageQuery>,
    ) -> Answer {
        let listed = self
            .inner
            .pull
            .tags(repository, query, asking.caller())
            .await;
        let list = match listed {
            Ok(list) => list,
            Err(refusal) => return Answer::refused(&refusal),
        };
        let mut answer = list_answer("application/json", vec![list.bytes]);
        if let Some(incomplete) = &list.incomplete {
            respond::warn(&mut answer.response, incomplete);
        }
        if let Some(next) = list.next {
            // The namespace belongs to the name: without it the next page would be another repository's.
            let namespace = namespace(asking)
                .map(|namespace| {
                    url::form_urlencoded::Serializer::new("&".to_owned())
                        .append_pair("ns", &namespace)
                        .finish()
                })
                .unwrap_or_default();
            let link = format!(
                "<{}?{}{namespace}>; rel=\"next\"",
                asking.request.uri.path(),
                next.as_str(),
            );
            if let Ok(value) = HeaderValue::try_from(link) {
                answer.response.headers_mut().insert(LINK, value);
            }
        }
        answer
    }

    pub(super) async fn referrers(
        &self,
        asking: &Asking<'_>,
        repository: &RepositoryName,
        digest: &Digest,
        artifact_type: Option<&str>,
    ) -> Answer {
        let subject = Subject {
            repository: repository.clone(),
            digest: *digest,
        };
        let listed = self
            .inner
            .pull
            .referrers(&subject, artifact_type, asking.caller())
            .await;
        match listed {
            Ok(list) => {
                let mut answer = list_answer(media_type::OCI_INDEX, list.pieces);
                if artifact_type.is_some() {
                    answer.response.headers_mut().insert(
                        OCI_FILTERS_APPLIED,
                        HeaderValue::from_static("artifactType"),
                    );
                }
                answer
            }
            Err(refusal) => Answer::refused(&refusal),
        }
    }
}

fn namespace(asking: &Asking<'_>) -> Option<String> {
    let query = asking.request.uri.query()?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(key, _)| key == "ns")
        .map(|(_, value)| value.into_owned())
}

fn list_answer(content_type: &'static str, pieces: Vec<Bytes>) -> Answer {
    let length = pieces.iter().map(Bytes::len).sum::<usize>();
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let pieces = pieces.into_iter().map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(stream::iter(pieces)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    Answer {
        bytes: length,
        ..Answer::plain(response)
    }
}
