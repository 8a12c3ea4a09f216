//! `keys` and `keyless`: one signer, or one for each of several keys.

use crate::config::WarningName;
use std::sync::Arc;

use super::super::super::authorities;
use super::super::super::reader::{Field, Reader, Section, describe};
use super::super::super::trusted_roots::PUBLIC_GOOD;
use super::entry::Scope;
use super::proofs::{self, Proofs};
use super::{certificates, identity, plain};
use crate::policy::{Authority, AuthoritySigner, IdentityRequirement, KeySet};
use crate::verify::PublicKey;

const KEYS_KEYS: &[&str] = &[
    "publicKeys",
    "signatureAlgorithm",
    "kms",
    "secret",
    "rekor",
    "ctlog",
];
const SECRET_KEYS: &[&str] = &["name", "namespace"];
const KEYLESS_KEYS: &[&str] = &[
    "rekor",
    "ctlog",
    "issuer",
    "issuerRegExp",
    "subject",
    "subjectRegExp",
    "roots",
    "additionalExtensions",
];

/// The signers of the older spelling, from the entry itself.
pub(super) fn read_older(
    section: &Section<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Vec<Authority>> {
    let proofs = Proofs::default();
    if let Some(field) = section.get("key") {
        for other in ["issuer", "subject", "additionalExtensions", "roots"] {
            if let Some(other) = section.get(other) {
                reader.problem(
                    &other,
                    "an identity beside `key` is not looked at",
                    "keep one of them",
                );
            }
        }
        let signers = read_public_keys(&field, reader)?;
        return name_all("key", signers, &proofs, scope, &field, reader);
    }
    let own = certificates::read_roots(section, reader);
    let identity = identity::read(section, None, reader)?;
    let identity = IdentityRequirement {
        certificate_authorities: own?,
        ..identity
    };
    let name = "keyless".to_owned();
    let signer = AuthoritySigner::Identity(identity);
    Some(vec![authority(
        name,
        signer,
        &proofs,
        scope,
        section.field(),
        reader,
    )?])
}

pub(super) fn read_keys(
    field: &Field<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Vec<Authority>> {
    let section = field.section(KEYS_KEYS, reader);
    check_algorithm(&section, "signatureAlgorithm", reader);
    let proofs = proofs::read(&section, scope, reader)?;
    let sources = ["publicKeys", "kms", "secret"];
    let sources = sources
        .into_iter()
        .filter_map(|key| section.get(key).map(|field| (key, field)));
    let sources: Vec<_> = sources.collect();
    let signers = match sources.as_slice() {
        [("publicKeys", keys)] => read_public_keys(keys, reader)?,
        [("kms", kms)] => {
            plain::non_empty(kms, reader)?;
            vec![authorities::read_service_key(kms, reader)?]
        }
        [("secret", secret)] => vec![read_secret(secret, reader)?],
        _ => {
            reader.problem(
                field,
                "keys are one of `publicKeys`, `kms` and `secret`",
                "keep one of them in each entry",
            );
            return None;
        }
    };
    name_all(short(&field.key), signers, &proofs, scope, field, reader)
}

pub(super) fn read_keyless(
    field: &Field<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Authority> {
    let section = field.section(KEYLESS_KEYS, reader);
    let own = certificates::read_roots(&section, reader);
    let proofs = proofs::read(&section, scope, reader);
    // Certificates of one's own authorities are in no certificate-transparency log.
    if matches!(
        (&own, &proofs),
        (Some(None), Some(Proofs { sct: false, .. }))
    ) && let Some(field) = section.get("ctlog")
    {
        reader.warn(
            &field,
            WarningName::UnpublishedCertificates,
            "certificates that were never published are accepted",
        );
    }
    let identity = identity::read(&section, Some(("subjectRegExp", "issuerRegExp")), reader)?;
    let signer = AuthoritySigner::Identity(IdentityRequirement {
        certificate_authorities: own?,
        ..identity
    });
    authority(
        short(&field.key).to_owned(),
        signer,
        &proofs?,
        scope,
        field,
        reader,
    )
}

/// Every key here says by itself which hash it signs with, so only what cannot be meant is refused.
pub(super) fn check_algorithm(section: &Section<'_>, key: &'static str, reader: &mut Reader) {
    let Some(field) = section.get(key) else {
        return;
    };
    let words = [
        ("", ""),
        ("sha256", ""),
        ("sha224", "224"),
        ("sha384", "384"),
        ("sha512", "512"),
    ];
    match field.choice(&words, reader) {
        None | Some("") => {}
        Some("224") => reader.problem(&field, "SHA-224 is not supported", "sign with sha256"),
        Some(_) => reader.warn(
            &field, WarningName::HashByKey,
            "the hash follows from the key: SHA-384 for P-384, SHA-512 for P-521, SHA-256 or SHA-512 for RSA",
        ),
    }
}

fn name_all(
    name: &str,
    signers: Vec<AuthoritySigner>,
    proofs: &Proofs,
    scope: &Scope<'_>,
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<Vec<Authority>> {
    let several = signers.len() > 1;
    let authorities = signers.into_iter().enumerate().map(|(index, signer)| {
        let name = if several {
            format!("{name}[{index}]")
        } else {
            name.to_owned()
        };
        authority(name, signer, proofs, scope, field, reader)
    });
    authorities.collect()
}

pub(super) fn authority(
    name: String,
    signer: AuthoritySigner,
    proofs: &Proofs,
    scope: &Scope<'_>,
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<Authority> {
    let is_identity = matches!(signer, AuthoritySigner::Identity(_));
    let signed_timestamp = is_identity && !proofs.transparency_log;
    if signed_timestamp {
        reader.warn(
            field, WarningName::TimestampRequired,
            "a certificate is valid for minutes, so without a log entry a signed timestamp is required",
        );
    }
    let own = match &signer {
        AuthoritySigner::Identity(identity) => identity.certificate_authorities.as_ref(),
        AuthoritySigner::Key { .. } => None,
    };
    // One that did not load has been reported where it is named.
    let trusted_root = scope.surroundings.roots.find(PUBLIC_GOOD)??;
    let trusted_root = trusted_root
        .with_parts(proofs.root_parts.as_ref())
        .with_certificate_authorities(own);
    if is_identity && proofs.sct && own.is_some() && !proofs.has_certificate_log {
        reader.warn(
            field, WarningName::NeverSatisfied,
            "a certificate must be in a certificate-transparency log that `public-good` knows, as in Kyverno; those of \
             one's own authorities are in none: write ctlog: {ignoreSCT: true}",
        );
    }
    Some(Authority {
        name,
        signer,
        trusted_root_name: PUBLIC_GOOD.to_owned(),
        trusted_root,
        root_parts: proofs.root_parts.clone(),
        transparency_log: proofs.transparency_log,
        signed_timestamp,
        sct: is_identity && proofs.sct,
    })
}

/// Where an attestor stands below its entry: what messages call it.
pub(super) fn short(key: &str) -> &str {
    let found = ["attestors[", "attestations["]
        .into_iter()
        .filter_map(|it| key.find(it));
    found
        .min()
        .and_then(|start| key.get(start..))
        .unwrap_or(key)
}

/// PEM blocks, each a key, or a reference to a key service.
fn read_public_keys(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<AuthoritySigner>> {
    let text = plain::non_empty(field, reader)?.trim();
    if !text.starts_with("-----BEGIN") {
        if text.contains("://") {
            return Some(vec![authorities::read_service_key(field, reader)?]);
        }
        reader.problem(
            field,
            "neither a PEM text nor the reference of a key service",
            "write the PEM `PUBLIC KEY` blocks themselves, or a reference such as gcpkms://…",
        );
        return None;
    }
    let keys = super::super::pem_blocks(text).into_iter().map(|block| {
        match PublicKey::from_pem(block.trim()) {
            Ok(key) => Some(AuthoritySigner::Key {
                reference: "inline".to_owned(),
                keys: Arc::new(KeySet::of(key)),
            }),
            Err(error) => {
                reader.problem(
                    field,
                    describe(&error),
                    "write PEM `PUBLIC KEY` blocks and nothing else",
                );
                None
            }
        }
    });
    keys.collect()
}

fn read_secret(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let section = field.section(SECRET_KEYS, reader);
    let help = "name the secret and its namespace";
    let mut part = |key: &'static str| {
        let field = section.required(key, help, reader)?;
        plain::non_empty(&field, reader)
    };
    let (namespace, name) = (part("namespace")?, part("name")?);
    let text = format!("k8s://{namespace}/{name}");
    match text.parse::<crate::keys::Reference>() {
        Ok(reference) => Some(AuthoritySigner::Key {
            reference: reference.to_string(),
            keys: Arc::new(KeySet::Unusable {
                reason: format!("the key {reference} has not been read yet"),
            }),
        }),
        Err(error) => {
            reader.problem(field, describe(&error), help);
            None
        }
    }
}
