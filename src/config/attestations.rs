//! `attestations:` of a policy.

use crate::config::WarningName;
use std::sync::Arc;

use url::Url;

use super::authorities;
use super::reader::{Field, Reader};
use super::trusted_roots::TrustedRoots;
use crate::policy::{AttestationRequirement, Authority, Condition, Quantifier, Rule};

pub(super) const KEYS: &[&str] = &["predicate_type", "authorities", "match", "condition"];

/// cosign's short names (`cosign attest --type`).
pub(super) const PREDICATE_TYPES: [(&str, &str); 10] = [
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("link", "https://in-toto.io/Link/v1"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
];

/// The list; `policy_authorities` stand in where an attestation has none of its own. `None` when one is not usable,
/// which has been reported.
pub(super) fn read(
    field: &Field<'_>,
    policy_authorities: Option<&[Arc<Authority>]>,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<Vec<AttestationRequirement>> {
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(
            field,
            "an empty list of attestations demands none",
            "add one, or leave the key out",
        );
        return None;
    }
    let requirements: Vec<_> = items
        .iter()
        .map(|item| read_attestation(item, policy_authorities, roots, reader))
        .collect();
    requirements.into_iter().collect()
}

fn read_attestation(
    field: &Field<'_>,
    policy_authorities: Option<&[Arc<Authority>]>,
    roots: &TrustedRoots,
    reader: &mut Reader,
) -> Option<AttestationRequirement> {
    let section = field.section(KEYS, reader);
    let help = "write an URI, or one of cosign's short names such as slsaprovenance1 or spdxjson";
    let predicate_type = section
        .required("predicate_type", help, reader)
        .and_then(|field| read_predicate_type(&field, help, reader));
    let own = section.get("authorities");
    let authorities = match (&own, policy_authorities) {
        (Some(own), _) => authorities::read(own, roots, reader),
        (None, Some(authorities)) => Some(authorities.to_vec()),
        (None, None) => {
            reader.problem(
                field,
                "nobody may vouch: neither the attestation nor the policy has usable authorities",
                "add `authorities` here or to the policy",
            );
            None
        }
    };
    let words = [
        ("any", Quantifier::Any),
        ("all", Quantifier::All),
        ("newest", Quantifier::Newest),
    ];
    let quantifier = section
        .get("match")
        .and_then(|field| field.choice(&words, reader))
        .unwrap_or(Quantifier::Any);
    let condition: Option<Arc<dyn Rule>> = match section.get("condition") {
        Some(field) => Some(Arc::new(read_condition(&field, reader)?)),
        None => None,
    };
    Some(AttestationRequirement {
        predicate_type: predicate_type?,
        authorities: authorities?,
        quantifier,
        condition,
    })
}

/// The predicate type for which cosign has this name.
pub(super) fn type_of_short_name(name: &str) -> Option<&'static str> {
    let mut types = PREDICATE_TYPES.iter();
    types.find(|(short, _)| *short == name).map(|(_, uri)| *uri)
}

pub(super) fn read_predicate_type(
    field: &Field<'_>,
    help: &str,
    reader: &mut Reader,
) -> Option<String> {
    let text = field.text(reader)?;
    if let Some(uri) = type_of_short_name(text) {
        return Some(uri.to_owned());
    }
    // Compared byte by byte with what was signed, as cosign does, so it is kept as written.
    let is_type = Url::parse(text).is_ok() || is_without_scheme(text);
    if !is_type || text.contains(char::is_whitespace) {
        reader.problem(
            field,
            format!("`{}` is no predicate type", field.written()),
            help,
        );
        return None;
    }
    Some(text.to_owned())
}

/// Returns true for a type as cosign wrote them before its version 2, such as `cosign.sigstore.dev/attestation/v1`.
pub(super) fn is_without_scheme(text: &str) -> bool {
    let host = text.split_once('/').map(|(host, _)| host);
    host.is_some_and(|host| host.contains('.'))
}

fn read_condition(field: &Field<'_>, reader: &mut Reader) -> Option<Condition> {
    match Condition::new(field.text(reader)?) {
        Ok(condition) => {
            match condition.constant() {
                Some(true) => reader.warn(
                    field, WarningName::ConstantCondition,
                    "the condition looks at nothing signed and is always true: any attestation of the type will do",
                ),
                Some(false) => reader.warn(
                    field, WarningName::ConstantCondition,
                    "the condition looks at nothing signed and is always false: every image is refused",
                ),
                None => {}
            }
            Some(condition)
        }
        Err(error) => {
            reader.problem(
                field,
                error.to_string(),
                "write a CEL expression that is true or false, such as \
                 `predicate.buildDefinition.buildType == 'https://…'`",
            );
            None
        }
    }
}
