//! How the vendor's credential library talks: as bounded as everything else.

use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use futures::TryStreamExt as _;

use super::SERVICE;
use crate::keys::BuildError;
use crate::keys::limits::ANSWER_BYTES_MAX;

/// Reads at most [`ANSWER_BYTES_MAX`] of an answer.
#[derive(Debug)]
pub(super) struct Bounded {
    client: reqwest::Client,
    /// Metadata servers are reached without TLS and never through a proxy.
    direct: reqwest::Client,
}

impl Bounded {
    pub(super) fn new(client: reqwest::Client) -> Result<Self, BuildError> {
        let direct = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build();
        let direct = direct.map_err(|error| BuildError::Client {
            service: SERVICE,
            source: error.into(),
        })?;
        Ok(Self { client, direct })
    }
}

#[async_trait::async_trait]
impl HttpClient for Bounded {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let is_metadata = request.url().scheme() == "http";
        let client = if is_metadata {
            &self.direct
        } else {
            &self.client
        };
        bounded(client.execute_request(request).await?).await
    }
}

/// The answer with its body read whole.
pub(super) async fn bounded(response: AsyncRawResponse) -> azure_core::Result<AsyncRawResponse> {
    let (status, headers, mut stream) = response.deconstruct();
    let mut body = Vec::new();
    while let Some(chunk) = stream.try_next().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(azure_core::Error::with_message(
                ErrorKind::DataConversion,
                format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(AsyncRawResponse::from_bytes(status, headers, body))
}
