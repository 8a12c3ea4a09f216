//! `authorities:`, of a policy or of an attestation.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::reader::{Field, Reader, Section, describe};
use super::trusted_roots::{PUBLIC_GOOD, TrustedRoots};
use crate::keys;
use crate::policy::{Authority, AuthoritySigner, IdentityRequirement, KeySet, Matcher, Root};
use crate::trust;
use crate::verify::PublicKey;

pub(super) const KEYS: &[&str] = &[
    "name",
    "key",
    "certificate_identity",
    "certificate_identity_regexp",
    "certificate_oidc_issuer",
    "certificate_oidc_issuer_regexp",
    "certificate_extensions",
    "trusted_root",
    "transparency_log",
    "signed_timestamp",
    "sct",
];

const IDENTITY_KEYS: [&str; 6] = [
    "certificate_identity",
    "certificate_identity_regexp",
    "certificate_oidc_issuer",
    "certificate_oidc_issuer_regexp",
    "certificate_extensions",
    "sct",
];

/// Fulcio's extensions (Fulcio, "oid-info"), as [`crate::verify::Certificate::extensions`] names them.
const EXTENSIONS: [&str; 22] = [
    "issuer",
    "github_workflow_trigger",
    "github_workflow_sha",
    "github_workflow_name",
    "github_workflow_repository",
    "github_workflow_ref",
    "build_signer_uri",
    "build_signer_digest",
    "runner_environment",
    "source_repository_uri",
    "source_repository_digest",
    "source_repository_ref",
    "source_repository_identifier",
    "source_repository_owner_uri",
    "source_repository_owner_identifier",
    "build_config_uri",
    "build_config_digest",
    "build_trigger",
    "run_invocation_uri",
    "source_repository_visibility_at_signing",
    "deployment_environment",
    "token_subject",
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
    let sct = is_identity && demand(&section, "sct", "not_required", true, reader);
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
    Some(Authority {
        name,
        signer: signer?,
        trusted_root_name,
        trusted_root,
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
    let oidc_issuer = read_matcher(
        section,
        ("certificate_oidc_issuer", "certificate_oidc_issuer_regexp"),
        reader,
    );
    let extensions = section
        .get("certificate_extensions")
        .map(|field| read_extensions(&field, reader))
        .unwrap_or_default();
    Some(IdentityRequirement {
        identity: identity?,
        oidc_issuer: oidc_issuer?,
        extensions,
    })
}

/// A misspelt extension would refuse every image.
fn read_extensions(field: &Field<'_>, reader: &mut Reader) -> BTreeMap<String, Matcher> {
    for (name, value) in field.entries(reader) {
        if !EXTENSIONS.contains(&name.name.as_str()) {
            reader.problem_at(
                name.position.clone(),
                &value.key,
                "no certificate extension of this name is known",
                format!("known: {}", EXTENSIONS.join(", ")),
            );
        }
    }
    let texts = field.texts(reader).into_iter();
    texts
        .map(|(name, value)| (name, Matcher::Exact(value)))
        .collect()
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
            Some(Matcher::Exact(text.to_owned()))
        }
        (None, Some(field)) => read_expression(&field, reader),
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
        Ok(matcher) => {
            if matcher.constrains_little() {
                reader.warn(
                    field,
                    format!("`{}` matches almost anybody", field.written()),
                );
            }
            Some(matcher)
        }
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
