//! `authorities:`, of a policy or of an attestation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::{Field, Reader, Section, describe};
use super::trusted_roots::{PUBLIC_GOOD, TrustedRoots};
use super::{lookalikes, members};
use crate::keys;
use crate::policy::{Authority, AuthoritySigner, IdentityRequirement, KeySet, Matcher, Root};
use crate::trust;
use crate::verify::{self, CertificateAuthorities, PublicKey};

pub(super) const KEYS: &[&str] = &[
    "name",
    "key",
    "certificate_identity",
    "certificate_identity_regexp",
    "certificate_oidc_issuer",
    "certificate_oidc_issuer_regexp",
    "certificate_extensions",
    "certificate_authorities",
    "trusted_root",
    "transparency_log",
    "signed_timestamp",
    "sct",
];

pub(super) const IDENTITY_KEYS: [&str; 7] = [
    "certificate_identity",
    "certificate_identity_regexp",
    "certificate_oidc_issuer",
    "certificate_oidc_issuer_regexp",
    "certificate_extensions",
    "certificate_authorities",
    "sct",
];

/// The list of authorities; `None` when one of them is not usable, which has been reported.
pub(super) fn read(
    field: &Field<'_>,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Vec<Arc<Authority>>> {
    let items = field.items(reader);
    if items.is_empty() {
        refuse_empty(field, reader);
        return None;
    }
    if let Some(group) = items.iter().find(|item| members::is_group(item)) {
        reader.problem(
            group,
            "an attestation is vouched for by one authority, not by a group",
            "list authorities, of which any may vouch; to demand attestations by several, list several attestations",
        );
        return None;
    }
    let mut names = Names::default();
    let authorities: Vec<_> = items
        .iter()
        .map(|item| read_named(item, &mut names, roots, reader))
        .collect();
    authorities.into_iter().collect()
}

pub(super) fn refuse_empty(field: &Field<'_>, reader: &mut Reader) {
    reader.problem(
        field,
        "an empty list of authorities lets nobody vouch",
        "add a key, or an identity with its issuer",
    );
}

/// The names of the authorities read so far, with the key where each stands.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

