//! Timestamp tokens made at run time, right in everything that a test does not change.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

use super::forge::Key;
use super::issue::{Issuer, Request};
use crate::signature::pem::blocks;
use crate::verify::timestamp_authority::TimestampAuthority;
use crate::verify::timestamp_token::{Token, TokenError};
pub(super) const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
pub(super) const STAMPED: &[u8] = b"bytes of a signature";

pub(super) fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len();
    let mut bytes = vec![tag];
    match length {
        0..0x80 => bytes.push(u8::try_from(length).unwrap()),
        0x80..0x100 => bytes.extend([0x81, u8::try_from(length).unwrap()]),
        0x100..0x1_0000 => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(0x83);
            bytes.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
        }
    }
    bytes.extend_from_slice(contents);
    bytes
}

pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub(super) fn identifier(text: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(text).to_der().unwrap()
}

pub(super) fn sha256() -> Vec<u8> {
    sequence(&[&identifier("2.16.840.1.101.3.4.2.1")])
}

pub(super) fn digest(bytes: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
        .as_ref()
        .to_vec()
}

/// Makes the certificates that a token carries.
pub(super) type Carried = fn(&Signer<'_>) -> Vec<Vec<u8>>;
/// Makes the attributes that name a certificate.
pub(super) type Named = fn(&Signer<'_>) -> Vec<u8>;

/// A timestamp in the making.
pub(super) struct Stamp {
    pub(super) time: &'static [u8],
    pub(super) content_type: &'static str,
    pub(super) attribute_type: Option<&'static str>,
    /// After the time in the statement.
    pub(super) more: Vec<u8>,
    pub(super) signers: usize,
    pub(super) request: Request,
    /// Returns the certificates that the token carries, of the one that signed.
    pub(super) carried: Carried,
    /// Returns the attributes that name the certificate.
    pub(super) named: Named,
}

/// The certificate that signs a token, with what it was made of.
pub(super) struct Signer<'a> {
    pub(super) certificate: &'a [u8],
    pub(super) key: &'a Key,
    pub(super) issuer: &'a Issuer,
    pub(super) request: &'a Request,
}

pub(super) fn made_authority(
    chain: &[CertificateDer<'static>],
    window: Option<sigstore_types::TimeRange>,
) -> TimestampAuthority {
    TimestampAuthority::new(chain, window).unwrap().unwrap()
}

/// The certificates in PEM text.
pub(super) fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let certificates = blocks(pem, "CERTIFICATE").unwrap().into_iter();
    certificates.map(CertificateDer::from).collect()
}

pub(super) fn attribute(name: &str, value: &[u8]) -> Vec<u8> {
    sequence(&[&identifier(name), &tlv(0x31, value)])
}

/// The second version of the signing-certificate attribute with these fields of the first identifier.
pub(super) fn signing_certificate(fields: &[&[u8]]) -> Vec<u8> {
    let identifiers = sequence(&[&sequence(fields)]);
    attribute("1.2.840.113549.1.9.16.2.47", &sequence(&[&identifiers]))
}

impl Stamp {
    pub(super) fn new() -> Self {
        Self {
            time: b"20260921141320Z",
            content_type: "1.2.840.113549.1.9.16.1.4",
            attribute_type: Some("1.2.840.113549.1.9.16.1.4"),
            more: Vec::new(),
            signers: 1,
            request: Request {
                usage: Some(TIME_STAMPING),
                is_usage_critical: true,
                ..Request::leaf("https://clock.example")
            },
            carried: |signer| vec![signer.certificate.to_vec()],
            named: |signer| signing_certificate(&[&tlv(4, &digest(signer.certificate))]),
        }
    }

    fn statement(&self) -> Vec<u8> {
        let imprint = sequence(&[&sha256(), &tlv(4, &digest(STAMPED))]);
        let parts = [
            tlv(2, &[1]),
            identifier("1.2.3.4.1"),
            imprint,
            tlv(2, &[7]),
            tlv(0x18, self.time),
            self.more.clone(),
        ];
        tlv(0x30, &parts.concat())
    }

    /// Returns the token by a certificate of this issuer, and the certificate.
    pub(super) fn made_by(&self, issuer: &Issuer) -> (Vec<u8>, CertificateDer<'static>) {
        let key = Key::generate();
        let leaf = issuer.issue(&self.request, &key);
        let certificate = Certificate::from_der(&leaf).unwrap().tbs_certificate;
        let of = Signer {
            certificate: &leaf,
            key: &key,
            issuer,
            request: &self.request,
        };
        let statement = self.statement();
        let mut attributes = Vec::new();
        if let Some(name) = self.attribute_type {
            attributes.extend(attribute("1.2.840.113549.1.9.3", &identifier(name)));
        }
        let hash = tlv(4, &digest(&statement));
        attributes.extend(attribute("1.2.840.113549.1.9.4", &hash));
        attributes.extend((self.named)(&of));
        let signer = sequence(&[
            &tlv(2, &[1]),
            &sequence(&[
                &certificate.issuer.to_der().unwrap(),
                &tlv(2, certificate.serial_number.as_bytes()),
            ]),
            &sha256(),
            &tlv(0xa0, &attributes),
            &sequence(&[&identifier("1.2.840.10045.4.3.2")]),
            &tlv(4, &key.sign(&tlv(0x31, &attributes))),
        ]);
        let content = sequence(&[
            &identifier(self.content_type),
            &tlv(0xa0, &tlv(4, &statement)),
        ]);
        let carried = match (self.carried)(&of) {
            none if none.is_empty() => Vec::new(),
            some => tlv(0xa0, &some.concat()),
        };
        let data = sequence(&[
            &tlv(2, &[3]),
            &tlv(0x31, &sha256()),
            &content,
            &carried,
            &tlv(0x31, &signer.repeat(self.signers)),
        ]);
        let token = sequence(&[&identifier("1.2.840.113549.1.7.2"), &tlv(0xa0, &data)]);
        (token, CertificateDer::from(leaf))
    }

    /// The token, and the chain of its authority with its own certificate.
    pub(super) fn made(&self) -> (Vec<u8>, Vec<CertificateDer<'static>>) {
        let root = Issuer::root("clock root");
        let (token, leaf) = self.made_by(&root);
        let chain = std::iter::once(leaf).chain(certificates(&root.pem));
        (token, chain.collect())
    }

    pub(super) fn verified(&self) -> Result<Timestamp, TokenError> {
        let (token, chain) = self.made();
        let authority = made_authority(&chain, None);
        Token::parse(&token)?.verify(STAMPED, &authority)
    }

    /// Verifies the token by a root that names the certificates of these issuers and not that of the signer, which the
    /// first of them issued.
    pub(super) fn verified_below(&self, issuers: &[&Issuer]) -> Result<Timestamp, TokenError> {
        let (token, _leaf) = self.made_by(issuers[0]);
        let chain: Vec<_> = issuers
            .iter()
            .flat_map(|it| certificates(&it.pem))
            .collect();
        let authority = made_authority(&chain, None);
        Token::parse(&token)?.verify(STAMPED, &authority)
    }
}
