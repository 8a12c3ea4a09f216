//! Whom a certificate must name: `subject`, `issuer` and extensions.

use crate::config::WarningName;
use std::collections::BTreeMap;

use super::super::super::reader::{Field, Reader, Section, describe};
use super::{lookalike, plain};
use crate::policy::{IdentityRequirement, Matcher};

/// cosign's names of Fulcio's extensions and their object identifiers, as Kyverno knows them, with ours.
const EXTENSIONS: [(&str, &str, &str); 6] = [
    ("oidcIssuer", "1.3.6.1.4.1.57264.1.1", "issuer"),
    (
        "githubWorkflowTrigger",
        "1.3.6.1.4.1.57264.1.2",
        "github_workflow_trigger",
    ),
    (
        "githubWorkflowSha",
        "1.3.6.1.4.1.57264.1.3",
        "github_workflow_sha",
    ),
    (
        "githubWorkflowName",
        "1.3.6.1.4.1.57264.1.4",
        "github_workflow_name",
    ),
    (
        "githubWorkflowRepository",
        "1.3.6.1.4.1.57264.1.5",
        "github_workflow_repository",
    ),
    (
        "githubWorkflowRef",
        "1.3.6.1.4.1.57264.1.6",
        "github_workflow_ref",
    ),
];

/// Who must be certified. `expressions`: the keys of the expressions for subject and issuer, where there are such.
///
/// Without a subject or an issuer Kyverno takes any. Beside `roots` that is who is certified by the authorities of the
/// document. Without them it would be everybody, which is refused.
pub(super) fn read(
    section: &Section<'_>,
    expressions: Option<(&'static str, &'static str)>,
    reader: &mut Reader,
) -> Option<IdentityRequirement> {
    let (subject_expression, issuer_expression) = expressions.unzip();
    if let Some(roots) = section.get("roots") {
        let is_named = |keys: [Option<&'static str>; 2]| {
            let mut keys = keys.into_iter().flatten();
            keys.any(|key| section.get(key).is_some())
        };
        let has_subject = is_named([Some("subject"), subject_expression]);
        let has_issuer = is_named([Some("issuer"), issuer_expression]);
        return read_beside_roots(
            section,
            expressions,
            (has_subject, has_issuer),
            &roots,
            reader,
        );
    }
    let identity = read_matchers(section, "subject", subject_expression, Matcher::Any, reader);
    let oidc_issuer = read_matchers(section, "issuer", issuer_expression, Matcher::All, reader);
    let extensions = match section.get("additionalExtensions") {
        Some(field) => read_extensions(&field, reader),
        None => Some(BTreeMap::new()),
    };
    Some(IdentityRequirement {
        identity: identity?,
        oidc_issuer: Some(oidc_issuer?),
        certificate_authorities: None,
        extensions: extensions?,
    })
}

fn read_beside_roots(
    section: &Section<'_>,
    expressions: Option<(&'static str, &'static str)>,
    (has_subject, has_issuer): (bool, bool),
    roots: &Field<'_>,
    reader: &mut Reader,
) -> Option<IdentityRequirement> {
    let (subject_expression, issuer_expression) = expressions.unzip();
    let identity = if has_subject {
        read_matchers(section, "subject", subject_expression, Matcher::Any, reader)
    } else {
        reader.warn(
            roots,
            WarningName::AnybodyCertified,
            "without `subject`, whoever has a certificate by one of these authorities may vouch",
        );
        Matcher::wildcard("*").ok()
    };
    let oidc_issuer = if has_issuer {
        Some(read_matchers(
            section,
            "issuer",
            issuer_expression,
            Matcher::All,
            reader,
        )?)
    } else {
        None
    };
    let extensions = match section.get("additionalExtensions") {
        Some(field) => read_extensions(&field, reader)?,
        None => BTreeMap::new(),
    };
    Some(IdentityRequirement {
        identity: identity?,
        oidc_issuer,
        certificate_authorities: None,
        extensions,
    })
}

/// The text with wildcards, the expression, or both.
fn read_matchers(
    section: &Section<'_>,
    text: &'static str,
    expression: Option<&'static str>,
    both: fn(Vec<Matcher>) -> Matcher,
    reader: &mut Reader,
) -> Option<Matcher> {
    let fields = [
        section.get(text).map(|field| (field, false)),
        expression
            .and_then(|key| section.get(key))
            .map(|field| (field, true)),
    ];
    let mut matchers = Vec::new();
    for (field, is_expression) in fields.into_iter().flatten() {
        matchers.push((read_matcher(&field, is_expression, reader)?, field));
    }
    if matchers.is_empty() {
        reader.problem(
            section.field(),
            format!("no `{text}`: anybody may get a certificate from some issuer, so both `subject` and `issuer` are needed"),
            format!("write the `{text}` that the certificate must have"),
        );
        return None;
    }
    let (mut matchers, fields): (Vec<_>, Vec<_>) = matchers.into_iter().unzip();
    let matcher = match matchers.pop() {
        Some(only) if matchers.is_empty() => only,
        last => both(matchers.into_iter().chain(last).collect()),
    };
    if matcher.constrains_little()
        && let Some(field) = fields.first()
    {
        reader.problem(
            field,
            format!("`{}` lets anybody vouch", matcher.source()),
            format!("write the `{text}` that the certificate must have"),
        );
        return None;
    }
    Some(matcher)
}

fn read_matcher(field: &Field<'_>, is_expression: bool, reader: &mut Reader) -> Option<Matcher> {
    let text = plain::non_empty(field, reader)?;
    let matcher = if is_expression {
        Matcher::search(text)
    } else {
        Matcher::wildcard(text)
    };
    match matcher {
        Ok(matcher) => {
            lookalike::note(&matcher, text, field, reader);
            Some(matcher)
        }
        Err(error) => {
            reader.problem(
                field,
                describe(&error),
                "write an expression in the syntax of RE2",
            );
            None
        }
    }
}

pub(super) fn read_extensions(
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<BTreeMap<String, Matcher>> {
    let mut extensions = BTreeMap::new();
    for (key, value) in field.entries(reader) {
        let known = EXTENSIONS
            .iter()
            .find(|(name, identifier, _)| *name == key.name || *identifier == key.name);
        let Some((_, _, name)) = known else {
            let names: Vec<_> = EXTENSIONS.iter().map(|(name, _, _)| *name).collect();
            reader.problem_at(
                key.position.clone(),
                &value.key,
                "no certificate extension of this name is known to Kyverno",
                format!("known: {}", names.join(", ")),
            );
            return None;
        };
        let matcher = read_matcher(&value, false, reader)?;
        extensions.insert((*name).to_owned(), matcher);
    }
    Some(extensions)
}
