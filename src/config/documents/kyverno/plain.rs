//! Values as Kubernetes reads them from YAML.

use serde_json::{Number, Value as Json};

use super::super::super::reader::{Field, Reader};
use super::super::super::yaml::{Scalar, Value};

/// A text that says what it means: Kyverno's variables are replaced at an admission request, and a pull has none.
pub(super) fn literal<'n>(field: &Field<'n>, reader: &mut Reader) -> Option<&'n str> {
    let text = field.text(reader)?;
    if text.contains("{{") {
        reader.problem(
            field,
            "variables are not known at a pull",
            "write the value itself",
        );
        return None;
    }
    Some(text)
}

/// The same for something that must not be empty.
pub(super) fn non_empty<'n>(field: &Field<'n>, reader: &mut Reader) -> Option<&'n str> {
    let text = literal(field, reader)?;
    if text.is_empty() {
        reader.problem(field, "empty", "write a value, or leave the field out");
        return None;
    }
    Some(text)
}

pub(super) fn boolean(field: &Field<'_>, reader: &mut Reader) -> Option<bool> {
    let words = [
        ("true", true),
        ("True", true),
        ("TRUE", true),
        ("false", false),
        ("False", false),
        ("FALSE", false),
    ];
    field.choice(&words, reader)
}

/// Any value. What YAML 1.1 and 1.2 read differently is reported.
pub(super) fn json(field: &Field<'_>, reader: &mut Reader) -> Option<Json> {
    match &field.node.value {
        Value::Null => Some(Json::Null),
        Value::Scalar(scalar) if scalar.plain => plain_scalar(field, scalar, reader),
        Value::Scalar(scalar) => Some(Json::String(scalar.text.clone())),
        Value::Sequence(_) => {
            let items = field.items(reader);
            let items: Vec<_> = items.iter().map(|item| json(item, reader)).collect();
            items.into_iter().collect::<Option<_>>().map(Json::Array)
        }
        Value::Mapping(_) => {
            let mut object = serde_json::Map::new();
            for (key, value) in field.entries(reader) {
                object.insert(key.name.clone(), json(&value, reader)?);
            }
            Some(Json::Object(object))
        }
    }
}

fn plain_scalar(field: &Field<'_>, scalar: &Scalar, reader: &mut Reader) -> Option<Json> {
    let text = scalar.text.as_str();
    match text {
        "true" | "True" | "TRUE" => return Some(Json::Bool(true)),
        "false" | "False" | "FALSE" => return Some(Json::Bool(false)),
        "Null" | "NULL" => return Some(Json::Null),
        _ => {}
    }
    let words = ["y", "n", "yes", "no", "on", "off"];
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts_like_number = number.starts_with(|it: char| it.is_ascii_digit() || it == '.');
    let octal = number.len() > 1 && number.bytes().all(|byte| byte.is_ascii_digit());
    let ambiguous = words.contains(&text.to_lowercase().as_str())
        || octal && number.starts_with('0')
        || starts_like_number && number.starts_with("0x")
        || starts_like_number && number.starts_with("0o")
        || starts_like_number && text.contains('_')
        || starts_like_number && is_sexagesimal(number)
        || [".inf", ".nan"].contains(&number.to_lowercase().as_str());
    if ambiguous {
        reader.problem(
            field,
            format!("`{text}` is not the same in every version of YAML"),
            "put quotes around a text; write numbers with digits and booleans as true or false",
        );
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Json::Number(whole.into()));
    }
    let float = if starts_like_number {
        text.parse::<f64>().ok()
    } else {
        None
    };
    Some(match float.and_then(Number::from_f64) {
        Some(number) => Json::Number(number),
        None => Json::String(text.to_owned()),
    })
}

/// `1:30` is ninety in YAML 1.1.
fn is_sexagesimal(number: &str) -> bool {
    number.contains(':')
        && number
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.')
}
