//! `key` of an authority.

use crate::config::WarningName;
use std::sync::Arc;

use crate::config::authorities::read_service_key;
use crate::config::reader::{Field, Reader, Section, describe};
use crate::keys;
use crate::policy::{AuthoritySigner, KeySet, KeyVersion};
use crate::verify::PublicKey;

const KEYS: &[&str] = &["secretRef", "data", "kms", "hashAlgorithm"];
const SECRET_KEYS: &[&str] = &["name", "namespace"];

/// Where the project keeps the secrets with keys.
const NAMESPACE: &str = "cosign-system";

/// The key, wherever it is; nothing when it is not usable.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let section = field.section(KEYS, reader);
    read_hash(&section, reader)?;
    match (
        section.get("data"),
        section.get("kms"),
        section.get("secretRef"),
    ) {
        (Some(data), None, None) => read_pem(&data, reader),
        (None, Some(kms), None) => read_kms(&kms, reader),
        (None, None, Some(secret)) => read_secret(&secret, reader),
        _ => {
            reader.problem(
                field,
                "not exactly one of `data`, `kms` and `secretRef`",
                "make an authority of each key: one of them must vouch",
            );
            None
        }
    }
}

/// A key is used with the hashes of its kind.
fn read_hash(section: &Section<'_>, reader: &mut Reader) -> Option<()> {
    let Some(field) = section.get("hashAlgorithm") else {
        return Some(());
    };
    match field.text(reader)? {
        "sha256" => Some(()),
        "sha384" | "sha512" => {
            reader.warn(
                &field, WarningName::HashByKey,
                "the hash follows from the key: SHA-384 or SHA-256 for P-384, SHA-512 for P-521, SHA-256 or SHA-512 for RSA",
            );
            Some(())
        }
        _ => {
            reader.problem(
                &field,
                format!("`{}` is not supported", field.written()),
                "write sha256, sha384 or sha512, or leave it out",
            );
            None
        }
    }
}

/// Any of the keys may vouch.
fn read_pem(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let text = field.text(reader)?;
    let help = "write PEM blocks `PUBLIC KEY`, as `cosign public-key` does";
    let mut versions = Vec::new();
    for block in super::super::pem_blocks(text) {
        match PublicKey::from_pem(&block) {
            Ok(key) => versions.push(KeyVersion { version: None, key }),
            Err(error) => {
                reader.problem(field, describe(&error), help);
                return None;
            }
        }
    }
    if versions.is_empty() {
        reader.problem(field, "not a text of PEM public keys", help);
        return None;
    }
    Some(AuthoritySigner::Key {
        reference: "inline".to_owned(),
        keys: Arc::new(KeySet::Known(versions)),
    })
}

fn read_kms(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let text = field.text(reader)?;
    let scheme = keys::Scheme::of(text);
    let problem = match scheme {
        Some(keys::Scheme::Aws) if !text.contains(":arn:") && !text.contains("/arn:") => {
            "policy-controller takes AWS keys by their ARN only"
        }
        Some(keys::Scheme::Kubernetes) | None => "not a key service that policy-controller knows",
        Some(
            keys::Scheme::Aws | keys::Scheme::Google | keys::Scheme::Azure | keys::Scheme::Vault,
        ) => return read_service_key(field, reader),
    };
    reader.problem(
        field,
        problem,
        "write awskms:///arn:aws:kms:…, gcpkms://…, azurekms://… or hashivault://…",
    );
    None
}

fn read_secret(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let section = field.section(SECRET_KEYS, reader);
    let name = section.required("name", "name the secret", reader)?;
    let namespace = match section.get("namespace") {
        Some(field) => field.text(reader)?,
        None => NAMESPACE,
    };
    let text = format!("k8s://{namespace}/{}", name.text(reader)?);
    match text.parse::<keys::Reference>() {
        Ok(reference) => {
            reader.warn(
                field,
                WarningName::KeyInSecret,
                format!("read as {reference}: the secret's `cosign.pub`"),
            );
            let reason = format!("the key {reference} has not been read yet");
            Some(AuthoritySigner::Key {
                reference: reference.to_string(),
                keys: Arc::new(KeySet::Unusable { reason }),
            })
        }
        Err(error) => {
            reader.problem(field, describe(&error), "name a secret and its namespace");
            None
        }
    }
}
