//! What Google Cloud KMS answers.

use serde::Deserialize;

use crate::keys::Error;
use crate::keys::rest::{Answer, shortened};

/// The answer of `cryptoKeyVersions.getPublicKey`. Fields that we do not need are ignored.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PublicKeyAnswer {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) algorithm: String,
    #[serde(default)]
    pem: String,
    pem_crc32c: Option<Integer>,
}

/// The answer of `cryptoKeyVersions.list`.
#[derive(Debug, Deserialize)]
pub(super) struct ListAnswer {
    #[serde(default, rename = "cryptoKeyVersions")]
    pub(super) versions: Vec<ListedVersion>,
    #[serde(default, rename = "nextPageToken")]
    pub(super) next_page: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ListedVersion {
    #[serde(default)]
    pub(super) name: String,
    state: Option<String>,
}

/// 64-bit integers are text in the JSON form of protocol buffers; readers must take both.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Integer {
    Text(String),
    Number(u64),
}

/// google.rpc.Status, as REST answers carry it.
#[derive(Debug, Default, Deserialize)]
struct ErrorAnswer {
    #[serde(default)]
    error: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    status: String,
    details: Vec<Detail>,
}

/// google.rpc.ErrorInfo among other details.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    reason: String,
}

impl PublicKeyAnswer {
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body)
            .map_err(|error| format!("the answer is not a public key in JSON: {error}"))
    }

    /// The key, if it arrived as it was sent. Google asks callers to discard what does not match.
    pub(super) fn checked_pem(&self) -> Result<&str, String> {
        let sent = match &self.pem_crc32c {
            Some(Integer::Text(text)) => text.parse().ok(),
            Some(Integer::Number(number)) => Some(*number),
            None => return Err("the key has no checksum (pemCrc32c)".to_owned()),
        };
        if sent == Some(u64::from(crc32c::crc32c(self.pem.as_bytes()))) {
            Ok(&self.pem)
        } else {
            Err("the key does not have its checksum (pemCrc32c)".to_owned())
        }
    }
}

impl ListAnswer {
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(body)
            .map_err(|error| format!("the answer is not a list of versions in JSON: {error}"))
    }
}

impl ListedVersion {
    /// Only enabled ones are asked for, so one without a state is.
    pub(super) fn is_enabled(&self) -> bool {
        self.state.as_deref().is_none_or(|state| state == "ENABLED")
    }
}

/// What an answer that is not a success means. `grant` is what a caller that is refused lacks.
pub(super) fn refused(host: &str, answer: &Answer, grant: &str) -> Error {
    let host = host.to_owned();
    let status = answer.status;
    let said: ErrorAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
    let Status {
        message: said,
        status: code,
        details,
    } = said.error;
    let message = if said.is_empty() {
        format!("HTTP status {status}")
    } else {
        shortened(&said)
    };
    match (status, code.as_str()) {
        // A version that is not enabled, or a key that has no public half: an answer about the key, not about us.
        (404, "NOT_FOUND") | (400, "FAILED_PRECONDITION") => Error::NotFound { host, message },
        // Whoever said that, it was not the service: a gateway that does not know the way says it too.
        (404, _) => Error::Unavailable {
            host,
            reason: message,
        },
        (403, _) if is_service_disabled(&details) => Error::Denied {
            host,
            status,
            message,
        },
        (403, _) => Error::Denied {
            host,
            status,
            message: format!("{message}; the caller needs {grant}"),
        },
        (429 | 500.., _) => Error::Unavailable {
            host,
            reason: message,
        },
        (300..=399, _) => Error::Unavailable {
            host,
            reason: format!("it redirects (HTTP status {status}), which is not followed"),
        },
        (_, _) => Error::Denied {
            host,
            status,
            message,
        },
    }
}

/// The API is not switched on in the project: the message says where, and no grant would help.
fn is_service_disabled(details: &[Detail]) -> bool {
    details
        .iter()
        .any(|detail| detail.reason == "SERVICE_DISABLED")
}
