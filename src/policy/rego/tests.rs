use std::time::Duration;

use serde_json::json;

use super::*;

/// No answer here depends on it.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// The form of the project's own examples.
const MODULE: &str = r#"
        package sigstore
        default isCompliant = false
        isCompliant {
          input.predicateType == "https://cosign.sigstore.dev/attestation/v1"
          input.predicate.Data == "foobar e2e test"
        }"#;

fn statement(data: &str) -> serde_json::Value {
    json!({
        "predicateType": "https://cosign.sigstore.dev/attestation/v1",
        "predicate": { "Data": data },
    })
}

fn evaluate(source: &str) -> Result<bool, ConditionError> {
    let condition = RegoCondition::new(source);
    condition.map_or_else(
        |error| panic!("{source}: {error}"),
        |it| it.evaluate(&statement("x"), NOW, &Fuel::default()),
    )
}

#[test]
fn a_module_of_either_version_is_asked_about_the_statement() {
    for module in [
        MODULE,
        &MODULE
            .replace("isCompliant {", "isCompliant if {")
            .replace(" = false", " := false"),
    ] {
        let condition = RegoCondition::new(module).unwrap();
        // What goes into the hash of a policy.
        assert_eq!(condition.source(), module);
        assert!(
            condition
                .evaluate(&statement("foobar e2e test"), NOW, &Fuel::default())
                .unwrap()
        );
        assert!(
            !condition
                .evaluate(&statement("another"), NOW, &Fuel::default())
                .unwrap()
        );
        assert!(
            !condition
                .evaluate(&json!({}), NOW, &Fuel::default())
                .unwrap()
        );
    }
}

