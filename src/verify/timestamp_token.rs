//! Timestamp tokens (RFC 3161): a signed statement that some bytes existed at a time.
//!
//! A token is CMS signed data (RFC 5652). It counts if the certificate that the trusted root names for the authority
//! verifies it. If the root names certificate authorities only, the certificate in the token takes that place: it is
//! untrusted, so it must lead to them and be the one that the signed attributes name.

use jiff::{Timestamp, civil, tz::TimeZone};
use rustls_pki_types::CertificateDer;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use x509_cert::der::{
    self, Decode as _, Encode as _, ErrorKind, Reader as _, SliceReader, Tag, TagNumber,
    Tagged as _,
};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::algorithm::{Algorithm, Hash, whole};
use super::signing_certificate::{self, SigningCertificateError};
use super::timestamp_authority::{ChainError, Leaf, SignerIdentifier, TimestampAuthority};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
const TST_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.16.1.4");
const CONTENT_TYPE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.3");
const MESSAGE_DIGEST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.4");

/// The most certificates of a token that are looked through for the one that signed it.
const CERTIFICATES_MAX: usize = 16;

/// A token as it is written; nothing in it is proven.
#[derive(Debug)]
pub(super) struct Token {
    time: Timestamp,
    /// The hash of the bytes that are stamped.
    imprint: (Hash, Vec<u8>),
    /// The DER `TSTInfo`.
    info: Vec<u8>,
    signer: SignerIdentifier,
    /// The hash of `info` that is signed.
    info_hash: (Hash, Vec<u8>),
    /// The signed attributes, as they are signed: a DER `SET OF` (RFC 5652, 5.4).
    attributes: Vec<u8>,
    algorithm: Algorithm,
    signature: Vec<u8>,
    /// The certificates that came along, one after another; nothing if there are none.
    certificates: Vec<u8>,
}

