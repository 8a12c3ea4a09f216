//! Certificates that a document holds: that of a signer, and those of the authorities that issue those of signers.

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::super::super::authorities;
use super::super::super::reader::{Field, Reader, Section, describe};
use super::entry::Scope;
use super::{plain, proofs, signers};
use crate::policy::{Authority, AuthoritySigner, IdentityRequirement, KeySet, Matcher};
use crate::verify::{self, CertificateAuthorities, IssuedCertificate, PublicKey};

const KEYS: &[&str] = &["cert", "certChain", "rekor", "ctlog"];

/// Who may vouch by a certificate.
#[derive(Debug)]
pub(super) enum Certified {
    /// A signer by whom signatures count.
    Signer(Box<Authority>),
    /// Nobody, and why.
    Nobody(&'static str),
}

/// cosign demands that a certificate which it checks against a chain was published, unless that is waived.
const NEVER_PUBLISHED: &str = "`cert` holds no promise of a certificate-transparency log, which is demanded where `certChain` stands beside it";

/// The holder of the key of `cert`, which must lead to the root of `certChain` where that stands beside it, or everybody
/// who has a certificate that leads to a root of `certChain`.
pub(super) fn read(field: &Field<'_>, scope: &Scope<'_>, reader: &mut Reader) -> Option<Certified> {
    let section = field.section(KEYS, reader);
    let proofs = proofs::read(&section, scope, reader);
    let signer = match (section.get("cert"), section.get("certChain")) {
        (Some(certificate), None) => read_signer(&certificate, reader),
        (None, Some(chain)) => {
            let authorities = read_authorities(&chain, reader);
            reader.warn(
                &chain, WarningName::AnybodyCertified,
                "whoever has a certificate by one of these authorities may vouch, whatever its subject",
            );
            authorities.and_then(anybody_certified_by)
        }
        (Some(certificate), Some(chain)) => {
            let issued = read_issued(&certificate, &chain, reader)?;
            if proofs.as_ref().is_some_and(|it| it.sct) {
                if issued.has_promises {
                    refuse_promises(&certificate, reader);
                    return None;
                }
                let help = "no signature counts for this attestor: write ctlog: {ignoreSCT: true} if that is not meant";
                let message = format!("{NEVER_PUBLISHED}, as in Kyverno; {help}");
                reader.warn(&certificate, WarningName::NeverSatisfied, message);
                return Some(Certified::Nobody(NEVER_PUBLISHED));
            }
            read_signer(&certificate, reader)
        }
        (None, None) => {
            reader.problem(
                field,
                "neither `cert` nor `certChain`",
                "write the certificate of the signer, or those of its authorities",
            );
            None
        }
    };
    let name = signers::short(&field.key).to_owned();
    let authority = signers::authority(name, signer?, &proofs?, scope, field, reader)?;
    Some(Certified::Signer(Box::new(authority)))
}

/// Proves that a certificate leads to the last one of a chain. What does not lead there has been reported.
pub(super) fn read_issued(
    certificate: &Field<'_>,
    chain: &Field<'_>,
    reader: &mut Reader,
) -> Option<IssuedCertificate> {
    // The certificate itself is reported where its key is read.
    read_signer(certificate, reader)?;
    let pem = decoded(plain::non_empty(certificate, reader)?);
    let chain_text = plain::non_empty(chain, reader)?;
    match verify::read_issued(&pem, chain_text) {
        Ok(issued) => Some(issued),
        Err(error) => {
            let help = "write the certificates of the authorities that issued `cert`, the root last, or remove `certChain`: \
                        then the key of `cert` vouches";
            reader.problem(chain, describe(&error), help);
            None
        }
    }
}

pub(super) fn refuse_promises(certificate: &Field<'_>, reader: &mut Reader) {
    reader.problem(
        certificate,
        "the promise of a certificate-transparency log in the certificate is not verified",
        "do not demand it: write that it is ignored (`ignoreSCT` or `insecureIgnoreSCT`) under `ctlog`",
    );
}

/// `roots` of an identity: who issues its certificates, in place of the trusted root's authorities. `Some(None)` where
/// there are none.
#[expect(
    clippy::option_option,
    reason = "no authorities and no usable authorities are two things"
)]
pub(super) fn read_roots(
    section: &Section<'_>,
    reader: &mut Reader,
) -> Option<Option<Arc<CertificateAuthorities>>> {
    match section.get("roots") {
        Some(field) => read_authorities(&field, reader).map(Some),
        None => Some(None),
    }
}

fn read_authorities(field: &Field<'_>, reader: &mut Reader) -> Option<Arc<CertificateAuthorities>> {
    let text = plain::non_empty(field, reader)?;
    if !text.trim_start().starts_with("-----BEGIN") {
        reader.problem(
            field,
            "not a PEM text",
            "write the PEM `CERTIFICATE` blocks themselves",
        );
        return None;
    }
    authorities::read_certificate_authorities(field, reader).map(Arc::new)
}

/// The certificate in PEM, or the base64 of that. As in Kyverno its key is what vouches: neither its names nor its dates
/// are looked at.
pub(super) fn read_signer(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let pem = decoded(plain::non_empty(field, reader)?);
    match PublicKey::from_certificate(&pem) {
        Ok(key) => Some(AuthoritySigner::Key {
            reference: "inline".to_owned(),
            keys: Arc::new(KeySet::of(key)),
        }),
        Err(error) => {
            reader.problem(field, describe(&error), "write one PEM `CERTIFICATE` block");
            None
        }
    }
}

/// The text itself, or what it is the base64 of.
fn decoded(text: &str) -> String {
    match BASE64_STANDARD.decode(text.trim()) {
        Ok(decoded) => String::from_utf8_lossy(&decoded).into_owned(),
        Err(_not_base64) => text.to_owned(),
    }
}

fn anybody_certified_by(authorities: Arc<CertificateAuthorities>) -> Option<AuthoritySigner> {
    Some(AuthoritySigner::Identity(IdentityRequirement {
        identity: Matcher::wildcard("*").ok()?,
        oidc_issuer: None,
        extensions: BTreeMap::new(),
        certificate_authorities: Some(authorities),
    }))
}
