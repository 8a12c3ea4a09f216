//! What a certificate says of what it may issue (RFC 5280, 4.2.1.3, 4.2.1.9, 4.2.1.10 and 4.2.1.12).
//!
//! Path building ends at the first certificate that is trusted and takes it as it is. What it says of itself, and what
//! those above it say, is no part of it, and is seen to when they are read.

use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use crate::signature::{CertificateError, Intermediate, read_certificate};

const NAME_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.30");
pub(super) const ANY_PURPOSE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37.0");
pub(super) const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
pub(super) const TIME_STAMPING: ObjectIdentifier =
    ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.8");

/// What a certificate says of what it may issue.
#[derive(Debug)]
pub(super) struct Issuing {
    /// Its name, for messages.
    pub(super) subject: String,
    /// Whether it says that it is one of an authority.
    pub(super) is_authority: bool,
    /// Whether its key may sign certificates, as it may where nothing is said of its use.
    pub(super) may_sign: bool,
    /// Whether it restricts the names of those below it.
    pub(super) restricts_names: bool,
    /// What certificates below it are for; absent where it says nothing of that.
    purposes: Option<ExtendedKeyUsage>,
}

/// Why a chain cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnusableChain {
    /// A certificate of it cannot be read.
    #[error(transparent)]
    Broken(#[from] CertificateError),
    /// A certificate of it may not sign others.
    #[error(
        "the certificate {0:?} is not one of a certificate authority (basic constraints with CA:true): only those may \
         stand in the chain"
    )]
    NotAnAuthority(String),
    /// Its key is for something else.
    #[error("the key of the certificate {0:?} may not sign certificates")]
    KeyUsage(String),
    /// What it issues is for something else.
    #[error("the certificate {0:?} is for other purposes than this (extended key usage)")]
    Purpose(String),
    /// It restricts names, and path building ends below it.
    #[error(
        "the certificate {0:?} has name constraints, which are not supported above another certificate of its chain"
    )]
    NameConstraints(String),
}

impl Issuing {
    /// Reads a DER certificate.
    pub(super) fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = read_certificate(der)?;
        let body = &certificate.tbs_certificate;
        let constraints = body.get::<BasicConstraints>()?;
        let usage = body.get::<KeyUsage>()?;
        let purposes = body.get::<ExtendedKeyUsage>()?;
        let mut extensions = body.extensions.iter().flatten();
        Ok(Self {
            subject: body.subject.to_string(),
            is_authority: constraints.is_some_and(|(_, constraints)| constraints.ca),
            may_sign: usage.is_none_or(|(_, usage)| usage.key_cert_sign()),
            restricts_names: extensions.any(|extension| extension.extn_id == NAME_CONSTRAINTS),
            purposes: purposes.map(|(_, purposes)| purposes),
        })
    }

    /// Whether what it issues may be for `purpose`, as it may where nothing is said of that.
    pub(super) fn is_for(&self, purpose: ObjectIdentifier) -> bool {
        self.purposes.as_ref().is_none_or(|purposes| {
            let mut purposes = purposes.0.iter();
            purposes.any(|named| [purpose, ANY_PURPOSE].contains(named))
        })
    }
}

/// Proves of the chain of a certificate authority that each of its certificates may sign others, and that no path that
/// ends at one of them evades name constraints of those above it. Its own constraints are applied by path building.
pub(super) fn check_authority(chain: &[Intermediate]) -> Result<(), UnusableChain> {
    for certificate in chain {
        let issuing = may_issue(certificate.der.as_bytes(), CODE_SIGNING)?;
        let is_above = |below: &Intermediate| {
            below.issuer == certificate.subject && below.der != certificate.der
        };
        if issuing.restricts_names && chain.iter().any(is_above) {
            return Err(UnusableChain::NameConstraints(issuing.subject));
        }
    }
    Ok(())
}

/// Proves of the chain of a timestamp authority that each certificate but the first, which makes the timestamps, may
/// sign others. A path leads through all of the chain, so that name constraints are applied by path building. The first
/// one may be of a certificate authority, too, which [`check_timestamp_issuer`] looks at.
pub(super) fn check_timestamp_authority(chain: &[Intermediate]) -> Result<(), UnusableChain> {
    let mut above = chain.iter().skip(1);
    above.try_for_each(|certificate| check_timestamp_issuer(certificate.der.as_bytes()))
}

/// Proves of a DER certificate that it may issue those of timestamp authorities.
pub(super) fn check_timestamp_issuer(der: &[u8]) -> Result<(), UnusableChain> {
    may_issue(der, TIME_STAMPING).map(drop)
}

/// Proves of a certificate that came along with a signature that it may issue signing certificates. Its name constraints
/// and path length are applied by path building.
pub(super) fn check_intermediate(certificate: &Intermediate) -> Result<(), UnusableChain> {
    may_issue(certificate.der.as_bytes(), CODE_SIGNING).map(drop)
}

fn may_issue(der: &[u8], purpose: ObjectIdentifier) -> Result<Issuing, UnusableChain> {
    let issuing = Issuing::read(der)?;
    if !issuing.is_authority {
        return Err(UnusableChain::NotAnAuthority(issuing.subject));
    }
    if !issuing.may_sign {
        return Err(UnusableChain::KeyUsage(issuing.subject));
    }
    if !issuing.is_for(purpose) {
        return Err(UnusableChain::Purpose(issuing.subject));
    }
    Ok(issuing)
}
