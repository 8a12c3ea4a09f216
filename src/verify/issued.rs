//! Whether a certificate was signed with a key.

use x509_cert::der::{self, Reader as _, SliceReader};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::algorithm::{self, Algorithm};
use crate::signature::{CertificateError, read_certificate};

/// The signature of a certificate.
#[derive(Debug)]
pub(super) struct Issued {
    signed_part: Vec<u8>,
    /// Absent when the certificate contradicts itself about it (RFC 5280, 4.1.1.2), or it does not count.
    algorithm: Option<Algorithm>,
    signature: Vec<u8>,
}

impl Issued {
    /// Reads the signature of a DER certificate.
    pub(super) fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = read_certificate(der)?;
        let body = &certificate.tbs_certificate;
        let identifier = &certificate.signature_algorithm;
        let identifier = AlgorithmIdentifierRef {
            oid: identifier.oid,
            parameters: identifier.parameters.as_ref().map(Into::into),
        };
        let algorithm = if certificate.signature_algorithm == body.signature {
            Algorithm::of(identifier)
        } else {
            None
        };
        Ok(Self {
            signed_part: signed_part(der)?,
            algorithm,
            signature: certificate.signature.raw_bytes().to_vec(),
        })
    }

    /// Whether it was made with the key of this DER SubjectPublicKeyInfo.
    pub(super) fn is_by(&self, public_key: &[u8]) -> bool {
        self.algorithm.is_some_and(|algorithm| {
            algorithm::verifies(public_key, algorithm, &self.signed_part, &self.signature)
        })
    }
}

/// What the signature is over, byte for byte as it was written.
fn signed_part(der: &[u8]) -> Result<Vec<u8>, der::Error> {
    SliceReader::new(der)?.sequence(|fields| {
        let body = fields.tlv_bytes()?.to_vec();
        let _algorithm = fields.tlv_bytes()?;
        let _signature = fields.tlv_bytes()?;
        Ok(body)
    })
}
