//! What a key service is to the rest of the program.

use tokio::time::Instant;

use super::Reference;
use crate::policy::KeyVersion;

/// Reads the public keys of one kind of reference (`gcpkms://`, `awskms://`, …).
#[async_trait::async_trait]
pub trait KeyService: std::fmt::Debug + Send + Sync {
    /// Every version of the key that may vouch now, the newest first; never empty. At most
    /// [`VERSIONS_MAX`](super::VERSIONS_MAX).
    ///
    /// # Errors
    /// When they cannot be read, or what was read must not be believed.
    async fn fetch(
        &self,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error>;

    /// Whether what the reference names has the same key for ever, as a pinned version has: then a signature by an
    /// unknown key is no reason to ask again.
    fn is_fixed(&self, _reference: &Reference) -> bool {
        false
    }
}

/// Why a key service cannot be used at all: a mistake in the configuration or in the system.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The endpoint is neither `https` nor on this machine, or has a user, query or fragment.
    #[error(
        "the endpoint of {service} must be https://host[:port], or http:// on a loopback address"
    )]
    Endpoint {
        /// The service, in words.
        service: &'static str,
    },
    /// No HTTP client could be made.
    #[error("the HTTP client of {service} cannot be made")]
    Client {
        /// The service, in words.
        service: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why keys could not be read. `Display` names the service's host and what it said, never a credential.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There are no credentials, or they could not be exchanged for a token.
    #[error("no credentials for {service}: {reason}")]
    Credentials {
        /// The service, in words.
        service: &'static str,
        /// What is missing, and where it is looked for.
        reason: String,
    },
    /// The service refuses us.
    #[error("{host} refuses ({status}): {message}")]
    Denied {
        /// Who.
        host: String,
        /// HTTP status.
        status: u16,
        /// What it says, shortened.
        message: String,
    },
    /// There is no such key, or no version of it is enabled.
    #[error("{host} has no such key: {message}")]
    NotFound {
        /// Who.
        host: String,
        /// What it says, shortened.
        message: String,
    },
    /// It does not answer, is overloaded or fails.
    #[error("{host} cannot be asked: {reason}")]
    Unavailable {
        /// Who.
        host: String,
        /// Why.
        reason: String,
    },
    /// It answered with something that must not be believed: a wrong name, a wrong checksum, no key at all.
    #[error("{host} answered with something unusable: {reason}")]
    Malformed {
        /// Who.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
}
