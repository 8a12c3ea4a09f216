//! The attributes with which the signer of a token names its certificate: `SigningCertificate` (RFC 2634, 5.4) and
//! `SigningCertificateV2` (RFC 5035, RFC 5816).
//!
//! A token carries its certificate outside of what is signed. The attributes bind the two, so that nobody can put another
//! certificate with the same key into a token.

use aws_lc_rs::digest;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{self, Decode as _, Reader as _, SliceReader, Tag, Tagged as _};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::algorithm::Hash;
use super::timestamp_authority::Leaf;
use super::timestamp_token::{context, expect, optional_attribute};

const VERSION_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.12");
const VERSION_2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.2.47");

/// The attributes do not name a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SigningCertificateError {
    /// Neither attribute is there.
    #[error(
        "it does not say with which certificate it was signed (no signing-certificate attribute)"
    )]
    Missing,
    /// An attribute cannot be read, or uses a hash that does not count.
    #[error("its signing-certificate attribute cannot be read")]
    Malformed,
    /// An attribute names another certificate.
    #[error("its signing-certificate attribute names another certificate than the one in it")]
    OtherCertificate,
}

/// One identifier of a certificate.
struct Identifier<'a> {
    digest: Vec<u8>,
    expected: &'a [u8],
    /// The names of the issuer and the serial number.
    issuer_and_serial: Option<(&'a [u8], &'a [u8])>,
}

/// Checks that the signed attributes name `leaf` first in each signing-certificate attribute, and that there is one.
///
/// `attributes` are the contents of the set. The first version of the attribute knows SHA-1 only.
pub(super) fn check(attributes: &[u8], leaf: &Leaf) -> Result<(), SigningCertificateError> {
    let mut is_named = false;
    for version in [VERSION_1, VERSION_2] {
        let attribute = optional_attribute(attributes, version);
        let Some(value) = attribute.map_err(|_error| SigningCertificateError::Malformed)? else {
            continue;
        };
        let identifier = first_identifier(value, version == VERSION_2, &leaf.der);
        if !identifier
            .map_err(|_error| SigningCertificateError::Malformed)?
            .is_of(leaf)
        {
            return Err(SigningCertificateError::OtherCertificate);
        }
        is_named = true;
    }
    if is_named {
        Ok(())
    } else {
        Err(SigningCertificateError::Missing)
    }
}

/// Reads the first identifier. Those that may follow name certificates above the signer's.
fn first_identifier<'a>(
    value: AnyRef<'a>,
    has_algorithm: bool,
    certificate: &[u8],
) -> der::Result<Identifier<'a>> {
    let identifiers = value.sequence(|fields| {
        let identifiers = expect(fields, Tag::Sequence)?;
        if !fields.is_finished() {
            let _policies = expect(fields, Tag::Sequence)?;
        }
        Ok(identifiers)
    })?;
    let first: AnyRef<'_> = SliceReader::new(identifiers.value())?.decode()?;
    first.sequence(|fields| {
        let digest = if has_algorithm {
            hash(fields)?.digest(certificate).as_ref().to_vec()
        } else {
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, certificate)
                .as_ref()
                .to_vec()
        };
        let expected = OctetStringRef::decode(fields)?.as_bytes();
        let issuer_and_serial = if fields.is_finished() {
            None
        } else {
            let issuer_and_serial = expect(fields, Tag::Sequence)?;
            Some(issuer_and_serial.sequence(|fields| {
                let names = expect(fields, Tag::Sequence)?.value();
                Ok((names, expect(fields, Tag::Integer)?.value()))
            })?)
        };
        Ok(Identifier {
            digest,
            expected,
            issuer_and_serial,
        })
    })
}

/// Reads the hash function of the second version, which is SHA-256 if none is named.
fn hash(fields: &mut SliceReader<'_>) -> der::Result<Hash> {
    if fields.peek_tag()? != Tag::Sequence {
        return Ok(Hash::Sha256);
    }
    let algorithm = AlgorithmIdentifierRef::decode(fields)?;
    Hash::of(algorithm.oid).ok_or_else(|| Tag::ObjectIdentifier.value_error())
}

impl Identifier<'_> {
    fn is_of(&self, leaf: &Leaf) -> bool {
        self.digest == self.expected
            && self.issuer_and_serial.is_none_or(|(names, serial)| {
                serial == leaf.serial && is_one_of(&leaf.issuer, names)
            })
    }
}

/// Returns true if `name` is a directory name among general names (RFC 5280, 4.2.1.6).
fn is_one_of(name: &[u8], names: &[u8]) -> bool {
    let Ok(mut reader) = SliceReader::new(names) else {
        return false;
    };
    while !reader.is_finished() {
        let Ok(general) = AnyRef::decode(&mut reader) else {
            return false;
        };
        if general.tag() == context(4, true) && general.value() == name {
            return true;
        }
    }
    false
}
