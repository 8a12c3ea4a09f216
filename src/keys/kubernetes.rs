//! Keys in secrets of the cluster that the program runs in, as `cosign generate-key-pair k8s://…` leaves them.

#[cfg(test)]
mod tests;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;

use super::limits::{FILE_BYTES_MAX, VERSIONS_MAX};
use super::rest::{self, Answer, shortened};
use super::{BuildError, Error, KeyService, Reference, ReferenceError};
use crate::policy::KeyVersion;
use crate::secret::Secret;
use crate::verify::PublicKey;

const SERVICE: &str = "Kubernetes";
const EXAMPLE: &str = "k8s://NAMESPACE/SECRET";
/// The field of a secret that `cosign generate-key-pair` writes the public key to.
const FIELD: &str = "cosign.pub";
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const PEM_END: &str = "-----END PUBLIC KEY-----";

/// A secret with a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretName {
    namespace: String,
    name: String,
}

/// How the cluster is reached and who we are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// The API server; absent outside a cluster.
    pub endpoint: Option<Url>,
    /// The token of the service account. It is read for every request, because it is replaced before it expires.
    pub token_file: PathBuf,
    /// The certificates that the API server is trusted by, beside the platform's. Read for every request too.
    pub certificates_file: PathBuf,
}

/// The API server of a cluster.
#[derive(Debug)]
pub struct Secrets {
    endpoint: Option<Url>,
    cluster: Cluster,
}

/// A secret, as the API server sends it.
#[derive(Debug, Deserialize)]
struct SecretAnswer {
    metadata: Metadata,
    #[serde(default)]
    data: Data,
}

