//! Kyverno's operators of conditions.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::str::FromStr;

use serde_json::Value;

use super::scalar;
use super::version::Version;
use super::wildcard;
use crate::policy::fuel::price;
use crate::policy::{Fuel, OutOfFuel};

/// How key and value of a condition are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `Equal`, `Equals`: the value may hold wildcards.
    Equals,
    /// `NotEqual`, `NotEquals`
    NotEquals,
    /// `In`: every key is one of the values, without wildcards for lists.
    In,
    /// `NotIn`
    NotIn,
    /// `AnyIn`: some key is one of the values.
    AnyIn,
    /// `AllIn`: every key is.
    AllIn,
    /// `AnyNotIn`: some key is none of the values.
    AnyNotIn,
    /// `AllNotIn`: no key is.
    AllNotIn,
    /// `GreaterThan`, `GreaterThanOrEquals`, `LessThan`, `LessThanOrEquals`
    Order(Order),
    /// The same of durations alone: `DurationGreaterThan` and so on.
    DurationOrder(Order),
}

/// Which orders of key and value are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The key is greater.
    Greater,
    /// The key is greater or equal.
    GreaterOrEqual,
    /// The key is less.
    Less,
    /// The key is less or equal.
    LessOrEqual,
}

/// The names, as Kyverno's schema has them.
const NAMES: [(&str, Operator); 18] = [
    ("Equal", Operator::Equals),
    ("Equals", Operator::Equals),
    ("NotEqual", Operator::NotEquals),
    ("NotEquals", Operator::NotEquals),
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("AnyIn", Operator::AnyIn),
    ("AllIn", Operator::AllIn),
    ("AnyNotIn", Operator::AnyNotIn),
    ("AllNotIn", Operator::AllNotIn),
    ("GreaterThan", Operator::Order(Order::Greater)),
    (
        "GreaterThanOrEquals",
        Operator::Order(Order::GreaterOrEqual),
    ),
    ("LessThan", Operator::Order(Order::Less)),
    ("LessThanOrEquals", Operator::Order(Order::LessOrEqual)),
    (
        "DurationGreaterThan",
        Operator::DurationOrder(Order::Greater),
    ),
    (
        "DurationGreaterThanOrEquals",
        Operator::DurationOrder(Order::GreaterOrEqual),
    ),
    ("DurationLessThan", Operator::DurationOrder(Order::Less)),
    (
        "DurationLessThanOrEquals",
        Operator::DurationOrder(Order::LessOrEqual),
    ),
];

impl FromStr for Operator {
    type Err = UnknownOperator;

    fn from_str(text: &str) -> Result<Self, UnknownOperator> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, operator)| *operator).ok_or(UnknownOperator)
    }
}

/// Not one of Kyverno's operators.
#[derive(Debug, thiserror::Error)]
#[error("no operator of this name is known")]
pub struct UnknownOperator;

impl Operator {
    /// The names of all, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// Whether ranges (`1-10`) would be understood by Kyverno where it stands; they are not here.
    #[must_use]
    pub fn understands_ranges(self) -> bool {
        match self {
            Self::AnyIn | Self::AllIn | Self::AnyNotIn | Self::AllNotIn => true,
            Self::Equals
            | Self::NotEquals
            | Self::In
            | Self::NotIn
            | Self::Order(_)
            | Self::DurationOrder(_) => false,
        }
    }

    /// Whether nothing can hold of `side`, whatever it is compared with: it is to be a duration and is none.
    #[must_use]
    pub fn needs_other(self, side: &Value) -> bool {
        match self {
            Self::DurationOrder(_) => nanoseconds(side).is_none(),
            Self::Equals
            | Self::NotEquals
            | Self::In
            | Self::NotIn
            | Self::AnyIn
            | Self::AllIn
            | Self::AnyNotIn
            | Self::AllNotIn
            | Self::Order(_) => false,
        }
    }

    /// Returns true if the condition holds. Of types that cannot be compared nothing holds but [`Operator::NotEquals`].
    ///
    /// # Errors
    /// When the fuel does not suffice.
    pub(super) fn holds(self, key: &Value, value: &Value, fuel: &Fuel) -> Result<bool, OutOfFuel> {
        fuel.pay_for_copy(key)?;
        fuel.pay_for_copy(value)?;
        let listed = |listing, is: fn(Listed) -> bool| {
            Ok(listed(key, value, listing, fuel)?.is_some_and(is))
        };
        match self {
            Self::Equals => Ok(equals(key, value, fuel)? == Some(true)),
            Self::NotEquals => match key {
                Value::Null => Ok(false),
                Value::Bool(_)
                | Value::Number(_)
                | Value::String(_)
                | Value::Array(_)
                | Value::Object(_) => Ok(equals(key, value, fuel)? != Some(true)),
            },
            Self::In | Self::AnyIn | Self::AllIn if !is_written_plainly(key) => Ok(false),
            Self::In => listed(Listing::Exact, |it| it.all),
            Self::NotIn => listed(Listing::Exact, |it| !it.all),
            Self::AnyIn => listed(Listing::Wildcards, |it| it.any),
            Self::AllIn => listed(Listing::Wildcards, |it| it.all),
            Self::AnyNotIn => listed(Listing::Wildcards, |it| !it.all),
            Self::AllNotIn => listed(Listing::Wildcards, |it| !it.any),
            Self::Order(order) => Ok(compare(key, value).is_some_and(|it| order.includes(it))),
            Self::DurationOrder(order) => {
                Ok(compare_durations(key, value).is_some_and(|it| order.includes(it)))
            }
        }
    }
}

