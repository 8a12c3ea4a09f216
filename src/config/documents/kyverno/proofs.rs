//! `rekor` and `ctlog`: what must be proven beside the signature itself, and by whose logs.
//!
//! Nothing is ever asked for online: a log entry is in the signature, and is verified against the trusted root.

use crate::config::WarningName;
use std::sync::Arc;

use super::super::super::reader::{Field, Reader, Section, describe};
use super::super::root_document::{Operator, RootDocument, authority_of, log};
use super::entry::Scope;
use super::plain;
use crate::verify::{RootParts, timestamp_chains};

const REKOR_KEYS: &[&str] = &["url", "pubkey", "ignoreTlog"];
const CTLOG_KEYS: &[&str] = &["ignoreSCT", "pubkey", "tsaCertChain"];

const PUBLIC_REKOR: &str = "https://rekor.sigstore.dev";

/// What must be proven beside the signature itself.
#[derive(Debug)]
pub(super) struct Proofs {
    pub(super) transparency_log: bool,
    pub(super) sct: bool,
    /// By these logs and timestamp authorities, in place of the trusted root's.
    pub(super) root_parts: Option<Arc<RootParts>>,
    /// Whether a certificate-transparency log is among them.
    pub(super) has_certificate_log: bool,
}

impl Default for Proofs {
    fn default() -> Self {
        Self {
            transparency_log: true,
            sct: true,
            root_parts: None,
            has_certificate_log: false,
        }
    }
}

pub(super) fn read(
    section: &Section<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Proofs> {
    let mut proofs = Proofs::default();
    let mut own = RootDocument::default();
    let known_problems = reader.problems.len();
    if let Some(field) = section.get("rekor") {
        let rekor = field.section(REKOR_KEYS, reader);
        own.transparency_logs = read_log(&rekor, "rekor.pubkey", scope, reader);
        if let Some(url) = rekor.get("url")
            && let Some(text) = plain::literal(&url, reader)
            && own.transparency_logs.is_empty()
        {
            note_log(&url, text, reader);
        }
        if let Some(field) = rekor.get("ignoreTlog")
            && plain::boolean(&field, reader) == Some(true)
        {
            proofs.transparency_log = false;
            reader.warn(
                &field,
                WarningName::NoTransparencyLog,
                "signatures are accepted that are in no transparency log",
            );
        }
    }
    if let Some(field) = section.get("ctlog") {
        let ctlog = field.section(CTLOG_KEYS, reader);
        own.certificate_transparency_logs = read_log(&ctlog, "ctlog.pubkey", scope, reader);
        own.timestamp_authorities = read_timestamp_authority(&ctlog, scope, reader);
        let ignored = ctlog.get("ignoreSCT");
        let ignored = ignored.and_then(|field| plain::boolean(&field, reader));
        proofs.sct = ignored != Some(true);
    }
    if reader.problems.len() > known_problems {
        return None;
    }
    proofs.has_certificate_log = !own.certificate_transparency_logs.is_empty();
    proofs.root_parts = to_parts(&own, section, reader)?;
    Some(proofs)
}

/// `Some(None)` where there are none.
#[expect(
    clippy::option_option,
    reason = "no parts and no usable parts are two things"
)]
fn to_parts(
    own: &RootDocument,
    section: &Section<'_>,
    reader: &mut Reader,
) -> Option<Option<Arc<RootParts>>> {
    let is_empty = own.transparency_logs.is_empty()
        && own.certificate_transparency_logs.is_empty()
        && own.timestamp_authorities.is_empty();
    if is_empty {
        return Some(None);
    }
    match own.to_parts() {
        Ok(parts) => Some(Some(Arc::new(parts))),
        Err(error) => {
            reader.problem(
                section.field(),
                describe(&error),
                "check `rekor` and `ctlog`",
            );
            None
        }
    }
}

/// `pubkey`, the key of the only log of its kind that is believed.
fn read_log(
    section: &Section<'_>,
    name: &str,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Vec<serde_json::Value> {
    let Some((field, text)) = read_own(section, "pubkey", name, scope, reader) else {
        return Vec::new();
    };
    let log = log("", text.as_bytes());
    if log.is_none() {
        let help = "write one PEM `PUBLIC KEY` block, that of the log";
        reader.problem(&field, "not one PEM public key", help);
    }
    log.into_iter().collect()
}

/// `tsaCertChain`, the only timestamp authority that is believed.
fn read_timestamp_authority(
    section: &Section<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Vec<serde_json::Value> {
    let name = "ctlog.tsaCertChain";
    let Some((field, text)) = read_own(section, "tsaCertChain", name, scope, reader) else {
        return Vec::new();
    };
    match timestamp_chains(text) {
        Ok(chains) => {
            let chains = chains.iter();
            chains
                .map(|chain| authority_of(&Operator::default(), chain))
                .collect()
        }
        Err(error) => {
            let help = "write the PEM `CERTIFICATE` blocks of the timestamp authority, its own and those up to its root";
            reader.problem(&field, describe(&error), help);
            Vec::new()
        }
    }
}

/// The text of something of one's own, where there is one: what is empty is as if it were not there.
fn read_own<'n>(
    section: &Section<'n>,
    key: &'static str,
    name: &str,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<(Field<'n>, &'n str)> {
    let field = section.get(key)?;
    let text = plain::literal(&field, reader)?;
    if text.is_empty() {
        return None;
    }
    if scope.is_for_bundles {
        reader.problem(
            &field,
            format!("`{name}` beside `type: SigstoreBundle`: Kyverno believes the public-good root instead"),
            "leave out `type`, or put it into a trusted_root.json and name that under `trusted_roots` as `public-good`",
        );
        return None;
    }
    Some((field, text))
}

/// What names another log than the trusted root's where it cannot be taken.
pub(super) fn refuse_own_key(field: &Field<'_>, name: &str, reader: &mut Reader) {
    reader.problem(
        field,
        format!("`{name}` is not supported in imported policies"),
        "put it into a trusted_root.json, name that under `trusted_roots` as `public-good` or write the policy under \
         `policies` with its own `trusted_root`",
    );
}

/// Warns of a log that is not the public one.
pub(super) fn note_log(field: &Field<'_>, url: &str, reader: &mut Reader) {
    if !["", PUBLIC_REKOR].contains(&url.trim_end_matches('/')) {
        reader.warn(
            field, WarningName::ServiceNotAsked,
            "no log is asked online: the entry inside the signature is verified against the trusted root \
             `public-good`, which must know this log",
        );
    }
}
