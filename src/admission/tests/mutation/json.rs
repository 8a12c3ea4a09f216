//! JSON derived from JSON: the same values spelled another way, and other values.

use serde_json::{Value, json};

use super::derive;
use super::random::Random;

/// How a document is written.
#[derive(Debug, Clone, Default)]
struct Style {
    spaced: bool,
    reversed: bool,
    escaped: bool,
    /// The object, counted as they begin, in which something is odd.
    odd: Option<(usize, Oddity)>,
}

#[derive(Debug, Clone, Copy)]
enum Oddity {
    /// The last member once more, the same.
    Twice,
    /// The last member before with another value.
    OtherFirst,
    /// The last member after with another value.
    OtherLast,
    /// The key of the last member in other case.
    Case,
    /// A member that nobody knows.
    Unknown,
    /// A number as text, text as a number, where there is one.
    Retyped,
}

pub(super) fn derived(random: &mut Random, value: &Value, bytes: &[u8]) -> (Vec<u8>, String) {
    match random.below(20) {
        0..=8 => within(random, value),
        9..=11 => structure(random, value),
        12 => (
            [bytes, b" \n\t"].concat(),
            "white space after JSON".to_owned(),
        ),
        13 => {
            let after = *random.one(&["{}", "null", "]", ",", "\u{0}"]);
            (
                [bytes, after.as_bytes()].concat(),
                format!("{after:?} after JSON"),
            )
        }
        14 => (
            [b"\xef\xbb\xbf", bytes].concat(),
            "a byte order mark before JSON".to_owned(),
        ),
        _ => spelled(random, value),
    }
}

fn spelled(random: &mut Random, value: &Value) -> (Vec<u8>, String) {
    let mut style = Style::default();
    match random.below(9) {
        0 => style.spaced = true,
        1 => style.reversed = true,
        2 => style.escaped = true,
        other => {
            let oddity = match other {
                3 => Oddity::Twice,
                4 => Oddity::OtherFirst,
                5 => Oddity::OtherLast,
                6 => Oddity::Case,
                7 => Oddity::Unknown,
                _ => Oddity::Retyped,
            };
            style.odd = Some((random.below(objects(value).max(1)), oddity));
            style.reversed = random.chance(50);
        }
    }
    let mut text = String::new();
    write(value, &style, &mut 0, &mut text);
    (text.into_bytes(), format!("JSON {style:?}"))
}

