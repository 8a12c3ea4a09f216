//! `keyless`: whom a certificate must name.

use crate::config::WarningName;
use std::collections::BTreeMap;

use super::super::{identity, plain};
use crate::config::documents::cluster_image_policy::read_search;
use crate::config::reader::{Field, Reader, Section};
use crate::policy::{AuthoritySigner, IdentityRequirement, Matcher};

const KEYLESS_KEYS: &[&str] = &["identities", "roots", "additionalExtensions"];
const IDENTITY_KEYS: &[&str] = &[
    "issuer",
    "subject",
    "issuerRegExp",
    "subjectRegExp",
    "subjectExpression",
];

/// Every identity that may vouch; `None` when one is not usable, which has been reported.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<AuthoritySigner>> {
    let section = field.section(KEYLESS_KEYS, reader);
    let known_problems = reader.problems.len();
    if let Some(roots) = section.get("roots") {
        reader.problem(
            &roots,
            "certificates under `roots` are not supported: Kyverno believes the trusted root beside them",
            "write a trusted_root.json under `trustedRoot`",
        );
    }
    let extensions = match section.get("additionalExtensions") {
        Some(field) => identity::read_extensions(&field, reader)?,
        None => BTreeMap::new(),
    };
    let help = "list {issuer: …, subject: …}";
    let identities = section.required("identities", help, reader)?;
    let items = identities.items(reader);
    if items.is_empty() {
        reader.problem(&identities, "no identity: anybody could vouch", help);
        return None;
    }
    let mut read = Vec::new();
    for item in &items {
        read.extend(read_identity(item, &extensions, reader));
    }
    let read = read.into_iter().map(AuthoritySigner::Identity).collect();
    (reader.problems.len() == known_problems).then_some(read)
}

fn read_identity(
    field: &Field<'_>,
    extensions: &BTreeMap<String, Matcher>,
    reader: &mut Reader,
) -> Option<IdentityRequirement> {
    let section = field.section(IDENTITY_KEYS, reader);
    if let Some(field) = section.get("subjectExpression") {
        reader.problem(
            &field,
            "`subjectExpression` has no value at a pull",
            "write `subject` or `subjectRegExp`",
        );
    }
    let identity = read_matcher(&section, ("subject", "subjectRegExp"), reader);
    let oidc_issuer = read_matcher(&section, ("issuer", "issuerRegExp"), reader);
    Some(IdentityRequirement {
        identity: identity?,
        oidc_issuer: Some(oidc_issuer?),
        certificate_authorities: None,
        extensions: extensions.clone(),
    })
}

/// The exact text, the expression that matches somewhere, or both, of which then both must match.
fn read_matcher(
    section: &Section<'_>,
    (exact, expression): (&'static str, &'static str),
    reader: &mut Reader,
) -> Option<Matcher> {
    let mut matchers = Vec::new();
    if let Some(field) = section.get(exact) {
        let text = plain::non_empty(&field, reader)?;
        if text.contains('*') {
            reader.warn(
                &field, WarningName::LiteralAsterisk,
                format!("`{exact}` is compared as it is: `*` stands for itself; for a pattern write `{expression}`"),
            );
        }
        matchers.push(Matcher::Exact(text.to_owned()));
    }
    if let Some(field) = section.get(expression) {
        plain::non_empty(&field, reader)?;
        matchers.push(read_search(&field, reader)?);
    }
    let matcher = match matchers.pop() {
        Some(only) if matchers.is_empty() => only,
        Some(last) => {
            matchers.push(last);
            Matcher::All(matchers)
        }
        None => {
            reader.problem(
                section.field(),
                format!(
                    "neither `{exact}` nor `{expression}`: anybody may get a certificate from some issuer, so both a \
                     subject and its issuer are needed"
                ),
                format!("write the `{exact}` that the certificate must have"),
            );
            return None;
        }
    };
    if matcher.constrains_little() {
        reader.problem(
            section.field(),
            format!("`{}` lets anybody vouch", matcher.source()),
            format!("write the `{exact}` that the certificate must have"),
        );
        return None;
    }
    Some(matcher)
}
