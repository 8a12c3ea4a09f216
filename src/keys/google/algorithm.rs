//! Which algorithms of Google Cloud KMS sign images, and what keys they have.

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::verify::PublicKey;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// What a public key is a key of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa { bits: usize },
}

/// What key the algorithm of a version has; `None` for one that no image is signed with (other curves, encryption,
/// MAC, RSA without a hash).
pub(super) fn kind(algorithm: &str) -> Option<Kind> {
    Some(match algorithm {
        "EC_SIGN_P256_SHA256" => Kind::P256,
        "EC_SIGN_P384_SHA384" => Kind::P384,
        "EC_SIGN_ED25519" => Kind::Ed25519,
        "RSA_SIGN_PKCS1_2048_SHA256" | "RSA_SIGN_PSS_2048_SHA256" => Kind::Rsa { bits: 2048 },
        "RSA_SIGN_PKCS1_3072_SHA256" | "RSA_SIGN_PSS_3072_SHA256" => Kind::Rsa { bits: 3072 },
        "RSA_SIGN_PKCS1_4096_SHA256"
        | "RSA_SIGN_PKCS1_4096_SHA512"
        | "RSA_SIGN_PSS_4096_SHA256"
        | "RSA_SIGN_PSS_4096_SHA512" => Kind::Rsa { bits: 4096 },
        _ => return None,
    })
}

/// The key in `pem`, which must be of this kind.
pub(super) fn key(pem: &str, kind: Kind) -> Result<PublicKey, String> {
    let key = PublicKey::from_pem(pem).map_err(|error| error.to_string())?;
    if kind_of(pem) == Some(kind) {
        Ok(key)
    } else {
        Err("it is not of the kind that its algorithm has".to_owned())
    }
}

fn kind_of(pem: &str) -> Option<Kind> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let info = SubjectPublicKeyInfoRef::from_der(&der).ok()?;
    match info.algorithm.oid {
        EC_PUBLIC_KEY => match info.algorithm.parameters_oid().ok()? {
            P256 => Some(Kind::P256),
            P384 => Some(Kind::P384),
            _ => None,
        },
        ED25519 => Some(Kind::Ed25519),
        RSA_ENCRYPTION => rsa_bits(info.subject_public_key.as_bytes()?),
        _ => None,
    }
}

/// The size of the modulus of an `RSAPublicKey` (RFC 8017, A.1.1).
fn rsa_bits(key: &[u8]) -> Option<Kind> {
    let modulus = SliceReader::new(key).and_then(|mut reader| {
        reader.sequence(|fields| {
            let modulus = UintRef::decode(fields)?;
            UintRef::decode(fields)?;
            Ok(modulus)
        })
    });
    let modulus = modulus.ok()?;
    let first = modulus.as_bytes().first()?;
    let bits = modulus.as_bytes().len() * 8 - first.leading_zeros() as usize;
    Some(Kind::Rsa { bits })
}
