//! Certificates: the chain to an authority, the certificate-transparency promise, the times, the names.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use super::attempt::Refusal;
use super::issuing::{self, CODE_SIGNING};
use super::path::{self, PathError, Usage};
use super::transparency_log::Logged;
use super::{
    Certificate, CertificateNames, Demand, FailedCheck, TrustedRoot, certificate_transparency,
    timestamp,
};
use crate::oci::Digest;
use crate::signature::{Signed, SigningCertificate};

/// What a certificate proves about a signature.
#[derive(Debug)]
pub(super) struct Certified {
    pub(super) certificate: Certificate,
    /// The times of the signed timestamps.
    pub(super) timestamps: Vec<Timestamp>,
}

/// Proves times and chain of a signature whose bytes and log entries are verified.
///
/// Every time must be authentic, a path for code signing must lead from the certificate to an authority at each of them,
/// and where it is demanded the certificate must carry a promise of a certificate-transparency log.
pub(super) fn check(
    signed: &Signed,
    certificate: &SigningCertificate,
    logged: &Logged,
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<Certified, Refusal> {
    let root = demand.trusted_root;
    let timestamps = timestamp::check(signed, demand, now)?;
    let times = || timestamps.iter().chain(&logged.times).copied();
    let Some(first) = times().next() else {
        return Err(Refusal {
            check: FailedCheck::Timestamp,
            reason: NO_TIME.to_owned(),
        });
    };
    check_validity(certificate, times())?;
    let above = Above::of(certificate, root);
    let mut judged = vec![first];
    let issuer = above.issuer(certificate, root, first)?;
    for time in times().skip(1) {
        // A chain that was right at one time is right at another when nothing in it began or ended in between; building
        // it again would be the most expensive part of the whole.
        let mut before = judged.iter();
        if !before.any(|before| root.vouches_alike(certificate, *before, time)) {
            above.issuer(certificate, root, time)?;
            judged.push(time);
        }
    }
    if demand.sct {
        certificate_transparency::check(
            certificate.der.as_bytes(),
            &issuer,
            &root.certificate_logs,
        )
        .map_err(|error| {
            invalid(format!(
                "no trusted certificate-transparency log has the certificate: {error}"
            ))
        })?;
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

/// The certificates that came along and may stand above the signing certificate. They are not trusted: a path through
/// them must end at an anchor.
struct Above<'a> {
    intermediates: Vec<CertificateDer<'a>>,
    /// The reason for which one that came along may not stand there.
    unusable: Option<String>,
}

impl<'a> Above<'a> {
    /// Certificates with a key of the trusted root are left out. They count only as the root says: within their window, and
    /// with their own path length. Otherwise a retired authority would come back beside a valid one above it.
    fn of(certificate: &'a SigningCertificate, root: &TrustedRoot) -> Self {
        let mut above = Self {
            intermediates: Vec::new(),
            unusable: None,
        };
        let unknown = certificate
            .intermediates
            .iter()
            .filter(|it| !root.has_key_of(it));
        for intermediate in unknown {
            match issuing::check_intermediate(intermediate) {
                Ok(()) => {
                    let der = CertificateDer::from(intermediate.der.as_bytes());
                    above.intermediates.push(der);
                }
                Err(error) => above.unusable = Some(error.to_string()),
            }
        }
        above
    }

    /// Proves that a path leads up to an anchor at a time. Returns the key of who issued the certificate.
    fn issuer(
        &self,
        certificate: &SigningCertificate,
        root: &TrustedRoot,
        time: Timestamp,
    ) -> Result<Vec<u8>, Refusal> {
        let anchors = root.anchors_at(time);
        if anchors.is_empty() {
            return Err(invalid(format!(
                "no authority of the trusted root vouches for the certificate: none was valid at {time}"
            )));
        }
        let usage = Usage {
            purpose: CODE_SIGNING,
            name: "code signing",
        };
        path::build(
            certificate.der.as_bytes(),
            &self.intermediates,
            &anchors,
            time,
            usage,
        )
        .map_err(|error| invalid(self.words(error)))
    }

    fn words(&self, error: PathError) -> String {
        match (error, &self.unusable) {
            (PathError::UnknownIssuer, Some(reason)) => format!(
                "no authority of the trusted root issued the certificate, and one that came along with it may not: {reason}"
            ),
            (PathError::UnknownIssuer, None) => {
                "no authority of the trusted root issued the certificate".to_owned()
            }
            (error @ PathError::Purpose(_), _) => error.to_string(),
            (error, _) => {
                format!("no authority of the trusted root vouches for the certificate: {error}")
            }
        }
    }
}

/// Checks the times against the certificate's own validity, which says more than that no path was found.
fn check_validity(
    certificate: &SigningCertificate,
    times: impl Iterator<Item = Timestamp>,
) -> Result<(), Refusal> {
    for time in times {
        if time > certificate.not_after {
            return Err(invalid(format!(
                "the certificate was valid until {} and the signature was made {time}",
                certificate.not_after
            )));
        }
        if time < certificate.not_before {
            return Err(invalid(format!(
                "the certificate was valid from {} and the signature was made {time}",
                certificate.not_before
            )));
        }
    }
    Ok(())
}

const NO_TIME: &str =
    "the signature has neither a signed timestamp nor a log entry that proves when it was made";

/// Returns the names that a certificate claims, without a copy of them. Every candidate is asked for them.
pub(super) fn claimed_names(certificate: &SigningCertificate) -> CertificateNames<'_> {
    CertificateNames {
        identity: certificate.identity.as_deref().unwrap_or_default(),
        oidc_issuer: certificate
            .oidc_issuer
            .as_ref()
            .map_or("", |issuer| issuer.as_deref().unwrap_or_default()),
        extensions: &certificate.extensions,
    }
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

fn invalid(reason: String) -> Refusal {
    Refusal {
        check: FailedCheck::InvalidCertificate,
        reason,
    }
}
