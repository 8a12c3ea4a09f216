//! Predicates whose signer wants them to cost much. These tests count the work that is paid for, and never time.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::times::NOW;
use super::*;
use crate::policy::{ConditionError, Fuel};

fn conditions(key: &Value, operator: &str, value: &Value) -> Conditions {
    let none = BTreeSet::new();
    let comparison = Comparison {
        key: Operand::new(key.clone(), &none).unwrap(),
        operator: operator.parse().unwrap(),
        value: Operand::new(value.clone(), &none).unwrap(),
    };
    Conditions::new(vec![Block {
        any: None,
        all: vec![comparison],
    }])
}

/// The work of a comparison, and what comes of it.
fn work(key: &Value, operator: &str, value: &Value, predicate: &Value) -> (Duration, bool) {
    let fuel = Fuel::new(Duration::from_secs(20));
    let statement = json!({ "predicate": predicate });
    let outcome = conditions(key, operator, value).evaluate(&statement, NOW, &fuel);
    let met = outcome.unwrap_or_else(|error| panic!("{key} {operator} {value}: {error}"));
    (fuel.used(), met)
}

fn texts(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|it| format!("{prefix}{it}")).collect()
}

#[test]
fn list_is_looked_up_in_a_list_in_linear_work() {
    for (operator, met) in [
        ("AllIn", true),
        ("AnyIn", true),
        ("In", true),
        ("AllNotIn", false),
        ("AnyNotIn", false),
        ("NotIn", false),
    ] {
        let of = |count: usize| {
            let list = texts("item-", count);
            let reversed: Vec<_> = list.iter().rev().cloned().collect();
            let predicate = json!({ "keys": list, "values": reversed });
            work(
                &json!("{{ keys }}"),
                operator,
                &json!("{{ values }}"),
                &predicate,
            )
        };
        let ((few, _), (many, outcome)) = (of(100), of(3200));
        assert_eq!(outcome, met, "{operator}");
        assert!(many < few * 40, "{operator}: {few:?} {many:?}");
    }
}

#[test]
fn wildcards_from_both_sides_are_paid_for_each_pair() {
    let of = |count: usize| {
        let predicate =
            json!({ "keys": texts("key-?", count), "values": texts("*-value-", count) });
        let (work, met) = work(
            &json!("{{ keys }}"),
            "AnyIn",
            &json!("{{ values }}"),
            &predicate,
        );
        assert!(!met);
        work
    };
    let (few, many) = (of(20), of(160));
    assert!(many > few * 30, "{few:?} {many:?}");
}

/// Expressions whose result or work is far larger than the predicate.
const HOSTILE: [&str; 8] = [
    "join(text, list)",
    "replace_all(text, 'a', text)",
    "list[?regex_match(@, 'a')]",
    "list[?pattern_match('*a*a*a*b', @)] | [?pattern_match(@, @)]",
    "[[[list, list, list, list][], list, list, list][], list, list, list][] | sort(@)",
    "map(&join(@, ['a', 'b', 'c', 'd']), long)",
    "long[?regex_match('a*b', @)]",
    "[[[[@, @, @, @], [@, @, @, @]], [[@, @, @, @], [@, @, @, @]]], [[[@, @, @, @], [@, @, @, @]]]]",
];

#[test]
fn hostile_predicate_ends_within_the_limit() {
    let predicate = json!({
        "text": "a".repeat(50_000),
        "list": texts("[ab]*a[ab]{150}", 4_000),
        "long": vec!["a".repeat(5_000); 200],
    });
    let statement = json!({ "predicate": predicate });
    for expression in HOSTILE {
        for operator in ["NotEquals", "AnyNotIn", "Equals"] {
            let key = json!(format!("{{{{ {expression} }}}}"));
            let fuel = Fuel::new(Duration::from_millis(5));
            let outcome = conditions(&key, operator, &json!("x")).evaluate(&statement, NOW, &fuel);
            assert!(
                matches!(outcome, Err(ConditionError::OutOfFuel(_))),
                "{expression}: {outcome:?}"
            );
        }
    }
}

#[test]
fn long_text_of_dashes_is_not_read_as_ranges_one_by_one() {
    let dashes = format!("{}{}", "-".repeat(200_000), "a".repeat(200_000));
    let predicate = json!({ "keys": ["x"], "value": dashes });
    let (_, met) = work(
        &json!("{{ keys }}"),
        "AnyNotIn",
        &json!("{{ value }}"),
        &predicate,
    );
    assert!(!met);
}

#[test]
fn large_honest_predicate_is_judged() {
    let component = |it: usize| json!({ "name": format!("part-{it}"), "version": "1.2.3", "licenses": ["MIT", "ISC"] });
    let components: Vec<_> = (0..20_000).map(component).collect();
    let predicate = json!({ "components": components });
    for (key, operator, value, met) in [
        (
            "{{ components[].licenses[] }}",
            "AllIn",
            json!(["MIT", "Apache-*", "ISC"]),
            true,
        ),
        (
            "{{ components[?name=='xz-utils'].version | length(@) }}",
            "Equals",
            json!(0),
            true,
        ),
        (
            "{{ components[?regex_match('^5[.]6', version)].name }}",
            "Equals",
            json!([]),
            true,
        ),
        ("{{ length(components) }}", "GreaterThan", json!(10), true),
        (
            "{{ components[].name }}",
            "AnyIn",
            json!(["log4j-core", "part-19999"]),
            true,
        ),
    ] {
        let statement = json!({ "predicate": predicate });
        let fuel = Fuel::default();
        let outcome = conditions(&json!(key), operator, &value).evaluate(&statement, NOW, &fuel);
        assert_eq!(outcome.unwrap(), met, "{key} {operator} {value}");
        assert!(
            fuel.used() < Duration::from_millis(150),
            "{key}: {:?}",
            fuel.used()
        );
    }
}
