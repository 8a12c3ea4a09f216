//! Signing certificates as they are written (RFC 5280, Fulcio's oid-info).

mod read;

use std::collections::BTreeMap;

use jiff::Timestamp;
use sigstore_types::bundle::VerificationMaterialContent;
use sigstore_types::{Bundle, DerCertificate};
use x509_cert::der::asn1::{ObjectIdentifier, Utf8StringRef};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::name::{GeneralName, OtherName};
use x509_cert::ext::pkix::{BasicConstraints, SubjectAltName};
use x509_cert::time::Time;

use super::ParseFailure;

pub use read::CertificateError;
pub(crate) use read::read_certificate;

const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const FULCIO_ARC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1");
const FULCIO_OTHER_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.57264.1.7");

/// The extensions of Fulcio by the last arc of their identifier; 1 and 8 are both the issuer.
pub(crate) const FULCIO_EXTENSIONS: [(u32, &str); 23] = [
    (1, "issuer"),
    (2, "github_workflow_trigger"),
    (3, "github_workflow_sha"),
    (4, "github_workflow_name"),
    (5, "github_workflow_repository"),
    (6, "github_workflow_ref"),
    (8, "issuer"),
    (9, "build_signer_uri"),
    (10, "build_signer_digest"),
    (11, "runner_environment"),
    (12, "source_repository_uri"),
    (13, "source_repository_digest"),
    (14, "source_repository_ref"),
    (15, "source_repository_identifier"),
    (16, "source_repository_owner_uri"),
    (17, "source_repository_owner_identifier"),
    (18, "build_config_uri"),
    (19, "build_config_digest"),
    (20, "build_trigger"),
    (21, "run_invocation_uri"),
    (22, "source_repository_visibility_at_signing"),
    (23, "deployment_environment"),
    (24, "token_subject"),
];

/// A leaf certificate with what came along to lead to an authority; none of it is proven.
#[derive(Debug)]
pub(crate) struct SigningCertificate {
    pub(crate) der: DerCertificate,
    /// DER SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// The one subject alternative name, or what is wrong with the names.
    pub(crate) identity: Result<String, String>,
    /// The one OIDC issuer, nothing where the certificate names none, or what is wrong with it.
    pub(crate) oidc_issuer: Result<Option<String>, String>,
    pub(crate) serial: String,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) extensions: BTreeMap<String, String>,
    /// DER name of who issued it.
    pub(crate) issuer: Vec<u8>,
    /// Untrusted certificates that came along, without self-signed ones: a root is trusted by the trusted root only.
    pub(crate) intermediates: Vec<Intermediate>,
}

/// A certificate that stands between a leaf and a root, wherever it is from.
#[derive(Debug, Clone)]
pub(crate) struct Intermediate {
    pub(crate) der: DerCertificate,
    /// DER name.
    pub(crate) subject: Vec<u8>,
    /// DER name.
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    /// DER SubjectPublicKeyInfo.
    pub(crate) public_key: Vec<u8>,
    /// How many authorities may follow between it and a leaf; absent when any number may.
    pub(crate) path_length: Option<u8>,
}

impl SigningCertificate {
    /// Reads a leaf and the certificates after it.
    pub(super) fn parse(
        leaf: &DerCertificate,
        chain: &[DerCertificate],
    ) -> Result<Self, ParseFailure> {
        let certificate = read_certificate(leaf.as_bytes()).map_err(broken)?;
        let body = &certificate.tbs_certificate;
        let extensions = body.extensions.as_deref().unwrap_or_default();
        Ok(Self {
            der: leaf.clone(),
            public_key: body.subject_public_key_info.to_der().map_err(broken)?,
            identity: identity(extensions),
            oidc_issuer: oidc_issuer(extensions),
            serial: hex::encode(body.serial_number.as_bytes()),
            not_before: timestamp(body.validity.not_before).map_err(broken)?,
            not_after: timestamp(body.validity.not_after).map_err(broken)?,
            extensions: fulcio_extensions(extensions),
            issuer: body.issuer.to_der().map_err(broken)?,
            intermediates: intermediates(chain)?,
        })
    }

    /// That of a bundle; nothing where a key signed.
    ///
    /// # Errors
    /// In words, when it is broken.
    pub(crate) fn of(bundle: &Bundle) -> Result<Option<Self>, String> {
        use VerificationMaterialContent as Content;
        let chain: Vec<_> = match &bundle.verification_material.content {
            Content::Certificate(certificate) => vec![certificate.raw_bytes.clone()],
            Content::X509CertificateChain { certificates } => {
                let certificates = certificates.iter();
                certificates.map(|it| it.raw_bytes.clone()).collect()
            }
            Content::PublicKey(_) => return Ok(None),
            _ => return Err("who signed the bundle is said in a way that is not known".to_owned()),
        };
        let Some((leaf, chain)) = chain.split_first() else {
            return Err("the certificate chain of the bundle is empty".to_owned());
        };
        let certificate = Self::parse(leaf, chain).map_err(|failure| failure.reason)?;
        Ok(Some(certificate))
    }
}