impl Order {
    fn includes(self, ordering: Ordering) -> bool {
        match self {
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

/// Nothing where the types cannot be compared.
fn equals(key: &Value, value: &Value, fuel: &Fuel) -> Result<Option<bool>, OutOfFuel> {
    if let (Value::String(key), Value::String(value)) = (key, value) {
        fuel.pay(price::read(key.len() + value.len()))?;
        wildcard::pay(value, key, fuel)?;
    }
    Ok(are_equal(key, value))
}

fn are_equal(key: &Value, value: &Value) -> Option<bool> {
    match (key, value) {
        (Value::Bool(key), Value::Bool(value)) => Some(key == value),
        (Value::Number(_), Value::Number(_)) => {
            Some(same_number(scalar::number(key)?, scalar::number(value)?))
        }
        (Value::Number(_), Value::String(text)) => Some(same_number(
            scalar::number(key)?,
            scalar::parse_number(text)?,
        )),
        (Value::String(key_text), _) => {
            if let Some((key, value)) = scalar::durations(key, value) {
                return Some(key == value);
            }
            let value = value.as_str()?;
            match scalar::quantity(key_text) {
                Some(quantity) => Some(quantity == scalar::quantity(value)?),
                // Wildcards are not for quantities; one that cannot be calculated with here is what is written alike.
                None if scalar::is_quantity(key_text) => Some(key_text == value),
                None => Some(wildcard::matches(value, key_text)),
            }
        }
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => {
            Some(key == value)
        }
        (
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
            _,
        ) => None,
    }
}

#[expect(
    clippy::float_cmp,
    reason = "Kyverno's numbers are equal when they are the same 64 bits of floating point"
)]
fn same_number(key: f64, value: f64) -> bool {
    key == value
}

/// Durations, quantities, numbers, versions: the first that both are.
fn compare(key: &Value, value: &Value) -> Option<Ordering> {
    if let Some((key, value)) = scalar::durations(key, value) {
        return Some(key.cmp(&value));
    }
    match key {
        Value::Number(_) => compare_numbers(scalar::number(key)?, value),
        Value::String(text) => {
            let quantities = value.as_str().and_then(scalar::quantity);
            if let (Some(key), Some(value)) = (scalar::quantity(text), quantities) {
                return Some(key.cmp(&value));
            }
            if let Some(number) = scalar::parse_number(text) {
                return compare_numbers(number, value);
            }
            let version = Version::parse(text)?;
            Some(version.compare(&Version::parse(value.as_str()?)?))
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn compare_numbers(key: f64, value: &Value) -> Option<Ordering> {
    let value = match value {
        Value::Number(_) => scalar::number(value)?,
        Value::String(text) => scalar::parse_number(text)?,
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    key.partial_cmp(&value)
}

fn compare_durations(key: &Value, value: &Value) -> Option<Ordering> {
    Some(nanoseconds(key)?.cmp(&nanoseconds(value)?))
}

/// A duration, or a number of seconds.
fn nanoseconds(value: &Value) -> Option<i128> {
    match value {
        Value::String(text) => scalar::go_duration(text).map(i128::from),
        Value::Number(_) => scalar::seconds(value),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// How the older and the newer operators look up lists in lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Listing {
    Exact,
    Wildcards,
}

/// Which of the keys are among the values.
#[derive(Debug)]
struct Listed {
    any: bool,
    all: bool,
}

/// Whether Kyverno looks a number up as somebody would write it, and not as `1e+06`.
fn is_written_plainly(key: &Value) -> bool {
    match key {
        Value::Number(_) => scalar::number(key).is_some_and(|number| {
            let size = number.abs();
            size == 0.0 || (1e-4..1e6).contains(&size)
        }),
        Value::Array(keys) => keys.iter().all(is_written_plainly),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => true,
    }
}

/// Nothing where the types cannot be compared.
fn listed(
    key: &Value,
    value: &Value,
    listing: Listing,
    fuel: &Fuel,
) -> Result<Option<Listed>, OutOfFuel> {
    let text = |it: &Value| match listing {
        Listing::Exact => it.as_str().map(ToOwned::to_owned),
        Listing::Wildcards => scalar::text(it),
    };
    match key {
        Value::Array(keys) => {
            let keys: Option<Vec<_>> = keys.iter().map(text).collect();
            let (Some(keys), Some(values)) = (keys, values(value, listing)) else {
                return Ok(None);
            };
            let values = Values::new(&values, listing);
            let mut all = Listed {
                any: false,
                all: true,
            };
            for key in &keys {
                let found = values.contain(key, fuel)?;
                all.any |= found;
                all.all &= found;
            }
            Ok(Some(all))
        }
        Value::String(_) | Value::Number(_) | Value::Bool(_) => {
            let Some(key) = scalar::text(key) else {
                return Ok(None);
            };
            let found = match value {
                Value::Array(_) => match values(value, Listing::Wildcards) {
                    Some(values) => Values::new(&values, Listing::Wildcards).contain(&key, fuel)?,
                    None => return Ok(None),
                },
                Value::String(pattern) => {
                    wildcard::pay(pattern, &key, fuel)?;
                    if wildcard::matches(pattern, &key) {
                        true
                    } else {
                        match values(value, listing) {
                            Some(values) => values.contains(&key),
                            None => return Ok(None),
                        }
                    }
                }
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                    return Ok(None);
                }
            };
            Ok(Some(Listed {
                any: found,
                all: found,
            }))
        }
        Value::Null | Value::Object(_) => Ok(None),
    }
}

/// The values of a list, so that a key is found without looking at each.
struct Values<'v> {
    all: HashSet<&'v str>,
    /// Those that stand for more than themselves. Exact ones do not.
    patterns: Vec<&'v str>,
    listing: Listing,
}

impl<'v> Values<'v> {
    fn new(values: &'v [String], listing: Listing) -> Self {
        let all: HashSet<_> = values.iter().map(String::as_str).collect();
        let patterns = match listing {
            Listing::Exact => Vec::new(),
            Listing::Wildcards => all
                .iter()
                .copied()
                .filter(|it| wildcard::is_pattern(it))
                .collect(),
        };
        Self {
            all,
            patterns,
            listing,
        }
    }

    /// Returns true if a value is the key. With wildcards, a value may be a pattern of the key, or the key of a value.
    fn contain(&self, key: &str, fuel: &Fuel) -> Result<bool, OutOfFuel> {
        fuel.pay(price::ELEMENT + price::read(key.len()))?;
        if self.all.contains(key) {
            return Ok(true);
        }
        for pattern in &self.patterns {
            wildcard::pay(pattern, key, fuel)?;
            if wildcard::matches(pattern, key) {
                return Ok(true);
            }
        }
        if self.listing == Listing::Exact || !wildcard::is_pattern(key) {
            return Ok(false);
        }
        for value in &self.all {
            wildcard::pay(key, value, fuel)?;
            if wildcard::matches(key, value) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A list, a text that is a JSON list of texts, or, for the newer operators, one text.
fn values(value: &Value, listing: Listing) -> Option<Vec<String>> {
    match (value, listing) {
        (Value::Array(values), Listing::Wildcards) => values.iter().map(scalar::text).collect(),
        (Value::Array(values), Listing::Exact) => {
            let texts = values.iter().map(|it| it.as_str().map(ToOwned::to_owned));
            texts.collect()
        }
        (Value::String(text), Listing::Wildcards) if is_range(text) => None,
        (Value::String(text), _) => match (serde_json::from_str::<Value>(text), listing) {
            (Ok(_), _) => serde_json::from_str(text).ok(),
            (Err(_), Listing::Wildcards) => Some(vec![text.clone()]),
            (Err(_), Listing::Exact) => None,
        },
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_), _) => None,
    }
}

/// A range of numbers or quantities, such as `1-10` or `-5-1.5Gi`; or what excludes one, `1!-10`.
pub(super) fn is_range(text: &str) -> bool {
    // Each dash is tried with all that stands around it. What is long and may be a range is taken for one, because
    // nothing holds of a range here.
    if text.len() > RANGE_BYTES_MAX {
        let is_of_range = |it: u8| it.is_ascii_alphanumeric() || b"+-|.!".contains(&it);
        return text.contains('-') && text.bytes().all(is_of_range);
    }
    text.match_indices('-').any(|(middle, _)| {
        let from = text.get(..middle).map(|it| it.trim_end_matches('!'));
        let to = text.get(middle + 1..);
        [from, to]
            .into_iter()
            .all(|end| end.is_some_and(is_end_of_range))
    })
}

/// The most bytes of a range that is read.
const RANGE_BYTES_MAX: usize = 256;

fn is_end_of_range(text: &str) -> bool {
    let number = text.strip_prefix(['-', '|', '+']).unwrap_or(text);
    let number = number.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    [whole, fraction]
        .into_iter()
        .all(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}