/// One authority, whose name must be a new one.
pub(super) fn read_named(
    field: &Field<'_>,
    names: &mut Names,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Arc<Authority>> {
    let authority = read_authority(field, names.0.len(), roots, reader)?;
    if let Some(first) = names.0.insert(authority.name.clone(), field.key.clone()) {
        reader.problem(
            field,
            format!("`{}` is the name of two authorities", authority.name),
            format!("rename this one or {first}"),
        );
    }
    Some(Arc::new(authority))
}

fn read_authority(
    field: &Field<'_>,
    index: usize,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Authority> {
    let section = field.section(KEYS, reader);
    let name = match section.get("name") {
        Some(field) => field.text(reader)?.to_owned(),
        None => format!("authority-{}", index + 1),
    };
    let transparency_log = demand(&section, "transparency_log", "not_required", true, reader);
    let signed_timestamp = demand(&section, "signed_timestamp", "accepted", false, reader);
    let trusted_root = read_trusted_root(&section, roots, reader);
    let signer = read_signer(&section, reader);
    let is_identity = matches!(signer, Some(AuthoritySigner::Identity(_)));
    let own = match &signer {
        Some(AuthoritySigner::Identity(requirement)) => {
            requirement.certificate_authorities.as_ref()
        }
        Some(AuthoritySigner::Key { .. }) | None => None,
    };
    // Only Fulcio's certificates are in the logs that everybody knows.
    let sct = is_identity && demand(&section, "sct", "not_required", own.is_none(), reader);
    if is_identity && !transparency_log && !signed_timestamp {
        // A certificate lives for ten minutes; without a verified time nobody knows whether it was alive at signing.
        reader.problem(
            field,
            "an identity needs a verified time of signing, and neither log nor timestamp is required",
            "leave `transparency_log` at required, or set `signed_timestamp: required`",
        );
        return None;
    }
    let (trusted_root_name, trusted_root) = trusted_root?;
    if sct
        && own.is_some()
        && let Root::Usable { root: known, .. } = &trusted_root
        && !known.has_certificate_logs()
    {
        reader.problem(
            section.get("sct").as_ref().unwrap_or(field),
            format!("no certificate can have an SCT: `{trusted_root_name}` knows no certificate-transparency log"),
            "leave `sct` out: certificates of one's own authorities are in no such log",
        );
        return None;
    }
    let was_usable = matches!(trusted_root, Root::Usable { .. });
    let trusted_root = trusted_root.with_certificate_authorities(own);
    if let Root::Unusable { reason } = &trusted_root
        && was_usable
    {
        reader.problem(field, reason, "name certificates of authorities");
        return None;
    }
    Some(Authority {
        name,
        signer: signer?,
        trusted_root_name,
        trusted_root,
        root_parts: None,
        transparency_log,
        signed_timestamp,
        sct,
    })
}

/// `required` or the word for the opposite.
fn demand(
    section: &Section<'_>,
    key: &'static str,
    opposite: &str,
    default: bool,
    reader: &mut Reader,
) -> bool {
    section
        .get(key)
        .and_then(|field| field.choice(&[("required", true), (opposite, false)], reader))
        .unwrap_or(default)
}

fn read_trusted_root(
    section: &Section<'_>,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<(String, Root)> {
    let field = section.get("trusted_root");
    let name = match &field {
        Some(field) => field.text(reader)?,
        None => PUBLIC_GOOD,
    };
    match roots.find(name) {
        Some(root) => Some((name.to_owned(), root?)),
        None => {
            let known: Vec<_> = roots.names().collect();
            reader.problem(
                field.as_ref().unwrap_or_else(|| section.field()),
                format!(
                    "there is no trusted root `{}`",
                    field.as_ref().map_or(PUBLIC_GOOD, Field::written)
                ),
                format!(
                    "known: {}; more can be named under `trusted_roots`",
                    known.join(", ")
                ),
            );
            None
        }
    }
}

fn read_signer(section: &Section<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let Some(key) = section.get("key") else {
        return read_identity(section, reader).map(AuthoritySigner::Identity);
    };
    let other: Vec<_> = IDENTITY_KEYS
        .into_iter()
        .filter(|key| section.get(key).is_some())
        .collect();
    if !other.is_empty() {
        reader.problem(
            section.field(),
            format!("a key has no {}", other.join(", ")),
            "an authority is a key or an identity: make two authorities of it",
        );
    }
    if key
        .scalar()
        .is_some_and(|scalar| scalar.text.contains("://"))
    {
        return read_service_key(&key, reader);
    }
    let (reference, key) = read_key(&key, reader)?;
    Some(AuthoritySigner::Key {
        reference,
        keys: Arc::new(KeySet::of(key)),
    })
}

/// A key in a key service. It is not asked for while the configuration is read.
pub(super) fn read_service_key(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    match field.text(reader)?.parse::<keys::Reference>() {
        Ok(reference) => Some(AuthoritySigner::Key {
            reference: reference.to_string(),
            keys: Arc::new(KeySet::Unusable {
                reason: format!("the key {reference} has not been read yet"),
            }),
        }),
        Err(error) => {
            reader.problem(
                field,
                describe(&error),
                "or name a PEM file with one `PUBLIC KEY` block",
            );
            None
        }
    }
}

/// A PEM file or inline PEM, with how the configuration names it.
pub(super) fn read_key(field: &Field<'_>, reader: &mut Reader) -> Option<(String, PublicKey)> {
    let text = field.text(reader)?;
    if text.trim_start().starts_with("-----BEGIN") {
        return match PublicKey::from_pem(text) {
            Ok(key) => Some(("inline".to_owned(), key)),
            Err(error) => {
                reader.problem(field, describe(&error), "write one PEM `PUBLIC KEY` block");
                None
            }
        };
    }
    match trust::load_key(&field.path(reader)?) {
        Ok(key) => Some((field.written().to_owned(), key)),
        Err(error) => {
            reader.problem(
                field,
                describe(&error),
                "name a PEM file with one `PUBLIC KEY` block, as `cosign public-key` writes it",
            );
            None
        }
    }
}

fn read_identity(section: &Section<'_>, reader: &mut Reader) -> Option<IdentityRequirement> {
    let identity = read_matcher(
        section,
        ("certificate_identity", "certificate_identity_regexp"),
        reader,
    );
    let certificate_authorities = match section.get("certificate_authorities") {
        Some(field) => Some(Arc::new(read_certificate_authorities(&field, reader)?)),
        None => None,
    };
    let issuer = ("certificate_oidc_issuer", "certificate_oidc_issuer_regexp");
    let has_issuer = section.get(issuer.0).is_some() || section.get(issuer.1).is_some();
    // Authorities of one's own vouch for their names themselves.
    let oidc_issuer = if has_issuer || certificate_authorities.is_none() {
        Some(read_matcher(section, issuer, reader))
    } else {
        None
    };
    let extensions = section
        .get("certificate_extensions")
        .map(|field| read_extensions(&field, reader))
        .unwrap_or_default();
    Some(IdentityRequirement {
        identity: identity?,
        oidc_issuer: match oidc_issuer {
            Some(matcher) => Some(matcher?),
            None => None,
        },
        extensions,
        certificate_authorities,
    })
}

/// A PEM file or inline PEM: roots, and intermediates that lead to them.
pub(super) fn read_certificate_authorities(
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<CertificateAuthorities> {
    let text = field.text(reader)?;
    let help = "write PEM certificates, or name a file with them: at least one self-signed root, and intermediates";
    let read = if text.trim_start().starts_with("-----BEGIN") {
        CertificateAuthorities::from_pem(text).map_err(|error| describe(&error))
    } else {
        trust::load_certificate_authorities(&field.path(reader)?).map_err(|error| describe(&error))
    };
    match read {
        Ok(authorities) => Some(authorities),
        Err(reason) => {
            reader.problem(field, reason, help);
            None
        }
    }
}

/// By name or by object identifier. A misspelt extension would refuse every image.
fn read_extensions(field: &Field<'_>, reader: &mut Reader) -> BTreeMap<String, Matcher> {
    let mut extensions = BTreeMap::new();
    for (name, value) in field.entries(reader) {
        let Some(known) = verify::extension_name(&name.name) else {
            let known: Vec<_> = verify::extension_names().collect();
            reader.problem_at(
                name.position.clone(),
                &value.key,
                "no certificate extension of this name is known",
                format!(
                    "known: {}, or the object identifier of one",
                    known.join(", ")
                ),
            );
            continue;
        };
        let Some(text) = value.text(reader) else {
            continue;
        };
        if text.is_empty() {
            reader.problem(&value, "empty", "write the whole value");
            continue;
        }
        lookalikes::note_exact(text, &value, reader);
        if extensions
            .insert(known.to_owned(), Matcher::Exact(text.to_owned()))
            .is_some()
        {
            reader.problem(
                &value,
                format!("`{known}` is there twice"),
                "keep one of them",
            );
        }
    }
    extensions
}

/// Exactly one of the value itself and the expression.
fn read_matcher(
    section: &Section<'_>,
    (exact, expression): (&'static str, &'static str),
    reader: &mut Reader,
) -> Option<Matcher> {
    match (section.get(exact), section.get(expression)) {
        (Some(field), None) => {
            let text = field.text(reader)?;
            if text.is_empty() {
                reader.problem(&field, "empty", "write the whole value");
                return None;
            }
            lookalikes::note_exact(text, &field, reader);
            Some(Matcher::Exact(text.to_owned()))
        }
        (None, Some(field)) => {
            let matcher = read_expression(&field, reader)?;
            lookalikes::note_expression(&matcher, &field, reader);
            Some(matcher)
        }
        (Some(_), Some(_)) => {
            reader.problem(
                section.field(),
                format!("both `{exact}` and `{expression}`"),
                "keep one of them",
            );
            None
        }
        (None, None) => {
            reader.problem(
                section.field(),
                format!("neither `{exact}` nor `{expression}`"),
                "an authority is a `key`, or an identity and its issuer: anybody may get a certificate for a name \
                 from some issuer, so both are needed",
            );
            None
        }
    }
}

/// An expression over the whole value.
pub(super) fn read_expression(field: &Field<'_>, reader: &mut Reader) -> Option<Matcher> {
    match Matcher::expression(field.text(reader)?) {
        Ok(matcher) => Some(matcher),
        Err(error) => {
            reader.problem(
                field,
                field.explain(&error),
                "write an expression that matches the whole value; dots are written `\\.`",
            );
            None
        }
    }
}
