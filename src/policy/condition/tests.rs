use std::time::Duration;

use serde_json::json;

use super::*;

/// No answer here depends on it.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn statement() -> serde_json::Value {
    json!({
        "predicateType": "https://slsa.dev/provenance/v1",
        "subject": [{"name": "app", "digest": {"sha256": "00"}}],
        "predicate": {
            "buildDefinition": {"externalParameters": {"workflow": {"ref": "refs/heads/main"}}, "runs": 3, "load": 0.5},
            "materials": [{"uri": "git+https://github.com/org/app"}, {"uri": "pkg:docker/base"}],
        },
    })
}

fn condition(source: &str) -> Condition {
    Condition::new(source).unwrap()
}

#[test]
fn sees_statement_and_predicate() {
    for source in [
        "true",
        "predicate.buildDefinition.externalParameters.workflow.ref == 'refs/heads/main'",
        "statement.predicate == predicate",
        "statement.predicateType.startsWith('https://slsa.dev/')",
        "predicate.buildDefinition.runs == 3 && predicate.buildDefinition.runs > 2",
        "predicate.buildDefinition.load < 1.0",
        "predicate.materials.exists(m, m.uri.startsWith('pkg:docker/'))",
        "predicate.materials.all(m, m.uri != '')",
        "size(predicate.materials) == 2",
        "has(predicate.materials) && !has(predicate.other)",
        "predicate.materials[0].uri.matches('^git[+]https://github[.]com/')",
        "statement.subject.map(s, s.name) == ['app']",
    ] {
        assert!(
            condition(source)
                .evaluate(&statement(), NOW, &Fuel::default())
                .unwrap(),
            "{source}"
        );
    }
    let false_one = condition("predicate.buildDefinition.runs > 3");
    assert!(
        !false_one
            .evaluate(&statement(), NOW, &Fuel::default())
            .unwrap()
    );
}

#[test]
fn what_is_no_clear_yes_is_an_error() {
    for source in [
        "predicate.missing",
        "predicate.missing == 1",
        "predicate.materials[7].uri == ''",
        "predicate.materials[0].uri + 1 == 'x1'",
    ] {
        assert!(
            matches!(
                condition(source).evaluate(&statement(), NOW, &Fuel::default()),
                Err(ConditionError::Execution(_))
            ),
            "{source}"
        );
    }
    for source in [
        "predicate",
        "predicate.materials",
        "predicate.buildDefinition.runs",
        "statement.predicateType",
    ] {
        assert!(
            matches!(
                condition(source).evaluate(&statement(), NOW, &Fuel::default()),
                Err(ConditionError::NotBoolean(_))
            ),
            "{source}"
        );
    }
}

#[test]
fn a_statement_without_predicate_has_a_null_one() {
    let condition = Condition::new("predicate == null").unwrap();
    assert!(
        condition
            .evaluate(&json!({}), NOW, &Fuel::default())
            .unwrap()
    );
}

#[test]
fn nonsense_does_not_compile() {
    assert!(matches!(
        Condition::new("predicate.("),
        Err(ConditionSyntaxError::Parse(_))
    ));
    assert!(matches!(
        Condition::new(""),
        Err(ConditionSyntaxError::Parse(_))
    ));
    assert!(matches!(
        Condition::new("predicat.x == 1"),
        Err(ConditionSyntaxError::UnknownVariable(name)) if name == "predicat"
    ));
    assert!(matches!(
        Condition::new("predicate.all(m, m > 0) && m == 1"),
        Err(ConditionSyntaxError::UnknownVariable(name)) if name == "m"
    ));
    for inside in [
        "{'a': x}.a == 1",
        "{x: 1}.a == 1",
        "[x] == [1]",
        "(x ? 1 : 2) == 1",
    ] {
        let unknown = Condition::new(inside);
        assert!(
            matches!(&unknown, Err(ConditionSyntaxError::UnknownVariable(name)) if name == "x"),
            "{inside}"
        );
    }
    let long = format!("'{}' == ''", "a".repeat(Condition::SOURCE_BYTES_MAX));
    assert!(matches!(
        Condition::new(&long),
        Err(ConditionSyntaxError::TooLong)
    ));
}

