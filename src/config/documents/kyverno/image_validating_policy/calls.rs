//! Functions and operators.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::about::Scope;
use super::expression::Refusal;
use super::loops::about_others;
use super::meaning::Meaning;
use super::term::{Computed, Formula, Names, Term};
use super::values::{computed, text, truth};
use super::{counts, names, vouching};
use crate::policy::re2;

/// What can be asked of signed values with the same meaning as in Kyverno: functions, and functions of a value.
const FUNCTIONS: [&str; 19] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
    operators::ADD,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
    "size",
    "int",
    "double",
    "timestamp",
    "duration",
];
const COMPARISONS: [&str; 6] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER,
    operators::GREATER_EQUALS,
    operators::LESS,
    operators::LESS_EQUALS,
];
const METHODS: [&str; 5] = ["contains", "startsWith", "endsWith", "matches", "size"];

/// What a call means. What is about several images of a Pod is joined by `&&` alone: joined otherwise, what one image
/// does not satisfy would be made up for by another.
pub(super) fn evaluate(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    call: &CallExpr,
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let term = evaluate_call(meaning, part, call, scope)?;
    let about = &mut meaning.about;
    let is_negation = call.func_name == operators::LOGICAL_NOT;
    match (call.func_name.as_str(), &term) {
        (operators::LOGICAL_AND, _) => {
            meaning.lists_differ |= about.lists_differ;
            return Ok(term);
        }
        // Each of the images in both lists is treated like the one that is pulled.
        (operators::ADD, Term::Several(_)) => {
            about.lists_differ = false;
            return Ok(term);
        }
        // Each item carries what it is about.
        (operators::ADD, Term::List(_)) => return Ok(term),
        _ => {}
    }
    if about.joins_names || about.by_names && !(is_negation && is_of_loop(call)) {
        return Err(about_others(part));
    }
    if about.lists_differ {
        return Err(one_list_or_another(part));
    }
    Ok(term)
}

/// Returns true for what is said of each image of a loop.
fn is_of_loop(call: &CallExpr) -> bool {
    matches!(call.args.as_slice(), [operand] if matches!(operand.expr, Expr::Comprehension(_)))
}

fn evaluate_call(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    call: &CallExpr,
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let function = call.func_name.as_str();
    if let Some(target) = call.target.as_deref()
        && let Some(term) = names::method(meaning, part, (function, target, &call.args), scope)?
    {
        return Ok(term);
    }
    match (function, call.target.as_deref(), call.args.as_slice()) {
        (operators::LOGICAL_AND, None, [left, right]) => and(meaning, left, right, scope),
        (operators::LOGICAL_OR, None, [left, right]) => or(meaning, left, right, scope),
        (operators::LOGICAL_NOT | operators::NOT_STRICTLY_FALSE, None, [operand]) => {
            let term = meaning.evaluate(operand, scope)?;
            let formula = truth(operand, term)?;
            if function == operators::LOGICAL_NOT {
                negated(part, formula)
            } else {
                let operand = computed(operand, Term::Truth(formula))?;
                meaning.bounded(part, Computed::call(function, vec![operand]))
            }
        }
        (operators::CONDITIONAL, None, [condition, yes, no]) => {
            choose(meaning, part, [condition, yes, no], scope)
        }
        (operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT, None, [of, key]) => {
            let of = meaning.evaluate(of, scope)?;
            let key_term = meaning.evaluate(key, scope)?;
            index(meaning, part, (function, key), of, key_term)
        }
        ("image" | "parseImageReference", None, [image]) => {
            let term = meaning.evaluate(image, scope)?;
            (term == Term::Image)
                .then_some(Term::ParsedName)
                .ok_or_else(|| unknown_function(part, function))
        }
        (_, None, [left, right])
            if [operators::ADD, operators::IN].contains(&function)
                || COMPARISONS.contains(&function) =>
        {
            let left = meaning.evaluate(left, scope)?;
            let right = meaning.evaluate(right, scope)?;
            if let Some(term) = names::compare(meaning, part, function, (&left, &right))? {
                return Ok(term);
            }
            if function == operators::ADD {
                counts::add(meaning, part, left, right)
            } else {
                counts::compare(meaning, part, function, left, right)
            }
        }
        ("orValue", Some(target), [_]) => {
            let term = meaning.evaluate(target, scope)?;
            // The lists of images are always there.
            let is_list = matches!(term, Term::Several(_));
            is_list
                .then_some(term)
                .ok_or_else(|| unknown_function(part, function))
        }
        ("size", None, [of]) | ("size", Some(of), []) => {
            let of_term = meaning.evaluate(of, scope)?;
            size(meaning, part, of, of_term)
        }
        (_, None, [image, arguments @ ..]) if vouching::FUNCTIONS.contains(&function) => {
            vouching::evaluate(meaning, part, (function, image, arguments), scope)
        }
        (_, target, arguments) => signed_call(meaning, part, (function, target, arguments), scope),
    }
}

