//! One entry of `verifyImages`: which images, and what they need.

mod coverage;

use crate::config::WarningName;
use std::collections::{BTreeMap, BTreeSet};

use super::super::super::policies::Surroundings;
use super::super::super::reader::{Field, Reader, Section};
use super::attestors::{self, Target};
use super::{Document, attestations, plain, read_action};
use crate::oci::{Digest, RepositoryName};
use crate::policy::{Coverage, Mode, Policy, Requirement, SignedName};

const KEYS: &[&str] = &[
    "failureAction",
    "type",
    "image",
    "imageReferences",
    "skipImageReferences",
    "key",
    "roots",
    "subject",
    "issuer",
    "additionalExtensions",
    "attestors",
    "attestations",
    "annotations",
    "repository",
    "cosignOCI11",
    "mutateDigest",
    "verifyDigest",
    "validate",
    "required",
    "imageRegistryCredentials",
    "useCache",
];

const VALIDATE_KEYS: &[&str] = &["message", "deny"];

/// What the attestors of an entry are read against, and what they add to it.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    pub(super) surroundings: &'a Surroundings<'a>,
    /// Names of variables that the rule defines.
    pub(super) context: &'a BTreeSet<String>,
    /// Annotations that every signature must carry unless its attestor has its own.
    pub(super) annotations: BTreeMap<String, String>,
    /// Whether bundles are what Kyverno looks at (`type: SigstoreBundle`).
    pub(super) is_for_bundles: bool,
    /// Where signatures are looked for besides.
    pub(super) repositories: Vec<RepositoryName>,
}

/// What an entry takes from its rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule<'a> {
    /// Names of variables that the rule defines.
    pub(super) context: &'a BTreeSet<String>,
    /// Whether one of its entries says `Enforce`: Kyverno enforces all of them then.
    pub(super) enforced: bool,
}

/// The policy that an entry is; what keeps it from being one has been reported.
pub(super) fn read(
    name: String,
    field: &Field<'_>,
    rule: &Rule<'_>,
    document: &Document<'_>,
    reader: &mut Reader,
) -> Option<Policy> {
    let known_problems = reader.problems.len();
    let section = field.section(KEYS, reader);
    note_what_has_no_meaning(&section, reader);
    refuse_unsupported(&section, reader);
    let mode = read_mode(&section, rule, document, reader);
    let waives = (mode == Mode::Audit).then_some("only audits");
    let doubt = super::super::doubt(waives);
    let coverage = coverage::read(&section, doubt, document.surroundings, reader);
    if let Some(coverage) = &coverage {
        super::super::undoes_default(
            coverage,
            waives,
            section.field(),
            document.surroundings,
            reader,
        );
    }
    let mut scope = Scope {
        surroundings: document.surroundings,
        context: rule.context,
        annotations: section
            .get("annotations")
            .map(|field| attestors::read_annotations(&field, reader))
            .unwrap_or_default(),
        is_for_bundles: super::super::text_under(field, "type") == Some("SigstoreBundle"),
        repositories: Vec::new(),
    };
    if let Some(field) = section.get("repository") {
        scope.add_repository(&field, reader);
    }
    let requirement = read_requirement(&section, &mut scope, reader);
    if reader.problems.len() > known_problems {
        return None;
    }
    Some(Policy {
        name,
        hash: Digest::sha256(b""),
        origin: Some(field.node.position.origin()),
        coverage: Coverage::Imported(std::sync::Arc::new(coverage?)),
        mode,
        requirement: requirement?,
        signature_repositories: scope.repositories,
        signed_name: SignedName::Any,
        max_signature_age: None,
    })
}

impl Scope<'_> {
    /// One more repository in which signatures are looked for.
    pub(super) fn add_repository(&mut self, field: &Field<'_>, reader: &mut Reader) {
        let Some(text) = plain::non_empty(field, reader) else {
            return;
        };
        let help = "write host/repository, such as ghcr.io/org/signatures";
        let Ok(name) = text.parse::<RepositoryName>() else {
            reader.problem(
                field,
                format!("`{text}` is no full name of a repository"),
                help,
            );
            return;
        };
        if !self.surroundings.can_reach(name.host()) {
            reader.problem(
                field,
                format!("the host of `{text}` is not among the upstreams"),
                "add it under `upstreams` of the configuration",
            );
            return;
        }
        if !self.repositories.contains(&name) {
            self.repositories.push(name);
        }
    }
}

fn note_what_has_no_meaning(section: &Section<'_>, reader: &mut Reader) {
    note_validation(section, reader);
    let notes = [
        (
            "useCache",
            "a decision is kept per digest until anything that it depends on changes",
        ),
        (
            "cosignOCI11",
            "signatures are found wherever cosign puts them",
        ),
    ];
    for (key, note) in notes {
        if let Some(field) = section.get(key)
            && plain::boolean(&field, reader) == Some(false)
        {
            reader.note(&field, format!("`{key}`: {note}"));
        }
    }
    if let Some(field) = section.get("imageRegistryCredentials") {
        reader.warn(
            &field,
            WarningName::CredentialsElsewhere,
            "credentials, and whether a registry is reached without TLS, are set under `upstreams`",
        );
    }
}

