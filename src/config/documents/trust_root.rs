//! policy-controller's `TrustRoot`: whom to believe, by name, for the `trustRootRef` of other documents.

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::kind::Kind;
use super::root_document::{Operator, RootDocument, authority, log};
use crate::config::reader::{Field, Reader, Section, describe};
use crate::config::trusted_roots::{TrustedRoots, read_url};
use crate::policy::Root;
use crate::trust::{self, InitialRoot, Source};

/// The roots of the documents, over those of the configuration.
#[derive(Debug)]
pub(super) struct TrustRoots<'a> {
    /// One that does not load is known, so that its users are not reported too.
    own: BTreeMap<String, Option<Root>>,
    /// Where those of them come from that are fetched.
    sources: BTreeMap<String, Source>,
    configured: &'a TrustedRoots,
}

pub(super) const KIND: &str = "TrustRoot";
pub(super) const VERSIONS: [&str; 1] = ["policy.sigstore.dev/v1alpha1"];

const KEYS: &[&str] = &["apiVersion", "kind", "metadata", "spec", "status"];
const SPEC_KEYS: &[&str] = &["remote", "repository", "sigstoreKeys"];
const REMOTE_KEYS: &[&str] = &["root", "mirror", "targets", "trustedRootTarget"];
const REPOSITORY_KEYS: &[&str] = &["root", "mirrorFS", "targets", "trustedRootTarget"];
/// The directory of targets in a TUF repository.
const TARGETS: &str = "targets";
const SIGSTORE_KEYS: &[&str] = &[
    "certificateAuthorities",
    "tLogs",
    "ctLogs",
    "timestampAuthorities",
];
const AUTHORITY_KEYS: &[&str] = &["subject", "uri", "certChain"];
const SUBJECT_KEYS: &[&str] = &["organization", "commonName"];
const LOG_KEYS: &[&str] = &["baseURL", "hashAlgorithm", "publicKey"];

