//! `attestors`: who may vouch, by name.

use crate::config::WarningName;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::entry::Scope;
use super::super::proofs::{self, Proofs};
use super::super::signers;
use super::super::{attestors, certificates, plain};
use super::identities;
use crate::config::authorities;
use crate::config::reader::{Field, Reader, Section, describe};
use crate::policy::{Authority, AuthoritySigner, KeySet, Root};
use crate::verify::{PublicKey, TrustedRoot};

const KEYS: &[&str] = &["name", "cosign", "notary"];
const COSIGN_KEYS: &[&str] = &[
    "key",
    "keyless",
    "certificate",
    "source",
    "ctlog",
    "tuf",
    "annotations",
    "trustedRoot",
];
const KEY_KEYS: &[&str] = &["data", "kms", "hashAlgorithm", "expression"];
const CERTIFICATE_KEYS: &[&str] = &["cert", "certChain"];
const SOURCE_KEYS: &[&str] = &["repository", "PullSecrets", "pullSecrets", "tagPrefix"];
const LOG_KEYS: &[&str] = &[
    "url",
    "rekorPubKey",
    "ctLogPubKey",
    "tsaCertChain",
    "insecureIgnoreTlog",
    "insecureIgnoreSCT",
];
const VALUE_KEYS: &[&str] = &["value", "expression"];

/// One attestor. Any of its authorities stands for it.
#[derive(Debug)]
pub(super) struct Attestor {
    pub(super) name: String,
    /// None where it is not usable, which has been reported.
    pub(super) authorities: Vec<Arc<Authority>>,
    /// What must have been signed with the image.
    pub(super) annotations: BTreeMap<String, String>,
    /// True if it is one of Notary, whose signatures are not verified.
    pub(super) is_of_notary: bool,
}

pub(super) fn read(
    field: Option<&Field<'_>>,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Vec<Attestor> {
    let items = field.map(|it| it.items(reader)).unwrap_or_default();
    let mut names = BTreeSet::new();
    let mut read = Vec::new();
    for item in &items {
        let section = item.section(KEYS, reader);
        let Some(name) = read_name(&section, &mut names, reader) else {
            continue;
        };
        let mut attestor = Attestor {
            name,
            authorities: Vec::new(),
            annotations: BTreeMap::new(),
            is_of_notary: false,
        };
        match (section.get("cosign"), section.get("notary")) {
            (Some(cosign), None) => read_cosign(&cosign, &mut attestor, scope, reader),
            // It is reported where it is asked for.
            (None, Some(_)) => attestor.is_of_notary = true,
            _ => reader.problem(
                item,
                "not exactly one of `cosign` and `notary`",
                "say under `cosign` who it is",
            ),
        }
        read.push(attestor);
    }
    read
}

/// The name by which expressions know something; two with one name are a problem.
pub(super) fn read_name(
    section: &Section<'_>,
    names: &mut BTreeSet<String>,
    reader: &mut Reader,
) -> Option<String> {
    let field = section.required("name", "expressions refer to it by name", reader)?;
    let name = plain::non_empty(&field, reader)?;
    if !names.insert(name.to_owned()) {
        reader.problem(
            &field,
            format!("`{name}` is the name of two"),
            "rename one of them",
        );
    }
    Some(name.to_owned())
}

fn read_cosign(
    field: &Field<'_>,
    attestor: &mut Attestor,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) {
    let section = field.section(COSIGN_KEYS, reader);
    if let Some(source) = section.get("source") {
        read_source(&source, scope, reader);
    }
    if let Some(field) = section.get("annotations") {
        attestor.annotations = attestors::read_annotations(&field, reader);
        reader.warn(
            &field, WarningName::SignedAnnotations,
            "compared with the annotations that were signed, which is what Kyverno documents; some releases of it look \
             at those of the layer, which nobody has signed",
        );
    }
    if let Some(field) = section.get("tuf") {
        reader.problem(
            &field,
            "a TUF repository cannot be taken from this document",
            "name it under `trusted_roots` of the configuration as `public-good`, or write the policy under `policies` \
             with its own `trusted_root`",
        );
    }
    let proofs = match section.get("ctlog") {
        Some(field) => read_proofs(&field, reader),
        None => Some(Proofs::default()),
    };
    let root = match section.get("trustedRoot") {
        Some(field) => read_root(&field, reader).map(Some),
        None => Some(None),
    };
    let demands_sct = proofs.as_ref().is_none_or(|it| it.sct);
    let signers = read_signers(&section, demands_sct, reader);
    if let (Some(signers), Some(proofs), Some(root)) = (signers, proofs, root) {
        attestor.authorities = build(
            &attestor.name,
            signers,
            &proofs,
            root.as_ref(),
            scope,
            field,
            reader,
        );
    }
}

