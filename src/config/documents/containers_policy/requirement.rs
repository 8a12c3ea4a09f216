//! One requirement of a scope.

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::signed_identity;
use crate::config::authorities;
use crate::config::documents::root_document::{RootDocument, log, roots};
use crate::config::documents::trust_root::decode;
use crate::config::reader::{Field, Reader, Section, describe};
use crate::policy::{
    Authority, AuthoritySigner, IdentityRequirement, KeySet, KeyVersion, Matcher, Requirement,
    Root, SignatureRequirement, SignedName,
};
use crate::trust;
use crate::verify::PublicKey;

const BY_GPG: [&str; 2] = ["signedBy", "signedBaseLayer"];
const PLAIN_KEYS: &[&str] = &["type"];
const SIGNED_KEYS: &[&str] = &[
    "type",
    "keyPath",
    "keyPaths",
    "keyData",
    "keyDatas",
    "fulcio",
    "pki",
    "rekorPublicKeyPath",
    "rekorPublicKeyPaths",
    "rekorPublicKeyData",
    "rekorPublicKeyDatas",
    "signedIdentity",
];
const FULCIO_KEYS: &[&str] = &["caPath", "caData", "oidcIssuer", "subjectEmail"];

const SIGNERS: [&str; 6] = [
    "keyPath", "keyPaths", "keyData", "keyDatas", "fulcio", "pki",
];
const LOGS: [&str; 4] = [
    "rekorPublicKeyPath",
    "rekorPublicKeyPaths",
    "rekorPublicKeyData",
    "rekorPublicKeyDatas",
];

/// Returns true if a requirement asks for signatures by GPG keys.
pub(super) fn is_by_gpg(field: &Field<'_>) -> bool {
    super::super::text_under(field, "type").is_some_and(|kind| BY_GPG.contains(&kind))
}

/// What is required, and what the name in the signature must be; nothing when it is not usable. GPG signatures are not
/// verified, so what asks for them refuses.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<(Requirement, SignedName)> {
    let kind = super::super::text_under(field, "type").unwrap_or_default();
    match kind {
        "insecureAcceptAnything" => {
            field.section(PLAIN_KEYS, reader);
            reader.warn(
                field,
                WarningName::LetsThroughUnsigned,
                "whatever the scope covers is let through unsigned",
            );
            Some((Requirement::Nothing, SignedName::Any))
        }
        "reject" => {
            field.section(PLAIN_KEYS, reader);
            let message = "rejected by the policy".to_owned();
            Some((Requirement::Refusal { message }, SignedName::Any))
        }
        "sigstoreSigned" => read_signed(field, reader),
        kind if BY_GPG.contains(&kind) => {
            let message = format!("`{kind}`: signatures by GPG keys are not supported");
            Some((Requirement::Refusal { message }, SignedName::Any))
        }
        "" => {
            let section = field.section(SIGNED_KEYS, reader);
            if let Some(field) = section.required("type", KNOWN_TYPES, reader) {
                reader.problem(&field, "no type is written here", KNOWN_TYPES);
            }
            None
        }
        _ => {
            let message = format!("the type `{kind}` is not known here");
            reader.problem(field, message, KNOWN_TYPES);
            None
        }
    }
}

const KNOWN_TYPES: &str = "write insecureAcceptAnything, reject or sigstoreSigned";

fn read_signed(field: &Field<'_>, reader: &mut Reader) -> Option<(Requirement, SignedName)> {
    let section = field.section(SIGNED_KEYS, reader);
    let identity = signed_identity::read(&section, reader);
    let logs = read_logs(&section, reader);
    let ways: Vec<_> = SIGNERS
        .into_iter()
        .filter_map(|key| section.get(key).map(|field| (key, field)))
        .collect();
    let [(way, signer)] = ways.as_slice() else {
        reader.problem(
            field,
            format!("not exactly one of {}", SIGNERS.join(", ")),
            "name the key that must have signed",
        );
        return None;
    };
    let logs = logs?;
    let (signer, certificates) = match *way {
        "pki" => {
            reader.problem(
                signer,
                "certificates that are not Fulcio's are not supported",
                "sign with a key, or with an identity",
            );
            return None;
        }
        "fulcio" => read_fulcio(signer, logs.is_empty(), reader)?,
        _ => (read_keys(signer, reader)?, Vec::new()),
    };
    let signed_name = identity?;
    let name = match &signer {
        AuthoritySigner::Key { reference, .. } => reference.clone(),
        AuthoritySigner::Identity(_) => "fulcio".to_owned(),
    };
    let transparency_log = !logs.is_empty();
    let root = build_root(field, certificates, logs, reader)?;
    let authority = Authority {
        name,
        signer,
        trusted_root_name: field.key.clone(),
        trusted_root: root,
        root_parts: None,
        transparency_log,
        signed_timestamp: false,
        sct: false,
    };
    let requirement = Requirement::Signers {
        count: 1,
        of: vec![SignatureRequirement {
            authority: Arc::new(authority),
            annotations: BTreeMap::new(),
        }],
    };
    Some((requirement, signed_name))
}

/// The keys and certificates of the requirement, and nothing else, are believed.
fn build_root(
    field: &Field<'_>,
    certificate_authorities: Vec<serde_json::Value>,
    transparency_logs: Vec<serde_json::Value>,
    reader: &mut Reader,
) -> Option<Root> {
    let document = RootDocument {
        certificate_authorities,
        transparency_logs,
        ..RootDocument::default()
    };
    match document.to_root() {
        Ok(root) => Some(Root::usable(Arc::new(root))),
        Err(error) => {
            reader.problem(field, describe(&error), "check certificates and keys");
            None
        }
    }
}

