//! `keyless` of an authority: who may have signed.

use crate::config::WarningName;
use std::collections::BTreeMap;

use crate::config::lookalikes;
use crate::config::reader::{Field, Reader, Section};
use crate::config::trusted_roots::PUBLIC_GOOD;
use crate::policy::{AuthoritySigner, IdentityRequirement, Matcher};

const KEYS: &[&str] = &[
    "url",
    "identities",
    "ca-cert",
    "trustRootRef",
    "insecureIgnoreSCT",
];
const IDENTITY_KEYS: &[&str] = &["issuer", "subject", "issuerRegExp", "subjectRegExp"];

const PUBLIC_AUTHORITY: &str = "https://fulcio.sigstore.dev";

/// Every identity that may vouch; `None` when one is not usable.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<AuthoritySigner>> {
    let section = field.section(KEYS, reader);
    if let Some(certificate) = section.get("ca-cert") {
        reader.problem(
            &certificate,
            "`ca-cert` is not supported; policy-controller accepts it and then no signature",
            "put the certificate into a TrustRoot and name that in `trustRootRef`",
        );
        return None;
    }
    if let Some(url) = section.get("url") {
        let name = root_name(field, reader)?;
        if url.text(reader)?.trim_end_matches('/') != PUBLIC_AUTHORITY {
            reader.warn(
                &url, WarningName::ServiceNotAsked,
                format!(
                    "the certificate authority is not asked: certificates are judged by the trusted root `{name}`"
                ),
            );
        }
    }
    let help = "list {issuer: …, subject: …}";
    let identities = section.required("identities", help, reader)?;
    let items = identities.items(reader);
    if items.is_empty() {
        reader.problem(&identities, "no identity: anybody could vouch", help);
        return None;
    }
    let read: Vec<_> = items
        .iter()
        .map(|item| read_identity(item, reader))
        .collect();
    let read = read.into_iter().collect::<Option<Vec<_>>>()?;
    Some(read.into_iter().map(AuthoritySigner::Identity).collect())
}

/// The name of the trusted root for certificates.
pub(super) fn root_name(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    // Unknown keys are reported once, by `read`.
    let section = field.section(KEYS, &mut Reader::default());
    match section.get("trustRootRef") {
        Some(field) => field.text(reader).map(str::to_owned),
        None => Some(PUBLIC_GOOD.to_owned()),
    }
}

/// Whether a certificate must have been published.
pub(super) fn wants_sct(authority: &Section<'_>, reader: &mut Reader) -> bool {
    let Some(keyless) = authority.get("keyless") else {
        return false;
    };
    let section = keyless.section(KEYS, &mut Reader::default());
    let Some(field) = section.get("insecureIgnoreSCT") else {
        return true;
    };
    let ignored = field.boolean(reader).unwrap_or_default();
    if ignored {
        reader.warn(
            &field,
            WarningName::UnpublishedCertificates,
            "certificates that were never published are accepted",
        );
    }
    !ignored
}

fn read_identity(field: &Field<'_>, reader: &mut Reader) -> Option<IdentityRequirement> {
    let section = field.section(IDENTITY_KEYS, reader);
    let identity = read_matcher(&section, ("subject", "subjectRegExp"), reader);
    let oidc_issuer = read_matcher(&section, ("issuer", "issuerRegExp"), reader);
    Some(IdentityRequirement {
        identity: identity?,
        oidc_issuer: Some(oidc_issuer?),
        certificate_authorities: None,
        extensions: BTreeMap::new(),
    })
}

fn read_matcher(
    section: &Section<'_>,
    (exact, expression): (&'static str, &'static str),
    reader: &mut Reader,
) -> Option<Matcher> {
    match (section.get(exact), section.get(expression)) {
        (Some(field), None) => match field.text(reader)? {
            "" => {
                reader.problem(&field, "empty", "write the whole value");
                None
            }
            text => {
                lookalikes::note_exact(text, &field, reader);
                Some(Matcher::Exact(text.to_owned()))
            }
        },
        (None, Some(field)) => read_search(&field, reader),
        (Some(_), Some(_)) => {
            reader.problem(
                section.field(),
                format!("both `{exact}` and `{expression}`"),
                "keep one of them",
            );
            None
        }
        (None, None) => {
            reader.problem(
                section.field(),
                format!("neither `{exact}` nor `{expression}`"),
                "an identity is a subject and its issuer: anybody may get a certificate for a name from some issuer",
            );
            None
        }
    }
}

/// An expression that matches anywhere, as the project has it; one that lets others in is shown.
pub(in crate::config::documents) fn read_search(
    field: &Field<'_>,
    reader: &mut Reader,
) -> Option<Matcher> {
    let help = "write a regular expression; dots are written `\\.`";
    match Matcher::search(field.text(reader)?) {
        Ok(matcher) if matcher.constrains_little() => {
            reader.problem(
                field,
                format!("`{}` lets anybody vouch", matcher.source()),
                "write what the certificate must name",
            );
            None
        }
        Ok(matcher) => {
            if let Some(other) = counterexample(&matcher) {
                reader.warn(
                    field, WarningName::AlsoAccepts,
                    format!(
                        "matches anywhere in the value, and so also `{other}`; put it between ^ and $, with dots as `\\.`"
                    ),
                );
            }
            Some(matcher)
        }
        Err(error) => {
            reader.problem(field, field.explain(&error), help);
            None
        }
    }
}

/// A value that matches and is hardly meant.
pub(super) fn counterexample(matcher: &Matcher) -> Option<String> {
    let source = matcher.source();
    let literal = literal(&source);
    let around = [
        "https://attacker.example/".to_owned(),
        format!("https://attacker.example/?{literal}"),
        format!("{literal}.attacker.example"),
        format!("{literal}x"),
        format!("x{literal}"),
    ];
    around.into_iter().find(|value| matcher.matches(value))
}

/// Some text that the expression may match: without what stands for any text, and each escaped character by itself.
fn literal(source: &str) -> String {
    let plain = source
        .trim_start_matches('^')
        .trim_end_matches('$')
        .replace(".*", "")
        .replace(".+", "x");
    plain.replace('\\', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_else_an_expression_accepts() {
        for (source, expected) in [
            (".*", Some("https://attacker.example/")),
            (
                "https://github\\.com/org/.*",
                Some("https://attacker.example/?https://github.com/org/"),
            ),
            (
                "^https://github.com/org",
                Some("https://github.com/org.attacker.example"),
            ),
            (
                "@example\\.com$",
                Some("https://attacker.example/?@example.com"),
            ),
            ("^https://github\\.com/org/app$", None),
        ] {
            let matcher = Matcher::search(source).unwrap();
            let shown = counterexample(&matcher);
            assert_eq!(shown.as_deref(), expected, "{source}");
        }
    }
}
