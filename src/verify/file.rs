//! Sigstore bundles over files: what `verify-bundle` proves, by the rules of the public Sigstore client protocol.

use sigstore_types::{ArtifactDigest, Bundle, DerPublicKey, HashAlgorithm};
use sigstore_verify::{Policy, PublicKeyVerificationPolicy, VerificationPolicy};

use super::public_key::{PRIVATE_KEY, holds_private_key};
use super::{NoAuthority, TrustedRoot};
use crate::oci::Digest;
use crate::oci::digest::Algorithm;
use crate::signature::SigningCertificate;

/// What the bundle must be for.
#[derive(Debug, Clone, Copy)]
pub enum Artifact<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Bytes with this digest.
    Digest(Digest),
}

/// Who must have signed it.
#[derive(Debug, Clone, Copy)]
pub enum Signer<'a> {
    /// The holder of the key in this PEM text.
    Key {
        /// One `PUBLIC KEY` block.
        pem: &'a str,
    },
    /// An identity certified by the trusted root; both values are compared whole.
    Identity {
        /// The subject alternative name.
        identity: &'a str,
        /// The OIDC issuer.
        oidc_issuer: &'a str,
    },
}

/// Why a bundle proves nothing about an artifact.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no bundle.
    #[error("not a Sigstore bundle")]
    Bundle(#[source] sigstore_types::Error),
    /// The key is none.
    #[error("not a usable public key")]
    Key(#[source] sigstore_types::Error),
    /// The key is the signer's own.
    #[error("{PRIVATE_KEY}")]
    PrivateKey,
    /// The digest does not fit its algorithm.
    #[error("not a usable digest")]
    Digest(#[source] sigstore_types::Error),
    /// The bundle is read, and does not prove it.
    #[error("the bundle does not verify")]
    Refused(#[source] Box<sigstore_verify::Error>),
    /// Its certificate is read, and none that counts.
    #[error("the bundle does not verify: {0}")]
    Certificate(String),
    /// No authority of the trusted root stands above its certificate.
    #[error("the bundle does not verify")]
    Authority(#[source] NoAuthority),
}

/// Verifies `bundle_json` as a signature or attestation of `artifact` by `signer`, with a log entry, a verified time and,
/// for identities, a certificate-transparency promise.
///
/// # Errors
/// When anything is not as it must be.
pub fn verify_bundle(
    bundle_json: &str,
    artifact: Artifact<'_>,
    signer: Signer<'_>,
    trusted_root: &TrustedRoot,
) -> Result<(), Error> {
    let bundle = Bundle::from_json(bundle_json).map_err(Error::Bundle)?;
    let policy: Box<dyn Policy> = match signer {
        Signer::Key { pem } if holds_private_key(pem) => return Err(Error::PrivateKey),
        Signer::Key { pem } => Box::new(PublicKeyVerificationPolicy::new(
            DerPublicKey::from_pem(pem).map_err(Error::Key)?,
        )),
        Signer::Identity {
            identity,
            oidc_issuer,
        } => Box::new(VerificationPolicy::new(identity, oidc_issuer)),
    };
    let artifact = match artifact {
        Artifact::Bytes(bytes) => sigstore_types::Artifact::from_blob(bytes),
        Artifact::Digest(digest) => {
            let algorithm = match digest.algorithm() {
                Algorithm::Sha256 => HashAlgorithm::Sha2256,
                Algorithm::Sha512 => HashAlgorithm::Sha2512,
            };
            ArtifactDigest::new(algorithm, digest.as_bytes().to_vec())
                .map(sigstore_types::Artifact::from_digest)
                .map_err(Error::Digest)?
        }
    };
    let refused = |error| Error::Refused(Box::new(error));
    let verifier = trusted_root.for_files().map_err(refused)?;
    let verified = verifier
        .verify(artifact, &bundle, policy.as_ref())
        .map_err(refused)?;
    match SigningCertificate::of(&bundle).map_err(Error::Certificate)? {
        Some(certificate) => trusted_root
            .check_authority(&certificate, verified.verified_timestamps())
            .map_err(Error::Authority),
        None => Ok(()),
    }
}
