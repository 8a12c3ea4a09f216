//! Whether a certificate was signed with a key.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{self, Decode as _, Reader as _, SliceReader};

const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ED25519_SIGNATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// The signature of a certificate.
#[derive(Debug)]
pub(super) struct Issued {
    signed_part: Vec<u8>,
    /// Absent when the certificate contradicts itself about it (RFC 5280, 4.1.1.2).
    algorithm: Option<ObjectIdentifier>,
    signature: Vec<u8>,
}

impl Issued {
    /// Reads the signature of a DER certificate.
    pub(super) fn read(der: &[u8]) -> Result<Self, der::Error> {
        let certificate = Certificate::from_der(der)?;
        let body = &certificate.tbs_certificate;
        let algorithm = (certificate.signature_algorithm == body.signature)
            .then_some(certificate.signature_algorithm.oid);
        Ok(Self {
            signed_part: signed_part(der)?,
            algorithm,
            signature: certificate.signature.raw_bytes().to_vec(),
        })
    }

    /// Whether it was made with the key of this DER SubjectPublicKeyInfo.
    pub(super) fn is_by(&self, public_key: &[u8]) -> bool {
        algorithms(self.algorithm).into_iter().any(|algorithm| {
            ParsedPublicKey::new(algorithm, public_key)
                .is_ok_and(|key| key.verify_sig(&self.signed_part, &self.signature).is_ok())
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

/// What a signature of this kind may be; which of them is a matter of the key. SHA-1 proves nothing.
fn algorithms(identifier: Option<ObjectIdentifier>) -> Vec<&'static dyn VerificationAlgorithm> {
    match identifier {
        Some(ECDSA_WITH_SHA256) => vec![
            &ECDSA_P256_SHA256_ASN1,
            &ECDSA_P384_SHA256_ASN1,
            &ECDSA_P521_SHA256_ASN1,
        ],
        Some(ECDSA_WITH_SHA384) => vec![
            &ECDSA_P256_SHA384_ASN1,
            &ECDSA_P384_SHA384_ASN1,
            &ECDSA_P521_SHA384_ASN1,
        ],
        Some(ECDSA_WITH_SHA512) => vec![&ECDSA_P521_SHA512_ASN1],
        Some(RSA_WITH_SHA256) => vec![&RSA_PKCS1_2048_8192_SHA256],
        Some(RSA_WITH_SHA384) => vec![&RSA_PKCS1_2048_8192_SHA384],
        Some(RSA_WITH_SHA512) => vec![&RSA_PKCS1_2048_8192_SHA512],
        Some(RSA_PSS) => vec![
            &RSA_PSS_2048_8192_SHA256,
            &RSA_PSS_2048_8192_SHA384,
            &RSA_PSS_2048_8192_SHA512,
        ],
        Some(ED25519_SIGNATURE) => vec![&ED25519],
        Some(_) | None => Vec::new(),
    }
}
