//! How many have signed, added up and compared with numbers; and what else is added and compared.

use cel::IdedExpr;
use cel::common::ast::operators;

use super::about::Item;
use super::calls::negated;
use super::expression::Refusal;
use super::meaning::Meaning;
use super::term::{Computed, Formula, Term, Vouching};
use super::values::computed;

pub(super) fn add(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    left: Term,
    right: Term,
) -> Result<Term, Refusal> {
    match (left, right) {
        (Term::Count(mut left), Term::Count(right)) => {
            if right.iter().any(|it| left.contains(it)) {
                return Err(named_twice(part));
            }
            left.extend(right);
            Ok(Term::Count(left))
        }
        (Term::List(mut left), Term::List(right)) => {
            left.extend(right);
            Ok(Term::List(left))
        }
        (Term::Several(left), Term::Several(right)) => Ok(union(left, right)),
        (Term::Several(left), Term::List(right)) => Ok(union(left, terms(right))),
        (Term::List(left), Term::Several(right)) => Ok(union(terms(left), right)),
        (left, right) => {
            let parts = vec![computed(part, left)?, computed(part, right)?];
            meaning.bounded(part, Computed::call(operators::ADD, parts))
        }
    }
}

fn terms(items: Vec<Item>) -> Vec<Term> {
    items.into_iter().map(|item| item.term).collect()
}

/// The images of both, each once.
fn union(mut terms: Vec<Term>, others: Vec<Term>) -> Term {
    for term in others {
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    Term::Several(terms)
}

pub(super) fn compare(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    operator: &str,
    left: Term,
    right: Term,
) -> Result<Term, Refusal> {
    match (left, right) {
        (Term::Count(of), Term::Value(number)) => count(meaning, part, (operator, of), &number),
        (Term::Value(number), Term::Count(of)) => {
            count(meaning, part, (turned(operator), of), &number)
        }
        (Term::Truth(formula), Term::Value(value)) | (Term::Value(value), Term::Truth(formula))
            if value.truth().is_some()
                && matches!(operator, operators::EQUALS | operators::NOT_EQUALS) =>
        {
            let is_true = value.truth() == Some(operator == operators::EQUALS);
            if is_true {
                Ok(Term::Truth(formula))
            } else {
                negated(part, formula)
            }
        }
        (left, right) => {
            let parts = vec![computed(part, left)?, computed(part, right)?];
            meaning.bounded(part, Computed::call(operator, parts))
        }
    }
}

/// The operator with its sides exchanged.
fn turned(operator: &str) -> &str {
    match operator {
        operators::GREATER => operators::LESS,
        operators::GREATER_EQUALS => operators::LESS_EQUALS,
        operators::LESS => operators::GREATER,
        operators::LESS_EQUALS => operators::GREATER_EQUALS,
        same => same,
    }
}

/// How many vouch, compared with a number.
fn count(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    (operator, of): (&str, Vec<Vouching>),
    number: &Computed,
) -> Result<Term, Refusal> {
    let number = number.whole_number().ok_or_else(|| {
        let message = "how many have signed can only be compared with a whole number";
        Refusal::new(part, message, "write a number")
    })?;
    let all = i64::try_from(of.len()).unwrap_or(i64::MAX);
    let least = match operator {
        operators::GREATER => number.checked_add(1),
        operators::GREATER_EQUALS => Some(number),
        operators::EQUALS if number == all => Some(number),
        operators::NOT_EQUALS if number == 0 => Some(1),
        _ => None,
    };
    let Some(least) = least.filter(|least| *least > 0) else {
        return Err(Refusal::new(
            part,
            "it cannot be demanded that no more than so many have signed: a signature can be withheld from a verifier",
            "demand how many must have signed: > 0, >= 2, or == all of them",
        ));
    };
    if least > all {
        return Err(Refusal::new(
            part,
            format!("{least} of {all} attestors cannot be"),
            "demand at most as many as are listed",
        ));
    }
    let least = usize::try_from(least).unwrap_or(usize::MAX);
    let (usable, left_out): (Vec<_>, Vec<_>) =
        of.into_iter().partition(|it| meaning.can_vouch(*it));
    if least > usable.len() {
        return Err(Refusal::new(
            part,
            "signatures of Notary are not verified here",
            "sign with cosign, and name a key or an identity under `cosign`",
        ));
    }
    meaning
        .left_out
        .extend(left_out.into_iter().map(Vouching::attestor));
    Ok(Term::Truth(Formula::AtLeast(least, usable)))
}

pub(super) fn named_twice(part: &IdedExpr) -> Refusal {
    Refusal::new(
        part,
        "an attestor is counted twice, and a signer counts once here",
        "list each attestor once",
    )
}
