//! `attestations` of an entry, with their conditions.

use crate::config::WarningName;
use std::sync::Arc;

use url::Url;

use super::super::super::attestations::{is_without_scheme, type_of_short_name};
use super::super::super::reader::{Field, Reader, Section, describe};
use super::attestors::{self, Target};
use super::entry::Scope;
use super::plain;
use crate::policy::kyverno::{Block, Comparison, Conditions, Operand, Operator};
use crate::policy::{Requirement, Rule};

const KEYS: &[&str] = &["name", "predicateType", "type", "attestors", "conditions"];
const BLOCK_KEYS: &[&str] = &["any", "all"];
const CONDITION_KEYS: &[&str] = &["key", "operator", "value", "message"];

/// What all attestations require. `older`: the entry names a signer in the older spelling, who must vouch for each.
pub(super) fn read(
    field: &Field<'_>,
    entry: &Section<'_>,
    older: bool,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Option<Vec<Requirement>> {
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(
            field,
            "an empty list of attestations demands none",
            "add one, or leave the field out",
        );
        return None;
    }
    let requirements: Vec<_> = items
        .iter()
        .map(|item| read_attestation(item, entry, older, scope, reader))
        .collect();
    requirements.into_iter().collect()
}

fn read_attestation(
    field: &Field<'_>,
    entry: &Section<'_>,
    older: bool,
    scope: &mut Scope<'_>,
    reader: &mut Reader,
) -> Option<Requirement> {
    let section = field.section(KEYS, reader);
    let predicate_type = read_type(&section, reader);
    let condition = match section.get("conditions") {
        Some(field) => read_conditions(&field, scope, reader),
        None => Some(None),
    };
    let attestors = section.get("attestors").or_else(|| {
        let of_entry = entry.get("attestors").filter(|_| !older)?;
        reader.warn(
            field, WarningName::AttestorsOfEntry,
            "an attestation without `attestors`: Kyverno lets anybody with a certificate vouch; here those of the entry must",
        );
        Some(of_entry)
    });
    if attestors.is_none() && !older {
        reader.problem(
            field,
            "an attestation without `attestors`: Kyverno would let anybody with a certificate vouch",
            "add `attestors` to the attestation or to the entry",
        );
        return None;
    }
    let target = Target::Attestation {
        predicate_type: predicate_type?,
        condition: condition?,
    };
    let mut required = match &attestors {
        Some(field) => attestors::read_sets(field, &target, scope, reader)?,
        None => Vec::new(),
    };
    if older {
        required.push(attestors::read_older(entry, &target, scope, reader)?);
    }
    Some(Requirement::all(required))
}

/// The type is compared as it is written: neither completed nor looked up among short names.
fn read_type(section: &Section<'_>, reader: &mut Reader) -> Option<String> {
    let mut read = |key: &'static str| {
        let field = section.get(key)?;
        let text = plain::non_empty(&field, reader)?;
        note_type(text, &field, reader);
        Some((text.to_owned(), field))
    };
    match (read("type"), read("predicateType")) {
        (Some((name, _)), None) | (None, Some((name, _))) => Some(name),
        (Some((name, _)), Some((older, _))) if name == older => Some(name),
        (Some((name, _)), Some((_, field))) => {
            reader.problem(
                &field,
                format!("another type than `type: {name}`"),
                "keep `type` alone",
            );
            None
        }
        (None, None) => {
            reader.problem(
                section.field(),
                "`type` is missing",
                "write the predicate type, an URI",
            );
            None
        }
    }
}

/// Warns of a type that no attestation has: types are URIs, for some of which cosign has short names.
fn note_type(text: &str, field: &Field<'_>, reader: &mut Reader) {
    if let Some(uri) = type_of_short_name(text) {
        let message = format!(
            "Kyverno compares the type as it is written, and attestations do not have cosign's short names in them: write \
             `{uri}`"
        );
        reader.warn(field, WarningName::TypeIsNoUri, message);
        return;
    }
    if Url::parse(text).is_err() && !is_without_scheme(text) {
        let message = format!(
            "`{text}` is no URI: the type is compared as it is written, and those of attestations are URIs"
        );
        reader.warn(field, WarningName::TypeIsNoUri, message);
    }
}