/// What is said about digests in a Pod, and about images that nothing verifies.
pub(super) fn note_validation(section: &Section<'_>, reader: &mut Reader) {
    let notes = [
        (
            "mutateDigest",
            true,
            "nothing is rewritten: what was verified is what is served, by tag and by digest",
        ),
        (
            "verifyDigest",
            true,
            "pulls by tag are not refused: the digest that a tag stands for is verified and served",
        ),
        (
            "required",
            false,
            "an image that the policy covers is refused here unless it is verified",
        ),
    ];
    note_booleans(section, notes, reader);
}

/// Notes for those that are set to what is worth one.
fn note_booleans<const N: usize>(
    section: &Section<'_>,
    notes: [(&'static str, bool, &str); N],
    reader: &mut Reader,
) {
    for (key, noted, note) in notes {
        if let Some(field) = section.get(key)
            && plain::boolean(&field, reader) == Some(noted)
        {
            reader.warn(
                &field,
                WarningName::DigestsNotRewritten,
                format!("`{key}`: {note}"),
            );
        }
    }
}

fn refuse_unsupported(section: &Section<'_>, reader: &mut Reader) {
    if let Some(field) = section.get("type") {
        let words = [
            ("Cosign", "Cosign"),
            ("SigstoreBundle", "SigstoreBundle"),
            ("Notary", "Notary"),
        ];
        match field.choice(&words, reader) {
            Some("Notary") => reader.problem(
                &field,
                "signatures of Notary are not verified here",
                "sign with cosign, and name a key or an identity",
            ),
            Some("SigstoreBundle") => reader.warn(
                &field,
                WarningName::OlderFormCounts,
                "a signature in cosign's older form by the same signer counts as well",
            ),
            _ => {}
        }
    }
    let older = ["key", "issuer", "subject"];
    if let Some(field) = section.get("roots")
        && older.into_iter().all(|key| section.get(key).is_none())
    {
        reader.problem(
            &field,
            "`roots` counts beside `issuer` and `subject` of the entry only",
            "write it under `keyless` of each attestor that it is for",
        );
    }
    if let Some(field) = section.get("validate") {
        refuse_validation(&field, reader);
    }
}

/// What compares several attestations. Without it, there is nothing in `validate`.
fn refuse_validation(field: &Field<'_>, reader: &mut Reader) {
    let known_problems = reader.problems.len();
    field.section(VALIDATE_KEYS, reader);
    if field.has("deny") {
        reader.problem(
            field,
            "`validate.deny` compares several attestations, which is not supported",
            "write `conditions` under the attestations",
        );
    } else if reader.problems.len() == known_problems {
        reader.warn(
            field,
            WarningName::VerifiesNothing,
            "`validate` without `deny` demands nothing",
        );
    }
}

/// The action, or the stricter one where namespaces differ. Kyverno's default is to audit.
fn read_mode(
    section: &Section<'_>,
    rule: &Rule<'_>,
    document: &Document<'_>,
    reader: &mut Reader,
) -> Mode {
    let field = section.get("failureAction");
    let own = field.as_ref().and_then(|field| read_action(field, reader));
    if let Some(field) = &field
        && rule.enforced
        && own == Some(Mode::Audit)
    {
        reader.warn(
            field,
            WarningName::EnforcedWithRule,
            "another entry of the rule is enforced, and with it, as in Kyverno, this one",
        );
    }
    if document.enforced_somewhere || rule.enforced {
        return Mode::Enforce;
    }
    own.or(document.action).unwrap_or_else(|| {
        reader.warn(
            section.field(), WarningName::AuditByDefault,
            "neither `failureAction` nor `validationFailureAction`: Kyverno's default is Audit, so refusals are \
             logged and the images served",
        );
        Mode::Audit
    })
}

fn read_requirement(
    section: &Section<'_>,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Option<Requirement> {
    let has = |key: &'static str| section.get(key).is_some();
    let older = has("key") || has("issuer") || has("subject") || has("additionalExtensions");
    if !older && !has("attestors") && !has("attestations") {
        reader.problem(
            section.field(),
            "the entry requires no signature: neither `attestors` nor `attestations`",
            "say who must have signed, or remove the entry",
        );
        return None;
    }
    let mut required = Vec::new();
    if let Some(field) = section.get("attestors") {
        let target = Target::Signature;
        required.push(attestors::read_sets(&field, &target, scope, reader));
    }
    if let Some(field) = section.get("attestations") {
        required.push(attestations::read(&field, section, older, scope, reader));
    } else if older {
        let older = attestors::read_older(section, &Target::Signature, scope, reader);
        required.push(older.map(|requirement| vec![requirement]));
    }
    let required: Option<Vec<_>> = required.into_iter().collect();
    Some(Requirement::all(required?.into_iter().flatten().collect()))
}