#[test]
fn what_nests_too_deep_does_not_compile() {
    let nested = |open: &str, close: &str, times| {
        format!(
            "{}predicate.a{} == 1",
            open.repeat(times),
            close.repeat(times)
        )
    };
    for (open, close) in [("(", ")"), ("[", "]"), ("{1: [", "]}")] {
        let deep = Condition::new(&nested(open, close, Condition::DEPTH_MAX + 1));
        assert!(matches!(deep, Err(ConditionSyntaxError::TooDeep)), "{open}");
    }
    let many = vec!["(predicate.a == '((((((((')"; Condition::DEPTH_MAX + 1];
    assert!(Condition::new(&many.join(" || ")).is_ok());
    // Neither is one in a text, nor what an escaped quote ends.
    let text = format!(
        r#"predicate.a == "\"{}""#,
        "(".repeat(Condition::DEPTH_MAX + 1)
    );
    assert!(Condition::new(&text).is_ok());
}

#[test]
fn what_can_never_be_true_or_false_does_not_compile() {
    for (source, other) in [
        ("1 + 1", "a sum"),
        ("predicate.x + predicate.y", "a sum"),
        ("-predicate.x", "a number"),
        ("size(predicate.materials)", "a number"),
        ("'true'", "a text"),
        ("string(predicate.x)", "a text"),
        ("null", "null"),
        ("statement", "the statement"),
        ("bool", "a type"),
        ("[true]", "a list"),
        ("{'a': true}", "a map"),
        ("predicate.map(m, m == 1)", "a list"),
        ("predicate.filter(m, m == 1)", "a list"),
        ("predicate.x == 1 ? 'yes' : 'no'", "a text"),
        ("timestamp(predicate.x)", "a time"),
        ("type(predicate.x)", "a type"),
    ] {
        let error = Condition::new(source).unwrap_err();
        assert!(
            matches!(error, ConditionSyntaxError::NotBoolean(it) if it == other),
            "{source}: {error}"
        );
    }
    for source in [
        "predicate.x == 1 ? predicate.y : 'no'",
        "predicate.exists_one(m, m == 1)",
        "bool(predicate.x)",
    ] {
        assert!(Condition::new(source).is_ok(), "{source}");
    }
    let error = Condition::new("'x' + 1 == 'x1'").unwrap_err();
    assert!(
        matches!(error, ConditionSyntaxError::NeverAnswers(_)),
        "{error}"
    );
}

#[test]
fn a_function_that_there_is_not_does_not_compile() {
    for source in [
        "nofunc(predicate)",
        "predicate.x.nofunc(1) == 1",
        "predicate.all(m, nofunc(m))",
        "true || nofunc(predicate)",
    ] {
        let error = Condition::new(source).unwrap_err();
        assert!(
            matches!(&error, ConditionSyntaxError::UnknownFunction(it) if it == "nofunc"),
            "{source}: {error}"
        );
    }
}

#[test]
fn knows_what_looks_at_nothing_signed() {
    for (source, constant) in [
        ("true", Some(true)),
        ("1 > 2", Some(false)),
        ("[1, 2].all(m, m > 0)", Some(true)),
        ("predicate.x", None),
        ("statement.predicateType == ''", None),
    ] {
        assert_eq!(condition(source).constant(), constant, "{source}");
    }
}

/// Each of these takes a step for every pair of numbers, or more.
const SQUARES: [&str; 8] = [
    "predicate.all(a, predicate.all(b, a + b >= 0))",
    "!predicate.exists(a, predicate.exists(b, a + b < 0))",
    "predicate.all(a, !predicate.exists_one(b, b < 0))",
    "size(predicate.map(a, predicate.map(b, a + b))) > 0",
    "size(predicate.map(a, a >= 0, predicate.map(b, b))) > 0",
    "size(predicate.filter(a, size(predicate.filter(b, a + b < 0)) == 0)) > 0",
    "predicate.all(a, {'x': predicate.map(b, b)}.x[0] == 0)",
    // An error that is swallowed is one all the same.
    "predicate.all(a, predicate.all(b, a + b >= 0)) || true",
];

/// The work that a condition is for a statement, where that is less than a second.
fn work(source: &str, statement: &serde_json::Value) -> Duration {
    let fuel = Fuel::new(Duration::from_secs(1));
    let outcome = condition(source).evaluate(statement, NOW, &fuel);
    assert!(outcome.is_ok(), "{source}: {outcome:?}");
    fuel.used()
}

#[test]
fn steps_are_paid_for() {
    let numbers = |count: u64| json!({ "predicate": (0..count).collect::<Vec<_>>() });
    for source in SQUARES {
        let few = work(source, &numbers(10));
        let many = work(source, &numbers(100));
        assert!(many > few * 50, "{source}: {few:?} {many:?}");
        let fuel = Fuel::new(many / 2);
        let outcome = condition(source).evaluate(&numbers(100), NOW, &fuel);
        assert!(
            matches!(outcome, Err(ConditionError::OutOfFuel(_))),
            "{source}: {outcome:?}"
        );
    }
    // Where one is enough of a list, the others are no steps.
    let first = work("predicate.exists(a, a == 0)", &numbers(1000));
    let last = work("predicate.exists(a, a == 999)", &numbers(1000));
    assert!(first * 3 < last, "{first:?} {last:?}");
}

