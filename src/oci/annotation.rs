//! The annotations of descriptors that are read here. No others are kept, because a document may have very many.

/// The signature over a layer of a legacy signature manifest (cosign, `SIGNATURE_SPEC.md`).
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The certificate of the signer.
pub const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// The certificates that issued it.
pub const CHAIN: &str = "dev.sigstore.cosign/chain";
/// The entry in a transparency log.
pub const LOG_ENTRY: &str = "dev.sigstore.cosign/bundle";
/// The timestamp of a timestamp authority.
pub const SIGNED_TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";
/// The predicate type of a bundle. cosign and GitHub write it on the manifest; referrers lists repeat it.
pub const BUNDLE_PREDICATE_TYPE: &str = "dev.sigstore.bundle.predicateType";
/// The predicate type of a layer of a legacy attestation manifest, which cosign writes.
pub const LAYER_PREDICATE_TYPE: &str = "predicateType";

/// Returns true if the annotation is read here.
#[must_use]
pub fn is_read(key: &str) -> bool {
    matches!(
        key,
        SIGNATURE
            | CERTIFICATE
            | CHAIN
            | LOG_ENTRY
            | SIGNED_TIMESTAMP
            | BUNDLE_PREDICATE_TYPE
            | LAYER_PREDICATE_TYPE
    )
}
