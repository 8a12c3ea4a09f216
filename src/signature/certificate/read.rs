//! Reads DER certificates within a limit on their size.

use x509_cert::Certificate;
use x509_cert::der::{self, Decode as _};

/// The most bytes of a certificate. Path building takes no larger one either.
pub(crate) const CERTIFICATE_BYTES_MAX: usize = 64 * 1024;

/// The bytes are no certificate that is read here.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CertificateError {
    /// It is larger than any certificate in use. It is refused before it is parsed, because parsing costs memory.
    #[error("it has {0} bytes, and a certificate has at most {CERTIFICATE_BYTES_MAX}")]
    TooLarge(usize),
    /// It is not a DER certificate (RFC 5280).
    #[error(transparent)]
    Broken(#[from] der::Error),
}

/// Parses a DER certificate of at most 64 KiB.
///
/// # Errors
/// Returns an error if it is larger, or no certificate.
pub(crate) fn read_certificate(der: &[u8]) -> Result<Certificate, CertificateError> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(CertificateError::TooLarge(der.len()));
    }
    Ok(Certificate::from_der(der)?)
}
