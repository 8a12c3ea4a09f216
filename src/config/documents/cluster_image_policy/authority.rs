//! One authority of a `ClusterImagePolicy`.

use crate::config::WarningName;
use std::sync::Arc;

use super::{Vouching, attestations, identities, keys};
use crate::config::documents::trust_root::TrustRoots;
use crate::config::policies::Surroundings;
use crate::config::reader::{Field, Reader, Section};
use crate::config::trusted_roots::PUBLIC_GOOD;
use crate::oci::RepositoryName;
use crate::policy::{Authority, AuthoritySigner, Requirement, Root, SignatureRequirement};

const KEYS: &[&str] = &[
    "name",
    "key",
    "keyless",
    "static",
    "source",
    "ctlog",
    "attestations",
    "rfc3161timestamp",
    "signatureFormat",
];
const STATIC_KEYS: &[&str] = &["action", "message"];
const SOURCE_KEYS: &[&str] = &["oci", "signaturePullSecrets", "tagPrefix"];
const LOG_KEYS: &[&str] = &["url", "trustRootRef"];
const TIMESTAMP_KEYS: &[&str] = &["trustRootRef"];

const PUBLIC_LOG: &str = "https://rekor.sigstore.dev";

/// What must come with a signature, and whom to believe about it.
#[derive(Debug)]
struct Demands {
    root_name: String,
    root: Root,
    transparency_log: bool,
    signed_timestamp: bool,
}

