//! Public keys in the forms in which services hand them out, and what kind they are.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use crate::verify::{KeyError, PublicKey};

/// Kind and size of a key, as services name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    P256,
    P384,
    P521,
    Rsa { bits: usize },
    Ed25519,
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

impl Kind {
    /// The kind of a DER SubjectPublicKeyInfo. `None` if it is none of these, or unreadable.
    pub(super) fn of(der: &[u8]) -> Option<Self> {
        let info = SubjectPublicKeyInfoRef::from_der(der).ok()?;
        match info.algorithm.oid {
            EC_PUBLIC_KEY => match info.algorithm.parameters_oid().ok()? {
                P256 => Some(Self::P256),
                P384 => Some(Self::P384),
                P521 => Some(Self::P521),
                _ => None,
            },
            RSA_ENCRYPTION => {
                let bits = rsa_bits(info.subject_public_key.as_bytes()?)?;
                Some(Self::Rsa { bits })
            }
            ED25519 => Some(Self::Ed25519),
            _ => None,
        }
    }
}

/// The key of a DER SubjectPublicKeyInfo.
pub(super) fn parse(der: &[u8]) -> Result<PublicKey, KeyError> {
    let encoded = BASE64_STANDARD.encode(der);
    let lines: Vec<String> = encoded
        .as_bytes()
        .chunks(64)
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    );
    PublicKey::from_pem(&pem)
}

/// The DER SubjectPublicKeyInfo of a point (RFC 5480 §2). `None` unless both coordinates have the curve's length.
pub(super) fn from_point(kind: Kind, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let (curve, length) = match kind {
        Kind::P256 => (P256, 32),
        Kind::P384 => (P384, 48),
        Kind::P521 => (P521, 66),
        Kind::Rsa { .. } | Kind::Ed25519 => return None,
    };
    if x.len() != length || y.len() != length {
        return None;
    }
    let algorithm = [oid(EC_PUBLIC_KEY), oid(curve)].concat();
    // SEC 1 §2.3.3: 4 is an uncompressed point.
    Some(info(&algorithm, &[&[4], x, y].concat()))
}

/// The DER SubjectPublicKeyInfo of an RSA key (RFC 8017 A.1.1, RFC 3279 §2.3.1), from big-endian numbers.
pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = element(SEQUENCE, &[unsigned(modulus), unsigned(exponent)].concat());
    let algorithm = [oid(RSA_ENCRYPTION), element(NULL, &[])].concat();
    info(&algorithm, &key)
}

/// The DER SubjectPublicKeyInfo of an Ed25519 key (RFC 8410 §4).
pub(super) fn from_ed25519(key: &[u8]) -> Vec<u8> {
    info(&oid(ED25519), key)
}

fn rsa_bits(key: &[u8]) -> Option<usize> {
    let modulus = SliceReader::new(key).and_then(|mut reader| {
        reader.sequence(|fields| {
            let modulus = UintRef::decode(fields)?;
            UintRef::decode(fields)?;
            Ok(modulus)
        })
    });
    let modulus = modulus.ok()?;
    let leading_zeros = modulus.as_bytes().first()?.leading_zeros() as usize;
    Some(modulus.as_bytes().len() * 8 - leading_zeros)
}

fn info(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    // No unused bits.
    let key = element(BIT_STRING, &[&[0], key].concat());
    element(SEQUENCE, &[element(SEQUENCE, algorithm), key].concat())
}

fn oid(identifier: ObjectIdentifier) -> Vec<u8> {
    element(OBJECT_IDENTIFIER, identifier.as_bytes())
}

fn unsigned(big_endian: &[u8]) -> Vec<u8> {
    let zeros = big_endian.iter().take_while(|byte| **byte == 0).count();
    let digits = big_endian.get(zeros..).unwrap_or_default();
    // A first bit that is set would make the number negative.
    let is_positive = digits.first().is_some_and(|byte| *byte < 0x80);
    let sign: &[u8] = if is_positive { &[] } else { &[0] };
    element(INTEGER, &[sign, digits].concat())
}

/// X.690 §8.1: tag, definite length, contents.
fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let zeros = length.iter().take_while(|byte| **byte == 0).count();
    let digits = length.get(zeros..).unwrap_or_default();
    let mut encoded = vec![tag];
    match (u8::try_from(contents.len()), u8::try_from(digits.len())) {
        (Ok(short), _) if short < 0x80 => encoded.push(short),
        (_, Ok(count)) => {
            encoded.push(0x80 | count);
            encoded.extend_from_slice(digits);
        }
        (_, Err(_)) => {}
    }
    encoded.extend_from_slice(contents);
    encoded
}

#[cfg(test)]
mod tests;