/// Any of the keys may have signed.
fn read_keys(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let mut versions = Vec::new();
    let mut references = Vec::new();
    for item in one_or_more(field, reader) {
        let (reference, key) = if field.key.ends_with("Path") || field.key.ends_with("Paths") {
            authorities::read_key(&item, reader)?
        } else {
            ("inline".to_owned(), read_data(&item, reader)?)
        };
        references.push(reference);
        versions.push(KeyVersion { version: None, key });
    }
    if versions.is_empty() {
        reader.problem(field, "no key", "name the key that must have signed");
        return None;
    }
    Some(AuthoritySigner::Key {
        reference: references.join(", "),
        keys: Arc::new(KeySet::Known(versions)),
    })
}

fn read_data(field: &Field<'_>, reader: &mut Reader) -> Option<PublicKey> {
    let decoded = decode(field, reader)?;
    match PublicKey::from_pem(&String::from_utf8_lossy(&decoded)) {
        Ok(key) => Some(key),
        Err(error) => {
            let help = "write the base64 of one PEM `PUBLIC KEY` block";
            reader.problem(field, describe(&error), help);
            None
        }
    }
}

/// A list, or the one value under a key in the singular.
fn one_or_more<'n>(field: &Field<'n>, reader: &mut Reader) -> Vec<Field<'n>> {
    if field.key.ends_with('s') {
        field.items(reader)
    } else {
        vec![field.clone()]
    }
}

/// The identity and the certificates of the authority that vouches for it.
fn read_fulcio(
    field: &Field<'_>,
    without_log: bool,
    reader: &mut Reader,
) -> Option<(AuthoritySigner, Vec<serde_json::Value>)> {
    if without_log {
        reader.problem(
            field,
            "`fulcio` needs a log: its certificates live for minutes",
            "add `rekorPublicKeyPath` or `rekorPublicKeyData`",
        );
        return None;
    }
    let section = field.section(FULCIO_KEYS, reader);
    let mut exact = |key: &'static str| {
        let field = section.required(key, "write the whole value", reader)?;
        let text = field.text(reader)?;
        if text.is_empty() {
            reader.problem(&field, "empty", "write the whole value");
            return None;
        }
        Some(Matcher::Exact(text.to_owned()))
    };
    let (oidc_issuer, identity) = (exact("oidcIssuer"), exact("subjectEmail"));
    if let Some(field) = section.get("subjectEmail")
        && !is_email_address(field.text(reader)?)
    {
        reader.problem(
            &field,
            "no e-mail address: containers look at nothing else in a certificate",
            "write the e-mail address of the signer, or demand the identity in a policy under `policies`",
        );
        return None;
    }
    let (certificates, place) = match (section.get("caPath"), section.get("caData")) {
        (Some(path), None) => (read_pem(&path, reader)?, path),
        (None, Some(data)) => (decode(&data, reader)?, data),
        _ => {
            reader.problem(
                field,
                "not exactly one of `caPath` and `caData`",
                "name the certificate of the authority",
            );
            return None;
        }
    };
    // Each is a root, whether another of the file signed it or not: one that has expired takes none down with it.
    let Some(authorities) = roots(&certificates) else {
        reader.problem(
            &place,
            "no PEM certificates",
            "name a file with PEM certificates",
        );
        return None;
    };
    let identity = IdentityRequirement {
        identity: identity?,
        oidc_issuer: Some(oidc_issuer?),
        certificate_authorities: None,
        extensions: BTreeMap::new(),
    };
    Some((AuthoritySigner::Identity(identity), authorities))
}

/// Whether it cannot be a name of another kind, such as that of a workflow.
fn is_email_address(text: &str) -> bool {
    text.split('@').count() == 2 && !text.contains(['/', ':'])
}

/// The logs in which a signature must be; none if none are named.
fn read_logs(section: &Section<'_>, reader: &mut Reader) -> Option<Vec<serde_json::Value>> {
    let ways: Vec<_> = LOGS
        .into_iter()
        .filter_map(|key| section.get(key))
        .collect();
    let field = match ways.as_slice() {
        [] => {
            reader.warn(
                section.field(), WarningName::NoTransparencyLog,
                "no key of a log: as containers have it, it is not checked that the signature is in a transparency log",
            );
            return Some(Vec::new());
        }
        [field] => field,
        [..] => {
            reader.problem(
                section.field(),
                format!("more than one of {}", LOGS.join(", ")),
                "keep one of them",
            );
            return None;
        }
    };
    let mut logs = Vec::new();
    for item in one_or_more(field, reader) {
        let pem = if field.key.ends_with("Path") || field.key.ends_with("Paths") {
            read_pem(&item, reader)?
        } else {
            decode(&item, reader)?
        };
        let Some(log) = log("", &pem) else {
            reader.problem(&item, "not one PEM public key", "name the log's public key");
            return None;
        };
        logs.push(log);
    }
    if logs.is_empty() {
        reader.problem(
            field,
            "no key",
            "name the log's public key, or remove the entry",
        );
        return None;
    }
    Some(logs)
}

fn read_pem(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<u8>> {
    match trust::read_text(&field.path(reader)?) {
        Ok(text) => Some(text.into_bytes()),
        Err(error) => {
            reader.problem(field, describe(&error), "name a readable PEM file");
            None
        }
    }
}
