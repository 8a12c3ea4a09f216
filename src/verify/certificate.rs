//! Certificates: the chain to an authority, the certificate-transparency promise, the times, the names.

use jiff::Timestamp;
use sigstore_types::{Artifact, ArtifactDigest, Bundle, HashAlgorithm};
use sigstore_verify::{CertificateError, Error, TimestampError, VerificationPolicy};

use super::attempt::Refusal;
use super::transparency_log::Logged;
use super::{Certificate, Demand, FailedCheck, timestamp};
use crate::oci::Digest;
use crate::oci::digest::Algorithm;
use crate::signature::{Claim, Signed, SigningCertificate};

/// What a certificate proves about a signature.
#[derive(Debug)]
pub(super) struct Certified {
    pub(super) certificate: Certificate,
    /// The times of the signed timestamps.
    pub(super) timestamps: Vec<Timestamp>,
}

/// Proves times and chain of a signature whose bytes and log entries are verified.
///
/// The verifier of the Sigstore project decides: every time must be authentic, the chain must be valid for code
/// signing at each of them, and the certificate must carry a promise of a certificate-transparency log. It checks the
/// signature once more on its way.
pub(super) fn check(
    signed: &Signed,
    certificate: &SigningCertificate,
    logged: &Logged,
    subject: &Digest,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<Certified, Refusal> {
    let root = demand.trusted_root;
    let Some(bundle) = &signed.certificate_bundle else {
        return Err(invalid("the signature has no certificate".to_owned()));
    };
    let mut policy = VerificationPolicy::any_identity().skip_tlog_unsafe();
    if !demand.sct {
        policy = policy.skip_sct();
    }
    let verify = |bundle: &Bundle| {
        let result = root
            .verifier
            .verify(artifact(signed, subject)?, bundle, &policy)
            .map_err(|error| refusal(&error, signed, certificate, logged, demand, now))?;
        if !result.certificate_verified() || (demand.sct && !result.sct_verified()) {
            return Err(invalid("the certificate was not verified".to_owned()));
        }
        Ok(result)
    };
    let result = verify(bundle)?;
    let timestamps = if signed.signed_timestamps.is_empty() {
        Vec::new()
    } else {
        result.verified_timestamps().to_vec()
    };
    timestamp::refuse_future(&timestamps, now)?;
    // A chain that was right at one time is right at another when nothing in it began or ended in between; building it
    // again would be the most expensive part of the whole.
    let holds_alike = |time| {
        let is_judged = |judged| root.vouches_alike(certificate, judged, time);
        result.verified_timestamps().iter().copied().any(is_judged)
    };
    if !logged.times.iter().copied().all(holds_alike) {
        verify(&with_log_entries(bundle, signed))?;
    }
    // The chain was judged at the times of signing; it must also have been valid when it issued the certificate.
    root.check_authority(certificate, timestamps.iter().chain(&logged.times))
        .map_err(|missing| invalid(missing.to_string()))?;
    let identity = certificate.identity.clone().map_err(invalid)?;
    let wrong_issuer = |reason| Refusal {
        check: FailedCheck::WrongIssuer,
        reason,
    };
    let oidc_issuer = match certificate.oidc_issuer.clone().map_err(wrong_issuer)? {
        Some(issuer) => issuer,
        // Fulcio hands out names of many issuers; an authority of one's own vouches for its names itself.
        None if root.has_own_authorities() => String::new(),
        None => {
            return Err(wrong_issuer(
                "the certificate names no OIDC issuer".to_owned(),
            ));
        }
    };
    Ok(Certified {
        certificate: Certificate {
            identity,
            oidc_issuer,
            ..claimed(certificate)
        },
        timestamps,
    })
}

/// What a certificate claims; a name it does not have is empty.
pub(super) fn claimed(certificate: &SigningCertificate) -> Certificate {
    Certificate {
        identity: certificate.identity.clone().unwrap_or_default(),
        oidc_issuer: certificate
            .oidc_issuer
            .clone()
            .unwrap_or_default()
            .unwrap_or_default(),
        serial: certificate.serial.clone(),
        fingerprint: Digest::sha256(certificate.der.as_bytes()),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        extensions: certificate.extensions.clone(),
    }
}

fn artifact<'a>(signed: &'a Signed, subject: &Digest) -> Result<Artifact<'a>, Refusal> {
    match &signed.claim {
        Claim::SimpleSigning(_) => Ok(Artifact::from_blob(&signed.payload)),
        Claim::Statement(_) => {
            let algorithm = match subject.algorithm() {
                Algorithm::Sha256 => HashAlgorithm::Sha2256,
                Algorithm::Sha512 => HashAlgorithm::Sha2512,
            };
            ArtifactDigest::new(algorithm, subject.as_bytes().to_vec())
                .map(Artifact::from_digest)
                .map_err(|error| malformed(error.to_string()))
        }
    }
}

/// The same for judging at the times of its log entries, too.
fn with_log_entries(bundle: &Bundle, signed: &Signed) -> Bundle {
    let mut bundle = bundle.clone();
    bundle.verification_material.tlog_entries = signed.time_sources();
    bundle
}

