//! The functions that Kyverno adds to `JMESPath`, as far as they depend on nothing but their arguments and the time.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use jiff::{SignedDuration, Timestamp};
use jmespath::functions::{ArgumentType, CustomFunction, Signature};
use jmespath::{Rcvar, Runtime, Variable};
use serde_json::{Value, json};

use super::patterns::Patterns;
use super::time::{RFC3339, Time};
use super::{scalar, wildcard};
use crate::policy::fuel::price;
use crate::policy::received::Received;
use crate::policy::{Fuel, OutOfFuel, re2};

/// One function: its name, and what it makes of texts. What it gives no answer for is an error.
type TextFunction = (&'static str, usize, fn(&[&str]) -> Option<Value>);

const FUNCTIONS: [TextFunction; 13] = [
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

/// The same of times.
type TimeFunction = (&'static str, usize, Apply);

#[derive(Clone, Copy)]
enum Apply {
    /// What the arguments alone say.
    Anytime(fn(&[&str]) -> Option<Value>),
    /// What also depends on when it is asked.
    Now(fn(&[&str], Timestamp) -> Option<Value>),
}

const TIME_FUNCTIONS: [TimeFunction; 11] = [
    (
        "time_add",
        2,
        Apply::Anytime(|texts| match texts {
            [time, duration] => {
                let (time, duration) = (rfc3339(time)?, scalar::go_duration(duration)?);
                let sum = time
                    .moment
                    .checked_add(SignedDuration::from_nanos(duration));
                Some(json!(time.at(sum.ok()?).text()?))
            }
            _ => None,
        }),
    ),
    (
        "time_after",
        2,
        Apply::Anytime(|texts| match texts {
            [first, second] => Some(json!(rfc3339(first)?.moment > rfc3339(second)?.moment)),
            _ => None,
        }),
    ),
    (
        "time_before",
        2,
        Apply::Anytime(|texts| match texts {
            [first, second] => Some(json!(rfc3339(first)?.moment < rfc3339(second)?.moment)),
            _ => None,
        }),
    ),
    (
        "time_between",
        3,
        Apply::Anytime(|texts| match texts {
            [time, start, end] => {
                let moment = rfc3339(time)?.moment;
                let (start, end) = (rfc3339(start)?.moment, rfc3339(end)?.moment);
                Some(json!(moment > start && moment < end))
            }
            _ => None,
        }),
    ),
    (
        "time_diff",
        2,
        Apply::Anytime(|texts| match texts {
            [start, end] => Some(json!(between(rfc3339(start)?, rfc3339(end)?))),
            _ => None,
        }),
    ),
    ("time_now", 0, Apply::Now(|_, now| now_text(now))),
    ("time_now_utc", 0, Apply::Now(|_, now| now_text(now))),
    (
        "time_parse",
        2,
        Apply::Anytime(|texts| match texts {
            // Seconds since 1970.
            [layout, seconds] if layout.parse::<i64>().is_ok() => {
                let moment = Timestamp::from_second(seconds.parse().ok()?).ok()?;
                Some(json!(Time::utc(moment).text()?))
            }
            [layout, time] => Some(json!(Time::parse(layout, time)?.text()?)),
            _ => None,
        }),
    ),
    (
        "time_since",
        3,
        Apply::Now(|texts, now| match texts {
            [layout, start, end] => {
                let layout = if layout.is_empty() { RFC3339 } else { layout };
                let start = Time::parse(layout, start)?;
                // What has not been yet is not young: a clock that is wrong must not make it so.
                if start.moment > now {
                    return None;
                }
                let end = match end.is_empty() {
                    true => Time::utc(now),
                    false => Time::parse(layout, end)?,
                };
                Some(json!(between(start, end)))
            }
            _ => None,
        }),
    ),
    (
        "time_truncate",
        2,
        Apply::Anytime(|texts| match texts {
            [time, duration] => {
                let (time, step) = (rfc3339(time)?, scalar::go_duration(duration)?);
                Some(json!(time.at(truncated(time.moment, step)?).text()?))
            }
            _ => None,
        }),
    ),
    (
        "time_utc",
        1,
        Apply::Anytime(|texts| Some(json!(Time::utc(rfc3339(texts.first()?)?.moment).text()?))),
    ),
];

/// Whether what the function says depends on when it is asked.
pub(super) fn depends_on_time(name: &str) -> bool {
    let mut functions = TIME_FUNCTIONS.iter();
    functions.any(|(known, _, apply)| *known == name && matches!(apply, Apply::Now(_)))
}

/// `JMESPath` with its own functions and these, asked at this time. They pay from `fuel`.
pub(super) fn runtime(now: Timestamp, fuel: &Fuel, patterns: &Arc<Patterns>) -> Runtime {
    let mut runtime = Runtime::new();
    runtime.register_builtin_functions();
    for (name, arguments, apply) in FUNCTIONS {
        register(
            &mut runtime,
            name,
            texts(arguments),
            fuel,
            move |texts, _| apply(texts),
        );
    }
    for (name, arguments, apply) in TIME_FUNCTIONS {
        match apply {
            Apply::Anytime(apply) => {
                register(
                    &mut runtime,
                    name,
                    texts(arguments),
                    fuel,
                    move |texts, _| apply(texts),
                );
            }
            Apply::Now(apply) => {
                register(
                    &mut runtime,
                    name,
                    texts(arguments),
                    fuel,
                    move |texts, _| apply(texts, now),
                );
            }
        }
    }
    let (patterns, received) = (Arc::clone(patterns), Received::default());
    register(
        &mut runtime,
        "regex_match",
        texts(2),
        fuel,
        move |texts, fuel| match texts {
            [source, text] => match patterns.get(source) {
                Some(pattern) => {
                    fuel.pay(price::matched(text.len())).ok()?;
                    Some(json!(pattern.is_match(text)))
                }
                None => received
                    .matches(text, source, &re2::translated(source), fuel)
                    .map(|it| json!(it)),
            },
            _ => None,
        },
    );
    // The function of the crate, which copies the text between the parts without a bound.
    let list = ArgumentType::TypedArray(Box::new(ArgumentType::String));
    let arguments = Signature::new(vec![ArgumentType::String, list], None);
    register(&mut runtime, "join", arguments, fuel, |texts, fuel| {
        let (between, parts) = texts.split_first()?;
        let between_all = between.len().saturating_mul(parts.len());
        fuel.pay(price::read(between_all)).ok()?;
        Some(json!(parts.join(between)))
    });
    runtime
}

fn texts(count: usize) -> Signature {
    Signature::new(vec![ArgumentType::String; count], None)
}

/// Pays for what a function of texts does with them, and for what it makes of them.
fn pay(name: &str, texts: &[&str], fuel: &Fuel) -> Result<(), OutOfFuel> {
    let read: usize = texts.iter().map(|it| it.len()).sum();
    fuel.pay(price::NODE + price::read(read))?;
    match (name, texts) {
        ("replace_all", [text, old, new]) => {
            let times = text.matches(old).count();
            fuel.pay(price::read(times.saturating_mul(new.len())))
        }
        ("split", [text, separator]) if !separator.is_empty() => {
            let parts = text.matches(separator).count();
            fuel.pay(price::VALUE.saturating_mul(price::words(parts)))
        }
        ("parse_json", [text]) => fuel.pay(10 * price::read(text.len())),
        ("pattern_match", [pattern, text]) => wildcard::pay(pattern, text, fuel),
        ("trim", [text, characters]) => {
            fuel.pay(price::read(text.len().saturating_mul(characters.len())))
        }
        _ => Ok(()),
    }
}

fn register(
    runtime: &mut Runtime,
    name: &'static str,
    arguments: Signature,
    fuel: &Fuel,
    apply: impl Fn(&[&str], &Fuel) -> Option<Value> + Send + Sync + 'static,
) {
    let fuel = fuel.clone();
    let function = move |arguments: &[Rcvar], context: &mut jmespath::Context<'_>| {
        let texts: Vec<&str> = arguments
            .iter()
            .flat_map(|argument| match argument.as_array() {
                Some(parts) => parts.as_slice(),
                None => std::slice::from_ref(argument),
            })
            .filter_map(|argument| argument.as_string().map(String::as_str))
            .collect();
        let paid = pay(name, &texts, &fuel).ok();
        match paid
            .and_then(|()| apply(&texts, &fuel))
            .map(Variable::try_from)
        {
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
        Box::new(CustomFunction::new(arguments, Box::new(function))),
    );
}

fn rfc3339(text: &str) -> Option<Time> {
    Time::parse(RFC3339, text)
}

fn now_text(now: Timestamp) -> Option<Value> {
    Some(json!(Time::utc(now).text()?))
}

/// The time from `start` to `end`, as a duration; the longest there is where it is longer.
fn between(start: Time, end: Time) -> String {
    let nanoseconds = end.moment.duration_since(start.moment).as_nanos();
    let longest = if nanoseconds < 0 { i64::MIN } else { i64::MAX };
    scalar::duration_text(i64::try_from(nanoseconds).unwrap_or(longest))
}

/// The last multiple of `step` nanoseconds since the year 1 that is not later.
fn truncated(moment: Timestamp, step: i64) -> Option<Timestamp> {
    const YEAR_ONE_SECONDS: i128 = -62_135_596_800;
    if step <= 0 {
        return Some(moment);
    }
    let since = moment.as_nanosecond() - YEAR_ONE_SECONDS * 1_000_000_000;
    let after = since.rem_euclid(i128::from(step));
    Timestamp::from_nanosecond(moment.as_nanosecond() - after).ok()
}
