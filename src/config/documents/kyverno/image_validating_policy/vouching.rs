//! Who vouches for the image, and for what is attached to it.

use std::collections::BTreeSet;

use cel::IdedExpr;

use super::about::Scope;
use super::counts::named_twice;
use super::expression::Refusal;
use super::meaning::Meaning;
use super::term::{Computed, Names, Term, Vouching};
use super::values::text;

/// Kyverno's functions over an image.
pub(super) const FUNCTIONS: [&str; 3] = [
    "verifyImageSignatures",
    "verifyAttestationSignatures",
    "extractPayload",
];

const LIST_ATTESTORS: &str = "write verifyImageSignatures(image, [attestors.…]) > 0";

pub(super) fn evaluate(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    (function, image, arguments): (&str, &IdedExpr, &[IdedExpr]),
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let image_term = meaning.evaluate(image, scope)?;
    the_image(image, &image_term)?;
    match (function, arguments) {
        ("verifyImageSignatures", [attestors]) => {
            let attestors = read_attestors(meaning, attestors, scope)?;
            let vouching = attestors.into_iter();
            let vouching = vouching.map(|attestor| Vouching::Signature { attestor });
            Ok(Term::Count(vouching.collect()))
        }
        ("verifyAttestationSignatures", [attestation, attestors]) => {
            let attestation = read_attestation(meaning, attestation, scope)?;
            let named = read_attestors(meaning, attestors, scope)?;
            vouching_for(meaning, attestors, attestation, named)
        }
        ("extractPayload", [attestation]) => {
            let attestation = read_attestation(meaning, attestation, scope)?;
            payload(meaning, part, attestation)
        }
        _ => Err(Refusal::new(
            part,
            format!("`{function}` takes other arguments"),
            LIST_ATTESTORS,
        )),
    }
}

fn the_image(part: &IdedExpr, term: &Term) -> Result<(), Refusal> {
    if *term == Term::Image {
        return Ok(());
    }
    Err(Refusal::new(
        part,
        "a pull is about its own image and no other",
        "write images.containers.all(image, …) and give `image` to the function",
    ))
}

fn read_attestors(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    scope: &mut Scope,
) -> Result<Vec<usize>, Refusal> {
    let Term::List(items) = meaning.evaluate(part, scope)? else {
        return Err(Refusal::new(part, "no list of attestors", LIST_ATTESTORS));
    };
    let mut attestors = Vec::new();
    for item in items {
        let Term::Attestor(attestor) = item.term else {
            return Err(Refusal::new(part, "no attestor", LIST_ATTESTORS));
        };
        if attestors.contains(&attestor) {
            return Err(named_twice(part));
        }
        attestors.push(attestor);
    }
    if attestors.is_empty() {
        return Err(Refusal::new(
            part,
            "an empty list of attestors: nobody could vouch",
            LIST_ATTESTORS,
        ));
    }
    Ok(attestors)
}

fn read_attestation(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    scope: &mut Scope,
) -> Result<usize, Refusal> {
    let mut term = meaning.evaluate(part, scope)?;
    // Kyverno's own value of `attestations.x` is the name.
    if let Some(name) = text(part, &term) {
        term = meaning.member(part, Names::Attestations, &name)?;
    }
    let Term::Attestation(attestation) = term else {
        return Err(no_attestation(part));
    };
    let named = meaning.definitions.attestations.get(attestation);
    if named.is_some_and(|it| it.is_referrer) {
        return Err(Refusal::new(
            part,
            "artifacts that are attached without a statement are not verified here",
            "attach an attestation with `cosign attest`, and name its predicate type under `intoto`",
        ));
    }
    Ok(attestation)
}

fn no_attestation(part: &IdedExpr) -> Refusal {
    Refusal::new(part, "no attestation", "write attestations.…")
}

fn vouching_for(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    attestation: usize,
    attestors: Vec<usize>,
) -> Result<Term, Refusal> {
    let definitions = meaning.definitions;
    for attestor in &attestors {
        if let Some(named) = definitions.attestors.get(*attestor)
            && named.has_annotations
        {
            return Err(Refusal::new(
                part,
                format!(
                    "`{}` demands annotations, which are not looked for on attestations",
                    named.name
                ),
                "name an attestor without `annotations`, and demand in a condition what must be in the attestation",
            ));
        }
    }
    let attestation = definitions.first_of_type(attestation);
    let vouching = meaning.vouching.entry(attestation).or_default();
    vouching.extend(attestors.iter().copied());
    let attestors: BTreeSet<_> = attestors.into_iter().collect();
    let vouching = attestors.into_iter().map(|attestor| Vouching::Attestation {
        attestation,
        attestor,
    });
    Ok(Term::Count(vouching.collect()))
}

fn payload(meaning: &Meaning<'_>, part: &IdedExpr, attestation: usize) -> Result<Term, Refusal> {
    let Some(named) = meaning.definitions.attestations.get(attestation) else {
        return Err(no_attestation(part));
    };
    if named.short {
        return Err(Refusal::new(
            part,
            format!(
                "Kyverno finds no payload of `{}`, whose type is one of cosign's short names",
                named.name
            ),
            format!("write its `intoto.type` as {}", named.predicate_type),
        ));
    }
    let of_type = meaning.definitions.first_of_type(attestation);
    if !meaning.established.contains(&of_type) {
        return Err(Refusal::new(
            part,
            format!(
                "nobody vouches for the payload of `{}`: it is not demanded before this that somebody has signed it",
                named.name
            ),
            format!(
                "demand verifyAttestationSignatures(image, attestations.{}, [attestors.…]) > 0 in an earlier \
                 validation, or before `&&`",
                named.name
            ),
        ));
    }
    Ok(Term::Value(Computed::statement(of_type)))
}
