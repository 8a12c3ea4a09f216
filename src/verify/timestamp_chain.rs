//! The certificates of a timestamp authority, in whichever order they are written.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sigstore_types::DerCertificate;
use x509_cert::ext::pkix::BasicConstraints;

use super::KeyError;
use super::timestamp_authority::{TimestampAuthority, UselessAuthority};
use super::trusted_root::narrowed;
use crate::signature::{CertificateError, Intermediate, read_certificate};

/// Certificates from that of the authority itself to a root. Where the authority's own is in its tokens, they begin with
/// those of its certificate authorities.
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
        source: CertificateError,
    },
    /// More than one certificate is one that signs timestamps.
    #[error("the certificates of several timestamp authorities are among them")]
    SeveralSigners,
    /// There is none to lead to.
    #[error("no self-signed root certificate is among them")]
    NoRoot,
    /// The key of the authority is of a kind that is not supported.
    #[error("the key of the timestamp authority is not supported: {0}")]
    Key(KeyError),
    /// No timestamp can be verified with them.
    #[error("they prove no time: {0}")]
    Useless(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The most certificates; Kyverno takes no more.
const CERTIFICATES_MAX: usize = 12;

/// Returns the chains of the one timestamp authority to which these certificates belong.
///
/// There is one for each root that its certificate leads to. If the authority's own certificate is not among them, its
/// tokens must hold it.
///
/// # Errors
/// When they are not the certificates of one timestamp authority up to a root, or no timestamp can be verified with them.
pub fn timestamp_chains(pem: &str) -> Result<Vec<TimestampChain>, TimestampChainError> {
    let mut signer = None;
    let (mut between, mut roots) = (Vec::new(), Vec::new());
    for (certificate, position) in CertificateDer::pem_slice_iter(pem.as_bytes()).zip(1..) {
        if position > CERTIFICATES_MAX {
            return Err(TimestampChainError::TooMany);
        }
        let der = certificate.map_err(TimestampChainError::NotPem)?;
        let broken = |source| TimestampChainError::Broken { position, source };
        let certificate = read_certificate(&der).map_err(broken)?;
        let body = &certificate.tbs_certificate;
        let constraints = body.get::<BasicConstraints>();
        let constraints = constraints.map_err(|error| broken(error.into()))?;
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
    if roots.is_empty() {
        return Err(TimestampChainError::NoRoot);
    }
    let (mut usable, mut refused) = (Vec::new(), None);
    for root in roots {
        let below = signer.iter().chain(&between).cloned();
        let chain: TimestampChain = below.chain([root]).collect();
        match useless(&chain)? {
            None => usable.push(chain),
            Some(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if usable.is_empty() => Err(TimestampChainError::Useless(Box::new(error))),
        Some(_) | None => Ok(usable),
    }
}

/// Returns the reason for which a chain proves no time, if there is one.
fn useless(chain: &TimestampChain) -> Result<Option<UselessAuthority>, TimestampChainError> {
    let mut certificates = Vec::with_capacity(chain.len());
    for (der, position) in chain.iter().zip(1..) {
        let parsed = Intermediate::parse(&DerCertificate::from_bytes(der));
        let broken = |source| TimestampChainError::Broken { position, source };
        certificates.push(parsed.map_err(broken)?);
    }
    let window = Some(narrowed(None, &certificates));
    let authority = TimestampAuthority::new(chain, window).map_err(TimestampChainError::Key)?;
    Ok(authority.and_then(|authority| authority.useless()))
}
