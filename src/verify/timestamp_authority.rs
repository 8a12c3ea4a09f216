//! Timestamp authorities of a trusted root, and the certificates with which they sign.

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use sigstore_types::TimeRange;
use x509_cert::der::Encode as _;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, SubjectKeyIdentifier};
use x509_cert::spki::SubjectPublicKeyInfoRef;

use super::algorithm::KeyKind;
use super::issuing::{self, TIME_STAMPING, UnusableChain};
use super::path::{self, PathError, Usage};
use super::{KeyError, PublicKey};
use crate::signature::{CertificateError, read_certificate};

/// A timestamp authority of a trusted root.
#[derive(Debug)]
pub(super) struct TimestampAuthority {
    /// The certificate that signs timestamps. It is absent if the root names certificate authorities only. Then the
    /// certificate in the token counts if it leads to them.
    pub(super) leaf: Option<Leaf>,
    /// All certificates that the root names, as it orders them.
    chain: Vec<CertificateDer<'static>>,
    root: TrustAnchor<'static>,
    pub(super) valid_for: Option<TimeRange>,
}

/// A certificate that may sign timestamps, and its key.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) der: CertificateDer<'static>,
    /// DER name.
    pub(super) issuer: Vec<u8>,
    /// The bytes of the number.
    pub(super) serial: Vec<u8>,
    key_identifier: Option<Vec<u8>>,
    pub(super) key: PublicKey,
    is_for_timestamps: bool,
}

/// The certificate that made a token, as the token names it (RFC 5652, 5.3).
#[derive(Debug)]
pub(super) enum SignerIdentifier {
    /// DER name and the bytes of the number.
    IssuerAndSerial(Vec<u8>, Vec<u8>),
    SubjectKey(Vec<u8>),
}

