//! What a term is as true or false, as something to compute with, and as a text.

use cel::IdedExpr;
use cel::common::ast::{Expr, ListExpr, LiteralValue};

use super::expression::{Refusal, literal_text};
use super::term::{Computed, Formula, Term, TwoAttestations};

pub(super) fn constant(value: bool) -> Term {
    Term::Value(Computed::literal(LiteralValue::Boolean(value.into())))
}

/// The term as true or false.
pub(super) fn truth(part: &IdedExpr, term: Term) -> Result<Formula, Refusal> {
    match term {
        Term::Truth(formula) => Ok(formula),
        Term::Value(computed) if computed.attested.is_some() => Ok(Formula::Condition(computed)),
        Term::Value(computed) => computed.truth().map(Formula::Constant).ok_or_else(|| {
            let message = "neither true nor false";
            Refusal::new(part, message, "write a condition here")
        }),
        Term::Count(_) => Err(Refusal::new(
            part,
            "how many have signed is neither true nor false",
            "compare it: verifyImageSignatures(…) > 0",
        )),
        Term::Image
        | Term::Name(_)
        | Term::ParsedName
        | Term::Attestor(_)
        | Term::Attestation(_)
        | Term::Names(_)
        | Term::List(_)
        | Term::Several(_) => {
            let computed = computed(part, term)?;
            truth(part, Term::Value(computed))
        }
    }
}

/// The term as something to compute with.
pub(super) fn computed(part: &IdedExpr, term: Term) -> Result<Computed, Refusal> {
    let refuse = |message: &str, help: &str| Err(Refusal::new(part, message, help));
    match term {
        Term::Value(computed) | Term::Truth(Formula::Condition(computed)) => Ok(computed),
        Term::Truth(Formula::Constant(value)) => {
            Ok(Computed::literal(LiteralValue::Boolean(value.into())))
        }
        Term::List(items) => {
            let items = items.into_iter().map(|item| computed(part, item.term));
            let items = items.collect::<Result<Vec<_>, _>>()?;
            let made = Computed::of(items, |items| Expr::List(ListExpr::new(items)));
            made.map_err(|TwoAttestations| two_attestations(part))
        }
        Term::Image | Term::Name(_) | Term::ParsedName => refuse(
            "the name of the image is not looked at here",
            "compare it with texts that are written out: startsWith, endsWith, contains, matches, ==, in",
        ),
        Term::Several(_) => refuse(
            "which other images a Pod has is not known at a pull",
            "say what must be true of each: images.containers.all(image, …)",
        ),
        Term::Count(_) | Term::Truth(_) => refuse(
            "who has signed can be counted and compared with a number, and nothing else",
            "write verifyImageSignatures(…) > 0 or verifyAttestationSignatures(…) > 0",
        ),
        Term::Attestor(_) | Term::Attestation(_) | Term::Names(_) => refuse(
            "attestors and attestations can be given to functions, and nothing else",
            "write verifyImageSignatures(image, [attestors.…]) > 0",
        ),
    }
}

pub(super) fn two_attestations(part: &IdedExpr) -> Refusal {
    Refusal::new(
        part,
        "several attestations cannot be compared with each other",
        "write a condition for each",
    )
}

/// The text that a part is, where it is one or is computed from constants.
pub(super) fn text(part: &IdedExpr, term: &Term) -> Option<String> {
    literal_text(part)
        .map(ToOwned::to_owned)
        .or_else(|| term.value().and_then(Computed::text))
}
