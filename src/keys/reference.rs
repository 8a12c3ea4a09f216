//! How the configuration names a key in a key service.

use std::fmt;
use std::str::FromStr;

use super::{ReferenceError, aws, azure, google, kubernetes, vault};

/// Which service a reference is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `gcpkms://`, Google Cloud KMS.
    Google,
    /// `awskms://`, AWS KMS.
    Aws,
    /// `azurekms://`, Azure Key Vault.
    Azure,
    /// `hashivault://`, the transit engine of Vault and of its forks.
    Vault,
    /// `k8s://`, a secret of the cluster.
    Kubernetes,
}

/// A key in a key service, as the configuration names it. Its form was checked when it was made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    scheme: Scheme,
    text: String,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Google,
        Self::Aws,
        Self::Azure,
        Self::Vault,
        Self::Kubernetes,
    ];

    /// The scheme that `text` begins with.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let (scheme, _) = text.split_once("://")?;
        Self::ALL.into_iter().find(|known| known.as_str() == scheme)
    }

    /// What stands before `://`, and names the service under `key_providers`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Google => "gcpkms",
            Self::Aws => "awskms",
            Self::Azure => "azurekms",
            Self::Vault => "hashivault",
            Self::Kubernetes => "k8s",
        }
    }
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

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let scheme = Scheme::of(text).ok_or(ReferenceError {
            problem: "the scheme is none of gcpkms://, awskms://, azurekms://, hashivault:// and k8s://",
            example: google::EXAMPLE,
        })?;
        match scheme {
            Scheme::Google => google::parse(text).map(drop),
            Scheme::Aws => aws::parse(text).map(drop),
            Scheme::Azure => azure::parse(text).map(drop),
            Scheme::Vault => vault::parse(text).map(drop),
            Scheme::Kubernetes => kubernetes::parse(text).map(drop),
        }?;
        Ok(Self {
            scheme,
            text: text.to_owned(),
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
