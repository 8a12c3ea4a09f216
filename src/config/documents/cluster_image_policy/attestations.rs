//! `attestations` of an authority.

use std::sync::Arc;

use crate::config::attestations::read_predicate_type;
use crate::config::reader::{Field, Reader};
use crate::policy::rego::RegoCondition;
use crate::policy::{AttestationRequirement, Authority, Quantifier, Requirement, Rule};

const KEYS: &[&str] = &["name", "predicateType", "policy"];
const POLICY_KEYS: &[&str] = &["type", "data", "remote", "configMapRef"];

/// An attestation that the authority must have made.
#[derive(Debug)]
pub(super) struct Attestation {
    predicate_type: String,
    condition: Option<Arc<dyn Rule>>,
}

impl Attestation {
    pub(super) fn requirement(self, authorities: &[Arc<Authority>]) -> Requirement {
        Requirement::Attestation(AttestationRequirement {
            predicate_type: self.predicate_type,
            authorities: authorities.to_vec(),
            // Of several of the type, one that meets the condition is enough for the project.
            quantifier: Quantifier::Any,
            condition: self.condition,
        })
    }
}

/// The list; `None` when one is not usable.
pub(super) fn read(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<Attestation>> {
    let items = field.items(reader);
    let read: Vec<_> = items
        .iter()
        .map(|item| read_attestation(item, reader))
        .collect();
    read.into_iter().collect()
}

fn read_attestation(field: &Field<'_>, reader: &mut Reader) -> Option<Attestation> {
    let section = field.section(KEYS, reader);
    section.required("name", "name the attestation", reader)?;
    let help = "write an URI, or one of cosign's short names such as spdxjson";
    let predicate_type = section
        .required("predicateType", help, reader)
        .and_then(|field| read_predicate_type(&field, help, reader));
    let condition = match section.get("policy") {
        Some(field) => Some(read_policy(&field, reader)?),
        None => None,
    };
    Some(Attestation {
        predicate_type: predicate_type?,
        condition,
    })
}

fn read_policy(field: &Field<'_>, reader: &mut Reader) -> Option<Arc<dyn Rule>> {
    let section = field.section(POLICY_KEYS, reader);
    for key in ["remote", "configMapRef"] {
        if let Some(other) = section.get(key) {
            reader.problem(
                &other,
                format!("`{key}` is not fetched"),
                "write the policy under `data`",
            );
            return None;
        }
    }
    let kind = section.required("type", "write rego", reader)?;
    match kind.text(reader)? {
        "rego" => {}
        "cue" => {
            reader.problem(
                &kind,
                "CUE is not supported",
                "write the condition in Rego: `package sigstore` with `isCompliant`",
            );
            return None;
        }
        _ => {
            let message = format!("`{}` is not known here", kind.written());
            reader.problem(&kind, message, "write rego");
            return None;
        }
    }
    let help = "write a Rego module: `package sigstore` with `isCompliant`";
    let data = section.required("data", help, reader)?;
    match RegoCondition::new(data.text(reader)?) {
        Ok(condition) => Some(Arc::new(condition)),
        Err(error) => {
            reader.problem(&data, error.to_string(), help);
            None
        }
    }
}
