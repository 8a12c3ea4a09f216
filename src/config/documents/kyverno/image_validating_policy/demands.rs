//! `validations`: what must be there.

use crate::config::WarningName;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::attestors::Attestor;
use super::cases::{self, Case};
use super::expression::Expression;
use super::meaning::{Definitions, Meaning};
use super::term::{Computed, Formula, Vouching};
use crate::config::reader::{Field, Reader, Section};
use crate::policy::kyverno::reference::ReferenceRule;
use crate::policy::{
    AttestationRequirement, Authority, Condition, Quantifier, Requirement, Rule,
    SignatureRequirement,
};

const KEYS: &[&str] = &["expression", "message", "messageExpression", "reason"];

/// What is demanded of the images to which an answer about their name applies.
#[derive(Debug)]
pub(super) struct Demand {
    /// What must be true of the name; nothing where it is demanded of every image.
    pub(super) guard: Option<ReferenceRule>,
    pub(super) requirement: Requirement,
}

/// What all validations demand together; nothing where one is not usable, which has been reported.
pub(super) fn read(
    spec: &Section<'_>,
    attestors: &[Attestor],
    definitions: &Definitions,
    reader: &mut Reader,
) -> Option<Vec<Demand>> {
    let help = "demand a signature: images.containers.all(image, verifyImageSignatures(image, [attestors.…]) > 0)";
    let field = spec.required("validations", help, reader)?;
    let validations = read_validations(&field, help, reader)?;
    let expressions: Vec<_> = validations.iter().map(|(_, it)| it).collect();
    let (cases, refusals) = cases::explore(definitions, &expressions);
    for (index, refusal) in refusals {
        if let Some((field, expression)) = validations.get(index) {
            expression.report(refusal, field, reader);
        }
    }
    let cases = cases?;
    for (index, (field, _)) in validations.iter().enumerate() {
        let demanded = |case: &Case<'_>| case.demanded.get(index) == Some(&Formula::Constant(true));
        if cases.iter().all(demanded) {
            reader.warn(
                field,
                WarningName::ConstantCondition,
                "always true: it demands nothing",
            );
        }
    }
    note_cases(&cases, spec, &field, reader);
    let sources: Vec<_> = expressions.iter().map(|it| it.source.clone()).collect();
    let groups = cases::group(cases, &field, reader)?;
    let demands = groups.into_iter().map(|group| {
        let demands = Demands {
            attestors,
            meaning: &group.case.meaning,
            source: source(&sources, &group.case.meaning),
        };
        Demand {
            guard: group.guard,
            requirement: demands.requirement_of_all(group.case.formula()),
        }
    });
    Some(demands.collect())
}

fn read_validations<'n>(
    field: &Field<'n>,
    help: &str,
    reader: &mut Reader,
) -> Option<Vec<(Field<'n>, Expression)>> {
    let read = field.items(reader).into_iter().map(|item| {
        let section = item.section(KEYS, reader);
        note_message(&section, reader);
        let field = section.required("expression", help, reader)?;
        let expression = Expression::read(&field, reader)?;
        Some((field, expression))
    });
    let read: Vec<_> = read.collect();
    read.into_iter().collect()
}

fn note_message(section: &Section<'_>, reader: &mut Reader) {
    if let Some(field) = section.get("messageExpression") {
        reader.warn(
            &field,
            WarningName::MessageLeftOut,
            "a refusal says what was missing, and not what `messageExpression` would",
        );
    }
}

/// What the author may not expect, in whichever of the cases.
fn note_cases(cases: &[Case<'_>], spec: &Section<'_>, field: &Field<'_>, reader: &mut Reader) {
    if cases.iter().any(Case::lists_differ) {
        reader.warn(
            field, WarningName::ClusterScope,
            "what an image is pulled for is not known: what is demanded of the images in one list is demanded of those \
             in the others as well",
        );
    }
    let absent: BTreeSet<_> = cases.iter().flat_map(|it| &it.meaning.absent).collect();
    for name in absent {
        reader.warn(
            field, WarningName::NotInStatement,
            format!(
                "a payload is the whole statement, which has no `{name}` of its own: it is under `predicate`, if anywhere"
            ),
        );
    }
    let left_out: BTreeSet<_> = cases.iter().flat_map(|it| &it.meaning.left_out).collect();
    let Some(definitions) = cases.first().map(|it| it.meaning.definitions) else {
        return;
    };
    note_referrers(definitions, spec, reader);
    let of_notary = definitions.attestors.iter().enumerate();
    for (index, attestor) in of_notary.filter(|(_, it)| it.is_of_notary) {
        let name = &attestor.name;
        if left_out.contains(&index) {
            let message = format!(
                "signatures of Notary are not verified here: `{name}` is left out, and one of the others must vouch"
            );
            reader.warn(field, WarningName::NotaryLeftOut, message);
        } else if let Some(field) = spec.get("attestors") {
            let message = format!("`{name}` is one of Notary, and no validation asks for it");
            reader.note(&field, message);
        }
    }
}

/// Artifacts without a statement are refused where a validation asks for one.
fn note_referrers(definitions: &Definitions, spec: &Section<'_>, reader: &mut Reader) {
    let Some(field) = spec.get("attestations") else {
        return;
    };
    for attestation in definitions.attestations.iter().filter(|it| it.is_referrer) {
        let name = &attestation.name;
        let message =
            format!("`{name}` is an artifact without a statement, and no validation asks for it");
        reader.note(&field, message);
    }
}

/// The conditions in the words of the document: the validations and the variables that they use.
fn source(validations: &[String], meaning: &Meaning<'_>) -> String {
    let variables = meaning.used_variables.iter().filter_map(|index| {
        let (name, expression) = meaning.definitions.variables.get(*index)?;
        Some(format!("variables.{name} = {}", expression.source))
    });
    let conditions = validations
        .iter()
        .filter(|source| source.contains("extractPayload") || source.contains("variables"))
        .cloned();
    let parts: Vec<_> = conditions.chain(variables).collect();
    parts.join("; ")
}

/// What formulas become.
#[derive(Debug)]
struct Demands<'a> {
    attestors: &'a [Attestor],
    meaning: &'a Meaning<'a>,
    source: String,
}

