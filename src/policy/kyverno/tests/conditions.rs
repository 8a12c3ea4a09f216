use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::times::NOW;
use super::*;
use crate::policy::Fuel;

fn predicate() -> Value {
    json!({
        "builder": {"id": "https://github.com/slsa/generator.yml@refs/heads/main"},
        "quoted": "it's",
        "count": 3,
        "load": "1.5Gi",
        "age": "90m",
        "version": "1.10.0",
        "flag": true,
        "levels": ["high", "low"],
        "none": [],
        "finished": "2025-12-25T00:00:00Z",
        "days": "2006-01-02",
        "materials": [{"uri": "git+https://a"}, {"uri": "pkg:docker/b"}, {"name": "c"}],
    })
}

fn comparison(key: Value, operator: &str, value: Value) -> Comparison {
    let operand = |value| Operand::new(value, &BTreeSet::new()).unwrap();
    Comparison {
        key: operand(key),
        operator: operator.parse().unwrap(),
        value: operand(value),
    }
}

/// `true`, `false` or `error`.
fn answer(blocks: Vec<Block>) -> String {
    let statement = json!({ "predicate": predicate() });
    match Conditions::new(blocks).evaluate(&statement, NOW, &Fuel::default()) {
        Ok(met) => met.to_string(),
        Err(_) => "error".to_owned(),
    }
}

