//! Conditions on the operation of a request that no pull depends on: an object that is deleted pulls nothing.

use super::super::super::reader::{Field, Reader};
use super::super::super::yaml::Value;

const BLOCK_KEYS: &[&str] = &["any", "all"];
const CONDITION_KEYS: &[&str] = &["key", "operator", "value", "message"];
const NAMED_KEYS: &[&str] = &["name", "expression"];

/// Operations that start no pull.
const WITHOUT_PULLS: [&str; 2] = ["DELETE", "CONNECT"];
/// The operations that can start one, all of them.
const WITH_PULLS: [&str; 2] = ["CREATE", "UPDATE"];

/// Expressions that are true of every request that starts a pull, without blanks and with one kind of quotes.
const TRUE_OF_PULLS: [&str; 6] = [
    "true",
    "request.operation!='DELETE'",
    "!(request.operation=='DELETE')",
    "request.operationin['CREATE','UPDATE']",
    "request.operation=='CREATE'||request.operation=='UPDATE'",
    "(request.operation=='CREATE'||request.operation=='UPDATE')",
];

/// Returns true if `preconditions` are true of every request that starts a pull.
pub(super) fn hold_for_pulls(field: &Field<'_>, reader: &mut Reader) -> bool {
    if let Value::Sequence(_) = field.node.value {
        let conditions = field.items(reader);
        return conditions.iter().all(|it| holds_for_pulls(it, reader));
    }
    let section = field.section(BLOCK_KEYS, reader);
    let any = section.get("any").map(|it| it.items(reader));
    let all = section.get("all").map(|it| it.items(reader));
    // None of an empty `any` is true.
    let any = any.is_none_or(|any| any.iter().any(|it| holds_for_pulls(it, reader)));
    let all = all.is_none_or(|all| all.iter().all(|it| holds_for_pulls(it, reader)));
    any && all
}

/// `{{request.operation}}` compared with what starts a pull, or with what does not.
fn holds_for_pulls(condition: &Field<'_>, reader: &mut Reader) -> bool {
    let section = condition.section(CONDITION_KEYS, reader);
    let (Some(key), Some(operator), Some(value)) = (
        section.get("key"),
        section.get("operator"),
        section.get("value"),
    ) else {
        return false;
    };
    let key = key.scalar().map_or("", |it| it.text.as_str());
    let operator = operator.scalar().map_or("", |it| it.text.as_str());
    let values = words(&value);
    let all_in = |of: [&str; 2]| values.iter().all(|it| of.contains(it));
    let holds = match operator {
        "NotEquals" | "NotEqual" | "NotIn" | "AnyNotIn" | "AllNotIn" => all_in(WITHOUT_PULLS),
        "In" | "AnyIn" | "AllIn" => WITH_PULLS.iter().all(|it| values.contains(it)),
        _ => false,
    };
    holds && is_operation(key)
}

/// Whether a key is the operation of the request; in the background there is none, and what stands for it then is no
/// operation.
fn is_operation(key: &str) -> bool {
    let inside = key
        .trim()
        .strip_prefix("{{")
        .and_then(|it| it.strip_suffix("}}"));
    let Some(inside) = inside else {
        return false;
    };
    let (path, default) = match inside.split_once("||") {
        Some((path, default)) => (path, Some(default.trim())),
        None => (inside, None),
    };
    let is_other_word = |default: &str| {
        let quoted = ["'", "\"", "`"].iter().find_map(|quote| {
            let inner = default.strip_prefix(quote)?;
            inner.strip_suffix(quote)
        });
        quoted.is_some_and(|word| {
            let word = word.trim_matches('"');
            word.chars().all(|it| it.is_ascii_alphanumeric()) && !WITHOUT_PULLS.contains(&word)
        })
    };
    path.trim() == "request.operation" && default.is_none_or(is_other_word)
}

fn words<'n>(field: &Field<'n>) -> Vec<&'n str> {
    let word = |value: &'n Value| match value {
        Value::Scalar(scalar) => scalar.text.as_str(),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) => "",
    };
    match &field.node.value {
        Value::Sequence(items) => items.iter().map(|it| word(&it.value)).collect(),
        value @ (Value::Null | Value::Scalar(_) | Value::Mapping(_)) => vec![word(value)],
    }
}

/// The same for conditions in the Common Expression Language: `celPreconditions` and `matchConditions`.
pub(super) fn expressions_hold_for_pulls(field: &Field<'_>, reader: &mut Reader) -> bool {
    let items = field.items(reader);
    items.iter().all(|item| {
        let expression = item.section(NAMED_KEYS, reader).get("expression");
        let text = expression.as_ref().and_then(Field::scalar);
        text.is_some_and(|it| {
            let plain: String = it.text.split_whitespace().collect();
            TRUE_OF_PULLS.contains(&plain.replace('"', "'").as_str())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_the_operation_from_other_keys() {
        for (key, expected) in [
            ("{{request.operation}}", true),
            ("{{ request.operation }}", true),
            ("{{request.operation || 'BACKGROUND'}}", true),
            ("{{ request.operation || `\"BACKGROUND\"` }}", true),
            // In the background it would be false.
            ("{{request.operation || 'DELETE'}}", false),
            ("{{request.operation || request.object.kind}}", false),
            ("{{request.object.metadata.name}}", false),
            ("request.operation", false),
        ] {
            assert_eq!(is_operation(key), expected, "{key}");
        }
    }
}
