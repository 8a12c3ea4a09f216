//! Keys in Google Cloud KMS, read over its REST interface. Verification is local: KMS is never asked to verify.

mod algorithm;
mod answer;
mod credentials;
mod name;

#[cfg(test)]
mod tests;

use futures::FutureExt as _;
use reqwest::header::HeaderMap;
use tokio::time::Instant;
use url::Url;

use super::limits::{LIST_PAGE_VERSIONS, LIST_PAGES_MAX};
use super::rest::{self, Answer};
use super::versions::{self, Refusal};
use super::{BuildError, Error, KeyService, Reference};
use crate::policy::KeyVersion;
use answer::{ListAnswer, PublicKeyAnswer};

pub use credentials::GoogleToken;
pub use name::{EXAMPLE, KeyName, parse};

const SERVICE: &str = "Google Cloud KMS";
const ENDPOINT: &str = "https://cloudkms.googleapis.com";

/// What the caller of each method must be granted, in the words of IAM.
const GRANT_VIEW: &str =
    "cloudkms.cryptoKeyVersions.viewPublicKey (roles/cloudkms.publicKeyViewer)";
const GRANT_LIST: &str = "cloudkms.cryptoKeyVersions.list (roles/cloudkms.viewer), which only a reference without a version needs";

/// Google Cloud KMS, or what stands in for it at another endpoint.
#[derive(Debug)]
pub struct CloudKms {
    endpoint: Url,
    host: String,
    client: reqwest::Client,
    token: GoogleToken,
}

/// What a request is sent with.
struct Caller {
    headers: HeaderMap,
    /// Why there are no credentials in the headers.
    anonymous: Option<Error>,
    deadline: Instant,
}

impl CloudKms {
    /// Reads keys from `endpoint`, or from Google's own.
    ///
    /// # Errors
    /// When the endpoint is neither `https` nor on a loopback address, or no HTTP client can be made.
    pub fn new(endpoint: Option<Url>, token: GoogleToken) -> Result<Self, BuildError> {
        let default =
            || Url::parse(ENDPOINT).map_err(|_error| BuildError::Endpoint { service: SERVICE });
        let endpoint = endpoint.map_or_else(default, Ok)?;
        rest::check_endpoint(SERVICE, &endpoint)?;
        Ok(Self {
            host: rest::host(&endpoint),
            client: rest::client(SERVICE, &endpoint, None)?,
            endpoint,
            token,
        })
    }

    /// Every enabled version, the newest first.
    async fn enabled(&self, name: &KeyName, caller: &Caller) -> Result<Vec<KeyVersion>, Error> {
        let mut numbers = self.list(name, caller).await?;
        // By number: as text, version 9 would come after version 10.
        numbers.sort_unstable_by(|one, other| other.cmp(one));
        numbers.dedup();
        let key = name.to_string();
        let numbers = versions::newest(&key, numbers).into_iter();
        let asking = numbers.map(|number| {
            async move { (number.to_string(), self.version(name, number, caller).await) }.boxed()
        });
        let none = Error::NotFound {
            host: self.host.clone(),
            message: format!("no version of {name} is enabled"),
        };
        versions::that_vouch(&key, asking.collect(), none).await
    }

    /// The numbers of the versions that are enabled.
    async fn list(&self, name: &KeyName, caller: &Caller) -> Result<Vec<u64>, Error> {
        let mut numbers = Vec::new();
        let mut page = String::new();
        for _page in 0..LIST_PAGES_MAX {
            let segments = name.key().split('/').chain(["cryptoKeyVersions"]);
            let mut url = self.url(segments);
            url.set_query(Some(&format!(
                "filter=state%3DENABLED&orderBy=name%20desc&pageSize={LIST_PAGE_VERSIONS}"
            )));
            if !page.is_empty() {
                url.query_pairs_mut().append_pair("pageToken", &page);
            }
            let answer = self.get(url, caller).await?;
            if !answer.is_success() {
                return Err(self.refused(&answer, caller, GRANT_LIST));
            }
            let list = ListAnswer::parse(&answer.body).map_err(|reason| self.malformed(reason))?;
            for version in &list.versions {
                let number = name.number_of(&version.name).ok_or_else(|| {
                    let found = rest::shortened(&version.name);
                    self.malformed(format!("{found} is listed as a version of {name}"))
                })?;
                if version.is_enabled() {
                    numbers.push(number);
                }
            }
            page = list.next_page;
            if page.is_empty() {
                return Ok(numbers);
            }
        }
        // The rest may hold the newest: the order is the server's own.
        Err(self.malformed(format!(
            "the list of versions of {name} has more than {LIST_PAGES_MAX} pages"
        )))
    }