/// A certificate cannot sign timestamps.
#[derive(Debug, thiserror::Error)]
pub(super) enum LeafError {
    /// The bytes are no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its key is of a kind or size that is not supported.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A certificate does not count for a timestamp.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChainError {
    /// Its key may be used for more than timestamps, or its purpose is not binding.
    #[error(
        "it is not for timestamps alone: its extended key usage must be critical and hold nothing but timeStamping (RFC \
         3161, 2.3)"
    )]
    Purpose,
    /// It does not lead to the root of the authority.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// An authority that proves no time, although it can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum UselessAuthority {
    /// Its certificates and its window have no moment in common.
    #[error("its certificates and its window are never valid at the same time")]
    NeverValid,
    /// The certificate that signs does not count at any time.
    #[error("its certificate does not count: {0}")]
    Chain(#[from] ChainError),
    /// It names certificate authorities only, and one of them may not issue certificates for timestamps.
    #[error(transparent)]
    Issuer(#[from] UnusableChain),
    /// It names certificate authorities only, and nothing can be verified with the key of the root.
    #[error("the key of its root certificate is not supported: {0}")]
    RootKey(&'static str),
}

impl TimestampAuthority {
    /// Prepares the authority of a chain: its own certificate first, its root last. A chain whose first certificate is one
    /// of a certificate authority names no certificate of its own.
    ///
    /// # Errors
    /// When its key is of a kind that is not supported. `Ok(None)` stands for an empty chain or a broken certificate.
    pub(super) fn new(
        chain: &[CertificateDer<'static>],
        valid_for: Option<TimeRange>,
    ) -> Result<Option<Self>, KeyError> {
        let (Some(first), Some(root)) = (chain.first(), chain.last()) else {
            return Ok(None);
        };
        let (Ok(certificate), Ok(anchor)) = (
            read_certificate(first),
            webpki::anchor_from_trusted_cert(root),
        ) else {
            return Ok(None);
        };
        let Ok(constraints) = certificate.tbs_certificate.get::<BasicConstraints>() else {
            return Ok(None);
        };
        let leaf = if constraints.is_some_and(|(_, constraints)| constraints.ca) {
            None
        } else {
            match Leaf::read(first) {
                Ok(leaf) => Some(leaf),
                Err(LeafError::Key(error)) => return Err(error),
                Err(LeafError::Certificate(_)) => return Ok(None),
            }
        };
        Ok(Some(Self {
            leaf,
            chain: chain.to_vec(),
            root: anchor.to_owned(),
            valid_for,
        }))
    }

    /// Proves that `leaf` is for timestamps alone and leads to the root at a time, over no other certificates than those
    /// that the root names.
    pub(super) fn check(&self, leaf: &Leaf, time: Timestamp) -> Result<(), ChainError> {
        if !leaf.is_for_timestamps {
            return Err(ChainError::Purpose);
        }
        let skipped = usize::from(self.leaf.is_some());
        let above = self.chain.get(skipped..).unwrap_or_default();
        let between = above.split_last().map_or(above, |(_root, between)| between);
        path::build(
            &leaf.der,
            between,
            std::slice::from_ref(&self.root),
            time,
            Usage {
                purpose: TIME_STAMPING,
                name: "timestamps",
            },
        )?;
        Ok(())
    }

    /// Returns the reason for which no token of this authority can ever be verified, if there is one.
    pub(super) fn useless(&self) -> Option<UselessAuthority> {
        let start = self.valid_for?.start;
        if !self.is_ever_valid() {
            return Some(UselessAuthority::NeverValid);
        }
        match &self.leaf {
            // All certificates are valid when the window opens, and nothing else of a path depends on the time.
            Some(leaf) => self.check(leaf, start).err().map(Into::into),
            None => self.check_issuers().err(),
        }
    }

    fn is_ever_valid(&self) -> bool {
        self.valid_for
            .is_none_or(|window| window.end.is_none_or(|end| window.start <= end))
    }

    fn check_issuers(&self) -> Result<(), UselessAuthority> {
        for certificate in &self.chain {
            issuing::check_timestamp_issuer(certificate)?;
        }
        let root = self.chain.last().map(|root| read_certificate(root));
        let info = root.and_then(Result::ok);
        let info = info.and_then(|it| it.tbs_certificate.subject_public_key_info.to_der().ok());
        let info = info.unwrap_or_default();
        let kind = SubjectPublicKeyInfoRef::try_from(info.as_slice());
        let kind = kind.map_err(|_broken| UselessAuthority::RootKey("it cannot be read"))?;
        let raw = kind.subject_public_key.as_bytes().unwrap_or_default();
        if KeyKind::of(&kind)
            .map_err(UselessAuthority::RootKey)?
            .is_well_formed(raw)
        {
            Ok(())
        } else {
            Err(UselessAuthority::RootKey("its form or size does not count"))
        }
    }
}

impl Leaf {
    /// Reads a DER certificate that signs timestamps.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, LeafError> {
        let certificate = read_certificate(der)?;
        let body = &certificate.tbs_certificate;
        let encoded =
            |bytes: x509_cert::der::Result<Vec<u8>>| bytes.map_err(CertificateError::from);
        let key_identifier = body.get::<SubjectKeyIdentifier>().ok().flatten();
        let purposes = body.get::<ExtendedKeyUsage>().ok().flatten();
        Ok(Self {
            issuer: encoded(body.issuer.to_der())?,
            serial: body.serial_number.as_bytes().to_vec(),
            key_identifier: key_identifier.map(|(_, it)| it.0.as_bytes().to_vec()),
            key: PublicKey::from_der(&encoded(body.subject_public_key_info.to_der())?)?,
            is_for_timestamps: purposes.is_some_and(|(is_critical, purposes)| {
                is_critical && purposes.0 == [TIME_STAMPING]
            }),
            der: der.clone().into_owned(),
        })
    }

    /// Returns true if a token names this certificate as the one that signed it.
    pub(super) fn is(&self, signer: &SignerIdentifier) -> bool {
        match signer {
            SignerIdentifier::IssuerAndSerial(issuer, serial) => {
                self.issuer == *issuer && self.serial == *serial
            }
            SignerIdentifier::SubjectKey(identifier) => {
                self.key_identifier.as_ref() == Some(identifier)
            }
        }
    }
}
