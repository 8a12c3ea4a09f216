//! Logs and timestamp authorities of one's own, in place of those of a trusted root.

use super::TrustedRootError;
use crate::oci::Digest;

/// Whom to believe in place of those whom a trusted root has for the same. What is not among it stays the root's.
#[derive(Debug)]
pub struct RootParts {
    /// SHA-256 of the JSON it was read from.
    pub digest: Digest,
    source: sigstore_trust_root::TrustedRoot,
}

impl RootParts {
    /// Reads a `trusted_root.json` of which only what is there counts.
    ///
    /// # Errors
    /// When it is not one.
    pub fn from_json(text: &str) -> Result<Self, TrustedRootError> {
        let source = sigstore_trust_root::TrustedRoot::from_json(text)
            .map_err(|error| TrustedRootError(Box::new(error)))?;
        Ok(Self {
            digest: Digest::sha256(text.as_bytes()),
            source,
        })
    }

    /// Returns true if it names transparency logs.
    #[must_use]
    pub fn has_logs(&self) -> bool {
        !self.source.tlogs.is_empty()
    }

    /// Returns true if it names certificate-transparency logs.
    #[must_use]
    pub fn has_certificate_logs(&self) -> bool {
        !self.source.ctlogs.is_empty()
    }

    /// Returns true if it names timestamp authorities.
    #[must_use]
    pub fn has_timestamp_authorities(&self) -> bool {
        !self.source.timestamp_authorities.is_empty()
    }

    /// Puts what is there in the place of the root's own.
    pub(super) fn replace_in(&self, root: &mut sigstore_trust_root::TrustedRoot) {
        let parts = &self.source;
        if !parts.tlogs.is_empty() {
            root.tlogs.clone_from(&parts.tlogs);
        }
        if !parts.ctlogs.is_empty() {
            root.ctlogs.clone_from(&parts.ctlogs);
        }
        if !parts.timestamp_authorities.is_empty() {
            root.timestamp_authorities
                .clone_from(&parts.timestamp_authorities);
        }
    }
}