#[test]
fn the_value_of_is_compliant_is_read_as_cosign_reads_it() {
    for (module, expected) in [
        ("isCompliant := true", true),
        ("isCompliant := false", false),
        ("isCompliant if input.nothing", false),
        ("isCompliant := []", false),
        (r#"isCompliant := [{}]"#, false),
        (r#"isCompliant := [{"result": true}]"#, true),
        (r#"isCompliant := [{"result": null}]"#, false),
        (r#"isCompliant := {{"result": true, "warning": ""}}"#, true),
        // The error is a message for the case that the result is false.
        (
            r#"isCompliant := [{"result": true, "error": "too old"}]"#,
            true,
        ),
        (r#"isCompliant := [{"result": false, "error": ""}]"#, false),
        // A warning fails the attestation, as in policy-controller.
        (
            r#"isCompliant := [{"result": true, "warning": "old"}]"#,
            false,
        ),
        (
            r#"isCompliant := [{"result": false, "warning": "old"}]"#,
            false,
        ),
        // One true verdict suffices, wherever it stands.
        (
            r#"isCompliant := [{"result": true}, {"result": false}]"#,
            true,
        ),
        (
            r#"isCompliant := [{"result": false, "error": "a"}, {"result": false}, {"result": true}]"#,
            true,
        ),
        (
            r#"isCompliant := {{"result": false, "error": "a"}, {"result": true, "error": "b"}}"#,
            true,
        ),
        // The first true verdict decides.
        (
            r#"isCompliant := [{"result": true, "warning": "old"}, {"result": true}]"#,
            false,
        ),
        (
            r#"isCompliant := [{"result": true}, {"result": true, "warning": "old"}]"#,
            true,
        ),
        // The verdicts after it are not read.
        (r#"isCompliant := [{"result": true}, "yes"]"#, true),
        (r#"isCompliant := [{"result": true, "other": [1]}]"#, true),
    ] {
        let module = format!("package sigstore\n{module}");
        assert_eq!(evaluate(&module).unwrap(), expected, "{module}");
    }
}

#[test]
fn a_value_that_cannot_be_read_has_no_answer() {
    for value in [
        "1",
        "\"true\"",
        "null",
        r#"{"result": true}"#,
        r#"["yes", {"result": true}]"#,
        "[true]",
        r#"[{"result": "true"}]"#,
        r#"[{"result": 1}]"#,
        r#"[{"result": false, "error": 1}, {"result": true}]"#,
        r#"[{"result": true, "warning": ["old"]}]"#,
        // Go folds the case of keys, so this one warns there.
        r#"[{"result": true, "Warning": "old"}]"#,
        r#"[{"Result": true}]"#,
        r#"[{"re\u017fult": false, "result": true}]"#,
        r#"[{1: 2, "result": true}]"#,
    ] {
        let module = format!("package sigstore\nisCompliant := {value}");
        let outcome = evaluate(&module);
        assert!(outcome.is_err(), "{module}: {outcome:?}");
    }
}

#[test]
fn partial_rules_of_the_first_version_list_verdicts() {
    const ALTERNATIVES: &str = r#"package sigstore
        isCompliant[verdict] {
            high := [finding | finding := input.findings[_]; finding.severity == "HIGH"]
            result := count(high) == 0
            verdict := {"result": result, "error": sprintf("%d high findings", [count(high)]), "warning": ""}
        }
        isCompliant[verdict] {
            verdict := {"result": input.accepted, "error": "not accepted", "warning": ""}
        }"#;
    let condition = RegoCondition::new(ALTERNATIVES).unwrap();
    for (findings, accepted, expected) in [
        (json!([]), json!(false), true),
        (json!([{"severity": "HIGH"}]), json!(true), true),
        (json!([{"severity": "HIGH"}]), json!(false), false),
        (json!([{"severity": "LOW"}]), json!(false), true),
    ] {
        let statement = json!({ "findings": findings, "accepted": accepted });
        let outcome = condition
            .evaluate(&statement, NOW, &Fuel::default())
            .unwrap();
        assert_eq!(outcome, expected, "{statement}");
    }
    // Without `accepted` the second rule has no verdict.
    let statement = json!({ "findings": [{"severity": "HIGH"}] });
    assert!(
        !condition
            .evaluate(&statement, NOW, &Fuel::default())
            .unwrap()
    );
    let constant = RegoCondition::new(
        r#"package sigstore
        isCompliant[{"result": true, "error": "", "warning": ""}]"#,
    );
    assert!(
        constant
            .unwrap()
            .evaluate(&statement, NOW, &Fuel::default())
            .unwrap()
    );
}

#[test]
fn a_function_that_fails_leaves_no_answer() {
    // A failure must not make `not` true.
    for body in [
        "not to_number(\"x\")",
        "not 1 / 0 == 1",
        "to_number(\"x\") == 1",
    ] {
        let module = format!("package sigstore\nisCompliant if {body}");
        assert!(evaluate(&module).is_err(), "{module}");
    }
}

#[test]
fn nothing_but_the_statement_is_looked_at() {
    for call in [
        "http.send({})",
        "time.now_ns()",
        "rand.intn(\"a\", 2)",
        "opa.runtime()",
    ] {
        let module = format!("package sigstore\nisCompliant if {call}");
        assert!(
            matches!(RegoCondition::new(&module), Err(RegoSyntaxError::Impure(_))),
            "{call}"
        );
    }
}

#[test]
fn what_there_is_not_is_refused() {
    for (module, part) in [
        ("default isCompliant = fals", "default value"),
        ("isCompliant if input.x == tru", "undefined variable `tru`"),
        ("isCompliant if nofunc(input)", "no function `nofunc`"),
        (
            "isCompliant if { false; nofunc(1) }",
            "no function `nofunc`",
        ),
        (
            "isCompliant if io.jwt.decode(input)",
            "no function `io.jwt.decode`",
        ),
        (
            "isCompliant if every x in input.l { nofunc(x) }",
            "no function `nofunc`",
        ),
        (
            "import data.lib\nisCompliant if lib.check(input)",
            "no function `lib.check`",
        ),
        (
            "check(x) if nofunc(x)\nisCompliant if check(input)",
            "no function `nofunc`",
        ),
    ] {
        let error = RegoCondition::new(&format!("package sigstore\n{module}")).unwrap_err();
        assert!(error.to_string().contains(part), "{module}: {error}");
    }
    for module in [
        "check(x) if x.a == 1\nisCompliant if check(input)",
        "check(x) if x.a == 1\nisCompliant if data.sigstore.check(input)",
        "default check(_) := false\nisCompliant if check(input)",
        "isCompliant if 10 / object.get(input, \"n\", 0) == 2",
        "isCompliant if { print(input); json.unmarshal(input.text).a == 1 }",
        // Comments are not what is wrong with it.
        "isCompliant if json.unmarshal(object.get(input, \"a\", \"\")).a > 3 # default value",
        &format!("isCompliant if {}input.a == 1", "input.a + ".repeat(60)),
        "isCompliant if { x := input.a with input as {\"a\": 1}; count(sprintf(\"%d\", [x])) == 1 }",
    ] {
        let condition = RegoCondition::new(&format!("package sigstore\n{module}"));
        assert!(condition.is_ok(), "{module}: {condition:?}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused() {
    assert!(matches!(
        RegoCondition::new("package sigstore\nisCompliant {"),
        Err(RegoSyntaxError::Parse(_))
    ));
    assert!(matches!(
        RegoCondition::new("package other\nisCompliant := true"),
        Err(RegoSyntaxError::NoRule)
    ));
    assert!(matches!(
        RegoCondition::new("package sigstore\nallow := true"),
        Err(RegoSyntaxError::NoRule)
    ));
    let long = format!(
        "package sigstore\n# {}",
        "x".repeat(RegoCondition::SOURCE_BYTES_MAX)
    );
    assert!(matches!(
        RegoCondition::new(&long),
        Err(RegoSyntaxError::TooLong)
    ));
}

#[test]
fn an_evaluation_that_does_not_end_has_no_answer() {
    let module = "package sigstore
            isCompliant if {
              some a in numbers.range(1, 3000)
              some b in numbers.range(1, 3000)
              some c in numbers.range(1, 3000)
              a + b + c == 0
            }";
    assert!(evaluate(module).is_err());
}

#[test]
fn can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<RegoCondition>();
}

/// Modules whose work a signer chooses, without an answer for any statement.
const HOSTILE: [&str; 8] = [
    "isCompliant if { some i, j; input.predicate.list[i] == input.predicate.list[j]; i > j; false }",
    "isCompliant if not slow\nslow if { count([x | some i, j; x := [input.predicate.list[i], input.predicate.list[j]]]) < 0 }",
    "default isCompliant := true\nisCompliant := false if { some i, j, k; input.predicate.list[i]; input.predicate.list[j]; input.predicate.list[k]; false }",
    "isCompliant if { every x in input.predicate.list { every y in input.predicate.list { every z in input.predicate.list { x + y + z >= 0 } } } }",
    "isCompliant if { count(numbers.range(1, input.predicate.huge)) > 0 }",
    "isCompliant if { count(concat(input.predicate.text, [input.predicate.text | some x in input.predicate.list])) > 0 }",
    "isCompliant if { count(replace(input.predicate.text, \"a\", input.predicate.text)) > 0 }",
    "isCompliant if { regex.match(\"(a{1,99}){1,99}b\", input.predicate.text) == false }",
];

#[test]
fn hostile_statement_ends_without_an_answer() {
    let statement = json!({ "predicate": {
        "list": (0..3000).collect::<Vec<_>>(), "text": "a".repeat(300_000), "huge": i64::MAX,
    }});
    for rules in HOSTILE {
        let module = format!("package sigstore\nimport rego.v1\n{rules}");
        let condition = RegoCondition::new(&module);
        let condition = condition.unwrap_or_else(|error| panic!("{rules}: {error}"));
        let fuel = Fuel::new(Duration::from_millis(300));
        let outcome = condition.evaluate(&statement, NOW, &fuel);
        assert!(outcome.is_err(), "{rules}: {outcome:?}");
    }
}

#[test]
fn evaluation_that_runs_out_of_time_empties_the_tank() {
    let module = format!("package sigstore\nimport rego.v1\n{}", HOSTILE[1]);
    let statement = json!({ "predicate": { "list": (0..3000).collect::<Vec<_>>() }});
    let condition = RegoCondition::new(&module).unwrap();
    let fuel = Fuel::new(Duration::from_millis(100));
    let outcome = condition.evaluate(&statement, NOW, &fuel);
    assert!(
        matches!(outcome, Err(ConditionError::OutOfFuel(_))),
        "{outcome:?}"
    );
    // Another statement of the same decision gets no more.
    let outcome = condition.evaluate(&json!({ "predicate": {} }), NOW, &fuel);
    assert!(
        matches!(outcome, Err(ConditionError::OutOfFuel(_))),
        "{outcome:?}"
    );
}

#[test]
fn functions_in_the_place_of_the_evaluators_own_answer_alike() {
    for (expression, expected) in [
        (r#"concat("-", ["a", "b"]) == "a-b""#, true),
        (r#"concat("", {"b", "a"}) == "ab""#, true),
        ("numbers.range(3, 1) == [3, 2, 1]", true),
        ("numbers.range(-1, 1) == [-1, 0, 1]", true),
        (r#"replace("aXbX", "X", "-") == "a-b-""#, true),
        (
            r#"strings.replace_n({"a": "b", "b": "c"}, "ab") == "cc""#,
            true,
        ),
        (r#"regex.match("^v[0-9]+$", "v12")"#, true),
        (r#"regex.match("^v[0-9]+$", "v")"#, false),
    ] {
        let module = format!("package sigstore\nimport rego.v1\nisCompliant if {{ {expression} }}");
        assert_eq!(evaluate(&module).unwrap(), expected, "{expression}");
    }
}