/// A token proves no time.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// It cannot be read.
    #[error("the token is not readable: {0}")]
    Malformed(String),
    /// It uses a hash or signature algorithm that does not count.
    #[error("the token uses an algorithm that is not supported: {0}")]
    Algorithm(String),
    /// It is for other bytes.
    #[error("it is for another signature")]
    OtherBytes,
    /// Its signature covers another statement.
    #[error("its signature is over another statement")]
    OtherStatement,
    /// Another authority signed it.
    #[error("it is by another authority")]
    OtherSigner,
    /// The authority's key does not verify it.
    #[error("its signature does not verify with the key of the authority")]
    Signature,
    /// The trusted root names certificate authorities only, and the certificate of the signer is not in the token.
    #[error(
        "the trusted root names no certificate that signs timestamps, and the token holds none of its signer with a \
         supported key"
    )]
    NoCertificate,
    /// The token was signed with another certificate than the one in it.
    #[error(transparent)]
    SigningCertificate(#[from] SigningCertificateError),
    /// The certificate is not for timestamps, or does not lead to the root of the authority at the time in the token.
    #[error("the certificate of the authority is not valid for it: {0}")]
    Chain(#[from] ChainError),
    /// The trusted root does not believe the authority at the time in the token.
    #[error("it is of {0}, when its authority was not trusted")]
    OutsideValidity(Timestamp),
}

impl Token {
    /// Reads a DER `TimeStampResp` that grants a token, or the token alone.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenError> {
        let broken = |error: der::Error| TokenError::Malformed(error.to_string());
        let content = content_info(bytes).map_err(broken)?;
        let data = SignedData::read(content).map_err(broken)?;
        let signer = SignerInfo::read(data.signer).map_err(broken)?;
        let statement = Statement::read(data.info).map_err(broken)?;
        let hash = |identifier: AlgorithmIdentifierRef<'_>| {
            Hash::of(identifier.oid)
                .ok_or_else(|| TokenError::Algorithm(identifier.oid.to_string()))
        };
        let info_hash = hash(signer.digest_algorithm)?;
        let algorithm = Algorithm::of_cms(signer.algorithm, info_hash)
            .ok_or_else(|| TokenError::Algorithm(signer.algorithm.oid.to_string()))?;
        Ok(Self {
            time: statement.time,
            imprint: (
                hash(statement.imprint_algorithm)?,
                statement.imprint.to_vec(),
            ),
            info: data.info.to_vec(),
            signer: signer.identifier,
            info_hash: (info_hash, signer.message_digest.to_vec()),
            attributes: signer.attributes,
            algorithm,
            signature: signer.signature.to_vec(),
            certificates: data.certificates.to_vec(),
        })
    }

    /// Proves that the authority says that it saw `stamped` at the time returned.
    pub(super) fn verify(
        &self,
        stamped: &[u8],
        authority: &TimestampAuthority,
    ) -> Result<Timestamp, TokenError> {
        let (hash, imprint) = &self.imprint;
        if hash.digest(stamped).as_ref() != imprint.as_slice() {
            return Err(TokenError::OtherBytes);
        }
        let (hash, digest) = &self.info_hash;
        if hash.digest(&self.info).as_ref() != digest.as_slice() {
            return Err(TokenError::OtherStatement);
        }
        let own;
        let leaf = match &authority.leaf {
            Some(leaf) if leaf.is(&self.signer) => leaf,
            Some(_) => return Err(TokenError::OtherSigner),
            None => {
                own = self.own_leaf()?;
                &own
            }
        };
        if !leaf
            .key
            .verifies_by(self.algorithm, &self.attributes, &self.signature)
        {
            return Err(TokenError::Signature);
        }
        authority.check(leaf, self.time)?;
        let window = authority.valid_for;
        if window.is_some_and(|window| !window.contains(self.time)) {
            return Err(TokenError::OutsideValidity(self.time));
        }
        Ok(self.time)
    }

    /// Returns the certificate in the token that the token names as its signer's. Nothing vouches for it yet.
    fn own_leaf(&self) -> Result<Leaf, TokenError> {
        let broken = |error: der::Error| TokenError::Malformed(error.to_string());
        let mut reader = SliceReader::new(&self.certificates).map_err(broken)?;
        for _certificate in 0..CERTIFICATES_MAX {
            if reader.is_finished() {
                break;
            }
            let certificate = CertificateDer::from(reader.tlv_bytes().map_err(broken)?);
            let leaf = match Leaf::read(&certificate) {
                Ok(leaf) if leaf.is(&self.signer) => leaf,
                // Certificates above the signer's may be of kinds that are not supported.
                Ok(_) | Err(_) => continue,
            };
            let attributes = whole(&self.attributes).map_err(broken)?;
            signing_certificate::check(attributes.value(), &leaf)?;
            return Ok(leaf);
        }
        Err(TokenError::NoCertificate)
    }
}

/// Returns the content of the `ContentInfo`, alone or within a response that grants it (RFC 3161, 2.4.2).
fn content_info(bytes: &[u8]) -> der::Result<AnyRef<'_>> {
    const GRANTED: [u8; 2] = [0, 1];
    let first = |fields: &mut SliceReader<'_>| {
        let tag = fields.peek_tag();
        while !fields.is_finished() {
            fields.tlv_bytes()?;
        }
        tag
    };
    if whole(bytes)?.sequence(first)? == Tag::ObjectIdentifier {
        return signed_data(whole(bytes)?);
    }
    whole(bytes)?.sequence(|fields| {
        let status: AnyRef<'_> = fields.decode()?;
        let status = status.sequence(|fields| {
            let status = u8::decode(fields)?;
            while !fields.is_finished() {
                fields.tlv_bytes()?;
            }
            Ok(status)
        })?;
        if !GRANTED.contains(&status) {
            return Err(Tag::Integer.value_error());
        }
        signed_data(fields.decode()?)
    })
}

fn signed_data(content_info: AnyRef<'_>) -> der::Result<AnyRef<'_>> {
    content_info.sequence(|fields| {
        expect_identifier(fields, SIGNED_DATA)?;
        whole(explicit(fields, 0)?)
    })
}

/// The parts of `SignedData` that count.
struct SignedData<'a> {
    info: &'a [u8],
    /// The contents of the set of certificates (RFC 5652, 5.1).
    certificates: &'a [u8],
    signer: AnyRef<'a>,
}

