//! A client that pulls as a container runtime does: the manifest, then what it refers to, all of it checked.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;

use crate::oci::{Digest, Manifest};

/// Pulls through the proxy at one address.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    proxy: SocketAddr,
}

/// How a pull ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With the content, every byte of it as its digest says.
    Served,
    /// With a refusal.
    Refused {
        /// The fixed word.
        kind: String,
        /// The sentence for people.
        message: String,
    },
    /// In a way in which no pull should end.
    Broken(String),
}

/// A pull that ended.
#[derive(Debug, Clone)]
pub(super) struct Pulled {
    pub(super) outcome: Outcome,
    /// Until the manifest, or the blob, was there.
    pub(super) elapsed: Duration,
}

/// An error of the registry API, as this proxy fills it.
#[derive(Debug, Deserialize)]
struct Errors {
    errors: Vec<ApiError>,
}

#[derive(Debug, Deserialize)]
struct ApiError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Option<Detail>,
}

#[derive(Debug, Deserialize)]
struct Detail {
    kind: String,
}

struct Answer {
    status: StatusCode,
    media_type: String,
    bytes: Vec<u8>,
}

const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
const TIME_MAX: Duration = Duration::from_secs(30);

impl Client {
    pub(super) fn new(proxy: SocketAddr) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(TIME_MAX)
            .user_agent(concat!("countersign-demo/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { http, proxy })
    }

    /// Pulls a manifest and the blobs it refers to.
    pub(super) async fn pull(&self, repository: &str, reference: &str) -> Pulled {
        let started = Instant::now();
        let answer = self
            .get(&format!("/v2/{repository}/manifests/{reference}"))
            .await;
        let elapsed = started.elapsed();
        let outcome = match answer {
            Err(error) => Outcome::Broken(error),
            Ok(answer) if answer.status == StatusCode::OK => {
                match self.pull_content(repository, reference, &answer).await {
                    Ok(()) => Outcome::Served,
                    Err(error) => Outcome::Broken(error),
                }
            }
            Ok(answer) => refusal(&answer),
        };
        Pulled { outcome, elapsed }
    }

    /// Pulls one blob.
    pub(super) async fn pull_blob(&self, repository: &str, digest: &Digest) -> Pulled {
        let started = Instant::now();
        let answer = self.get(&format!("/v2/{repository}/blobs/{digest}")).await;
        let elapsed = started.elapsed();
        let outcome = match answer {
            Err(error) => Outcome::Broken(error),
            Ok(answer) if answer.status != StatusCode::OK => refusal(&answer),
            Ok(answer) if digest.matches(&answer.bytes) => Outcome::Served,
            Ok(_) => Outcome::Broken(format!("the bytes are not those of {digest}")),
        };
        Pulled { outcome, elapsed }
    }

    /// Checks a manifest that was served, and pulls what it refers to.
    async fn pull_content(
        &self,
        repository: &str,
        reference: &str,
        answer: &Answer,
    ) -> Result<(), String> {
        if let Ok(digest) = reference.parse::<Digest>()
            && !digest.matches(&answer.bytes)
        {
            return Err(format!("the bytes are not those of {digest}"));
        }
        let manifest = Manifest::parse(&answer.bytes, &answer.media_type)
            .map_err(|error| super::chain(&error))?;
        for blob in manifest.blobs() {
            match self.pull_blob(repository, &blob.digest).await.outcome {
                Outcome::Served => {}
                Outcome::Refused { message, .. } => {
                    return Err(format!("its blob {}: {message}", blob.digest));
                }
                Outcome::Broken(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn get(&self, path: &str) -> Result<Answer, String> {
        let url = format!("http://{}{path}", self.proxy);
        let failed = |error: reqwest::Error| super::chain(&error);
        let request = self.http.get(url).header(ACCEPT, ACCEPTED);
        let mut response = request.send().await.map_err(failed)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(format!("more than {ANSWER_BYTES_MAX} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: response.status(),
            media_type: media_type.unwrap_or_default().to_owned(),
            bytes,
        })
    }
}

fn refusal(answer: &Answer) -> Outcome {
    let broken = || Outcome::Broken(format!("answered {}", answer.status));
    let Ok(Errors { errors }) = serde_json::from_slice(&answer.bytes) else {
        return broken();
    };
    match errors.into_iter().next() {
        Some(ApiError {
            message,
            detail: Some(Detail { kind }),
        }) if answer.status == StatusCode::FORBIDDEN => Outcome::Refused { kind, message },
        Some(error) => Outcome::Broken(format!("answered {}: {}", answer.status, error.message)),
        None => broken(),
    }
}