/// One authority for each signer.
fn build(
    name: &str,
    signers: Vec<AuthoritySigner>,
    proofs: &Proofs,
    root: Option<&(String, Root)>,
    scope: &Scope<'_>,
    field: &Field<'_>,
    reader: &mut Reader,
) -> Vec<Arc<Authority>> {
    let several = signers.len() > 1;
    let authorities = signers.into_iter().enumerate().map(|(index, signer)| {
        let name = if several {
            format!("{name}, identity {}", index + 1)
        } else {
            name.to_owned()
        };
        let mut authority = signers::authority(name, signer, proofs, scope, field, reader)?;
        if let Some((name, root)) = root {
            authority.trusted_root_name.clone_from(name);
            authority.trusted_root = root.clone();
        }
        Some(Arc::new(authority))
    });
    authorities.collect::<Option<_>>().unwrap_or_default()
}

fn read_source(field: &Field<'_>, scope: &mut Scope<'_>, reader: &mut Reader) {
    let section = field.section(SOURCE_KEYS, reader);
    if let Some(field) = section.get("repository") {
        scope.add_repository(&field, reader);
        reader.warn(
            &field, WarningName::FurtherSignatureRepository,
            "signatures are looked for there and beside the image; wherever they are, they must verify",
        );
    }
    for key in ["PullSecrets", "pullSecrets"] {
        if let Some(field) = section.get(key) {
            reader.warn(
                &field,
                WarningName::CredentialsElsewhere,
                "secrets of a cluster are not read: credentials are those under `upstreams`",
            );
        }
    }
    if let Some(field) = section.get("tagPrefix") {
        reader.problem(
            &field,
            "signatures under tags with a prefix are not looked for",
            "copy them to the tags that cosign uses, or to referrers",
        );
    }
}

/// `ctlog`. Nothing is ever asked for online: a log entry is in the signature, and is verified against the trusted root.
fn read_proofs(field: &Field<'_>, reader: &mut Reader) -> Option<Proofs> {
    let known_problems = reader.problems.len();
    let section = field.section(LOG_KEYS, reader);
    let mut is_set = |key: &'static str| {
        let field = section.get(key)?;
        (plain::boolean(&field, reader) == Some(true)).then_some(field)
    };
    let (without_log, without_sct) = (is_set("insecureIgnoreTlog"), is_set("insecureIgnoreSCT"));
    if let Some(field) = &without_log {
        reader.warn(
            field,
            WarningName::NoTransparencyLog,
            "signatures are accepted that are in no transparency log",
        );
    }
    if let Some(field) = &without_sct {
        reader.warn(
            field,
            WarningName::UnpublishedCertificates,
            "certificates that were never published are accepted",
        );
    }
    let url = section.get("url");
    let text = url.as_ref().and_then(|field| plain::literal(field, reader));
    match (&url, text) {
        (Some(url), Some(text)) if without_log.is_none() => proofs::note_log(url, text, reader),
        (None, _) if without_log.is_none() => reader.warn(
            field, WarningName::ServiceNotAsked,
            "without `url` some releases of Kyverno verify nothing; here the entry inside the signature is verified \
             against the trusted root `public-good`",
        ),
        _ => {}
    }
    for (key, name) in [
        ("rekorPubKey", "ctlog.rekorPubKey"),
        ("ctLogPubKey", "ctlog.ctLogPubKey"),
        ("tsaCertChain", "ctlog.tsaCertChain"),
    ] {
        if let Some(field) = section.get(key) {
            proofs::refuse_own_key(&field, name, reader);
        }
    }
    (reader.problems.len() == known_problems).then_some(Proofs {
        transparency_log: without_log.is_none(),
        sct: without_sct.is_none(),
        ..Proofs::default()
    })
}

/// A `trusted_root.json` in the document.
fn read_root(field: &Field<'_>, reader: &mut Reader) -> Option<(String, Root)> {
    let section = field.section(VALUE_KEYS, reader);
    refuse_expression(&section, reader)?;
    let help = "write the text of a trusted_root.json";
    let value = section.required("value", help, reader)?;
    match TrustedRoot::from_json(plain::non_empty(&value, reader)?) {
        Ok(root) => Some((value.key.clone(), Root::usable(Arc::new(root)))),
        Err(error) => {
            reader.problem(&value, describe(&error), help);
            None
        }
    }
}