impl Demands<'_> {
    fn requirement_of_all(&self, formula: Formula) -> Requirement {
        if formula == Formula::Constant(false) {
            return Requirement::Refusal {
                message: "the policy refuses images of this name".to_owned(),
            };
        }
        let members = formula.into_all();
        let conditions: BTreeSet<_> = members.iter().filter_map(condition_on).collect();
        let implied = |member: &Formula| {
            let attestation = self.all_who_vouch(member);
            attestation.is_some_and(|it| conditions.contains(&it))
        };
        let members = members.iter().filter(|member| !implied(member));
        Requirement::all(members.map(|member| self.requirement(member)).collect())
    }

    /// The attestation of which the member demands that one of all who may vouch for it has. A condition demands that
    /// as well.
    fn all_who_vouch(&self, member: &Formula) -> Option<usize> {
        let Formula::AtLeast(1, of) = member else {
            return None;
        };
        let mut attestors = BTreeSet::new();
        let attestation = member.established().first().copied()?;
        for vouching in of {
            if let Vouching::Attestation { attestor, .. } = vouching {
                attestors.insert(*attestor);
            }
        }
        let all = self.meaning.vouching.get(&attestation)?;
        (attestors == *all).then_some(attestation)
    }

    fn requirement(&self, formula: &Formula) -> Requirement {
        match formula {
            Formula::AtLeast(count, of) => self.at_least(*count, of),
            Formula::Condition(computed) => self.condition(computed),
            Formula::All(members) => {
                Requirement::all(members.iter().map(|it| self.requirement(it)).collect())
            }
            Formula::Any(members) => {
                Requirement::Any(members.iter().map(|it| self.requirement(it)).collect())
            }
            // Constants are gone when formulas are put together.
            Formula::Constant(_) => Requirement::Refusal {
                message: "the policy can never be satisfied".to_owned(),
            },
        }
    }

    fn at_least(&self, count: usize, of: &[Vouching]) -> Requirement {
        if count == 1 {
            return self.one_of(of);
        }
        let each: Vec<_> = of
            .iter()
            .map(|it| self.one_of(std::slice::from_ref(it)))
            .collect();
        if count == each.len() {
            return Requirement::all(each);
        }
        Requirement::AtLeast { count, of: each }
    }

    /// One of these must vouch.
    fn one_of(&self, of: &[Vouching]) -> Requirement {
        let mut members = Vec::new();
        let mut attested: Vec<(usize, Vec<Arc<Authority>>)> = Vec::new();
        for vouching in of {
            match vouching {
                Vouching::Signature { attestor } => members.extend(self.signatures(*attestor)),
                Vouching::Attestation {
                    attestation,
                    attestor,
                } => {
                    let authorities = self.authorities(*attestor);
                    match attested.iter_mut().find(|(it, _)| it == attestation) {
                        Some((_, all)) => all.extend(authorities),
                        None => attested.push((*attestation, authorities)),
                    }
                }
            }
        }
        members.extend(attested.into_iter().map(|(attestation, authorities)| {
            self.attestation(attestation, authorities, Quantifier::Any, None)
        }));
        match members.pop() {
            Some(only) if members.is_empty() => only,
            last => Requirement::Any(members.into_iter().chain(last).collect()),
        }
    }

    fn signatures(&self, attestor: usize) -> Vec<Requirement> {
        let Some(attestor) = self.attestors.get(attestor) else {
            return Vec::new();
        };
        let signatures = attestor.authorities.iter().map(|authority| {
            Requirement::Signature(SignatureRequirement {
                authority: Arc::clone(authority),
                annotations: attestor.annotations.clone(),
            })
        });
        signatures.collect()
    }

    fn authorities(&self, attestor: usize) -> Vec<Arc<Authority>> {
        let attestor = self.attestors.get(attestor);
        attestor
            .map(|it| it.authorities.clone())
            .unwrap_or_default()
    }

    /// Kyverno looks at the last attestation that it verified, and which one that is nobody knows: the condition must be
    /// true of every one by whoever may vouch for it anywhere in the policy.
    fn condition(&self, computed: &Computed) -> Requirement {
        let attestation = computed.attested.unwrap_or_default();
        let vouching = self.meaning.vouching.get(&attestation);
        let authorities = vouching.into_iter().flatten();
        let authorities = authorities.flat_map(|attestor| self.authorities(*attestor));
        let condition = Condition::translated(self.source.clone(), computed.expression.clone());
        self.attestation(
            attestation,
            authorities.collect(),
            Quantifier::All,
            Some(Arc::new(condition)),
        )
    }

    fn attestation(
        &self,
        attestation: usize,
        authorities: Vec<Arc<Authority>>,
        quantifier: Quantifier,
        condition: Option<Arc<dyn Rule>>,
    ) -> Requirement {
        let named = self.meaning.definitions.attestations.get(attestation);
        Requirement::Attestation(AttestationRequirement {
            predicate_type: named
                .map(|it| it.predicate_type.clone())
                .unwrap_or_default(),
            authorities,
            quantifier,
            condition,
        })
    }
}

fn condition_on(member: &Formula) -> Option<usize> {
    match member {
        Formula::Condition(computed) => computed.attested,
        Formula::Constant(_) | Formula::AtLeast(..) | Formula::All(_) | Formula::Any(_) => None,
    }
}
