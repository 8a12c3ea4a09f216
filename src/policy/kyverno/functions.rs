//! The functions that Kyverno adds to `JMESPath`, as far as they depend on nothing but their arguments.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::Timestamp;
use jmespath::functions::{ArgumentType, CustomFunction, Signature};
use jmespath::{Rcvar, Runtime, Variable};
use regex::RegexBuilder;
use serde_json::{Value, json};

use super::wildcard;
use crate::policy::{Matcher, re2};

/// One function: its name, and what it makes of texts. What it gives no answer for is an error.
type TextFunction = (&'static str, usize, fn(&[&str]) -> Option<Value>);

const FUNCTIONS: [TextFunction; 17] = [
    ("base64_decode", 1, |texts| {
        let bytes = BASE64_STANDARD.decode(texts.first()?).ok()?;
        Some(json!(String::from_utf8(bytes).ok()?))
    }),
    ("base64_encode", 1, |texts| {
        Some(json!(BASE64_STANDARD.encode(texts.first()?)))
    }),
    ("compare", 2, |texts| match texts {
        [first, second] => Some(json!(first.cmp(second) as i8)),
        _ => None,
    }),
    ("equal_fold", 2, |texts| match texts {
        [first, second] => Some(json!(first.to_lowercase() == second.to_lowercase())),
        _ => None,
    }),
    ("parse_json", 1, |texts| {
        serde_json::from_str(texts.first()?).ok()
    }),
    ("pattern_match", 2, |texts| match texts {
        [pattern, text] => Some(json!(wildcard::matches(pattern, text))),
        _ => None,
    }),
    ("regex_match", 2, |texts| match texts {
        [expression, text] => Some(json!(compile(expression)?.is_match(text))),
        _ => None,
    }),
    ("replace_all", 3, |texts| match texts {
        [text, old, new] => Some(json!(text.replace(old, new))),
        _ => None,
    }),
    ("split", 2, |texts| match texts {
        [text, separator] if !separator.is_empty() => {
            Some(json!(text.split(separator).collect::<Vec<_>>()))
        }
        _ => None,
    }),
    ("time_after", 2, |texts| match texts {
        [first, second] => Some(json!(time(first)? > time(second)?)),
        _ => None,
    }),
    ("time_before", 2, |texts| match texts {
        [first, second] => Some(json!(time(first)? < time(second)?)),
        _ => None,
    }),
    ("time_between", 3, |texts| match texts {
        [moment, start, end] => {
            let moment = time(moment)?;
            Some(json!(moment > time(start)? && moment < time(end)?))
        }
        _ => None,
    }),
    ("to_boolean", 1, |texts| {
        match texts.first()?.to_lowercase().as_str() {
            "true" => Some(json!(true)),
            "false" => Some(json!(false)),
            _ => None,
        }
    }),
    ("to_lower", 1, |texts| {
        Some(json!(texts.first()?.to_lowercase()))
    }),
    ("to_upper", 1, |texts| {
        Some(json!(texts.first()?.to_uppercase()))
    }),
    ("trim", 2, |texts| match texts {
        [text, characters] => Some(json!(text.trim_matches(|it: char| characters.contains(it)))),
        _ => None,
    }),
    ("trim_prefix", 2, |texts| match texts {
        [text, prefix] => Some(json!(text.strip_prefix(prefix).unwrap_or(text))),
        _ => None,
    }),
];

/// `JMESPath` with its own functions and these.
pub(super) fn runtime() -> Runtime {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    for (name, arguments, apply) in FUNCTIONS {
        let signature = Signature::new(vec![ArgumentType::String; arguments], None);
        let function = move |arguments: &[Rcvar], context: &mut jmespath::Context<'_>| {
            let texts: Vec<&str> = arguments
                .iter()
                .filter_map(|argument| argument.as_string().map(String::as_str))
                .collect();
            match apply(&texts).map(Variable::try_from) {
                Some(Ok(variable)) => Ok(Rcvar::new(variable)),
                Some(Err(error)) => Err(error),
                None => {
                    let reason = format!("{name} has no answer for these arguments");
                    let reason = jmespath::ErrorReason::Parse(reason);
                    Err(jmespath::JmespathError::new(
                        context.expression,
                        context.offset,
                        reason,
                    ))
                }
            }
        };
        runtime.register_function(
            name,
            Box::new(CustomFunction::new(signature, Box::new(function))),
        );
    }
    runtime
}

fn compile(expression: &str) -> Option<regex::Regex> {
    if expression.len() > Matcher::SOURCE_BYTES_MAX {
        return None;
    }
    RegexBuilder::new(&re2::translated(expression))
        .size_limit(Matcher::COMPILED_BYTES_MAX)
        .build()
        .ok()
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