#[test]
fn can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Condition>();
}

mod hostile;

/// The functions that pay answer as the evaluator's own do.
#[test]
fn operators_answer_alike_for_all_kinds_of_values() {
    let statement = json!({ "predicate": {
        "list": ["a", ["b"], {"c": 1}], "same": ["a", ["b"], {"c": 1.0}], "map": {"a": 1, "b": [2]},
        "twin": {"b": [2], "a": 1}, "text": "text", "one": 1, "index": 1.0, "half": 1.5, "none": null,
    }});
    for source in [
        "predicate.list == predicate.same",
        "predicate.map == predicate.twin && predicate.map != {'a': 1}",
        "{'a': 1, 'b': [2]} == predicate.map && [1, 2] + [3] == [1, 2, 3]",
        "['b'] in predicate.list && {'c': 1u} in predicate.list && !('d' in predicate.list)",
        "'a' in predicate.map && !('z' in predicate.map)",
        "predicate.list[predicate.index] == ['b'] && predicate.list[predicate.one][0] == 'b'",
        "predicate.map['b'][0] == 2 && predicate.map.b == [2]",
        "predicate.map.all(key, key in ['a', 'b'])",
        "predicate.text + '!' == 'text!' && b'a' + b'b' == b'ab'",
        "predicate.text < 'texu' && predicate.text >= 'text' && 1 < 1.5 && 2u > 1",
        "predicate.text.matches('^te') && matches(predicate.text, 'xt$')",
        "predicate.none == null && predicate.text != null && predicate.one != '1'",
        "predicate.one + 1 == 2 && predicate.one * 3 - 1 == 2 && 7 / 2 == 3 && 7 % 4 == 3",
        "timestamp('2024-01-02T00:00:00Z') - duration('24h') == timestamp('2024-01-01T00:00:00Z')",
        "[predicate.list, predicate.list].all(l, l[1] == ['b'])",
        "[1, 2, 3].map(x, x + 1).filter(x, x > 2) == [3, 4]",
        "size([predicate.map].map(m, m.b)[0] + [3]) == 2 && size('äö') == 2",
        "'text' in [predicate.text + ''] && {predicate.text: 1}['text'] == 1",
        "string(predicate.one) == '1' && bytes('a') == b'a' && type(predicate.list) == list",
    ] {
        let outcome = condition(source).evaluate(&statement, NOW, &Fuel::default());
        assert!(matches!(outcome, Ok(true)), "{source}: {outcome:?}");
    }
    for source in [
        "predicate.list + 1 == [1]",
        "predicate.text - 1 == 0",
        "predicate.text < predicate.one",
        "predicate.list < predicate.list",
        "predicate.list in predicate.map",
        "'a' in predicate.text",
        "predicate.list[predicate.half] == 'a'",
        "predicate.list['a'] == 'a'",
        "predicate.map[predicate.list] == 'a'",
        "predicate.one.matches('1')",
        "predicate.text.matches(predicate.one)",
        "1 / (predicate.one - 1) == 0",
        "[1].map(x, predicate.missing) == []",
    ] {
        let outcome = condition(source).evaluate(&statement, NOW, &Fuel::default());
        assert!(
            matches!(outcome, Err(ConditionError::Execution(_))),
            "{source}: {outcome:?}"
        );
        let error = outcome.unwrap_err().to_string();
        assert!(error.len() < 300, "{error}");
    }
}

#[test]
fn pattern_of_the_data_is_compiled_once() {
    let words =
        |count: usize| json!({ "predicate": { "pattern": "a{1,3}b", "words": vec!["a"; count] }});
    let source = "predicate.words.all(w, !w.matches(predicate.pattern))";
    let (one, two) = (work(source, &words(1)), work(source, &words(2)));
    let twenty = work(source, &words(20));
    // Each further word adds the same, and less than the pattern costs.
    assert!(
        twenty - one < (two - one) * 20,
        "{one:?} {two:?} {twenty:?}"
    );
    assert!(two - one < one, "{one:?} {two:?}");
    let too_large = json!({ "predicate": { "pattern": "(a{1,99}){1,99}{1,99}", "words": ["a"] }});
    let outcome = condition(source).evaluate(&too_large, NOW, &Fuel::default());
    assert!(
        matches!(outcome, Err(ConditionError::Execution(_))),
        "{outcome:?}"
    );
}