pub(super) fn holds(key: Value, operator: &str, value: Value) -> String {
    answer(vec![Block {
        any: None,
        all: vec![comparison(key, operator, value)],
    }])
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn operators_compare_as_kyverno_does() {
    for (key, operator, value, expected) in [
        (
            json!("{{ builder.id }}"),
            "Equals",
            json!("https://github.com/slsa/*"),
            "true",
        ),
        (
            json!("{{ builder.id }}"),
            "Equals",
            json!("https://github.com/slsa"),
            "false",
        ),
        (
            json!("{{ builder.id }}"),
            "NotEquals",
            json!("https://gitlab.com/*"),
            "true",
        ),
        (json!("{{ count }}"), "Equals", json!(3), "true"),
        (json!("{{ count }}"), "Equals", json!("3"), "true"),
        (json!("{{ count }}"), "Equals", json!(true), "false"),
        (json!("{{ flag }}"), "Equals", json!(true), "true"),
        (json!("{{ flag }}"), "Equals", json!("true"), "false"),
        (
            json!("{{ levels }}"),
            "Equals",
            json!(["high", "low"]),
            "true",
        ),
        (
            json!("{{ levels }}"),
            "Equals",
            json!(["low", "high"]),
            "false",
        ),
        (json!("{{ age }}"), "Equals", json!("1h30m"), "true"),
        (json!("{{ age }}"), "Equals", json!(5400), "true"),
        (json!("{{ load }}"), "Equals", json!("1536Mi"), "true"),
        (json!("{{ count }}"), "GreaterThan", json!(2), "true"),
        (json!("{{ count }}"), "GreaterThan", json!(3), "false"),
        (
            json!("{{ count }}"),
            "GreaterThanOrEquals",
            json!("3"),
            "true",
        ),
        (json!("{{ count }}"), "LessThan", json!(10), "true"),
        (json!("{{ load }}"), "LessThan", json!("2Gi"), "true"),
        (json!("{{ age }}"), "LessThanOrEquals", json!("2h"), "true"),
        (
            json!("{{ version }}"),
            "GreaterThan",
            json!("1.9.0"),
            "true",
        ),
        (
            json!("{{ version }}"),
            "LessThan",
            json!("1.10.0-rc.1"),
            "false",
        ),
        (json!("{{ age }}"), "DurationLessThan", json!(5401), "true"),
        (
            json!("{{ count }}"),
            "DurationGreaterThan",
            json!("2s"),
            "true",
        ),
        (
            json!("{{ builder.id }}"),
            "DurationGreaterThan",
            json!("2s"),
            "false",
        ),
        (
            json!("{{ levels }}"),
            "AnyIn",
            json!(["low", "none"]),
            "true",
        ),
        (
            json!("{{ levels }}"),
            "AllIn",
            json!(["low", "none"]),
            "false",
        ),
        (
            json!("{{ levels }}"),
            "AllIn",
            json!(["l*", "high"]),
            "true",
        ),
        (json!("{{ levels }}"), "AnyNotIn", json!(["low"]), "true"),
        (json!("{{ levels }}"), "AllNotIn", json!(["low"]), "false"),
        (
            json!("{{ levels }}"),
            "AllNotIn",
            json!(["critical"]),
            "true",
        ),
        (
            json!("{{ levels }}"),
            "In",
            json!(["high", "low", "x"]),
            "true",
        ),
        (json!("{{ levels }}"), "In", json!(["*"]), "false"),
        (json!("{{ levels }}"), "NotIn", json!(["high"]), "true"),
        (json!("{{ count }}"), "AnyIn", json!([1, 3]), "true"),
        (json!("{{ count }}"), "AnyIn", json!("[\"3\"]"), "true"),
        (json!("{{ none }}"), "AllIn", json!(["x"]), "true"),
        (json!("{{ none }}"), "AnyIn", json!(["x"]), "false"),
        (json!("{{ builder }}"), "AllNotIn", json!(["x"]), "false"),
        // A range that only shows when it is evaluated is no answer: nothing holds.
        (
            json!("{{ count }}"),
            "AnyNotIn",
            json!("{{ '1-2' }}"),
            "false",
        ),
    ] {
        assert_eq!(
            holds(key.clone(), operator, value.clone()),
            expected,
            "{key} {operator} {value}"
        );
    }
}

#[test]
fn expressions_see_the_predicate() {
    for (key, value, expected) in [
        (
            "{{ regex_match('^https://github.com/slsa/','{{ builder.id }}') }}",
            json!(true),
            "true",
        ),
        (
            "{{ regex_match('^https://gitlab.com/','{{builder.id}}') }}",
            json!(true),
            "false",
        ),
        // Classes are of ASCII, as in Go.
        ("{{ regex_match('^\\d$','1') }}", json!(true), "true"),
        ("{{ regex_match('^\\d$','\u{661}') }}", json!(false), "true"),
        ("{{ materials[].uri | length(@) }}", json!(2), "true"),
        (
            "{{ materials[?uri=='pkg:docker/b'].uri | [0] }}",
            json!("pkg:docker/b"),
            "true",
        ),
        ("{{ missing || 'none' }}", json!("none"), "true"),
        ("{{ to_upper(levels[0]) }}", json!("HIGH"), "true"),
        ("{{ {a: count}.a }}", json!(3), "true"),
        (
            "of {{ count }} in {{ version }}",
            json!("of 3 in 1.10.0"),
            "true",
        ),
        (
            "{{ time_after('2024-01-02T00:00:00Z', '2024-01-01T00:00:00Z') }}",
            json!(true),
            "true",
        ),
        ("{{ missing }}", json!("*"), "error"),
        ("{{ builder.missing }}", json!("*"), "error"),
        ("{{ length(count) }}", json!("*"), "error"),
        // The value would end the quoted text that it stands in.
        (
            "{{ regex_match('x','{{ quoted }}') }}",
            json!(true),
            "error",
        ),
        (
            "{{ regex_match('(','{{ version }}') }}",
            json!(true),
            "error",
        ),
    ] {
        assert_eq!(holds(json!(key), "Equals", value), expected, "{key}");
    }
}

/// Now is 168 hours and 987 milliseconds after `finished`.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn the_age_of_what_was_signed_is_compared() {
    for (key, operator, value, expected) in [
        (
            "{{ time_since('','{{finished}}','') }}",
            "LessThanOrEquals",
            "169h",
            "true",
        ),
        (
            "{{ time_since('','{{finished}}','') }}",
            "LessThanOrEquals",
            "168h0m0.987s",
            "true",
        ),
        (
            "{{ time_since('','{{finished}}','') }}",
            "LessThan",
            "168h0m0.987s",
            "false",
        ),
        (
            "{{ time_since('','{{finished}}','') }}",
            "LessThanOrEquals",
            "168h",
            "false",
        ),
        (
            "{{ time_since('',finished,'') }}",
            "GreaterThan",
            "168h",
            "true",
        ),
        (
            "{{ time_since('','{{finished}}','') }}",
            "DurationLessThan",
            "169h",
            "true",
        ),
        (
            "{{ time_since('','{{finished}}','') }}",
            "DurationGreaterThan",
            "0",
            "true",
        ),
        (
            "{{ time_since('','{{finished}}','') }}",
            "LessThan",
            "{{ '169h' }}",
            "true",
        ),
        // No duration is no answer, and neither is what is not there.
        (
            "{{ time_since('','{{finished}}','') }}",
            "LessThanOrEquals",
            "7d",
            "false",
        ),
        (
            "{{ time_since('','{{missing}}','') }}",
            "LessThanOrEquals",
            "169h",
            "error",
        ),
        (
            "{{ time_since('','{{version}}','') }}",
            "LessThanOrEquals",
            "169h",
            "error",
        ),
        (
            "{{ time_since('{{days}}','{{finished}}','') }}",
            "LessThanOrEquals",
            "169h",
            "error",
        ),
        // The end of 2026 is yet to come.
        (
            "{{ time_since('','2026-12-31T00:00:00Z','') }}",
            "LessThanOrEquals",
            "168h",
            "error",
        ),
        ("{{ time_now() }}", "Equals", "2026-01-01T00:00:00Z", "true"),
        (
            "{{ time_after(time_now_utc(), '{{finished}}') }}",
            "Equals",
            "{{ flag }}",
            "true",
        ),
        (
            "{{ time_diff(finished, time_now_utc()) }}",
            "Equals",
            "168h",
            "true",
        ),
    ] {
        let answer = holds(json!(key), operator, json!(value));
        assert_eq!(answer, expected, "{key} {operator} {value}");
    }
}

