//! `awskms://`: keys in AWS KMS.
//!
//! Two requests, as cosign makes them and as its users' policies allow: `DescribeKey` says whether the key is enabled,
//! `GetPublicKey` what it is. A KMS key pair has one version for ever; an alias leads to another key when it is moved.

mod answer;
mod credentials;
mod key_id;

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;
use url::Url;

use super::rest;
use super::wire::Wire;
use super::{BuildError, Error, KeyService, Reference};
use crate::policy::KeyVersion;
use answer::{Described, Published};
use credentials::CredentialSource;

pub use key_id::{KeyId, parse};

const SERVICE: &str = "AWS KMS";

/// The protocol is JSON 1.1 of AWS: one address, the operation in a header.
const JSON: &str = "application/x-amz-json-1.1";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");

/// AWS KMS in all regions.
#[derive(Debug)]
pub struct Kms {
    wire: Wire,
    endpoint: Option<Url>,
    credentials: CredentialSource,
}

/// Where one key is asked for, and as whom.
struct Session<'a> {
    wire: &'a Wire,
    endpoint: Url,
    /// None where nobody is asked who we are: an endpoint on this machine.
    identity: Option<Identity>,
    deadline: Instant,
}

struct Identity {
    credentials: Credentials,
    region: String,
}

impl Kms {
    /// Finds credentials and region as the vendor's tools do: environment, profile, web identity (IRSA), container
    /// credentials (ECS, EKS Pod Identity), instance metadata. `endpoint` takes the place of every region's own.
    ///
    /// # Errors
    /// When the endpoint is neither `https` nor on this machine, or no HTTP client can be made.
    pub fn new(endpoint: Option<Url>) -> Result<Self, BuildError> {
        Self::build(endpoint, CredentialSource::of_the_system())
    }

    /// Signs with these credentials, for `region` where the reference names none.
    ///
    /// # Errors
    /// Like [`Self::new`].
    pub fn with_credentials(
        endpoint: Option<Url>,
        credentials: SharedCredentialsProvider,
        region: Option<String>,
    ) -> Result<Self, BuildError> {
        Self::build(endpoint, CredentialSource::fixed(credentials, region))
    }

    fn build(endpoint: Option<Url>, credentials: CredentialSource) -> Result<Self, BuildError> {
        let endpoint = endpoint
            .map(|url| rest::check_endpoint(SERVICE, &url).map(|()| url))
            .transpose()?;
        Ok(Self {
            wire: Wire::new(SERVICE, None)?,
            endpoint,
            credentials,
        })
    }

    async fn session(&self, key: &KeyId, deadline: Instant) -> Result<Session<'_>, Error> {
        let endpoint = self.endpoint.as_ref().or_else(|| key.endpoint());
        let is_local = endpoint.is_some_and(rest::is_loopback);
        let found = self.credentials.find(key.region(), is_local);
        let in_time = tokio::time::timeout_at(deadline, found).await;
        let (credentials, region) = in_time.unwrap_or_else(|_elapsed| {
            Err(Error::Credentials {
                service: SERVICE,
                reason: "the sources of credentials did not answer in time".to_owned(),
            })
        })?;
        let endpoint = match (endpoint, &region) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(region)) => credentials::regional_endpoint(region)?,
            (None, None) => return Err(credentials::no_region()),
        };
        let identity = match (credentials, region) {
            (Some(credentials), Some(region)) => Some(Identity {
                credentials,
                region,
            }),
            (Some(_), None) => return Err(credentials::no_region()),
            (None, _) => None,
        };
        Ok(Session {
            wire: &self.wire,
            endpoint,
            identity,
            deadline,
        })
    }
}

#[async_trait::async_trait]
impl KeyService for Kms {
    async fn fetch(
        &self,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        let key = parse(reference.as_str()).map_err(|error| Error::NotFound {
            host: SERVICE.to_owned(),
            message: error.to_string(),
        })?;
        let fetched = self.versions(&key, deadline).await;
        if matches!(fetched, Err(Error::Denied { .. })) {
            // Credentials can be withdrawn before they expire; the next attempt asks for new ones.
            self.credentials.forget().await;
        }
        fetched
    }

    /// An id or ARN of a key names one key pair for ever; an alias can be moved.
    fn is_fixed(&self, reference: &Reference) -> bool {
        parse(reference.as_str()).is_ok_and(|key| !key.is_alias())
    }
}

impl Kms {
    async fn versions(&self, key: &KeyId, deadline: Instant) -> Result<Vec<KeyVersion>, Error> {
        let session = self.session(key, deadline).await?;
        let described: Described = session.call("DescribeKey", key).await?;
        let host = rest::host(&session.endpoint);
        let arn = described.check(key, &host)?;
        let published: Published = session.call("GetPublicKey", key).await?;
        let public_key = published.check(&arn, &host)?;
        Ok(vec![KeyVersion {
            version: Some(arn),
            key: public_key,
        }])
    }
}

impl Session<'_> {
    async fn call<T: DeserializeOwned>(&self, operation: &str, key: &KeyId) -> Result<T, Error> {
        let request = self.request(operation, key)?;
        let answer = self.wire.send(request, self.deadline).await?;
        if !answer.is_success() {
            return Err(answer::error(&answer, operation));
        }
        answer.json()
    }

    fn request(&self, operation: &str, key: &KeyId) -> Result<Request, Error> {
        let body = json!({ "KeyId": key.id() }).to_string();
        let target = format!("TrentService.{operation}");
        let mut request = Request::new(Method::POST, rest::under(&self.endpoint, "/"));
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        if let Ok(value) = HeaderValue::from_str(&target) {
            headers.insert(TARGET, value);
        }
        if let Some(identity) = &self.identity {
            self.sign(identity, &target, &body, &mut request)?;
        }
        *request.body_mut() = Some(body.into());
        Ok(request)
    }

    /// Signature Version 4 in headers.
    fn sign(
        &self,
        identity: &Identity,
        target: &str,
        body: &str,
        request: &mut Request,
    ) -> Result<(), Error> {
        let unsignable = |reason: String| Error::Credentials {
            service: SERVICE,
            reason: format!("the request cannot be signed: {reason}"),
        };
        let credentials = identity.credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&credentials)
            .region(&identity.region)
            .name("kms")
            .time(SystemTime::from(crate::clock::now()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsignable(error.to_string()))?
            .into();
        let headers = [("content-type", JSON), ("x-amz-target", target)];
        let signable = SignableRequest::new(
            "POST",
            request.url().as_str(),
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        );
        let signed = signable
            .and_then(|signable| sign(signable, &parameters))
            .map_err(|error| unsignable(error.to_string()))?;
        for (name, value) in signed.output().headers() {
            let mut value = HeaderValue::from_str(value)
                .map_err(|_invalid| unsignable("a header is not text".to_owned()))?;
            value.set_sensitive(true);
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_invalid| unsignable("a header has no name".to_owned()))?;
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