impl<'a> TrustRoots<'a> {
    /// Those of all the documents, whatever their order.
    pub(super) fn read(
        documents: &[Field<'_>],
        configured: &'a TrustedRoots,
        reader: &mut Reader,
    ) -> Self {
        let mut roots = Self {
            own: BTreeMap::new(),
            sources: BTreeMap::new(),
            configured,
        };
        for document in documents {
            if Kind::of(document) == Kind::TrustRoot {
                roots.add(document, reader);
            }
        }
        roots
    }

    /// `None` where the name is not known; `Some(None)` where it did not load.
    pub(super) fn find(&self, name: &str) -> Option<Option<Root>> {
        self.own
            .get(name)
            .cloned()
            .or_else(|| self.configured.find(name))
    }

    /// The names, for messages.
    pub(super) fn names(&self) -> String {
        let names: Vec<_> = self
            .own
            .keys()
            .map(String::as_str)
            .chain(self.configured.names())
            .collect();
        names.join(", ")
    }

    fn add(&mut self, document: &Field<'_>, reader: &mut Reader) {
        let section = document.section(KEYS, reader);
        let Some(name) = super::read_name(&section, reader) else {
            return;
        };
        let help = "write {sigstoreKeys: …}, {remote: …} or {repository: …}";
        let Some(spec) = section.required("spec", help, reader) else {
            self.own.insert(name, None);
            return;
        };
        let spec = spec.section(SPEC_KEYS, reader);
        let ways: Vec<_> = SPEC_KEYS.iter().filter_map(|key| spec.get(key)).collect();
        let [way] = ways.as_slice() else {
            reader.problem(spec.field(), "not exactly one of its three forms", help);
            self.own.insert(name, None);
            return;
        };
        if spec.get("sigstoreKeys").is_some() {
            let root = self.read_keys(&name, way, reader);
            self.own.insert(name, root);
            return;
        }
        self.read_repository(&name, &spec, reader);
    }

    /// A repository that is fetched becomes a source like those of the configuration, which come first.
    fn read_repository(&mut self, name: &str, spec: &Section<'_>, reader: &mut Reader) {
        if self.configured.is_written(name) {
            // Its warnings are about a root that is not used. What is wrong with it is told all the same.
            let known_warnings = reader.warnings.len();
            read_way(spec, reader);
            reader.warnings.truncate(known_warnings);
            reader.warn(
                spec.field(),
                WarningName::ConfiguredRootUsed,
                format!("the trusted root `{name}` of the configuration is used in its place"),
            );
            return;
        }
        // The built-in root believes other authorities than the document names.
        if self.own.contains_key(name) || self.configured.find(name).is_some() {
            refuse_same_name(name, spec.field(), reader);
            return;
        }
        let root = read_way(spec, reader).map(|(root, source)| {
            self.sources
                .extend(source.map(|source| (name.to_owned(), source)));
            root
        });
        self.own.insert(name.to_owned(), root);
    }

    /// Where the roots come from that are fetched, by name.
    pub(super) fn into_sources(self) -> BTreeMap<String, Source> {
        self.sources
    }

    fn read_keys(&self, name: &str, field: &Field<'_>, reader: &mut Reader) -> Option<Root> {
        if self.own.contains_key(name) || self.configured.find(name).is_some() {
            refuse_same_name(name, field, reader);
            return None;
        }
        let section = field.section(SIGSTORE_KEYS, reader);
        let document = RootDocument {
            certificate_authorities: read_list(
                &section,
                "certificateAuthorities",
                read_authority,
                reader,
            )?,
            transparency_logs: read_list(&section, "tLogs", read_log, reader)?,
            certificate_transparency_logs: read_list(&section, "ctLogs", read_log, reader)?,
            timestamp_authorities: read_list(
                &section,
                "timestampAuthorities",
                read_authority,
                reader,
            )?,
        };
        match document.to_root() {
            Ok(root) => {
                for note in root.notes() {
                    reader.warn(field, WarningName::PartLeftOut, note);
                }
                Some(Root::usable(Arc::new(root)))
            }
            Err(error) => {
                reader.problem(field, describe(&error), "check certificates and keys");
                None
            }
        }
    }
}

/// The root of a repository that is fetched or that the document holds, and where it comes from if it is fetched.
fn read_way(spec: &Section<'_>, reader: &mut Reader) -> Option<(Root, Option<Source>)> {
    if let Some(remote) = spec.get("remote") {
        return read_remote(&remote, reader).map(|(root, source)| (root, Some(source)));
    }
    let root = read_archive(&spec.get("repository")?, reader)?;
    Some((root, None))
}

/// Nothing is asked for while documents are read.
fn read_remote(field: &Field<'_>, reader: &mut Reader) -> Option<(Root, Source)> {
    let section = field.section(REMOTE_KEYS, reader);
    let help = "write the address of the TUF repository";
    let url = section
        .required("mirror", help, reader)
        .and_then(|field| read_url(&field, reader));
    let initial = read_initial(&section, reader);
    if let Some(targets) = section.get("targets")
        && targets.text(reader)? != TARGETS
    {
        reader.problem(
            &targets,
            "targets are looked for under `targets` alone",
            "name the root under `trusted_roots` as {file: trusted_root.json}",
        );
        return None;
    }
    let target = text(&section, "trustedRootTarget", reader);
    let (url, initial) = (url?, initial?);
    let reason = format!("the trusted root at {url} has not been fetched yet");
    let source = Source::Tuf {
        url,
        root: InitialRoot::Inline(initial.into()),
        target: target.unwrap_or_else(|| Source::TARGET.to_owned()),
    };
    Some((Root::Unusable { reason }, source))
}

fn refuse_same_name(name: &str, field: &Field<'_>, reader: &mut Reader) {
    reader.problem(
        field,
        format!("`{name}` is the name of two trusted roots"),
        "rename one of them; its users name it in `trustRootRef`",
    );
}

fn read_initial(section: &Section<'_>, reader: &mut Reader) -> Option<Vec<u8>> {
    let help = "write the base64 of the repository's root.json, which is believed from the start";
    let field = section.required("root", help, reader)?;
    decode(&field, reader)
}

/// A repository that the document holds. It counts until its own signatures expire.
fn read_archive(field: &Field<'_>, reader: &mut Reader) -> Option<Root> {
    let section = field.section(REPOSITORY_KEYS, reader);
    let initial = read_initial(&section, reader);
    let help = "write the base64 of the repository as a .tar.gz";
    let archive_field = section.required("mirrorFS", help, reader);
    let archive = archive_field
        .as_ref()
        .and_then(|field| decode(field, reader));
    let targets = text(&section, "targets", reader);
    let target = text(&section, "trustedRootTarget", reader);
    let read = trust::archive::trusted_root(
        &initial?,
        &archive?,
        targets.as_deref().unwrap_or(TARGETS),
        target.as_deref().unwrap_or(Source::TARGET),
    );
    let field = archive_field?;
    match read {
        Ok((root, until)) => {
            reader.warn(
                &field,
                WarningName::RootExpires,
                format!(
                    "counts until {until}, when its signatures expire: renew the document before"
                ),
            );
            for note in root.notes() {
                reader.warn(&field, WarningName::PartLeftOut, note);
            }
            Some(Root::Usable {
                root,
                until: Some(until),
            })
        }
        Err(error) => {
            reader.problem(&field, describe(&error), help);
            None
        }
    }
}

type Read = fn(&Field<'_>, &mut Reader) -> Option<serde_json::Value>;

/// The members of a list; `None` when one is not usable.
fn read_list(
    section: &Section<'_>,
    key: &'static str,
    read: Read,
    reader: &mut Reader,
) -> Option<Vec<serde_json::Value>> {
    let Some(field) = section.get(key) else {
        return Some(Vec::new());
    };
    let items = field.items(reader);
    let read: Vec<_> = items.iter().map(|item| read(item, reader)).collect();
    read.into_iter().collect()
}

fn read_authority(field: &Field<'_>, reader: &mut Reader) -> Option<serde_json::Value> {
    let section = field.section(AUTHORITY_KEYS, reader);
    let subject = section
        .get("subject")
        .map(|field| field.section(SUBJECT_KEYS, reader));
    let name = |key: &'static str, reader: &mut Reader| {
        let field = subject.as_ref()?.get(key)?;
        field.text(reader).map(str::to_owned)
    };
    let operator = Operator {
        organization: name("organization", reader).unwrap_or_default(),
        common_name: name("commonName", reader).unwrap_or_default(),
        uri: text(&section, "uri", reader).unwrap_or_default(),
    };
    let help = "write the base64 of PEM certificates, the root last";
    let chain = section.required("certChain", help, reader)?;
    let made = decode(&chain, reader)?;
    let made = authority(&operator, &made);
    if made.is_none() {
        reader.problem(&chain, "no PEM certificates", help);
    }
    made
}

fn read_log(field: &Field<'_>, reader: &mut Reader) -> Option<serde_json::Value> {
    let section = field.section(LOG_KEYS, reader);
    if let Some(field) = section.get("hashAlgorithm") {
        field.choice(&[("sha-256", ()), ("sha256", ()), ("SHA256", ())], reader)?;
    }
    let help = "write the base64 of one PEM `PUBLIC KEY`";
    let key = section.required("publicKey", help, reader)?;
    let address = text(&section, "baseURL", reader).unwrap_or_default();
    let made = log(&address, &decode(&key, reader)?);
    if made.is_none() {
        reader.problem(&key, "not one PEM public key", help);
    }
    made
}

fn text(section: &Section<'_>, key: &'static str, reader: &mut Reader) -> Option<String> {
    let field = section.get(key)?;
    field.text(reader).map(str::to_owned)
}

/// Byte fields of Kubernetes are base64.
pub(super) fn decode(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<u8>> {
    let text: String = field.text(reader)?.split_whitespace().collect();
    let decoded = BASE64_STANDARD.decode(&text);
    if decoded.is_err() {
        reader.problem(field, "not base64", "write the base64 of the PEM text");
    }
    decoded.ok()
}