/// `None` when something is wrong, which has been reported.
#[expect(
    clippy::option_option,
    reason = "no condition and no usable condition are two things"
)]
fn read_conditions(
    field: &Field<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Option<Arc<dyn Rule>>> {
    let known_problems = reader.problems.len();
    let mut blocks = Vec::new();
    for item in field.items(reader) {
        let section = item.section(BLOCK_KEYS, reader);
        if section.get("any").is_none() && section.get("all").is_none() {
            reader.problem(
                &item,
                "neither `any` nor `all`: nothing would be demanded",
                "write {all: [{key, operator, value}]}",
            );
            continue;
        }
        let mut list = |key: &'static str| {
            let field = section.get(key)?;
            Some(read_comparisons(&field, scope, reader))
        };
        blocks.push(Block {
            any: list("any"),
            all: list("all").unwrap_or_default(),
        });
    }
    if reader.problems.len() > known_problems {
        return None;
    }
    if blocks.is_empty() {
        return Some(None);
    }
    Some(Some(Arc::new(Conditions::new(blocks))))
}

fn read_comparisons(field: &Field<'_>, scope: &Scope<'_>, reader: &mut Reader) -> Vec<Comparison> {
    let items = field.items(reader);
    if items.is_empty() {
        reader.problem(
            field,
            "an empty list of conditions",
            "add one, or leave the field out",
        );
    }
    let comparisons = items.iter();
    comparisons
        .filter_map(|item| read_comparison(item, scope, reader))
        .collect()
}

/// Every comparison that is not usable has been reported.
fn read_comparison(
    field: &Field<'_>,
    scope: &Scope<'_>,
    reader: &mut Reader,
) -> Option<Comparison> {
    let section = field.section(CONDITION_KEYS, reader);
    let help = "a condition is {key, operator, value}";
    let names: Vec<_> = Operator::names().collect();
    let key_field = section.required("key", help, reader);
    let key = key_field
        .as_ref()
        .and_then(|field| read_operand(field, scope, reader));
    let operator = section
        .required("operator", help, reader)
        .and_then(|field| field.parse::<Operator>(&format!("known: {}", names.join(", ")), reader));
    let value_field = section.required("value", help, reader);
    let value = value_field
        .as_ref()
        .and_then(|field| read_operand(field, scope, reader));
    let comparison = Comparison {
        key: key?,
        operator: operator?,
        value: value?,
    };
    if comparison.operator.understands_ranges() && comparison.value.is_range() {
        reader.problem(
            &value_field?,
            "ranges are not supported",
            "write two conditions, with GreaterThanOrEquals and LessThanOrEquals",
        );
        return None;
    }
    let sides = [
        (&comparison.key, &key_field),
        (&comparison.value, &value_field),
    ];
    for (side, field) in sides {
        if let (Some(side), Some(field)) = (side.constant(), field)
            && comparison.operator.needs_other(side)
        {
            let message = format!("{side} is no duration: the condition never holds");
            reader.problem(field, message, "write a duration such as 24h");
            return None;
        }
    }
    if let (Some(holds), Some(field)) = (comparison.constant(), &key_field) {
        let never_or_always = if holds { "always" } else { "never" };
        let written = field.written();
        reader.warn(
            field, WarningName::ConstantCondition,
            format!(
                "`{written}` is a text and no expression, so the condition {never_or_always} holds; for the field of the \
                 predicate write `{{{{ {written} }}}}`"
            ),
        );
    }
    Some(comparison)
}

fn read_operand(field: &Field<'_>, scope: &Scope<'_>, reader: &mut Reader) -> Option<Operand> {
    match Operand::new(plain::json(field, reader)?, scope.context) {
        Ok(operand) => Some(operand),
        Err(error) => {
            reader.problem(
                field,
                describe(&error),
                "write a JMESPath expression over the fields of the predicate",
            );
            None
        }
    }
}
