//! Public keys that are kept in key services: fetched, checked, and kept fresh off the request path.

pub mod aws;
pub mod azure;
pub mod vault;

mod reference_error;
mod service;
mod subject_public_key;
mod wire;

#[cfg(test)]
mod fake_service;

use std::fmt;

pub use reference_error::ReferenceError;
pub use service::{BuildError, Error, KeyService};

/// The most versions of one key that may vouch (verification rule 9).
pub const VERSIONS_MAX: usize = 16;

/// Which service a reference is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `gcpkms://`, Google Cloud KMS.
    Google,
    /// `awskms://`, AWS KMS.
    Aws,
    /// `azurekms://`, Azure Key Vault.
    Azure,
    /// `hashivault://`, the transit engine of Vault and its kin.
    Vault,
    /// `k8s://`, a secret of the cluster.
    Kubernetes,
}

/// A key in a key service, as the configuration names it. Checked for form when it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    scheme: Scheme,
    text: String,
}

impl Reference {
    /// Which service has it.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The whole reference, scheme included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