pub(super) fn read(
    field: &Field<'_>,
    index: usize,
    roots: &TrustRoots<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Vouching> {
    let section = field.section(KEYS, reader);
    let name = match section.get("name") {
        Some(field) => field.text(reader)?.to_owned(),
        None => String::new(),
    };
    let name = match name.as_str() {
        "" => format!("authority-{index}"),
        _ => name,
    };
    let ways = [
        section.get("key"),
        section.get("keyless"),
        section.get("static"),
    ];
    if ways.iter().flatten().count() != 1 {
        reader.problem(
            field,
            "not exactly one of `key`, `keyless` and `static`",
            "make an authority of each: one of a policy's authorities must vouch",
        );
        return None;
    }
    if let Some(field) = section.get("static") {
        return read_static(&section, &field, reader);
    }
    read_format(&section, reader);
    let signature_repositories = read_source(&section, surroundings, reader);
    let demands = read_demands(&section, roots, reader);
    let signers = read_signers(&section, reader);
    let several_keys = matches!(
        signers.as_deref(),
        Some([AuthoritySigner::Key { keys, .. }]) if keys.versions().len() > 1
    );
    let attestations = match section.get("attestations") {
        Some(field) if several_keys => {
            reader.problem(
                &field,
                "the authority has several keys, each of which would have to vouch for attestations",
                "make an authority of each key",
            );
            None
        }
        Some(field) => attestations::read(&field, reader),
        None => Some(Vec::new()),
    };
    let sct = identities::wants_sct(&section, reader);
    let (signers, demands) = (signers?, demands?);
    let authorities: Vec<_> = build(&name, signers, &demands, sct);
    let attestations = attestations?;
    let requirement = if attestations.is_empty() {
        Requirement::Signers {
            count: 1,
            of: authorities
                .into_iter()
                .map(|authority| SignatureRequirement {
                    authority,
                    annotations: std::collections::BTreeMap::new(),
                })
                .collect(),
        }
    } else {
        let required = attestations
            .into_iter()
            .map(|it| it.requirement(&authorities));
        Requirement::all(required.collect())
    };
    Some(Vouching {
        requirement,
        signature_repositories: signature_repositories?,
    })
}

/// One for each identity: any may vouch.
fn build(
    name: &str,
    signers: Vec<AuthoritySigner>,
    demands: &Demands,
    sct: bool,
) -> Vec<Arc<Authority>> {
    let several = signers.len() > 1;
    let authority = |(index, signer): (usize, AuthoritySigner)| {
        let sct = sct && matches!(signer, AuthoritySigner::Identity(_));
        Arc::new(Authority {
            name: if several {
                format!("{name}, identity {}", index + 1)
            } else {
                name.to_owned()
            },
            signer,
            trusted_root_name: demands.root_name.clone(),
            trusted_root: demands.root.clone(),
            root_parts: None,
            transparency_log: demands.transparency_log,
            signed_timestamp: demands.signed_timestamp,
            sct,
        })
    };
    signers.into_iter().enumerate().map(authority).collect()
}

fn read_static(section: &Section<'_>, field: &Field<'_>, reader: &mut Reader) -> Option<Vouching> {
    for key in ["source", "ctlog", "attestations", "rfc3161timestamp"] {
        if let Some(other) = section.get(key) {
            reader.problem(
                &other,
                format!("`static` looks at no signature and has no `{key}`"),
                "remove one of them",
            );
        }
    }
    let statics = field.section(STATIC_KEYS, reader);
    let help = "write {action: fail} or {action: pass}";
    let action = statics.required("action", help, reader)?;
    let passes = action.choice(&[("pass", true), ("fail", false)], reader)?;
    let message = match statics.get("message") {
        Some(field) => field.text(reader)?,
        None => "disallowed by static policy",
    };
    let requirement = if passes {
        reader.warn(
            &action,
            WarningName::LetsThroughUnsigned,
            "whatever the policy covers is let through unsigned",
        );
        Requirement::Nothing
    } else {
        Requirement::Refusal {
            message: message.to_owned(),
        }
    };
    Some(Vouching {
        requirement,
        signature_repositories: Vec::new(),
    })
}

/// Signatures of every format are looked for; only what the project refuses itself is refused.
fn read_format(section: &Section<'_>, reader: &mut Reader) {
    let Some(field) = section.get("signatureFormat") else {
        return;
    };
    let bundle = field.choice(&[("legacy", false), ("bundle", true)], reader);
    if bundle == Some(true) && section.get("key").is_some() {
        reader.problem(
            &field,
            "policy-controller has bundles for `keyless` only",
            "leave `signatureFormat` out: signatures of every format are looked for",
        );
    }
}

fn read_source(
    section: &Section<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<Vec<RepositoryName>> {
    let Some(field) = section.get("source") else {
        return Some(Vec::new());
    };
    let items = field.items(reader);
    if items.len() > 1 {
        reader.problem(
            &field,
            "more than one source",
            "policy-controller takes one",
        );
        return None;
    }
    let mut repositories = Vec::new();
    for item in &items {
        let source = item.section(SOURCE_KEYS, reader);
        if let Some(prefix) = source.get("tagPrefix") {
            reader.problem(
                &prefix,
                "signatures under tags with a prefix are not looked for",
                "copy them to the tags that cosign uses, or to referrers",
            );
            return None;
        }
        if let Some(secrets) = source.get("signaturePullSecrets") {
            reader.warn(
                &secrets,
                WarningName::CredentialsElsewhere,
                "secrets of a cluster are not read: credentials are those under `upstreams`",
            );
        }
        if let Some(oci) = source.get("oci") {
            repositories.push(read_repository(&oci, surroundings, reader)?);
        }
    }
    Some(repositories)
}

fn read_repository(
    field: &Field<'_>,
    surroundings: &Surroundings<'_>,
    reader: &mut Reader,
) -> Option<RepositoryName> {
    let help = "write host/repository, such as ghcr.io/org/signatures";
    let name: RepositoryName = field.parse(help, reader)?;
    if !surroundings.can_reach(name.host()) {
        reader.problem(
            field,
            format!(
                "the host of `{}` is not among the upstreams",
                field.written()
            ),
            "add it under `upstreams`",
        );
    }
    reader.warn(
        field,
        WarningName::FurtherSignatureRepository,
        "signatures are looked for there and beside the image; wherever they are, they must verify",
    );
    Some(name)
}

/// The key, or every identity.
fn read_signers(section: &Section<'_>, reader: &mut Reader) -> Option<Vec<AuthoritySigner>> {
    match section.get("key") {
        Some(field) => keys::read(&field, reader).map(|signer| vec![signer]),
        None => identities::read(&section.get("keyless")?, reader),
    }
}

/// Log and timestamp. All that is believed about one signature must be in one trusted root here.
fn read_demands(
    section: &Section<'_>,
    roots: &TrustRoots<'_>,
    reader: &mut Reader,
) -> Option<Demands> {
    let keyless = section.get("keyless");
    let log = section.get("ctlog");
    let timestamp = section.get("rfc3161timestamp");
    let mut names: Vec<String> = Vec::new();
    if let Some(field) = &keyless {
        names.push(identities::root_name(field, reader)?);
    }
    if let Some(field) = &log {
        names.push(read_log(field, reader)?);
    }
    if let Some(field) = &timestamp {
        let section = field.section(TIMESTAMP_KEYS, reader);
        let help = "name the TrustRoot with the timestamp authority: without it policy-controller checks no timestamp";
        names.push(
            section
                .required("trustRootRef", help, reader)?
                .text(reader)?
                .to_owned(),
        );
    }
    if keyless.is_none() && log.is_none() {
        reader.warn(
            section.field(), WarningName::NoTransparencyLog,
            "no `ctlog`: as in policy-controller, it is not checked that the signature is in a transparency log",
        );
    }
    names.dedup();
    let name = match names.as_slice() {
        [] => PUBLIC_GOOD.to_owned(),
        [name] => name.clone(),
        [..] => {
            reader.problem(
                section.field(),
                format!("several trusted roots for one signature: {}", names.join(", ")),
                format!(
                    "name one `trustRootRef` that holds everything in `keyless`, `ctlog` and `rfc3161timestamp` \
                     (none stands for {PUBLIC_GOOD})"
                ),
            );
            return None;
        }
    };
    let Some(root) = roots.find(&name) else {
        reader.problem(
            section.field(),
            format!("there is no trust root `{name}`"),
            format!(
                "known: {}; add the TrustRoot to the files, or name the root under `trusted_roots`",
                roots.names()
            ),
        );
        return None;
    };
    Some(Demands {
        root_name: name,
        root: root?,
        // Without either, nobody would know whether a certificate was alive at signing.
        transparency_log: log.is_some() || (keyless.is_some() && timestamp.is_none()),
        signed_timestamp: timestamp.is_some(),
    })
}

/// The name of the log's trusted root.
fn read_log(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let section = field.section(LOG_KEYS, reader);
    let name = match section.get("trustRootRef") {
        Some(field) => field.text(reader)?.to_owned(),
        None => PUBLIC_GOOD.to_owned(),
    };
    if let Some(url) = section.get("url") {
        let address = url.text(reader)?.trim_end_matches('/');
        if address != PUBLIC_LOG {
            reader.warn(
                &url, WarningName::ServiceNotAsked,
                format!(
                    "the log is not asked: the entry that comes with the signature must be of a log of the trusted root \
                     `{name}`"
                ),
            );
        }
    }
    Some(name)
}