/// Where it is missed, a decision outlives what it rests on.
#[test]
fn what_depends_on_the_time_is_known() {
    let nothing = || comparison(json!("{{ flag }}"), "Equals", json!(true));
    let of_key = |key: &str| comparison(json!(key), "Equals", json!(true));
    let of_value = |value: Value| comparison(json!("{{ flag }}"), "Equals", value);
    let depends = |any: Option<Comparison>, all: Comparison| {
        let any = any.map(|it| vec![nothing(), it]);
        let all = vec![nothing(), all];
        let other = Block {
            any: None,
            all: vec![nothing()],
        };
        Conditions::new(vec![other, Block { any, all }]).depends_on_time()
    };
    for text in [
        "{{ time_since('','{{ finished }}','') }}",
        "{{ time_since('', finished, '2026-01-01T00:00:00Z') }}",
        "{{ time_now() }}",
        "{{ time_now_utc() }}",
        "since {{ time_now() }}",
        "{{ flag }}{{ time_now() }}",
        "{{ time_after(time_now(), finished) }}",
        "{{ levels[?time_before(@, time_now())] }}",
        "{{ to_upper('{{ time_now() }}') }}",
        "{{ flag && time_now() }}",
        "{{ [finished, time_now()] }}",
        "{{ {a: time_now()}.a }}",
    ] {
        assert!(depends(None, of_key(text)), "{text}");
        assert!(depends(None, of_value(json!(text))), "{text}");
        assert!(depends(None, of_value(json!(["x", text]))), "{text}");
        assert!(depends(Some(of_key(text)), nothing()), "{text}");
    }
    for text in [
        "{{ finished }}",
        "time_now()",
        "{{ 'time_now()' }}",
        "{{ time_after(finished, '2026-01-01T00:00:00Z') }}",
        "{{ time_add(finished, '1h') }}",
        "{{ time_parse('2006', finished) }}",
    ] {
        assert!(
            !depends(Some(of_key(text)), of_value(json!([text]))),
            "{text}"
        );
    }
}