fn objects(value: &Value) -> usize {
    match value {
        Value::Object(object) => 1 + object.values().map(objects).sum::<usize>(),
        Value::Array(list) => list.iter().map(objects).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn write(value: &Value, style: &Style, begun: &mut usize, text: &mut String) {
    let space = if style.spaced { "\n \t" } else { "" };
    match value {
        Value::Object(object) => {
            let odd = style.odd.filter(|(at, _)| at == begun).map(|(_, odd)| odd);
            *begun += 1;
            let mut members: Vec<(String, Value)> = object
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            if style.reversed {
                members.reverse();
            }
            if let Some(odd) = odd {
                alter(&mut members, odd);
            }
            text.push('{');
            for (position, (key, value)) in members.iter().enumerate() {
                text.push_str(if position == 0 { space } else { "," });
                write(&Value::String(key.clone()), style, begun, text);
                text.push_str(space);
                text.push(':');
                text.push_str(space);
                write(value, style, begun, text);
            }
            text.push_str(space);
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for (position, value) in list.iter().enumerate() {
                text.push_str(if position == 0 { space } else { "," });
                write(value, style, begun, text);
            }
            text.push_str(space);
            text.push(']');
        }
        Value::String(string) if style.escaped => {
            text.push('"');
            for unit in string.encode_utf16() {
                text.push_str(&format!("\\u{unit:04x}"));
            }
            text.push('"');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

fn alter(members: &mut Vec<(String, Value)>, odd: Oddity) {
    let Some((key, value)) = members.last().cloned() else {
        members.push(("unknown".to_owned(), json!({"nested": [1, null]})));
        return;
    };
    let last = members.len() - 1;
    match odd {
        Oddity::Twice => members.push((key, value)),
        Oddity::OtherFirst => members.insert(0, (key, other(&value))),
        Oddity::OtherLast => members.push((key, other(&value))),
        Oddity::Case => {
            let folded = if key.chars().any(char::is_uppercase) {
                key.to_lowercase()
            } else {
                key.to_uppercase()
            };
            members[last].0 = folded;
        }
        Oddity::Unknown => members.push(("unknown".to_owned(), json!({"nested": [1, null]}))),
        Oddity::Retyped => {
            for (_, value) in members {
                *value = match &*value {
                    Value::Number(number) => Value::String(number.to_string()),
                    Value::String(text) => text
                        .parse::<i64>()
                        .map_or_else(|_| value.clone(), |number| json!(number)),
                    Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                        value.clone()
                    }
                };
            }
        }
    }
}

fn other(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.chars().rev().collect()),
        Value::Number(number) => json!(number.as_i64().unwrap_or_default() + 1),
        Value::Bool(truth) => Value::Bool(!truth),
        Value::Null => json!({}),
        Value::Array(_) | Value::Object(_) => Value::Null,
    }
}

/// A value at some depth is another one.
fn within(random: &mut Random, value: &Value) -> (Vec<u8>, String) {
    let paths = paths(value, |value| !value.is_object() && !value.is_array());
    let Some(path) = random.maybe_one(&paths) else {
        return structure(random, value);
    };
    let mut altered = value.clone();
    let leaf = altered.pointer_mut(path).unwrap();
    let (derived, how) = match &*leaf {
        Value::String(text) => {
            let (bytes, how) = derive::derived(random, text.as_bytes());
            (
                Value::String(String::from_utf8_lossy(&bytes).into_owned()),
                how,
            )
        }
        Value::Number(number) => number_derived(random, number.as_i64().unwrap_or_default()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            (other(leaf), "another value".to_owned())
        }
    };
    *leaf = derived;
    (altered.to_string().into_bytes(), format!("{path}: {how}"))
}

fn number_derived(random: &mut Random, number: i64) -> (Value, String) {
    let derived = match random.below(8) {
        0 => json!(number + 1),
        1 => json!(number - 1),
        2 => json!(-number),
        3 => json!(number.to_string()),
        4 => serde_json::from_str(&format!("{number}.0")).unwrap(),
        5 => json!(u64::MAX),
        6 => json!(i64::MIN),
        _ => json!(0),
    };
    let how = format!("{number} becomes {derived}");
    (derived, how)
}

/// Entries of lists and members of objects come, go and change places.
fn structure(random: &mut Random, value: &Value) -> (Vec<u8>, String) {
    let paths = paths(value, |value| value.is_object() || value.is_array());
    let path = random.one(&paths).clone();
    let mut altered = value.clone();
    let how = match altered.pointer_mut(&path).unwrap() {
        Value::Array(list) if !list.is_empty() => {
            let at = random.below(list.len());
            match random.below(5) {
                0 => {
                    let again = list[at].clone();
                    list.push(again);
                    "an entry again"
                }
                1 => {
                    list.reverse();
                    "reversed"
                }
                2 => {
                    list.remove(at);
                    "an entry removed"
                }
                3 => {
                    list.insert(at, Value::Null);
                    "an entry that is null"
                }
                _ => {
                    let to = random.below(list.len());
                    list.swap(at, to);
                    "entries swapped"
                }
            }
        }
        Value::Array(list) => {
            list.push(json!({}));
            "an entry that is empty"
        }
        Value::Object(object) if !object.is_empty() => {
            let keys: Vec<String> = object.keys().cloned().collect();
            let key = random.one(&keys);
            match random.below(4) {
                0 => {
                    object.insert(key.clone(), Value::Null);
                }
                1 => {
                    let value = object[key].clone();
                    object.insert(key.clone(), json!([value]));
                }
                2 => {
                    let to = random.one(&keys);
                    let (first, second) = (object[key].clone(), object[to].clone());
                    object.insert(key.clone(), second);
                    object.insert(to.clone(), first);
                }
                _ => {
                    object.remove(key);
                }
            }
            "a member removed, swapped, null or in a list"
        }
        Value::Object(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            "nothing"
        }
    };
    (altered.to_string().into_bytes(), format!("{path}: {how}"))
}

/// The pointers to the values that `wanted` takes.
pub(super) fn paths(value: &Value, wanted: fn(&Value) -> bool) -> Vec<String> {
    fn walk(value: &Value, wanted: fn(&Value) -> bool, path: &str, found: &mut Vec<String>) {
        if wanted(value) {
            found.push(path.to_owned());
        }
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    let key = key.replace('~', "~0").replace('/', "~1");
                    walk(value, wanted, &format!("{path}/{key}"), found);
                }
            }
            Value::Array(list) => {
                for (position, value) in list.iter().enumerate() {
                    walk(value, wanted, &format!("{path}/{position}"), found);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let mut found = Vec::new();
    walk(value, wanted, "", &mut found);
    found
}
