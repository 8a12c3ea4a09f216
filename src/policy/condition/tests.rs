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
            condition(source).evaluate(&statement(), NOW).unwrap(),
            "{source}"
        );
    }
    let false_one = condition("predicate.buildDefinition.runs > 3");
    assert!(!false_one.evaluate(&statement(), NOW).unwrap());
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
                condition(source).evaluate(&statement(), NOW),
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
                condition(source).evaluate(&statement(), NOW),
                Err(ConditionError::NotBoolean(_))
            ),
            "{source}"
        );
    }
}

#[test]
fn a_statement_without_predicate_has_a_null_one() {
    let condition = Condition::new("predicate == null").unwrap();
    assert!(condition.evaluate(&json!({}), NOW).unwrap());
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

#[test]
fn steps_are_bounded() {
    let numbers = |count: u64| json!({ "predicate": (0..count).collect::<Vec<_>>() });
    for source in SQUARES {
        let condition = condition(source);
        assert!(condition.evaluate_within(30 * 31, &numbers(30)).unwrap());
        assert!(
            matches!(
                condition.evaluate_within(30 * 30 - 1, &numbers(30)),
                Err(ConditionError::TooManySteps)
            ),
            "{source}"
        );
    }
    // Where one is enough of a list, the others are no steps.
    let first = condition("predicate.exists(a, a == 0)");
    assert!(first.evaluate_within(10, &numbers(1000)).unwrap());
}

#[test]
fn the_worst_that_fits_into_a_bundle_ends_soon() {
    let statement = json!({ "predicate": vec![0; 500_000] });
    let cube = condition("predicate.all(a, predicate.all(b, predicate.all(c, a + b + c == 0)))");
    let started = std::time::Instant::now();
    assert!(matches!(
        cube.evaluate(&statement, NOW),
        Err(ConditionError::TooManySteps)
    ));
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
    // A list of packages with their licences is no square.
    let package = json!({ "licences": ["MIT", "Apache-2.0", "BSD-3-Clause"] });
    let statement = json!({ "predicate": { "packages": vec![package; 20_000] } });
    let licences = condition("predicate.packages.all(p, !p.licences.exists(l, l == 'AGPL-3.0'))");
    assert!(licences.evaluate(&statement, NOW).unwrap());
}

#[test]
fn can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Condition>();
}
