//! What an expression asks about the name of the image.
//!
//! A validation that is for some names only is evaluated once for each answer. What it demands under those answers
//! becomes a policy for the names to which they apply.

use cel::IdedExpr;
use cel::common::ast::operators;

use super::about::Scope;
use super::expression::Refusal;
use super::image_references::{part_named, test};
use super::meaning::Meaning;
use super::term::{Computed, Formula, Term};
use super::values::text;
use crate::policy::kyverno::reference::{Part, ReferenceRule, Test};

/// An answer about the name, which is taken for granted.
pub(super) type Assumption = (ReferenceRule, bool);

/// The most different questions about names in one policy.
pub(super) const QUESTIONS_MAX: usize = 24;

const METHODS: [&str; 4] = ["startsWith", "endsWith", "contains", "matches"];

/// What a function of `target` says about the name; nothing where it is about something else.
pub(super) fn method(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    (function, target, arguments): (&str, &IdedExpr, &[IdedExpr]),
    scope: &mut Scope,
) -> Result<Option<Term>, Refusal> {
    let named = match (function, arguments) {
        (_, [_]) => METHODS.contains(&function),
        (_, []) => part_named(function).is_some() || function == "containsDigest",
        _ => false,
    };
    if !named {
        return Ok(None);
    }
    let target = meaning.evaluate(target, scope)?;
    match (target, arguments) {
        (Term::ParsedName, []) if function == "containsDigest" => {
            meaning.decide(part, ReferenceRule::HasDigest).map(Some)
        }
        (Term::ParsedName, []) => Ok(part_named(function).map(Term::Name)),
        (target, [argument]) => {
            let Some(looked_at) = part_of(&target) else {
                return Ok(None);
            };
            let argument_term = meaning.evaluate(argument, scope)?;
            let Some(text) = text(argument, &argument_term) else {
                return Ok(None);
            };
            let test = test(part, function, text)?;
            let rule = ReferenceRule::Text(looked_at, test);
            meaning.decide(part, rule).map(Some)
        }
        _ => Ok(None),
    }
}

/// `==`, `!=` and `in` between the name and texts; nothing where something else is compared.
pub(super) fn compare(
    meaning: &mut Meaning<'_>,
    part: &IdedExpr,
    operator: &str,
    (left, right): (&Term, &Term),
) -> Result<Option<Term>, Refusal> {
    let constant = |term: &Term| term.value().and_then(Computed::text);
    let equals = |looked_at: Part, text: String| ReferenceRule::Text(looked_at, Test::Equals(text));
    let rule = match (operator, part_of(left), part_of(right)) {
        (operators::EQUALS | operators::NOT_EQUALS, Some(looked_at), None) => {
            constant(right).map(|text| equals(looked_at, text))
        }
        (operators::EQUALS | operators::NOT_EQUALS, None, Some(looked_at)) => {
            constant(left).map(|text| equals(looked_at, text))
        }
        (operators::IN, Some(looked_at), None) => {
            let Term::List(items) = right else {
                return Ok(None);
            };
            let texts: Option<Vec<_>> = items.iter().map(|it| constant(&it.term)).collect();
            let rules = |texts: Vec<String>| {
                let rules = texts.into_iter().map(|text| equals(looked_at, text));
                ReferenceRule::Any(rules.collect())
            };
            texts.map(rules)
        }
        _ => None,
    };
    let Some(rule) = rule else {
        return Ok(None);
    };
    let decided = meaning.decide(part, rule)?;
    if let (operators::NOT_EQUALS, Term::Truth(Formula::Constant(value))) = (operator, &decided) {
        return Ok(Some(Term::Truth(Formula::Constant(!value))));
    }
    Ok(Some(decided))
}

/// The part of the name that a term is.
fn part_of(term: &Term) -> Option<Part> {
    if let Term::Name(part) = term {
        return Some(*part);
    }
    (*term == Term::Image).then_some(Part::Whole)
}

/// The answer that follows from what is assumed; nothing where both are possible, or may be.
pub(super) fn follows(assumed: &[Assumption], rule: &ReferenceRule) -> Option<bool> {
    let asked = rule.to_string();
    assumed.iter().find_map(|(known, value)| {
        if known.to_string() == asked {
            return Some(*value);
        }
        let (ReferenceRule::Text(known_part, known), ReferenceRule::Text(part, test)) =
            (known, rule)
        else {
            return None;
        };
        if known_part != part {
            return None;
        }
        match (known, value, test) {
            (Test::StartsWith(known), true, Test::StartsWith(start)) => {
                if known.starts_with(start.as_str()) {
                    Some(true)
                } else {
                    (!start.starts_with(known.as_str())).then_some(false)
                }
            }
            (Test::StartsWith(known), true, Test::Equals(text)) => {
                (!text.starts_with(known.as_str())).then_some(false)
            }
            (Test::StartsWith(known), false, Test::StartsWith(text) | Test::Equals(text)) => {
                text.starts_with(known.as_str()).then_some(false)
            }
            (Test::Equals(known), true, Test::StartsWith(start)) => {
                Some(known.starts_with(start.as_str()))
            }
            (Test::Equals(known), true, Test::Equals(text)) => Some(known == text),
            _ => None,
        }
    })
}