#[test]
fn what_is_missing_leaves_no_answer_even_beside_what_holds() {
    let block = Block {
        any: Some(vec![
            comparison(json!("{{ flag }}"), "Equals", json!(true)),
            comparison(json!("{{ missing }}"), "Equals", json!(true)),
        ]),
        all: Vec::new(),
    };
    assert_eq!(answer(vec![block]), "error");
}

#[test]
fn blocks_combine_as_kyverno_does() {
    let yes = || comparison(json!("{{ flag }}"), "Equals", json!(true));
    let no = || comparison(json!("{{ flag }}"), "Equals", json!(false));
    let block = |any, all| Block { any, all };
    for (blocks, expected) in [
        (vec![block(None, vec![yes(), yes()])], "true"),
        (vec![block(None, vec![yes(), no()])], "false"),
        (vec![block(Some(vec![no(), yes()]), vec![])], "true"),
        (vec![block(Some(vec![no()]), vec![])], "false"),
        (vec![block(Some(vec![]), vec![yes()])], "false"),
        (vec![block(Some(vec![yes()]), vec![no()])], "false"),
        (
            vec![block(None, vec![yes()]), block(None, vec![no()])],
            "false",
        ),
    ] {
        let described = format!("{blocks:?}");
        assert_eq!(answer(blocks), expected, "{described}");
    }
}

#[test]
fn a_predicate_that_is_no_mapping_is_no_answer() {
    let conditions = Conditions::new(vec![]);
    assert!(
        conditions
            .evaluate(&json!({"predicate": []}), NOW, &Fuel::default())
            .is_err()
    );
    assert!(
        conditions
            .evaluate(&json!({}), NOW, &Fuel::default())
            .is_err()
    );
}

#[test]
fn what_a_pull_cannot_know_is_refused_by_name() {
    let context = BTreeSet::from(["keys".to_owned()]);
    for (text, message) in [
        (
            "{{ request.operation }}",
            "the variable `request` is not known",
        ),
        (
            "{{ length(images.containers) }}",
            "the variable `images` is not known",
        ),
        (
            "{{ keys.data.certificate }}",
            "the variable `keys` is not known",
        ),
        (
            "{{ time_to_cron('2023-02-02T15:04:05Z') }}",
            "the function `time_to_cron` is not supported",
        ),
        (
            "{{ x509_decode('x') }}",
            "the function `x509_decode` is not supported",
        ),
        (
            "{{ a[?unknown(@)] }}",
            "the function `unknown` is not supported",
        ),
        ("{{ a.{{ b }} }}", "must stand in single quotes"),
        (
            "{{ contains('x', {{ b }}) }}",
            "must stand in single quotes",
        ),
        ("{{ a", "without"),
        ("{{ a. }}", "not a JMESPath expression"),
        ("\\{{ a }}", "escaped braces"),
    ] {
        let error = Operand::new(json!(text), &context).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    assert!(Operand::new(json!({"a": "{{ b }}"}), &context).is_err());
    assert!("equals".parse::<Operator>().is_err());
}

/// The source goes into the hash of a policy, so that every part of a condition is in it.
#[test]
fn conditions_that_differ_have_another_source() {
    let block = |key: &str, operator: &str, value: &str| Block {
        any: None,
        all: vec![comparison(json!(key), operator, json!(value))],
    };
    let sources = [
        Conditions::new(vec![block("{{ a }}", "Equals", "x")]),
        Conditions::new(vec![block("{{ b }}", "Equals", "x")]),
        Conditions::new(vec![block("{{ a }}", "NotEquals", "x")]),
        Conditions::new(vec![block("{{ a }}", "Equals", "y")]),
        Conditions::new(vec![
            block("{{ a }}", "Equals", "x"),
            block("{{ a }}", "Equals", "y"),
        ]),
        Conditions::new(vec![Block {
            any: Some(vec![comparison(json!("{{ a }}"), "Equals", json!("x"))]),
            all: vec![],
        }]),
    ]
    .map(|conditions| conditions.source().to_owned());
    let distinct: BTreeSet<_> = sources.iter().collect();
    assert_eq!(distinct.len(), sources.len(), "{sources:?}");
}
