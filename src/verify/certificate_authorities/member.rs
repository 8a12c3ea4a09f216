//! One certificate of an authority: what it may sign, and by whom it is signed.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use sigstore_types::DerCertificate;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{self, Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use super::CertificateAuthoritiesError as Error;
use crate::signature::Intermediate;

const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");
const RSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const RSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12");
const RSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13");
const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const ED25519_SIGNATURE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// A certificate that may sign others.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) certificate: Intermediate,
    /// Its name, for messages.
    pub(super) subject: String,
    /// How many authorities may follow between it and a leaf; absent when any number may.
    path_length: Option<u8>,
    /// DER SubjectPublicKeyInfo.
    public_key: Vec<u8>,
    signed_part: Vec<u8>,
    /// Absent when the certificate contradicts itself about it (RFC 5280, 4.1.1.2).
    algorithm: Option<ObjectIdentifier>,
    signature: Vec<u8>,
}

impl Member {
    /// Reads the certificate at `position`, if what it demands is kept here.
    pub(super) fn read(der: &[u8], position: usize) -> Result<Self, Error> {
        let broken = |source| Error::Broken { position, source };
        let certificate = Certificate::from_der(der).map_err(broken)?;
        let body = &certificate.tbs_certificate;
        let subject = body.subject.to_string();
        // A trust anchor is taken as it is, so a leaf would be one, too (RFC 5280, 4.2.1.9).
        let constraints = body.get::<BasicConstraints>().map_err(broken)?;
        let Some(constraints) = constraints.map(|(_, it)| it).filter(|it| it.ca) else {
            return Err(Error::NotAnAuthority { position });
        };
        let usage = body.get::<KeyUsage>().map_err(broken)?;
        if usage.is_some_and(|(_, usage)| !usage.key_cert_sign()) {
            return Err(Error::KeyUsage { subject });
        }
        // Path building ends at the first certificate that is known here: constraints further up would never be seen.
        let mut extensions = body.extensions.iter().flatten();
        if extensions.any(|extension| extension.extn_id == NAME_CONSTRAINTS) {
            return Err(Error::NameConstraints { subject });
        }
        let algorithm = (certificate.signature_algorithm == body.signature)
            .then_some(certificate.signature_algorithm.oid);
        let public_key = body.subject_public_key_info.to_der().map_err(broken)?;
        let parsed = Intermediate::parse(&DerCertificate::from_bytes(der)).map_err(broken)?;
        Ok(Self {
            certificate: parsed,
            subject,
            path_length: constraints.path_len_constraint,
            public_key,
            signed_part: signed_part(der).map_err(broken)?,
            algorithm,
            signature: certificate.signature.raw_bytes().to_vec(),
        })
    }

    /// Whether it is an end of paths. It is believed because it is there, so nothing is asked of its own signature.
    pub(super) fn is_root(&self) -> bool {
        self.certificate.subject == self.certificate.issuer
    }

    /// Whether `issuer` signed it, by name and by key. Two certificates may have the same name, as when one is renewed.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        self.certificate.issuer == issuer.certificate.subject
            && algorithms(self.algorithm).into_iter().any(|algorithm| {
                ParsedPublicKey::new(algorithm, &issuer.public_key)
                    .is_ok_and(|key| key.verify_sig(&self.signed_part, &self.signature).is_ok())
            })
    }

    /// Whether so many authorities may be between it and a leaf (RFC 5280, 4.2.1.9).
    pub(super) fn may_have_below(&self, authorities: usize) -> bool {
        self.path_length
            .is_none_or(|length| authorities <= usize::from(length))
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