fn and(
    meaning: &mut Meaning<'_>,
    left: &IdedExpr,
    right: &IdedExpr,
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let term = meaning.evaluate(left, scope)?;
    let first = truth(left, term)?;
    if first == Formula::Constant(false) {
        return Ok(Term::Truth(first));
    }
    let second = under(meaning, &first, right, scope)?;
    Ok(Term::Truth(first.all(truth(right, second)?)))
}

fn or(
    meaning: &mut Meaning<'_>,
    left: &IdedExpr,
    right: &IdedExpr,
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let term = meaning.evaluate(left, scope)?;
    let first = truth(left, term)?;
    if first == Formula::Constant(true) {
        return Ok(Term::Truth(first));
    }
    let second = meaning.evaluate(right, scope)?;
    Ok(Term::Truth(first.any(truth(right, second)?)))
}

/// Of a Pod with several images, each side may be about another one: joined for one image, they would admit more.
pub(super) fn one_list_or_another(part: &IdedExpr) -> Refusal {
    Refusal::new(
        part,
        "what is demanded of one list of images, or else of another, cannot be told apart at a pull",
        "write one list on both sides, or a policy for each",
    )
}

/// What a part stands for where `first` is true.
fn under(
    meaning: &mut Meaning<'_>,
    first: &Formula,
    part: &IdedExpr,
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let before = meaning.established.clone();
    meaning.established.extend(first.established());
    let second = meaning.evaluate(part, scope);
    meaning.established = before;
    second
}

pub(super) fn negated(part: &IdedExpr, formula: Formula) -> Result<Term, Refusal> {
    formula.negated().map(Term::Truth).ok_or_else(|| {
        Refusal::new(
            part,
            "it cannot be demanded that somebody has not signed: a signature can be withheld from a verifier",
            "demand who must have signed",
        )
    })
}

/// `condition ? yes : no`
fn choose(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    [condition, yes, no]: [&IdedExpr; 3],
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let term = meaning.evaluate(condition, scope)?;
    let chosen = truth(condition, term)?;
    if let Formula::Constant(value) = chosen {
        return meaning.evaluate(if value { yes } else { no }, scope);
    }
    let yes_term = under(meaning, &chosen, yes, scope)?;
    let no_term = meaning.evaluate(no, scope)?;
    if let Formula::Condition(signed) = &chosen
        && let (Ok(yes), Ok(no)) = (
            computed(yes, yes_term.clone()),
            computed(no, no_term.clone()),
        )
    {
        let parts = vec![signed.clone(), yes, no];
        return meaning.bounded(part, Computed::call(operators::CONDITIONAL, parts));
    }
    let (yes, no) = (truth(yes, yes_term)?, truth(no, no_term)?);
    let otherwise = match (&yes, &no) {
        (_, Formula::Constant(false)) => return Ok(Term::Truth(chosen.all(yes))),
        (Formula::Constant(true), _) => return Ok(Term::Truth(chosen.any(no))),
        _ => negated(part, chosen.clone())?,
    };
    let otherwise = truth(part, otherwise)?;
    Ok(Term::Truth(chosen.all(yes).any(otherwise.all(no))))
}