impl<'a> SignedData<'a> {
    fn read(content: AnyRef<'a>) -> der::Result<Self> {
        content.sequence(|fields| {
            let _version = u8::decode(fields)?;
            let _digest_algorithms = expect(fields, Tag::Set)?;
            let encapsulated: AnyRef<'_> = fields.decode()?;
            let info = encapsulated.sequence(|fields| {
                expect_identifier(fields, TST_INFO)?;
                let octets: OctetStringRef<'_> = whole(explicit(fields, 0)?)?.decode_as()?;
                Ok(octets.as_bytes())
            })?;
            let mut certificates: &[u8] = &[];
            for _certificates_and_revocation_lists in 0..2 {
                let tag = fields.peek_tag()?;
                if tag == context(0, true) {
                    certificates = AnyRef::decode(fields)?.value();
                } else if tag.is_context_specific() {
                    fields.tlv_bytes()?;
                }
            }
            // A token has the signature of its authority and no other (RFC 3161, 2.4.2).
            let signer = whole(expect(fields, Tag::Set)?.value())?;
            Ok(Self {
                info,
                certificates,
                signer,
            })
        })
    }
}

/// The one `SignerInfo`.
struct SignerInfo<'a> {
    identifier: SignerIdentifier,
    digest_algorithm: AlgorithmIdentifierRef<'a>,
    message_digest: &'a [u8],
    attributes: Vec<u8>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: &'a [u8],
}

impl<'a> SignerInfo<'a> {
    fn read(signer: AnyRef<'a>) -> der::Result<Self> {
        signer.sequence(|fields| {
            let _version = u8::decode(fields)?;
            let identifier = signer_identifier(fields.decode()?)?;
            let digest_algorithm = AlgorithmIdentifierRef::decode(fields)?;
            let attributes = expect(fields, context(0, true))?.value();
            let algorithm = AlgorithmIdentifierRef::decode(fields)?;
            let signature = OctetStringRef::decode(fields)?.as_bytes();
            if !fields.is_finished() {
                let _unsigned_attributes = expect(fields, context(1, true))?;
            }
            let content_type: ObjectIdentifier =
                attribute(attributes, CONTENT_TYPE)?.decode_as()?;
            if content_type != TST_INFO {
                return Err(Tag::ObjectIdentifier.value_error());
            }
            let digest: OctetStringRef<'_> = attribute(attributes, MESSAGE_DIGEST)?.decode_as()?;
            Ok(Self {
                identifier,
                digest_algorithm,
                message_digest: digest.as_bytes(),
                // The signature is over the attributes with the tag of a set (RFC 5652, 5.4).
                attributes: AnyRef::new(Tag::Set, attributes)?.to_der()?,
                algorithm,
                signature,
            })
        })
    }
}

fn signer_identifier(identifier: AnyRef<'_>) -> der::Result<SignerIdentifier> {
    if identifier.tag() == context(0, false) {
        return Ok(SignerIdentifier::SubjectKey(identifier.value().to_vec()));
    }
    identifier.sequence(|fields| {
        let issuer = fields.tlv_bytes()?.to_vec();
        let serial = expect(fields, Tag::Integer)?.value().to_vec();
        Ok(SignerIdentifier::IssuerAndSerial(issuer, serial))
    })
}

/// Returns the one value of an attribute that must be there once (RFC 5652, 11.1 and 11.2).
fn attribute(attributes: &[u8], wanted: ObjectIdentifier) -> der::Result<AnyRef<'_>> {
    optional_attribute(attributes, wanted)?.ok_or_else(|| Tag::Set.value_error())
}

/// Returns the one value of an attribute that may be there once.
pub(super) fn optional_attribute(
    attributes: &[u8],
    wanted: ObjectIdentifier,
) -> der::Result<Option<AnyRef<'_>>> {
    let mut reader = SliceReader::new(attributes)?;
    let mut found = None;
    while !reader.is_finished() {
        let attribute: AnyRef<'_> = reader.decode()?;
        let (identifier, values) = attribute.sequence(|fields| {
            let identifier = ObjectIdentifier::decode(fields)?;
            Ok((identifier, expect(fields, Tag::Set)?.value()))
        })?;
        if identifier == wanted && found.replace(whole(values)?).is_some() {
            return Err(ErrorKind::SetDuplicate.into());
        }
    }
    Ok(found)
}