fn refusal(
    error: &Error,
    signed: &Signed,
    certificate: &SigningCertificate,
    logged: &Logged,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Refusal {
    match error {
        Error::Certificate(problem) => {
            let timestamps = timestamp::check(signed, demand, now).unwrap_or_default();
            let times = timestamps.iter().chain(&logged.times);
            invalid(certificate_reason(problem, certificate, times))
        }
        Error::Timestamp(problem) => Refusal {
            check: FailedCheck::Timestamp,
            reason: timestamp_reason(problem),
        },
        Error::Bundle(sigstore_bundle::Error::MissingSigningTimeEvidence) => Refusal {
            check: FailedCheck::Timestamp,
            reason: NO_TIME.to_owned(),
        },
        Error::TransparencyLog(problem) => Refusal {
            check: FailedCheck::TransparencyLog,
            reason: format!("the log entry is not right: {problem}"),
        },
        Error::SignatureInvalid(_) => Refusal {
            check: FailedCheck::InvalidSignature,
            reason: format!("the signature does not verify with its certificate: {error}"),
        },
        Error::ArtifactMismatch(_) => Refusal {
            check: FailedCheck::TransparencyLog,
            reason: format!("the log entry is for something else: {error}"),
        },
        Error::InvalidTrustRoot(_) | Error::TrustRoot(_) | Error::TrustedCertificate(_) => {
            invalid(format!("the trusted root does not suffice: {error}"))
        }
        // Not raised for what was read here; whatever it is, it is no proof.
        Error::IdentityMismatch { .. }
        | Error::IssuerMismatch { .. }
        | Error::UnsupportedArtifact(_)
        | Error::InvalidBundle(_)
        | Error::UnsupportedBundle(_)
        | Error::Types(_)
        | Error::Crypto(_)
        | Error::Bundle(_)
        | Error::ArtifactRead(_)
        | _ => malformed(format!("the signature is not readable: {error}")),
    }
}

const NO_TIME: &str =
    "the signature has neither a signed timestamp nor a log entry that proves when it was made";

fn timestamp_reason(problem: &TimestampError) -> String {
    match problem {
        TimestampError::NoVerifiedTimestamp(_) => NO_TIME.to_owned(),
        TimestampError::Invalid(cause) => format!(
            "no trusted authority made the signed timestamp for this signature: {}",
            own_words(cause)
        ),
        TimestampError::OutsideAuthorityValidity { .. } | _ => {
            format!("no trusted authority made the signed timestamp for this signature: {problem}")
        }
    }
}

fn certificate_reason<'a>(
    problem: &CertificateError,
    certificate: &SigningCertificate,
    mut times: impl Iterator<Item = &'a Timestamp> + Clone,
) -> String {
    if let Some(time) = times.clone().find(|time| **time > certificate.not_after) {
        return format!(
            "the certificate was valid until {} and the signature was made {time}",
            certificate.not_after
        );
    }
    if let Some(time) = times.find(|time| **time < certificate.not_before) {
        return format!(
            "the certificate was valid from {} and the signature was made {time}",
            certificate.not_before
        );
    }
    match problem {
        CertificateError::ChainInvalid(cause) => chain_reason(cause),
        CertificateError::NoValidAuthority { .. } => {
            format!("no authority of the trusted root vouches for the certificate: {problem}")
        }
        CertificateError::Sct(cause) => format!(
            "no trusted certificate-transparency log has the certificate: {}",
            own_words(cause)
        ),
        CertificateError::Malformed(_)
        | CertificateError::NotYetValid { .. }
        | CertificateError::Expired { .. }
        | _ => problem.to_string(),
    }
}

/// The library tells these two by the debug form of another library's error.
fn chain_reason(cause: &str) -> String {
    let cause = own_words(cause);
    if cause.starts_with("RequiredEkuNotFound") {
        return "the certificate is not for code signing".to_owned();
    }
    if cause == "UnknownIssuer" {
        return "no authority of the trusted root issued the certificate".to_owned();
    }
    format!("no authority of the trusted root vouches for the certificate: {cause}")
}

/// The end of a chain of errors, without those of its links that only say that there is a next one.
fn own_words(cause: &str) -> &str {
    const LINKS: [&str; 5] = [
        "certificate chain validation failed: ",
        "SCT signature verification failed: ",
        "Verification error: ",
        "TSA timestamp verification failed: ",
        "Failed to verify timestamp signature: ",
    ];
    let next = LINKS.iter().find_map(|link| cause.strip_prefix(link));
    next.map_or(cause, own_words)
}

fn invalid(reason: String) -> Refusal {
    Refusal {
        check: FailedCheck::InvalidCertificate,
        reason,
    }
}

fn malformed(reason: String) -> Refusal {
    Refusal {
        check: FailedCheck::Malformed,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_in_words_of_the_trade() {
        let failed = "certificate chain validation failed: ";
        for (cause, reason) in [
            (
                "UnknownIssuer",
                "no authority of the trusted root issued the certificate",
            ),
            (
                "RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required: 1.3, present: [] })",
                "the certificate is not for code signing",
            ),
            (
                "CertExpired",
                "no authority of the trusted root vouches for the certificate: CertExpired",
            ),
        ] {
            assert_eq!(chain_reason(&format!("{failed}{cause}")), reason);
        }
        let stamped =
            "TSA timestamp verification failed: Failed to verify timestamp signature: no signer";
        assert_eq!(own_words(stamped), "no signer");
        assert_eq!(own_words(""), "");
    }
}
