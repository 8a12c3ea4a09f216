//! Certificate authorities of one's own, in place of those of a trusted root.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sigstore_types::DerCertificate;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::BasicConstraints;

use crate::oci::Digest;
use crate::signature::Intermediate;

/// Certificates of authorities: roots, and intermediates each of which leads to one of them by the names in it.
///
/// All of them are believed while they are valid: intermediates of companies seldom say what they may be used for, so that no
/// path through them could be built from a root.
#[derive(Debug)]
pub struct CertificateAuthorities {
    /// SHA-256 over the certificates in their order; white space and comments around them do not count.
    pub digest: Digest,
    /// A certificate with those above it up to a root, for each of the certificates.
    pub(super) chains: Vec<Vec<Intermediate>>,
}

/// The text does not hold usable certificate authorities.
#[derive(Debug, thiserror::Error)]
pub enum CertificateAuthoritiesError {
    /// Not PEM.
    #[error("not PEM certificates")]
    NotPem(#[source] rustls_pki_types::pem::Error),
    /// More certificates than [`CertificateAuthorities::CERTIFICATES_MAX`].
    #[error("more than {} certificates", CertificateAuthorities::CERTIFICATES_MAX)]
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
    /// One of them may not sign others.
    #[error("the certificate number {position} is not one of a certificate authority")]
    NotAnAuthority {
        /// From 1.
        position: usize,
    },
    /// There is none to lead to.
    #[error("no self-signed root certificate is among them")]
    NoRoot,
    /// An intermediate without those above it is not believed.
    #[error("the certificate number {position} leads to no root among them")]
    NoIssuer {
        /// From 1, intermediates only.
        position: usize,
    },
}

impl CertificateAuthorities {
    /// The most certificates, roots and intermediates together.
    pub const CERTIFICATES_MAX: usize = 32;

    /// Reads PEM certificates. Those that name themselves as their issuer are roots.
    ///
    /// # Errors
    /// When there is no root, or a certificate is broken or not one of an authority.
    pub fn from_pem(text: &str) -> Result<Self, CertificateAuthoritiesError> {
        let mut contents = Vec::new();
        let (mut roots, mut intermediates) = (Vec::new(), Vec::new());
        for (certificate, position) in CertificateDer::pem_slice_iter(text.as_bytes()).zip(1..) {
            if position > Self::CERTIFICATES_MAX {
                return Err(CertificateAuthoritiesError::TooMany);
            }
            let der = certificate.map_err(CertificateAuthoritiesError::NotPem)?;
            let broken = |source| CertificateAuthoritiesError::Broken { position, source };
            if !is_authority(&der).map_err(broken)? {
                return Err(CertificateAuthoritiesError::NotAnAuthority { position });
            }
            contents.extend_from_slice(&der);
            let certificate =
                Intermediate::parse(&DerCertificate::from_bytes(&der)).map_err(broken)?;
            if certificate.subject == certificate.issuer {
                roots.push(certificate);
            } else {
                intermediates.push(certificate);
            }
        }
        if roots.is_empty() {
            return Err(CertificateAuthoritiesError::NoRoot);
        }
        let mut chains: Vec<_> = roots.iter().map(|root| vec![root.clone()]).collect();
        for (intermediate, position) in intermediates.iter().zip(1..) {
            let chain = chain(intermediate, &intermediates, &roots)
                .ok_or(CertificateAuthoritiesError::NoIssuer { position })?;
            chains.push(chain);
        }
        Ok(Self {
            digest: Digest::sha256(&contents),
            chains,
        })
    }
}

/// The certificate and those above it.
fn chain(
    certificate: &Intermediate,
    intermediates: &[Intermediate],
    roots: &[Intermediate],
) -> Option<Vec<Intermediate>> {
    let mut chain = vec![certificate.clone()];
    while let Some(last) = chain.last() {
        let is_issuer = |it: &&Intermediate| it.subject == last.issuer;
        if let Some(root) = roots.iter().find(is_issuer) {
            chain.push(root.clone());
            return Some(chain);
        }
        // Two that name each other lead nowhere.
        if chain.len() > intermediates.len() {
            return None;
        }
        let next = intermediates.iter().find(is_issuer)?;
        chain.push(next.clone());
    }
    None
}

/// Whether it may sign others (RFC 5280, 4.2.1.9): a trust anchor is taken as it is, so a leaf would be one, too.
fn is_authority(der: &CertificateDer<'_>) -> Result<bool, x509_cert::der::Error> {
    let certificate = Certificate::from_der(der)?;
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>()?;
    Ok(constraints.is_some_and(|(_, constraints)| constraints.ca))
}
