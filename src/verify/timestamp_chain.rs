//! The certificates of a timestamp authority, in whichever order they are written.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

/// Certificates from that of the authority itself to a root.
pub type TimestampChain = Vec<CertificateDer<'static>>;

/// The text does not hold the certificates of one timestamp authority.
#[derive(Debug, thiserror::Error)]
pub enum TimestampChainError {
    /// Not PEM.
    #[error("not PEM certificates")]
    NotPem(#[source] rustls_pki_types::pem::Error),
    /// More certificates than an authority may have.
    #[error("more than {CERTIFICATES_MAX} certificates")]
    TooMany,
    /// One of them cannot be read.
    #[error("the certificate number {position} is broken")]
    Broken {
        /// From 1.
        position: usize,
        /// Why.
        #[source]
        source: x509_cert::der::Error,
    },
    /// Who signs timestamps is not said.
    #[error(
        "no certificate of the timestamp authority itself is among them, only such of certificate authorities"
    )]
    NoSigner,
    /// It is said twice.
    #[error("the certificates of several timestamp authorities are among them")]
    SeveralSigners,
    /// There is none to lead to.
    #[error("no self-signed root certificate is among them")]
    NoRoot,
}

/// The most certificates; Kyverno takes no more.
const CERTIFICATES_MAX: usize = 12;

/// The chains of the one timestamp authority whose certificates these are, one for each root.
///
/// # Errors
/// When they are not the certificate of one timestamp authority and those of its certificate authorities up to a root.
pub fn timestamp_chains(pem: &str) -> Result<Vec<TimestampChain>, TimestampChainError> {
    let mut signer = None;
    let (mut between, mut roots) = (Vec::new(), Vec::new());
    for (certificate, position) in CertificateDer::pem_slice_iter(pem.as_bytes()).zip(1..) {
        if position > CERTIFICATES_MAX {
            return Err(TimestampChainError::TooMany);
        }
        let der = certificate.map_err(TimestampChainError::NotPem)?;
        let broken = |source| TimestampChainError::Broken { position, source };
        let certificate = Certificate::from_der(&der).map_err(broken)?;
        let body = &certificate.tbs_certificate;
        let constraints = body.get::<BasicConstraints>().map_err(broken)?;
        if !constraints.is_some_and(|(_, constraints)| constraints.ca) {
            if signer.replace(der).is_some() {
                return Err(TimestampChainError::SeveralSigners);
            }
        } else if body.subject == body.issuer {
            roots.push(der);
        } else {
            between.push(der);
        }
    }
    let signer = signer.ok_or(TimestampChainError::NoSigner)?;
    if roots.is_empty() {
        return Err(TimestampChainError::NoRoot);
    }
    let chain = |root| {
        let above = between.iter().cloned();
        std::iter::once(signer.clone()).chain(above).chain([root])
    };
    Ok(roots
        .into_iter()
        .map(|root| chain(root).collect())
        .collect())
}
