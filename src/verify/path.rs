//! Certificate paths: from a certificate over untrusted ones up to an anchor (RFC 5280, 6).

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm,
    TrustAnchor, UnixTime, alg_id,
};
use webpki::{
    EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage,
    RequiredEkuNotFoundContext,
};
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Any, Encode as _, Tag};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::algorithm::{Algorithm, Hash, KeyKind};
use super::issuing::ANY_PURPOSE;
use crate::signature::read_certificate;

/// No path leads from a certificate to an anchor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// The certificate itself is not for the purpose.
    #[error("the certificate is not for {0}")]
    Purpose(&'static str),
    /// A certificate between it and the anchor is not for the purpose.
    #[error("a certificate between it and its root is not for {0}")]
    PurposeAbove(&'static str),
    /// Neither an anchor nor a certificate that came along issued it, or one of those above it.
    #[error("its issuer is unknown")]
    UnknownIssuer,
    /// The signature in a certificate is not by its issuer.
    #[error("the signature in a certificate is not by its issuer")]
    Signature,
    /// A certificate was signed in a way that is not supported.
    #[error("a certificate is signed with an algorithm that is not supported")]
    Algorithm,
    /// A certificate was not valid at the time.
    #[error("a certificate of its chain was not valid at {0}")]
    Time(Timestamp),
    /// More authorities stand in the path than one of them allows.
    #[error("more authorities stand between it and its root than a path length allows")]
    PathLength,
    /// A name is outside the constraints of an authority.
    #[error("an authority above it does not allow its name (name constraints)")]
    NameConstraints,
    /// A certificate that is not one of an authority issued another.
    #[error("a certificate that is not one of an authority stands above it")]
    NotAnAuthority,
    /// The certificate is one of an authority.
    #[error("it is the certificate of an authority, which signs certificates only")]
    IsAnAuthority,
    /// A critical extension is not known here.
    #[error("a certificate has a critical extension that is not supported")]
    CriticalExtension,
    /// The search for a path was given up.
    #[error("too many ways lead up from it")]
    TooManyWays,
    /// Everything else.
    #[error("{0}")]
    Other(String),
}

/// A purpose of certificates, with its name in messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    pub(super) purpose: ObjectIdentifier,
    pub(super) name: &'static str,
}

/// Builds a path from `leaf` to one of the anchors at a time, and returns the key of who issued the leaf (DER
/// SubjectPublicKeyInfo).
///
/// The leaf must say that it is for the usage. An authority may leave out what it is for (RFC 5280, 4.2.1.12). Whether
/// anchors and the certificates that came along may sign others is for the caller.
pub(super) fn build(
    leaf: &[u8],
    intermediates: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    time: Timestamp,
    usage: Usage,
) -> Result<Vec<u8>, PathError> {
    let seconds = u64::try_from(time.as_second()).map_err(|_early| PathError::Time(time))?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    if !is_for(leaf, usage.purpose) {
        return Err(PathError::Purpose(usage.name));
    }
    let der = CertificateDer::from(leaf);
    let failed = |error: webpki::Error| named(&error, usage.name, time);
    let certificate = EndEntityCert::try_from(&der).map_err(failed)?;
    let path = certificate
        .verify_for_usage(
            ALGORITHMS,
            anchors,
            intermediates,
            at,
            Purposes(usage.purpose),
            None,
            None,
        )
        .map_err(failed)?;
    match path.intermediate_certificates().next() {
        Some(issuer) => Ok(issuer.subject_public_key_info().to_vec()),
        // An anchor keeps the contents of the SubjectPublicKeyInfo without its tag.
        None => {
            let contents = path.anchor().subject_public_key_info.as_ref();
            Any::new(Tag::Sequence, contents)
                .and_then(|info| info.to_der())
                .map_err(|error| PathError::Other(error.to_string()))
        }
    }
}

fn is_for(leaf: &[u8], purpose: ObjectIdentifier) -> bool {
    let Ok(certificate) = read_certificate(leaf) else {
        return false;
    };
    let purposes = certificate.tbs_certificate.get::<ExtendedKeyUsage>();
    purposes
        .ok()
        .flatten()
        .is_some_and(|(_, purposes)| purposes.0.contains(&purpose))
}

/// Accepts a certificate that is for the purpose, for any purpose, or does not say what it is for.
struct Purposes(ObjectIdentifier);

impl ExtendedKeyUsageValidator for Purposes {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        let accepted = [self.0, ANY_PURPOSE];
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            let is_accepted = |it: &ObjectIdentifier| purpose == KeyPurposeId::new(it.as_bytes());
            if accepted.iter().any(is_accepted) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = KeyUsage::server_auth();
        Err(webpki::Error::RequiredEkuNotFoundContext(
            RequiredEkuNotFoundContext { required, present },
        ))
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "most of the errors are about revocation lists and names of servers"
)]
fn named(error: &webpki::Error, usage: &'static str, time: Timestamp) -> PathError {
    use webpki::Error;
    match error {
        Error::UnknownIssuer => PathError::UnknownIssuer,
        Error::RequiredEkuNotFoundContext(_) => PathError::PurposeAbove(usage),
        Error::InvalidSignatureForPublicKey => PathError::Signature,
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::SignatureAlgorithmMismatch => PathError::Algorithm,
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => PathError::Time(time),
        Error::PathLenConstraintViolated => PathError::PathLength,
        Error::NameConstraintViolation | Error::UnsupportedNameType => PathError::NameConstraints,
        Error::EndEntityUsedAsCa => PathError::NotAnAuthority,
        Error::CaUsedAsEndEntity => PathError::IsAnAuthority,
        Error::UnsupportedCriticalExtension => PathError::CriticalExtension,
        Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded
        | Error::MaximumNameConstraintComparisonsExceeded => PathError::TooManyWays,
        other => PathError::Other(other.to_string()),
    }
}