/// Returns true if the question asks for any digest.
pub(super) fn asks_for_digest(rule: &ReferenceRule) -> bool {
    match rule {
        ReferenceRule::HasDigest => true,
        // A longer text asks for one digest.
        ReferenceRule::Text(Part::Whole, Test::Contains(text)) => {
            matches!(text.as_str(), "@" | "@sha256" | "@sha256:")
        }
        ReferenceRule::Text(Part::Whole, Test::Matches(expression)) => {
            matches_any_digest(expression.as_str())
        }
        ReferenceRule::Text(..)
        | ReferenceRule::Constant(_)
        | ReferenceRule::All(_)
        | ReferenceRule::Any(_)
        | ReferenceRule::Not(_) => false,
    }
}

/// Returns true if an expression matches every name with a digest by SHA-256, and no other.
fn matches_any_digest(expression: &str) -> bool {
    const HEX: [&str; 5] = [
        "[a-f0-9]",
        "[0-9a-f]",
        "[a-fA-F0-9]",
        "[A-Fa-f0-9]",
        "[0-9a-fA-F]",
    ];
    let before = ["^.*", "^.+", ".*", ".+", ""];
    let rest = before.iter().find_map(|it| expression.strip_prefix(it));
    let Some(rest) = rest.and_then(|it| it.strip_prefix("@sha256")) else {
        return false;
    };
    if matches!(rest, "" | ":" | ":.*" | ":.+") {
        return true;
    }
    let digits = rest.strip_prefix(':');
    let digits = digits.and_then(|it| HEX.iter().find_map(|class| it.strip_prefix(class)));
    digits.is_some_and(|count| matches!(count, "{64}" | "{64}$" | "+" | "+$" | "{64,}" | "{64,}$"))
}

/// The names to which all of these answers apply; nothing where that is every name.
pub(super) fn all_of(assumed: &[Assumption]) -> Option<ReferenceRule> {
    let mut rules: Vec<_> = assumed
        .iter()
        .map(|(rule, value)| {
            if *value {
                rule.clone()
            } else {
                ReferenceRule::Not(Box::new(rule.clone()))
            }
        })
        .collect();
    match rules.pop() {
        Some(only) if rules.is_empty() => Some(only),
        last => {
            rules.extend(last);
            (!rules.is_empty()).then_some(ReferenceRule::All(rules))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str) -> ReferenceRule {
        ReferenceRule::Text(Part::Whole, Test::StartsWith(text.to_owned()))
    }

    fn equals(text: &str) -> ReferenceRule {
        ReferenceRule::Text(Part::Whole, Test::Equals(text.to_owned()))
    }

    #[test]
    fn text_of_a_digest_asks_for_that_digest() {
        let contains =
            |text: &str| ReferenceRule::Text(Part::Whole, Test::Contains(text.to_owned()));
        for text in ["@", "@sha256", "@sha256:"] {
            assert!(asks_for_digest(&contains(text)), "{text}");
        }
        let pin = format!("@sha256:{}", "a".repeat(64));
        for text in [pin.as_str(), "@sha256:a", "@sha512:", "sha256"] {
            assert!(!asks_for_digest(&contains(text)), "{text}");
        }
    }

    #[test]
    fn expression_over_any_digest_asks_for_a_digest() {
        for expression in [
            "@sha256:[a-f0-9]{64}$",
            "@sha256:[0-9a-f]{64}",
            "^.+@sha256:[a-fA-F0-9]+$",
            ".*@sha256:[a-f0-9]{64}$",
            "@sha256:",
        ] {
            assert!(matches_any_digest(expression), "{expression}");
        }
        let pin = format!("@sha256:{}$", "a".repeat(64));
        for expression in [
            pin.as_str(),
            "^@sha256:[a-f0-9]{64}$",
            "^ghcr[.]io/.+@sha256:[a-f0-9]{64}$",
            "@sha256:[a-f0-9]{63}$",
            "@sha256:a[a-f0-9]{63}$",
            "@sha256:[a-e0-9]{64}$",
            "@sha512:[a-f0-9]{128}$",
            "(@sha256:[a-f0-9]{64})?$",
            "@sha256:[a-f0-9]{64}$|:v1$",
        ] {
            assert!(!matches_any_digest(expression), "{expression}");
        }
    }

    #[test]
    fn an_answer_follows_from_others_about_the_same_part() {
        for (assumed, rule, expected) in [
            ((starts("a/b"), true), starts("a/b"), Some(true)),
            ((starts("a/b"), true), starts("a/"), Some(true)),
            ((starts("a/b"), true), starts("a/bc"), None),
            ((starts("a/b"), true), starts("c/"), Some(false)),
            ((starts("a/b"), true), equals("c/d"), Some(false)),
            ((starts("a/b"), true), equals("a/b"), None),
            ((starts("a/b"), false), starts("a/bc"), Some(false)),
            ((starts("a/b"), false), starts("a/"), None),
            ((starts("a/b"), false), equals("a/b"), Some(false)),
            ((equals("a/b"), true), starts("a/"), Some(true)),
            ((equals("a/b"), true), equals("a/c"), Some(false)),
            ((equals("a/b"), false), equals("a/c"), None),
        ] {
            let found = follows(std::slice::from_ref(&assumed), &rule);
            assert_eq!(found, expected, "{assumed:?} {rule:?}");
        }
        let registry = ReferenceRule::Text(Part::Registry, Test::Equals("a".to_owned()));
        assert_eq!(follows(&[(registry, true)], &equals("b")), None);
    }
}