/// Of what the secret holds, only this is kept: a private key may lie beside it.
#[derive(Debug, Default, Deserialize)]
struct Data {
    #[serde(rename = "cosign.pub")]
    public_key: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

/// The `Status` that the API server sends when it refuses.
#[derive(Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// Reads `k8s://namespace/secret`.
///
/// # Errors
/// When it is anything else.
pub fn parse(text: &str) -> Result<SecretName, ReferenceError> {
    let wrong = |problem| ReferenceError {
        problem,
        example: EXAMPLE,
    };
    let path = text
        .strip_prefix("k8s://")
        .ok_or_else(|| wrong("it does not begin with k8s://"))?;
    let (namespace, name) = path
        .split_once('/')
        .ok_or_else(|| wrong("it does not name a secret in a namespace"))?;
    if !is_name(namespace, false) || !is_name(name, true) {
        return Err(wrong("the namespace or the secret has no valid name"));
    }
    Ok(SecretName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// Names are DNS labels (namespaces) or subdomains (secrets).
fn is_name(text: &str, dots: bool) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_allowed = |byte: u8| is_alphanumeric(byte) || byte == b'-' || (dots && byte == b'.');
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.len() <= 253
        && bytes.iter().copied().all(is_allowed)
        && ends
            .iter()
            .all(|byte| byte.copied().is_some_and(is_alphanumeric))
}

impl Cluster {
    /// What Kubernetes tells every pod. `variable` looks up an environment variable.
    #[must_use]
    pub fn around(variable: impl Fn(&str) -> Option<String>) -> Self {
        let host = variable("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty());
        let port = variable("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".to_owned());
        let endpoint = host.and_then(|host| {
            let is_ipv6 = host.contains(':') && !host.starts_with('[');
            let host = if is_ipv6 { format!("[{host}]") } else { host };
            Url::parse(&format!("https://{host}:{port}")).ok()
        });
        Self {
            endpoint,
            token_file: Path::new(ACCOUNT).join("token"),
            certificates_file: Path::new(ACCOUNT).join("ca.crt"),
        }
    }
}

impl Secrets {
    /// Reads secrets from `endpoint`, or from the cluster's own API server.
    ///
    /// # Errors
    /// When the endpoint is neither `https` nor on a loopback address.
    pub fn new(endpoint: Option<Url>, cluster: Cluster) -> Result<Self, BuildError> {
        if let Some(endpoint) = &endpoint {
            rest::check_endpoint(SERVICE, endpoint)?;
        }
        Ok(Self { endpoint, cluster })
    }

    async fn read(&self, secret: &SecretName, deadline: Instant) -> Result<SecretAnswer, Error> {
        let endpoint = self.endpoint.as_ref().or(self.cluster.endpoint.as_ref());
        let endpoint = endpoint.ok_or_else(|| {
            no_credentials(
                "KUBERNETES_SERVICE_HOST is not set: the program does not run in a cluster, and key_providers.k8s.endpoint names none".to_owned(),
            )
        })?;
        let SecretName { namespace, name } = secret;
        let path = ["api", "v1", "namespaces", namespace, "secrets", name];
        let url = rest::url(endpoint, path.into_iter());
        let (client, headers) = self.caller(endpoint)?;
        let answer = rest::get(&client, url, headers, deadline).await?;
        let host = rest::host(endpoint);
        if !answer.is_success() {
            return Err(refused(host, &answer, secret));
        }
        let malformed = |reason| Error::Malformed {
            host: host.clone(),
            reason,
        };
        let answer: SecretAnswer =
            serde_json::from_slice(&answer.body).map_err(|error| malformed(unreadable(&error)))?;
        if answer.metadata.name != *name || answer.metadata.namespace != *namespace {
            return Err(malformed("it sent another secret".to_owned()));
        }
        Ok(answer)
    }

    /// The client and the headers, from the files as they are now.
    fn caller(&self, endpoint: &Url) -> Result<(reqwest::Client, HeaderMap), Error> {
        let certificates = read_file(&self.cluster.certificates_file)?;
        let client = rest::client(SERVICE, endpoint, certificates.as_deref())
            .map_err(|error| no_credentials(chain(&error)))?;
        let mut headers = HeaderMap::new();
        if let Some(token) = read_file(&self.cluster.token_file)? {
            let token = String::from_utf8_lossy(&token).trim().to_owned();
            let token = Secret::new(format!("Bearer {token}"));
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_error| {
                let path = self.cluster.token_file.display();
                no_credentials(format!("{path} does not hold a token"))
            })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        } else if self.endpoint.is_none() {
            let path = self.cluster.token_file.display();
            return Err(no_credentials(format!(
                "there is no {path}: the pod has no service account token"
            )));
        }
        Ok((client, headers))
    }
}

#[async_trait::async_trait]
impl KeyService for Secrets {
    async fn fetch(
        &self,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        let secret = parse(reference.as_str()).map_err(|error| Error::Malformed {
            host: SERVICE.to_owned(),
            reason: error.to_string(),
        })?;
        let answer = self.read(&secret, deadline).await?;
        keys(&answer).map_err(|reason| Error::Malformed {
            host: format!("secret {}/{}", secret.namespace, secret.name),
            reason,
        })
    }
}

/// Every key in the secret, in its order. Each may vouch: that is how a key is replaced by another.
fn keys(secret: &SecretAnswer) -> Result<Vec<KeyVersion>, String> {
    let Some(encoded) = &secret.data.public_key else {
        return Err(format!("it has no `{FIELD}`"));
    };
    let text = BASE64_STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| format!("its `{FIELD}` is not base64 of text"))?;
    let blocks: Vec<&str> = text
        .split_inclusive(PEM_END)
        .filter(|block| !block.trim().is_empty())
        .collect();
    if blocks.is_empty() {
        return Err(format!("its `{FIELD}` is empty"));
    }
    if blocks.len() > VERSIONS_MAX {
        return Err(format!("its `{FIELD}` has more than {VERSIONS_MAX} keys"));
    }
    let keys = blocks
        .into_iter()
        .map(|block| PublicKey::from_pem(block).map(|key| KeyVersion { version: None, key }));
    keys.collect::<Result<_, _>>()
        .map_err(|error| format!("a key in its `{FIELD}` cannot be used: {error}"))
}

/// What an answer that is not a success means.
fn refused(host: String, answer: &Answer, secret: &SecretName) -> Error {
    let status = answer.status;
    let said: Status = serde_json::from_slice(&answer.body).unwrap_or_default();
    let message = if said.message.is_empty() {
        format!("HTTP status {status}")
    } else {
        shortened(&said.message)
    };
    let SecretName { namespace, name } = secret;
    match status {
        404 if said.kind == "Status" && said.reason == "NotFound" => {
            Error::NotFound { host, message }
        }
        // Whoever said that, it was not the API server: a gateway that does not know the way says it too.
        404 => Error::Unavailable {
            host,
            reason: message,
        },
        403 => Error::Denied {
            host,
            status,
            message: format!(
                "{message}; the service account needs a role in namespace {namespace} that may `get` the secret {name}"
            ),
        },
        300..=399 => Error::Unavailable {
            host,
            reason: format!("it redirects (HTTP status {status}), which is not followed"),
        },
        429 | 500.. => Error::Unavailable {
            host,
            reason: message,
        },
        _ => Error::Denied {
            host,
            status,
            message,
        },
    }
}

/// What is wrong with an answer that is not a secret. The error of the parser may quote it, and a secret may hold a
/// private key beside the public one, so only the place is told.
fn unreadable(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("the answer is not a secret in JSON (line {line}, column {column})")
}

/// The content of a small file, or nothing if there is none.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |error: &std::io::Error| no_credentials(format!("{}: {error}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(&error)),
    };
    let mut content = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content);
    let read = read.map_err(|error| failed(&error))?;
    if read as u64 > FILE_BYTES_MAX {
        let path = path.display();
        return Err(no_credentials(format!(
            "{path} is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(Some(content))
}

fn no_credentials(reason: String) -> Error {
    Error::Credentials {
        service: SERVICE,
        reason,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let causes: Vec<String> = chain.map(ToString::to_string).collect();
    causes.join(": ")
}
