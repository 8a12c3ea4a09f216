//! A certificate that is named beside the authorities that issued it.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CertificatePolicies, ExtendedKeyUsage, KeyUsage,
    SubjectAltName, SubjectKeyIdentifier,
};

use super::issued::Issued;
use super::issuing::{CODE_SIGNING, Issuing};
use super::{CertificateAuthorities, CertificateAuthoritiesError};

/// The extension with promises of certificate-transparency logs (RFC 6962, 3.3).
const PROMISES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11129.2.4.2");

/// The extensions that may be critical in a signing certificate, because they are known here.
const KNOWN_EXTENSIONS: [ObjectIdentifier; 8] = [
    AuthorityKeyIdentifier::OID,
    BasicConstraints::OID,
    CertificatePolicies::OID,
    ExtendedKeyUsage::OID,
    KeyUsage::OID,
    SubjectAltName::OID,
    SubjectKeyIdentifier::OID,
    PROMISES,
];

/// A certificate that was issued by the authorities beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// True if it holds promises of certificate-transparency logs, which have not been verified.
    pub has_promises: bool,
}

/// A certificate does not lead to the root of the chain beside it.
#[derive(Debug, thiserror::Error)]
pub enum NotIssuedError {
    /// The chain cannot be used.
    #[error(transparent)]
    Chain(#[from] CertificateAuthoritiesError),
    /// The certificate cannot be read.
    #[error("the certificate is broken: {0}")]
    Broken(String),
    /// It is for something else.
    #[error("the certificate is for other purposes than signing code (extended key usage)")]
    Purpose,
    /// It demands something that is not known.
    #[error("the certificate has a critical extension that is not supported")]
    CriticalExtension,
    /// No authority of the chain issued it.
    #[error("no certificate of the chain issued it, up to the root at its end")]
    Issuer,
    /// The chain was not valid when the certificate began.
    #[error("a certificate of the chain was not valid when the certificate began")]
    Time,
}

/// Proves that a certificate in PEM leads to the last of the certificates in another PEM text.
///
/// The chain must have been valid when the certificate began, as in cosign, which compares no other time.
///
/// # Errors
/// When it does not lead there, or is not for signing code.
pub fn read_issued(certificate: &str, chain: &str) -> Result<IssuedCertificate, NotIssuedError> {
    let broken = |error: &dyn std::fmt::Display| NotIssuedError::Broken(error.to_string());
    let authorities = CertificateAuthorities::from_pem(chain)?;
    let root = CertificateDer::pem_slice_iter(chain.as_bytes()).filter_map(Result::ok);
    let root = root.last().ok_or(NotIssuedError::Issuer)?;
    let der = CertificateDer::from_pem_slice(certificate.as_bytes());
    let der = der.map_err(|error| broken(&error))?;
    let leaf = Certificate::from_der(&der).map_err(|error| broken(&error))?;
    let issued = Issued::read(&der).map_err(|error| broken(&error))?;
    let issuing = Issuing::read(&der).map_err(|error| broken(&error))?;
    if !issuing.is_for(CODE_SIGNING) {
        return Err(NotIssuedError::Purpose);
    }
    let body = &leaf.tbs_certificate;
    let extensions = body.extensions.as_deref().unwrap_or_default();
    let mut critical = extensions.iter().filter(|it| it.critical);
    if !critical.all(|it| KNOWN_EXTENSIONS.contains(&it.extn_id)) {
        return Err(NotIssuedError::CriticalExtension);
    }
    let issuer = body.issuer.to_der().map_err(|error| broken(&error))?;
    let began = body.validity.not_before.to_unix_duration().as_secs();
    let mut found = NotIssuedError::Issuer;
    for way in &authorities.chains {
        let (Some(first), Some(last)) = (way.first(), way.last()) else {
            continue;
        };
        let is_issuer = first.subject == issuer && issued.is_by(&first.public_key);
        if !is_issuer || last.der.as_bytes() != root.as_ref() {
            continue;
        }
        let is_valid = |seconds: u64| {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            way.iter()
                .all(|it| (it.not_before.as_second()..=it.not_after.as_second()).contains(&seconds))
        };
        if is_valid(began) {
            let has_promises = extensions.iter().any(|it| it.extn_id == PROMISES);
            return Ok(IssuedCertificate { has_promises });
        }
        found = NotIssuedError::Time;
    }
    Err(found)
}