fn index(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    (operator, key): (&str, &IdedExpr),
    of: Term,
    key_term: Term,
) -> Result<Term, Refusal> {
    let number = key_term.value().and_then(Computed::whole_number);
    match (of, number.and_then(|it| usize::try_from(it).ok())) {
        (Term::Names(names), _) => {
            if operator != operators::INDEX && names != Names::Images {
                return Err(unknown_function(part, operator));
            }
            let name = text(key, &key_term).ok_or_else(|| {
                Refusal::new(key, "a name is expected here", "write it in quotes")
            })?;
            meaning.member(part, names, &name)
        }
        // Whichever image of a Pod is meant, it may be this one.
        (Term::Several(items), Some(_)) if items.len() == 1 => {
            items.into_iter().next().ok_or_else(|| beyond(part))
        }
        (Term::List(items), Some(at)) => {
            let item = items.into_iter().nth(at);
            item.map(|it| it.term).ok_or_else(|| beyond(part))
        }
        (of, _) if operator == operators::INDEX => {
            let parts = vec![computed(part, of)?, computed(key, key_term)?];
            meaning.bounded(part, Computed::call(operator, parts))
        }
        _ => Err(unknown_function(part, operator)),
    }
}

fn beyond(part: &IdedExpr) -> Refusal {
    Refusal::new(
        part,
        "the list is shorter",
        "write an index within the list",
    )
}

fn size(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    of: &IdedExpr,
    term: Term,
) -> Result<Term, Refusal> {
    if let Term::List(items) = &term {
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        return Ok(Term::Value(Computed::literal(LiteralValue::Int(
            length.into(),
        ))));
    }
    let of = computed(of, term)?;
    meaning.bounded(part, Computed::call("size", vec![of]))
}

/// Something that is computed from what was signed.
fn signed_call(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    (function, target, arguments): (&str, Option<&IdedExpr>, &[IdedExpr]),
    scope: &mut Scope,
) -> Result<Term, Refusal> {
    let known = match target {
        Some(_) => METHODS.contains(&function),
        None => FUNCTIONS.contains(&function),
    };
    if !known {
        // What the function is of says more.
        if let Some(target) = target {
            meaning.evaluate(target, scope)?;
        }
        return Err(unknown_function(part, function));
    }
    let mut parts = Vec::new();
    for operand in target.into_iter().chain(arguments) {
        let term = meaning.evaluate(operand, scope)?;
        let mut operand_computed = computed(operand, term)?;
        if function == "matches" && parts.len() == 1 {
            let pattern = operand_computed.text().ok_or_else(|| {
                let message = "an expression that is not written out";
                Refusal::new(operand, message, "write the regular expression in quotes")
            })?;
            let pattern = re2::translated(&pattern);
            operand_computed = Computed::literal(LiteralValue::String(pattern.into()));
        }
        parts.push(operand_computed);
    }
    let is_method = target.is_some();
    let made = Computed::of(parts, |parts| {
        let mut parts = parts.into_iter();
        let target = if is_method { parts.next() } else { None };
        Expr::Call(CallExpr {
            func_name: function.to_owned(),
            target: target.map(Box::new),
            args: parts.collect(),
        })
    });
    meaning.bounded(part, made)
}

pub(super) fn unknown_function(part: &IdedExpr, function: &str) -> Refusal {
    let (message, help) = match function {
        "getImageData" | "GetMetadata" => (
            format!("`{function}` looks into the image, which is not done at a pull"),
            "demand an attestation that says what must be true of the image",
        ),
        _ => (
            format!("the function `{function}` is not supported here"),
            "use what the language itself has: comparisons, in, has, size, contains, startsWith, endsWith, matches, \
             all, exists, map and filter",
        ),
    };
    Refusal::new(part, message, help)
}
