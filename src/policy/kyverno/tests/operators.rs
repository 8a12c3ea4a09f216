//! What hangs on one check of an operator, as Kyverno's own code answers it.

use serde_json::{Value, json};

use super::conditions::holds;
use super::*;

/// For each of these operators what is said of `key` and `value`; `yes`, `no`, or `-` where neither they nor their
/// opposites hold.
fn assert_listed(key: &str, value: &Value, expected: [&str; 3]) {
    let names = [
        [
            ("In", "NotIn"),
            ("AnyIn", "AnyNotIn"),
            ("AllIn", "AllNotIn"),
        ],
        [
            ("In", "NotIn"),
            ("AnyIn", "AllNotIn"),
            ("AllIn", "AnyNotIn"),
        ],
    ];
    let is_list = key.contains("levels");
    for ((name, opposite), expected) in names[usize::from(is_list)].into_iter().zip(expected) {
        let answers = [name, opposite].map(|it| holds(json!(key), it, value.clone()));
        let answer = match answers.each_ref().map(String::as_str) {
            ["true", "false"] => "yes",
            ["false", "true"] => "no",
            ["false", "false"] => "-",
            _ => panic!("{key} {name} {value}: {answers:?}"),
        };
        assert_eq!(answer, expected, "{key} {name} {value}");
    }
}

#[test]
fn numbers_are_the_same_or_they_are_not() {
    for (value, expected) in [
        (json!(3), "true"),
        (json!("3"), "true"),
        (json!("3.0"), "true"),
        (json!(4), "false"),
        (json!("4"), "false"),
        (json!("three"), "false"),
    ] {
        let key = || json!("{{ count }}");
        assert_eq!(holds(key(), "Equals", value.clone()), expected, "{value}");
        let opposite = if expected == "true" { "false" } else { "true" };
        assert_eq!(holds(key(), "NotEquals", value), opposite);
    }
}

#[test]
fn wildcards_are_not_for_quantities() {
    for (key, value, expected) in [
        ("15", "1*", "false"),
        ("15", "", "false"),
        ("15", "15000m", "true"),
        // Too large to calculate with here.
        ("20261124103000123456", "2026*", "false"),
        ("20261124103000123456", "20261124103000123456", "true"),
        ("v20261124103000123456", "v2026*", "true"),
    ] {
        assert_eq!(
            holds(json!(key), "Equals", json!(value)),
            expected,
            "{key} {value}"
        );
        let opposite = if expected == "true" { "false" } else { "true" };
        assert_eq!(
            holds(json!(key), "NotEquals", json!(value)),
            opposite,
            "{key} {value}"
        );
    }
}

#[test]
fn one_is_looked_up_in_a_text() {
    for (value, expected) in [
        (json!("1.*"), ["yes"; 3]),
        (json!("1.10.0"), ["yes"; 3]),
        (json!("2.*"), ["-", "no", "no"]),
        (json!("[\"1.10.0\"]"), ["yes"; 3]),
        // Those in a text are no wildcards.
        (json!("[\"1.*\"]"), ["no"; 3]),
        (json!("{\"a\": \"1.10.0\"}"), ["-"; 3]),
        (json!("[1]"), ["-"; 3]),
        (json!(1), ["-"; 3]),
    ] {
        assert_listed("{{ version }}", &value, expected);
    }
}

#[test]
fn ranges_are_told_from_texts() {
    for (value, is_range) in [
        ("1-10", true),
        ("-5-10", true),
        ("5--1", true),
        ("+1-+2", true),
        ("1.5Gi-2Gi", true),
        ("1a-2b", true),
        ("1!-10", true),
        ("1-x", false),
        ("x-1", false),
        ("1-", false),
        ("-", false),
        ("1.-2", false),
        (".5-1", false),
        ("1-2-3", false),
        ("2024-01-02", false),
        ("1e3-1e4", false),
        ("--1-2", false),
    ] {
        let operand = Operand::new(json!(value), &std::collections::BTreeSet::new());
        assert_eq!(operand.unwrap().is_range(), is_range, "{value}");
        // Of a range nothing holds, as none is understood here.
        let expected = if is_range { "-" } else { "no" };
        assert_listed("{{ levels }}", &json!(value), ["-", expected, expected]);
    }
}

#[test]
fn only_the_newer_operators_understand_ranges() {
    assert_eq!(Operator::names().count(), 18);
    for name in Operator::names() {
        let operator: Operator = name.parse().unwrap();
        let expected = ["AnyIn", "AllIn", "AnyNotIn", "AllNotIn"].contains(&name);
        assert_eq!(operator.understands_ranges(), expected, "{name}");
    }
}

/// Kyverno prints numbers as Go does before it looks them up.
#[test]
fn a_number_with_an_exponent_is_in_no_list() {
    for (number, is_plain) in [
        ("0", true),
        ("443", true),
        ("-999999", true),
        ("0.0001", true),
        ("1000000", false),
        ("-1000000", false),
        ("0.00001", false),
    ] {
        let parsed: Value = serde_json::from_str(number).unwrap();
        for (key, operator) in [
            (parsed.clone(), "AnyIn"),
            (parsed.clone(), "AllIn"),
            (parsed.clone(), "In"),
            (json!([parsed]), "AnyIn"),
            (json!([parsed]), "AllIn"),
        ] {
            let found = holds(key.clone(), operator, json!([number]));
            assert_eq!(found, is_plain.to_string(), "{key} {operator}");
        }
        for operator in ["AllNotIn", "AnyNotIn", "NotIn"] {
            assert_eq!(holds(parsed.clone(), operator, json!(["1"])), "true");
            assert_eq!(holds(parsed.clone(), operator, json!([number])), "false");
        }
    }
}

#[test]
fn braces_and_quotes_belong_to_what_they_stand_in() {
    for (key, value) in [
        ("a }} b", json!("a }} b")),
        ("{a} of {{ count }}", json!("{a} of 3")),
        ("{{ {v: version}}}", json!({"v": "1.10.0"})),
        ("{{ to_upper('{{ levels[0] }}') }}", json!("HIGH")),
    ] {
        assert_eq!(holds(json!(key), "Equals", value), "true", "{key}");
    }
}
