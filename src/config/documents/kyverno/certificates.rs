//! Certificates of one's own: the certificate of a signer, and the authorities that issue those of signers.

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::super::super::authorities;
use super::super::super::reader::{Field, Reader, Section, describe};
use super::entry::Scope;
use super::{plain, proofs, signers};
use crate::policy::{Authority, AuthoritySigner, IdentityRequirement, KeySet, Matcher};
use crate::verify::{CertificateAuthorities, PublicKey};

const KEYS: &[&str] = &["cert", "certChain", "rekor", "ctlog"];

/// Whoever holds the key of `cert`, or whoever has a certificate that leads to a root of `certChain`.
pub(super) fn read(field: &Field<'_>, scope: &Scope<'_>, reader: &mut Reader) -> Option<Authority> {
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
        (Some(_), Some(chain)) => {
            reader.problem(
                &chain,
                "that `cert` leads to `certChain` is not checked",
                "remove `certChain`: what vouches is the key in `cert`",
            );
            None
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
    signers::authority(name, signer?, &proofs?, scope, field, reader)
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
    let text = plain::non_empty(field, reader)?;
    let decoded = BASE64_STANDARD.decode(text.trim());
    let pem = match &decoded {
        Ok(decoded) => String::from_utf8_lossy(decoded),
        Err(_not_base64) => text.into(),
    };
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

fn anybody_certified_by(authorities: Arc<CertificateAuthorities>) -> Option<AuthoritySigner> {
    Some(AuthoritySigner::Identity(IdentityRequirement {
        identity: Matcher::wildcard("*").ok()?,
        oidc_issuer: None,
        extensions: BTreeMap::new(),
        certificate_authorities: Some(authorities),
    }))
}
