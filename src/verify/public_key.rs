//! Public keys and the signatures that they verify.

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1,
    ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512, VerificationAlgorithm,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use ed25519_dalek::Digest as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::oci::Digest;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 4096;

/// A public key that may vouch for images, parsed and of a supported kind and size.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// SHA-256 of the DER SubjectPublicKeyInfo; two keys are the same key if and only if these are equal.
    pub fingerprint: Digest,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// DER SubjectPublicKeyInfo.
    der: Vec<u8>,
    /// The key once per algorithm that signers are known to use with it, the likeliest first.
    algorithms: Vec<ParsedPublicKey>,
    /// An Ed25519 key for RFC 8032's pre-hashed variant, which cosign v3 signs with and aws-lc-rs does not have.
    prehashed: Option<ed25519_dalek::VerifyingKey>,
}

/// The public-key text is not one usable key.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeyError(pub &'static str);

impl PublicKey {
    /// Parses one PEM `PUBLIC KEY` block.
    ///
    /// # Errors
    /// When the text is not exactly one public key, or its algorithm or size is not supported.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = text.matches("-----BEGIN ").count();
        if blocks != 1 {
            return Err(KeyError("the text does not hold exactly one PEM block"));
        }
        let key = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map_err(|_error| KeyError("the text is not a PEM block `PUBLIC KEY`"))?;
        Self::from_der(&key)
    }

    /// The key of one PEM `CERTIFICATE` block, of which nothing else is looked at.
    ///
    /// # Errors
    /// When the text is not exactly one certificate, or the algorithm or size of its key is not supported.
    pub fn from_certificate(text: &str) -> Result<Self, KeyError> {
        let blocks = text.matches("-----BEGIN ").count();
        if blocks != 1 {
            return Err(KeyError("the text does not hold exactly one PEM block"));
        }
        let broken = KeyError("the text is not a PEM block `CERTIFICATE`");
        let Ok(der) = CertificateDer::from_pem_slice(text.as_bytes()) else {
            return Err(broken);
        };
        let Ok(certificate) = Certificate::from_der(&der) else {
            return Err(broken);
        };
        let info = certificate.tbs_certificate.subject_public_key_info;
        match info.to_der() {
            Ok(info) => Self::from_der(&info),
            Err(_error) => Err(broken),
        }
    }

    /// Parses a DER SubjectPublicKeyInfo.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let info = SubjectPublicKeyInfoRef::from_der(der)
            .map_err(|_error| KeyError("the key is not a DER SubjectPublicKeyInfo"))?;
        let raw = info
            .subject_public_key
            .as_bytes()
            .ok_or(KeyError("the key is not a whole number of bytes"))?;
        let mut prehashed = None;
        let algorithms: &[&'static dyn VerificationAlgorithm] =
            match info.algorithm.oid {
                EC_PUBLIC_KEY => match info.algorithm.parameters_oid() {
                    Ok(P256) => &[&ECDSA_P256_SHA256_ASN1],
                    // cosign signs with the hash of the curve's size; before 2.6 it signed with SHA-256.
                    Ok(P384) => &[&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1],
                    Ok(P521) => &[&ECDSA_P521_SHA512_ASN1],
                    Ok(_) | Err(_) => {
                        return Err(KeyError("the curve is none of P-256, P-384 and P-521"));
                    }
                },
                RSA_ENCRYPTION => {
                    check_rsa_size(raw)?;
                    &[
                        &RSA_PKCS1_2048_8192_SHA256,
                        &RSA_PSS_2048_8192_SHA256,
                        &RSA_PKCS1_2048_8192_SHA512,
                        &RSA_PSS_2048_8192_SHA512,
                    ]
                }
                ED25519_KEY => {
                    let bytes = raw
                        .try_into()
                        .map_err(|_length| KeyError("the Ed25519 key is not 32 bytes long"))?;
                    prehashed = Some(ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(
                        |_error| KeyError("the Ed25519 key is not a point of the curve"),
                    )?);
                    &[&ED25519]
                }
                _ => return Err(KeyError("the algorithm of the key is not supported")),
            };
        let algorithms = algorithms
            .iter()
            .map(|algorithm| ParsedPublicKey::new(*algorithm, der))
            .collect::<Result<_, _>>()
            .map_err(|_rejected| KeyError("the key is not valid for its algorithm"))?;
        Ok(Self {
            fingerprint: Digest::sha256(der),
            inner: Arc::new(Inner {
                der: der.to_vec(),
                algorithms,
                prehashed,
            }),
        })
    }

    /// The DER SubjectPublicKeyInfo.
    pub(super) fn der(&self) -> &[u8] {
        &self.inner.der
    }

    /// How cosign names the key in a bundle: the base64 SHA-256 of its DER form.
    pub(super) fn hint(&self) -> String {
        BASE64_STANDARD.encode(self.fingerprint.as_bytes())
    }

    /// Whether `signature` over `message` is by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.inner
            .algorithms
            .iter()
            .any(|key| key.verify_sig(message, signature).is_ok())
            || self
                .inner
                .prehashed
                .is_some_and(|key| verifies_prehashed(&key, message, signature))
    }
}

/// Ed25519ph with an empty context, refusing keys and signatures of small order.
fn verifies_prehashed(key: &ed25519_dalek::VerifyingKey, message: &[u8], signature: &[u8]) -> bool {
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
        return false;
    };
    let hash = ed25519_dalek::Sha512::new_with_prefix(message);
    key.verify_prehashed_strict(hash, None, &signature).is_ok()
}

fn check_rsa_size(key: &[u8]) -> Result<(), KeyError> {
    let modulus = SliceReader::new(key).and_then(|mut reader| {
        reader.sequence(|fields| {
            let modulus = UintRef::decode(fields)?;
            UintRef::decode(fields)?;
            Ok(modulus)
        })
    });
    let modulus = modulus.map_err(|_error| KeyError("the RSA key is not readable"))?;
    let leading_zeros = modulus
        .as_bytes()
        .first()
        .map_or(0, |byte| byte.leading_zeros() as usize);
    let bits = modulus.as_bytes().len() * 8 - leading_zeros;
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err(KeyError(
            "the RSA key is not between 2048 and 4096 bits long",
        ));
    }
    Ok(())
}
