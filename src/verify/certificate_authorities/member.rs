//! One certificate of an authority: what it may sign, and by whom it is signed.

use sigstore_types::DerCertificate;

use super::CertificateAuthoritiesError as Error;
use crate::signature::Intermediate;
use crate::verify::issued::Issued;
use crate::verify::issuing::{CODE_SIGNING, Issuing};

/// A certificate that may sign others.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) certificate: Intermediate,
    /// Its name, for messages.
    pub(super) subject: String,
    issued: Issued,
}

impl Member {
    /// Reads the certificate at `position`, if what it demands is kept here.
    pub(super) fn read(der: &[u8], position: usize) -> Result<Self, Error> {
        let broken = |source| Error::Broken { position, source };
        let issuing = Issuing::read(der).map_err(broken)?;
        // A trust anchor is taken as it is, so a leaf would be one, too (RFC 5280, 4.2.1.9).
        if !issuing.is_authority {
            return Err(Error::NotAnAuthority { position });
        }
        let is_for_code = issuing.is_for(CODE_SIGNING);
        let subject = issuing.subject;
        if !issuing.may_sign {
            return Err(Error::KeyUsage { subject });
        }
        if !is_for_code {
            return Err(Error::Purpose { subject });
        }
        // Path building ends at the first certificate that is known here: constraints further up would never be seen.
        if issuing.restricts_names {
            return Err(Error::NameConstraints { subject });
        }
        let parsed = Intermediate::parse(&DerCertificate::from_bytes(der)).map_err(broken)?;
        Ok(Self {
            certificate: parsed,
            subject,
            issued: Issued::read(der).map_err(broken)?,
        })
    }

    /// Whether it is an end of paths. It is believed because it is there, so nothing is asked of its own signature.
    pub(super) fn is_root(&self) -> bool {
        self.certificate.subject == self.certificate.issuer
    }

    /// Whether `issuer` signed it, by name and by key. Two certificates may have the same name, as when one is renewed.
    pub(super) fn is_signed_by(&self, issuer: &Self) -> bool {
        self.certificate.issuer == issuer.certificate.subject
            && self.issued.is_by(&issuer.certificate.public_key)
    }

    /// Whether so many authorities may be between it and a leaf (RFC 5280, 4.2.1.9).
    pub(super) fn may_have_below(&self, authorities: usize) -> bool {
        let length = self.certificate.path_length;
        length.is_none_or(|length| authorities <= usize::from(length))
    }
}