/// What an expression would have to look up in the cluster.
fn refuse_expression(section: &Section<'_>, reader: &mut Reader) -> Option<()> {
    let Some(field) = section.get("expression") else {
        return Some(());
    };
    reader.problem(
        &field,
        "resources of a cluster are not read: `expression` has no value at a pull",
        "write the value itself",
    );
    None
}

/// The key, or every identity.
fn read_signers(
    section: &Section<'_>,
    demands_sct: bool,
    reader: &mut Reader,
) -> Option<Vec<AuthoritySigner>> {
    let ways = ["key", "keyless", "certificate"];
    let ways = ways
        .into_iter()
        .filter_map(|key| section.get(key).map(|field| (key, field)));
    let ways: Vec<_> = ways.collect();
    match ways.as_slice() {
        [("key", key)] => read_key(key, reader).map(|signer| vec![signer]),
        [("keyless", keyless)] => identities::read(keyless, reader),
        [(_, certificate)] => {
            read_certificate(certificate, demands_sct, reader).map(|signer| vec![signer])
        }
        _ => {
            reader.problem(
                section.field(),
                "not exactly one of `key`, `keyless` and `certificate`: without one of them anybody could vouch, and of \
                 several Kyverno looks at one",
                "make an attestor of each, and list them where they are asked for",
            );
            None
        }
    }
}

/// As in Kyverno, the key of a certificate is what vouches. It must lead to the root of a chain beside it.
fn read_certificate(
    field: &Field<'_>,
    demands_sct: bool,
    reader: &mut Reader,
) -> Option<AuthoritySigner> {
    let section = field.section(CERTIFICATE_KEYS, reader);
    let help = "write {cert: {value: …}}; without `cert`, Kyverno has no key to verify with";
    let certificate = section.required("cert", help, reader)?;
    let value = read_value(&certificate, reader)?;
    if let Some(chain) = section.get("certChain") {
        let chain = read_value(&chain, reader)?;
        let issued = certificates::read_issued(&value, &chain, reader)?;
        if demands_sct {
            if issued.has_promises {
                certificates::refuse_promises(&value, reader);
            } else {
                reader.problem(
                    &chain,
                    "`certChain` beside `cert` demands that the certificate was published, and it holds no promise of a \
                     certificate-transparency log: Kyverno accepts no signature",
                    "write ctlog: {insecureIgnoreSCT: true} if the certificate need not be published",
                );
            }
            return None;
        }
    }
    certificates::read_signer(&value, reader)
}

/// The text under `value`, which is not looked up in the cluster.
fn read_value<'n>(field: &Field<'n>, reader: &mut Reader) -> Option<Field<'n>> {
    let section = field.section(VALUE_KEYS, reader);
    refuse_expression(&section, reader)?;
    section.required("value", "write certificates in PEM", reader)
}

fn read_key(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let section = field.section(KEY_KEYS, reader);
    signers::check_algorithm(&section, "hashAlgorithm", reader);
    refuse_expression(&section, reader)?;
    match (section.get("data"), section.get("kms")) {
        (Some(data), None) => read_data(&data, reader),
        (None, Some(kms)) => {
            plain::non_empty(&kms, reader)?;
            authorities::read_service_key(&kms, reader)
        }
        _ => {
            reader.problem(
                field,
                "not exactly one of `data` and `kms`",
                "make an attestor of each key",
            );
            None
        }
    }
}

/// One key: Kyverno looks at no further ones.
fn read_data(field: &Field<'_>, reader: &mut Reader) -> Option<AuthoritySigner> {
    let text = plain::non_empty(field, reader)?;
    let help = "write one PEM `PUBLIC KEY` block, and make an attestor of each further key";
    if text.matches("-----BEGIN ").count() != 1 {
        reader.problem(field, "not one PEM text with a public key", help);
        return None;
    }
    match PublicKey::from_pem(text.trim()) {
        Ok(key) => Some(AuthoritySigner::Key {
            reference: "inline".to_owned(),
            keys: Arc::new(KeySet::of(key)),
        }),
        Err(error) => {
            reader.problem(field, describe(&error), help);
            None
        }
    }
}