/// The parts of `TSTInfo` that count (RFC 3161, 2.4.2).
struct Statement<'a> {
    imprint_algorithm: AlgorithmIdentifierRef<'a>,
    imprint: &'a [u8],
    time: Timestamp,
}

impl<'a> Statement<'a> {
    fn read(info: &'a [u8]) -> der::Result<Self> {
        whole(info)?.sequence(|fields| {
            if u8::decode(fields)? != 1 {
                return Err(Tag::Integer.value_error());
            }
            let _policy = ObjectIdentifier::decode(fields)?;
            let imprint: AnyRef<'_> = fields.decode()?;
            let (imprint_algorithm, imprint) = imprint.sequence(|fields| {
                let algorithm = AlgorithmIdentifierRef::decode(fields)?;
                Ok((algorithm, OctetStringRef::decode(fields)?.as_bytes()))
            })?;
            let _serial = expect(fields, Tag::Integer)?;
            let time = generalized_time(expect(fields, Tag::GeneralizedTime)?.value())
                .ok_or_else(|| Tag::GeneralizedTime.value_error())?;
            check_rest(fields)?;
            Ok(Self {
                imprint_algorithm,
                imprint,
                time,
            })
        })
    }
}

/// Reads what may follow the time: accuracy, ordering, nonce, name of the authority, extensions. Nothing of it changes
/// the time; cosign does not apply the accuracy either. A critical extension would, and none is known.
fn check_rest(fields: &mut SliceReader<'_>) -> der::Result<()> {
    let order = [
        Tag::Sequence,
        Tag::Boolean,
        Tag::Integer,
        context(0, true),
        context(1, true),
    ];
    let mut allowed = order.into_iter();
    while !fields.is_finished() {
        let field: AnyRef<'_> = fields.decode()?;
        if !allowed.any(|tag| tag == field.tag()) {
            return Err(field.tag().unexpected_error(None));
        }
        if field.tag() == context(1, true) {
            refuse_critical(field.value())?;
        }
    }
    Ok(())
}

fn refuse_critical(extensions: &[u8]) -> der::Result<()> {
    let mut reader = SliceReader::new(extensions)?;
    while !reader.is_finished() {
        let extension = x509_cert::ext::Extension::decode(&mut reader)?;
        if extension.critical {
            return Err(ErrorKind::Failed.into());
        }
    }
    Ok(())
}

/// Reads a time in UTC with seconds, and with fractions of a second where the authority measures them (RFC 3161, 2.4.2).
/// There is none before 1970.
fn generalized_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !is_digits(whole) {
        return None;
    }
    let number = |from: usize, to: usize| whole.get(from..to)?.parse::<i8>().ok();
    let nanoseconds = match fraction {
        None => 0,
        Some(digits) if matches!(digits.len(), 1..=9) && is_digits(digits) => {
            format!("{digits:0<9}").parse::<i32>().ok()?
        }
        Some(_) => return None,
    };
    let year = whole.get(..4)?.parse::<i16>().ok()?;
    let date = civil::Date::new(year, number(4, 6)?, number(6, 8)?).ok()?;
    let time = civil::Time::new(
        number(8, 10)?,
        number(10, 12)?,
        number(12, 14)?,
        nanoseconds,
    );
    let zoned = date.to_datetime(time.ok()?).to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp()).filter(|time| *time >= Timestamp::UNIX_EPOCH)
}

pub(super) fn context(number: u8, constructed: bool) -> Tag {
    Tag::ContextSpecific {
        constructed,
        number: TagNumber::new(number),
    }
}

pub(super) fn expect<'a>(fields: &mut SliceReader<'a>, tag: Tag) -> der::Result<AnyRef<'a>> {
    let field: AnyRef<'_> = fields.decode()?;
    field.tag().assert_eq(tag)?;
    Ok(field)
}

fn expect_identifier(fields: &mut SliceReader<'_>, expected: ObjectIdentifier) -> der::Result<()> {
    if ObjectIdentifier::decode(fields)? == expected {
        Ok(())
    } else {
        Err(Tag::ObjectIdentifier.value_error())
    }
}

fn explicit<'a>(fields: &mut SliceReader<'a>, number: u8) -> der::Result<&'a [u8]> {
    Ok(expect(fields, context(number, true))?.value())
}