/// The algorithms with which certificates may be signed: every algorithm of [`super::algorithm`].
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    &PathAlgorithm::ecdsa(KeyKind::P256, Hash::Sha256),
    &PathAlgorithm::ecdsa(KeyKind::P256, Hash::Sha384),
    &PathAlgorithm::ecdsa(KeyKind::P256, Hash::Sha512),
    &PathAlgorithm::ecdsa(KeyKind::P384, Hash::Sha256),
    &PathAlgorithm::ecdsa(KeyKind::P384, Hash::Sha384),
    &PathAlgorithm::ecdsa(KeyKind::P384, Hash::Sha512),
    &PathAlgorithm::ecdsa(KeyKind::P521, Hash::Sha256),
    &PathAlgorithm::ecdsa(KeyKind::P521, Hash::Sha384),
    &PathAlgorithm::ecdsa(KeyKind::P521, Hash::Sha512),
    &PathAlgorithm::rsa(Algorithm::RsaPkcs1(Hash::Sha256), alg_id::RSA_PKCS1_SHA256),
    &PathAlgorithm::rsa(Algorithm::RsaPkcs1(Hash::Sha384), alg_id::RSA_PKCS1_SHA384),
    &PathAlgorithm::rsa(Algorithm::RsaPkcs1(Hash::Sha512), alg_id::RSA_PKCS1_SHA512),
    &PathAlgorithm::rsa(Algorithm::RsaPkcs1(Hash::Sha256), RSA_SHA256_BARE),
    &PathAlgorithm::rsa(Algorithm::RsaPkcs1(Hash::Sha384), RSA_SHA384_BARE),
    &PathAlgorithm::rsa(Algorithm::RsaPkcs1(Hash::Sha512), RSA_SHA512_BARE),
    &PathAlgorithm::rsa(Algorithm::RsaPss(Hash::Sha256), alg_id::RSA_PSS_SHA256),
    &PathAlgorithm::rsa(Algorithm::RsaPss(Hash::Sha384), alg_id::RSA_PSS_SHA384),
    &PathAlgorithm::rsa(Algorithm::RsaPss(Hash::Sha512), alg_id::RSA_PSS_SHA512),
    &PathAlgorithm {
        kind: KeyKind::Ed25519,
        algorithm: Algorithm::Ed25519,
        key: alg_id::ED25519,
        signature: alg_id::ED25519,
    },
];

/// One of them, as path building takes it.
#[derive(Debug)]
struct PathAlgorithm {
    kind: KeyKind,
    algorithm: Algorithm,
    key: AlgorithmIdentifier,
    signature: AlgorithmIdentifier,
}

impl PathAlgorithm {
    const fn ecdsa(kind: KeyKind, hash: Hash) -> Self {
        Self {
            kind,
            algorithm: Algorithm::Ecdsa(hash),
            key: match kind {
                KeyKind::P256 => alg_id::ECDSA_P256,
                KeyKind::P384 => alg_id::ECDSA_P384,
                KeyKind::P521 | KeyKind::Rsa | KeyKind::Ed25519 => alg_id::ECDSA_P521,
            },
            signature: match hash {
                Hash::Sha256 => alg_id::ECDSA_SHA256,
                Hash::Sha384 => alg_id::ECDSA_SHA384,
                Hash::Sha512 => alg_id::ECDSA_SHA512,
            },
        }
    }

    const fn rsa(algorithm: Algorithm, signature: AlgorithmIdentifier) -> Self {
        Self {
            kind: KeyKind::Rsa,
            algorithm,
            key: alg_id::RSA_ENCRYPTION,
            signature,
        }
    }
}

/// `sha256WithRSAEncryption` and its siblings without the NULL that belongs after them; some signers leave it out, and
/// verifiers take both (RFC 4055, 5).
const RSA_SHA256_BARE: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b,
]);
const RSA_SHA384_BARE: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c,
]);
const RSA_SHA512_BARE: AlgorithmIdentifier = AlgorithmIdentifier::from_slice(&[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d,
]);

impl SignatureVerificationAlgorithm for PathAlgorithm {
    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.signature
    }

    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        if !self.kind.is_well_formed(public_key) {
            return Err(InvalidSignature);
        }
        let verifier = self.kind.verifier(self.algorithm).ok_or(InvalidSignature)?;
        verifier
            .verify_sig(public_key, message, signature)
            .map_err(|_invalid| InvalidSignature)
    }
}
