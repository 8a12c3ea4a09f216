//! The demo's registry: the embedded images behind the registry API, on loopback.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::CORPUS;
use crate::oci::Digest;

/// A registry that is listening.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Where.
    pub(super) address: SocketAddr,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// The registry does not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// No port of loopback can be listened on.
    #[error("listen on loopback")]
    Listen(#[from] io::Error),
    /// The embedded images are not what they should be: a bug.
    #[error("read the embedded images")]
    Corpus(#[from] serde_json::Error),
}

/// The content of `registry.json`.
#[derive(Debug, Deserialize)]
struct Registry {
    #[serde(flatten)]
    repositories: BTreeMap<String, Repository>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repository {
    tags: BTreeMap<String, Digest>,
    /// Digest to media type.
    manifests: BTreeMap<Digest, String>,
    blobs: Vec<Digest>,
}

const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Upstream {
    /// Starts on any free port.
    pub(super) async fn start() -> Result<Self, Error> {
        let registry = Arc::new(Registry::embedded()?);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let router = Router::new().fallback(answer).with_state(registry);
        let serve =
            axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        tasks.spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "The demo's registry ended"
                );
            }
        });
        Ok(Self {
            address,
            stop,
            tasks,
        })
    }

    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn answer(State(registry): State<Arc<Registry>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return problem(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED");
    }
    let path = request.uri().path();
    if matches!(path, "/v2" | "/v2/") {
        return StatusCode::OK.into_response();
    }
    let parts = path
        .strip_prefix("/v2/")
        .and_then(|rest| rest.rsplit_once('/'))
        .and_then(|(rest, last)| Some((rest.rsplit_once('/')?, last)));
    let Some(((name, endpoint), last)) = parts else {
        return problem(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    };
    let Some(repository) = registry.repositories.get(name) else {
        return problem(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
    };
    match (endpoint, last) {
        ("manifests", reference) => repository.manifest(reference),
        ("blobs", digest) => repository.blob(digest),
        ("referrers", digest) => repository.referrers(digest),
        ("tags", "list") => {
            let tags: Vec<_> = repository.tags.keys().collect();
            axum::Json(json!({ "name": name, "tags": tags })).into_response()
        }
        _ => problem(StatusCode::NOT_FOUND, "UNSUPPORTED"),
    }
}

impl Registry {
    fn embedded() -> Result<Self, serde_json::Error> {
        serde_json::from_slice(file("registry.json").unwrap_or_default())
    }
}

impl Repository {
    fn manifest(&self, reference: &str) -> Response {
        let digest = match self.tags.get(reference) {
            Some(digest) => Some(*digest),
            None => reference.parse().ok(),
        };
        let found = digest.and_then(|digest| {
            let media_type = self.manifests.get(&digest)?;
            Some((digest, media_type.clone(), blob(&digest)?))
        });
        match found {
            Some((digest, media_type, bytes)) => content(&digest, media_type, bytes),
            None => problem(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        }
    }

    fn blob(&self, digest: &str) -> Response {
        let found = digest.parse().ok().and_then(|digest: Digest| {
            let known = self.blobs.contains(&digest) || self.manifests.contains_key(&digest);
            Some((digest, known.then(|| blob(&digest))??))
        });
        match found {
            Some((digest, bytes)) => content(&digest, "application/octet-stream".to_owned(), bytes),
            None => problem(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        }
    }

    /// The manifests whose `subject` is `digest`.
    fn referrers(&self, digest: &str) -> Response {
        let descriptor = |(referrer, media_type): (&Digest, &String)| {
            let bytes = blob(referrer)?;
            let manifest: Value = serde_json::from_slice(&bytes).ok()?;
            if manifest.get("subject")?.get("digest")?.as_str()? != digest {
                return None;
            }
            let config_type = || manifest.get("config")?.get("mediaType");
            Some(json!({
                "mediaType": media_type,
                "digest": referrer,
                "size": bytes.len(),
                "artifactType": manifest.get("artifactType").or_else(config_type),
                "annotations": manifest.get("annotations"),
            }))
        };
        let manifests: Vec<_> = self.manifests.iter().filter_map(descriptor).collect();
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        ([(CONTENT_TYPE, INDEX)], index.to_string()).into_response()
    }
}

fn content(digest: &Digest, media_type: String, bytes: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE, media_type),
        (DOCKER_CONTENT_DIGEST, digest.to_string()),
    ];
    (headers, Body::from(bytes)).into_response()
}

fn problem(status: StatusCode, code: &str) -> Response {
    let body =
        json!({ "errors": [{ "code": code, "message": "the demo's registry has no such thing" }] });
    (status, axum::Json(body)).into_response()
}

fn blob(digest: &Digest) -> Option<Bytes> {
    file(&format!("blobs/{}", digest.to_hex())).map(Bytes::from_static)
}

fn file(name: &str) -> Option<&'static [u8]> {
    CORPUS.get_file(name).map(include_dir::File::contents)
}
