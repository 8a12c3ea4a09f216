//! Functions of the language whose result may be much larger than what they are given.
//!
//! The evaluator looks at the clock between its steps, and a call of a function is one step. These take the place of its
//! own functions, answer alike, and refuse what would be large.

use std::fmt;
use std::sync::LazyLock;

use regorus::{Engine, Value};

use crate::policy::fuel::Fuel;
use crate::policy::received::Received;

/// The most bytes of a text that a function makes.
const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most elements of a list that a function makes.
const ELEMENTS_MAX: usize = 1_000_000;

/// Why a function gives no answer.
#[derive(Debug)]
struct NoAnswer(&'static str);

impl fmt::Display for NoAnswer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for NoAnswer {}

/// The patterns that were met last, by all modules.
static PATTERNS: LazyLock<Received> = LazyLock::new(Received::default);

type Function = fn(&[Value]) -> Result<Value, NoAnswer>;

const FUNCTIONS: [(&str, u8, Function); 5] = [
    ("concat", 2, concat),
    ("numbers.range", 2, range),
    ("regex.match", 2, regex_match),
    ("replace", 3, |operands| match operands {
        [text, old, new] => Ok(replace(text_of(text)?, text_of(old)?, text_of(new)?)?.into()),
        _ => Err(NoAnswer("`replace` takes three texts")),
    }),
    ("strings.replace_n", 2, replace_each),
];

/// The functions above, and no others, take the place of the evaluator's own.
pub(super) fn add_to(engine: &mut Engine) -> Result<(), impl fmt::Display + use<>> {
    FUNCTIONS
        .into_iter()
        .try_for_each(|(name, operands, function)| {
            let call = move |given: Vec<Value>| Ok(function(&given)?);
            engine.add_extension(name.to_owned(), operands, Box::new(call))
        })
}

fn text_of(value: &Value) -> Result<&str, NoAnswer> {
    let text = value.as_string();
    text.map(AsRef::as_ref)
        .map_err(|_other_type| NoAnswer("a text is expected"))
}

fn concat(operands: &[Value]) -> Result<Value, NoAnswer> {
    let [between, parts] = operands else {
        return Err(NoAnswer("`concat` takes a text and texts"));
    };
    let between = text_of(between)?;
    let parts: Vec<_> = match parts {
        Value::Array(parts) => parts.iter().map(text_of).collect::<Result<_, _>>()?,
        Value::Set(parts) => parts.iter().map(text_of).collect::<Result<_, _>>()?,
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)
        | Value::Undefined => return Err(NoAnswer("`concat` takes a text and texts")),
    };
    let bytes = parts.iter().map(|it| it.len()).sum::<usize>();
    limit(
        bytes.saturating_add(between.len().saturating_mul(parts.len())),
        TEXT_BYTES_MAX,
    )?;
    Ok(parts.join(between).into())
}

fn replace(text: &str, old: &str, new: &str) -> Result<String, NoAnswer> {
    let times = text.matches(old).count();
    limit(
        text.len().saturating_add(times.saturating_mul(new.len())),
        TEXT_BYTES_MAX,
    )?;
    Ok(text.replace(old, new))
}

/// The replacements are made one after another, in the order of the texts that are replaced.
fn replace_each(operands: &[Value]) -> Result<Value, NoAnswer> {
    let [Value::Object(replacements), text] = operands else {
        return Err(NoAnswer("`strings.replace_n` takes an object and a text"));
    };
    let mut replacements = replacements
        .iter()
        .map(|(old, new)| Ok((text_of(old)?, text_of(new)?)))
        .collect::<Result<Vec<_>, NoAnswer>>()?;
    replacements.sort_unstable();
    let mut text = text_of(text)?.to_owned();
    limit(
        text.len().saturating_mul(replacements.len()),
        8 * TEXT_BYTES_MAX,
    )?;
    for (old, new) in replacements {
        text = replace(&text, old, new)?;
    }
    Ok(text.into())
}

fn range(operands: &[Value]) -> Result<Value, NoAnswer> {
    let ends: Vec<_> = operands.iter().filter_map(|it| it.as_i64().ok()).collect();
    let [from, to] = ends.as_slice() else {
        return Err(NoAnswer("`numbers.range` takes two whole numbers"));
    };
    limit(
        usize::try_from(from.abs_diff(*to)).unwrap_or(usize::MAX),
        ELEMENTS_MAX,
    )?;
    let numbers: Vec<_> = if from <= to {
        (*from..=*to).map(Value::from).collect()
    } else {
        (*to..=*from).rev().map(Value::from).collect()
    };
    Ok(numbers.into())
}

/// A pattern and a text may both be a signer's.
fn regex_match(operands: &[Value]) -> Result<Value, NoAnswer> {
    let [pattern, text] = operands else {
        return Err(NoAnswer("`regex.match` takes a pattern and a text"));
    };
    let (pattern, text) = (text_of(pattern)?, text_of(text)?);
    let matches = PATTERNS.matches(text, pattern, pattern, &Fuel::default());
    let refused = NoAnswer("the pattern is no regular expression, or is too large for the text");
    matches.map(Value::Bool).ok_or(refused)
}

fn limit(size: usize, max: usize) -> Result<(), NoAnswer> {
    if size > max {
        return Err(NoAnswer("what the function would make is too large"));
    }
    Ok(())
}
