//! What authorities vouch with, as it is known now: keys and trusted roots that are kept elsewhere and change there.
//!
//! A policy holds a snapshot. When a key service or a trusted root says something new, a new set of policies is made
//! from the old one (see `Policies::with_material`); nothing is changed in place.

use std::sync::Arc;

use crate::verify::{PublicKey, TrustedRoot};

/// The keys behind one reference.
#[derive(Debug, Clone)]
pub enum KeySet {
    /// These, the newest version first; never empty. Any of them may vouch.
    Known(Vec<KeyVersion>),
    /// They could not be read, or too long ago. What depends on them cannot be decided.
    Unusable {
        /// One sentence without the final stop: what could not be read and why.
        reason: String,
    },
}

/// One version of a key.
#[derive(Debug, Clone)]
pub struct KeyVersion {
    /// The service's name for the version; absent for keys without versions, such as files.
    pub version: Option<String>,
    /// The key.
    pub key: PublicKey,
}

/// A trusted root as it is known now.
#[derive(Debug, Clone)]
pub enum Root {
    /// It may be believed.
    Usable(Arc<TrustedRoot>),
    /// It could not be had, or was refreshed too long ago. What depends on it cannot be decided.
    Unusable {
        /// One sentence without the final stop: what is wrong with it.
        reason: String,
    },
}

impl KeySet {
    /// The set of one key without versions.
    #[must_use]
    pub fn of(key: PublicKey) -> Self {
        Self::Known(vec![KeyVersion { version: None, key }])
    }

    /// The keys; none while they are unusable.
    #[must_use]
    pub fn versions(&self) -> &[KeyVersion] {
        match self {
            Self::Known(versions) => versions,
            Self::Unusable { .. } => &[],
        }
    }
}