    /// One version: exactly one request.
    async fn version(
        &self,
        name: &KeyName,
        number: u64,
        caller: &Caller,
    ) -> Result<KeyVersion, Refusal> {
        let version_name = name.version(number);
        let url = self.url(version_name.split('/').chain(["publicKey"]));
        let answer = self.get(url, caller).await.map_err(Refusal::Failed)?;
        if !answer.is_success() {
            let error = self.refused(&answer, caller, GRANT_VIEW);
            return Err(match error {
                Error::NotFound { .. } => Refusal::Disabled(error),
                Error::Credentials { .. }
                | Error::Denied { .. }
                | Error::Unavailable { .. }
                | Error::Malformed { .. } => Refusal::Failed(error),
            });
        }
        let failed = |reason| Refusal::Failed(self.malformed(reason));
        let answer = PublicKeyAnswer::parse(&answer.body).map_err(failed)?;
        if answer.name != version_name {
            let found = rest::shortened(&answer.name);
            return Err(failed(format!("asked for {version_name}, it sent {found}")));
        }
        let Some(kind) = algorithm::kind(&answer.algorithm) else {
            let found = rest::shortened(&answer.algorithm);
            return Err(Refusal::Unsupported(self.malformed(format!(
                "the algorithm of {version_name} is {found}, which is none that images are signed with"
            ))));
        };
        let pem = answer.checked_pem().map_err(failed)?;
        let key = algorithm::key(pem, kind).map_err(|problem| {
            failed(format!(
                "the key of {version_name} is not believed: {problem}"
            ))
        })?;
        Ok(KeyVersion {
            version: Some(number.to_string()),
            key,
        })
    }

    async fn get(&self, url: Url, caller: &Caller) -> Result<Answer, Error> {
        rest::get(&self.client, url, caller.headers.clone(), caller.deadline).await
    }

    fn url<'a>(&self, segments: impl Iterator<Item = &'a str>) -> Url {
        rest::url(&self.endpoint, ["v1"].into_iter().chain(segments))
    }

    /// Who asks. At an endpoint on this machine it may be nobody: what stands in for Google there need not ask.
    async fn caller(&self, deadline: Instant) -> Result<Caller, Error> {
        let is_optional = rest::is_loopback(&self.endpoint);
        match self.token.headers(deadline, is_optional).await {
            Ok(headers) => Ok(Caller {
                headers,
                anonymous: None,
                deadline,
            }),
            Err(missing) if is_optional && missing.is_nowhere => {
                tracing::debug!(error = %missing.error, host = %self.host, "asking without credentials");
                Ok(Caller {
                    headers: HeaderMap::new(),
                    anonymous: Some(missing.error),
                    deadline,
                })
            }
            Err(missing) => Err(missing.error),
        }
    }

    /// What an answer that is not a success means.
    fn refused(&self, answer: &Answer, caller: &Caller, grant: &str) -> Error {
        if let (401 | 403, Some(missing)) = (answer.status, &caller.anonymous) {
            return missing.clone();
        }
        answer::refused(&self.host, answer, grant)
    }

    fn malformed(&self, reason: String) -> Error {
        Error::Malformed {
            host: self.host.clone(),
            reason,
        }
    }
}

#[async_trait::async_trait]
impl KeyService for CloudKms {
    async fn fetch(
        &self,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        let name = parse(reference.as_str()).map_err(|error| self.malformed(error.to_string()))?;
        let caller = self.caller(deadline).await?;
        let Some(number) = name.pinned() else {
            return self.enabled(&name, &caller).await;
        };
        match self.version(&name, number, &caller).await {
            Ok(version) => Ok(vec![version]),
            Err(refusal) => Err(refusal.into_error()),
        }
    }

    fn is_fixed(&self, reference: &Reference) -> bool {
        parse(reference.as_str()).is_ok_and(|name| name.pinned().is_some())
    }
}