impl Intermediate {
    /// Reads a certificate of a chain.
    pub(crate) fn parse(der: &DerCertificate) -> Result<Self, CertificateError> {
        let certificate = read_certificate(der.as_bytes())?;
        let body = &certificate.tbs_certificate;
        let constraints = body.get::<BasicConstraints>()?;
        Ok(Self {
            der: der.clone(),
            subject: body.subject.to_der()?,
            issuer: body.issuer.to_der()?,
            not_before: timestamp(body.validity.not_before)?,
            not_after: timestamp(body.validity.not_after)?,
            public_key: body.subject_public_key_info.to_der()?,
            path_length: constraints.and_then(|(_, it)| it.path_len_constraint),
        })
    }
}

/// The certificates of a chain without self-signed ones, no two of which have the same name.
///
/// With one certificate for each name there is one way from the leaf up. With several, a verifier tries all ways, and
/// ten certificates make hundreds of thousands (the attack of RUSTSEC-2023-0052 and CVE-2026-32280).
fn intermediates(chain: &[DerCertificate]) -> Result<Vec<Intermediate>, ParseFailure> {
    let mut intermediates: Vec<Intermediate> = Vec::with_capacity(chain.len());
    for der in chain {
        let intermediate = Intermediate::parse(der).map_err(broken)?;
        let is_root = intermediate.subject == intermediate.issuer;
        if is_root || intermediates.iter().any(|known| known.der == *der) {
            continue;
        }
        if intermediates
            .iter()
            .any(|known| known.subject == intermediate.subject)
        {
            return Err(ParseFailure::malformed(
                "two certificates in the chain of the signature have the same name",
            ));
        }
        intermediates.push(intermediate);
    }
    Ok(intermediates)
}

fn broken(error: impl Into<CertificateError>) -> ParseFailure {
    let error = error.into();
    ParseFailure::malformed(format!("a certificate of the signature is broken: {error}"))
}

fn timestamp(time: Time) -> Result<Timestamp, x509_cert::der::Error> {
    Timestamp::try_from(time.to_system_time())
        .map_err(|_out_of_range| x509_cert::der::ErrorKind::DateTime.into())
}

/// Fulcio issues exactly one name; with two, two verifiers could believe two different signers.
fn identity(extensions: &[Extension]) -> Result<String, String> {
    let mut named = extensions
        .iter()
        .filter(|extension| extension.extn_id == SUBJECT_ALT_NAME);
    let Some(extension) = named.next() else {
        return Err("the certificate has no subject alternative name, not exactly one".to_owned());
    };
    if named.next().is_some() {
        return Err("the certificate has its subject alternative names twice".to_owned());
    }
    let names = SubjectAltName::from_der(extension.extn_value.as_bytes()).map_err(|error| {
        format!("the subject alternative name of the certificate is broken: {error}")
    })?;
    match names.0.as_slice() {
        [name] => text(name).ok_or_else(|| {
            "the subject alternative name of the certificate is of no kind that Fulcio issues"
                .to_owned()
        }),
        names => Err(format!(
            "the certificate has {} subject alternative names, not exactly one",
            names.len()
        )),
    }
}

fn text(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::Rfc822Name(email) => Some(email.to_string()),
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        GeneralName::DnsName(host) => Some(host.to_string()),
        GeneralName::OtherName(OtherName { type_id, value }) if *type_id == FULCIO_OTHER_NAME => {
            value
                .decode_as::<Utf8StringRef<'_>>()
                .ok()
                .map(|user| user.as_str().to_owned())
        }
        GeneralName::OtherName(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EdiPartyName(_)
        | GeneralName::IpAddress(_)
        | GeneralName::RegisteredId(_) => None,
    }
}

/// The issuer stands in the extension .1.8, in older certificates in .1.1, and where in both, the same in both.
fn oidc_issuer(extensions: &[Extension]) -> Result<Option<String>, String> {
    let of = |arc: u32| {
        let mut found = extensions
            .iter()
            .filter(move |extension| fulcio_arc(extension) == Some(arc));
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => Err("the certificate has its OIDC issuer twice".to_owned()),
            (Some(extension), None) => fulcio_value(arc, extension)
                .map(Some)
                .ok_or_else(|| "the OIDC issuer in the certificate is not readable".to_owned()),
        }
    };
    match (of(8)?, of(1)?) {
        (Some(current), Some(old)) if current != old => Err(format!(
            "the certificate names two OIDC issuers, {current} and {old}"
        )),
        (issuer @ Some(_), _) | (None, issuer) => Ok(issuer),
    }
}

fn fulcio_extensions(extensions: &[Extension]) -> BTreeMap<String, String> {
    extensions
        .iter()
        .filter_map(|extension| {
            let arc = fulcio_arc(extension)?;
            let (_, name) = FULCIO_EXTENSIONS.iter().find(|(known, _)| *known == arc)?;
            Some(((*name).to_owned(), fulcio_value(arc, extension)?))
        })
        .collect()
}

fn fulcio_arc(extension: &Extension) -> Option<u32> {
    let identifier = extension.extn_id;
    (identifier.parent() == Some(FULCIO_ARC))
        .then(|| identifier.arcs().last())
        .flatten()
}

/// Up to .1.6 the bytes are the text; from .1.8 they are a DER `UTF8String`.
fn fulcio_value(arc: u32, extension: &Extension) -> Option<String> {
    let bytes = extension.extn_value.as_bytes();
    if arc < 8 {
        return std::str::from_utf8(bytes).ok().map(str::to_owned);
    }
    Utf8StringRef::from_der(bytes)
        .ok()
        .map(|text| text.as_str().to_owned())
}

#[cfg(test)]
mod tests;
