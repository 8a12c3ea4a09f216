//! Statements whose signer wants them to cost much. These tests count the work that is paid for, and never time.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};

use super::super::Condition;
use super::NOW;
use crate::policy::{ConditionError, Fuel, Rule as _};

/// Conditions whose work grows with the product of two things that the signer chooses.
const PRODUCTS: [&str; 20] = [
    "predicate.list.all(x, !(x in predicate.others))",
    "predicate.list.all(x, !predicate.text.contains(x))",
    "predicate.list.all(x, predicate.map == predicate.twin)",
    "predicate.list.all(x, !(predicate.map != predicate.twin))",
    "predicate.list.all(x, predicate.others == predicate.same)",
    "predicate.list.all(x, [predicate.others] == [predicate.same])",
    "predicate.list.all(x, predicate.text + x != '')",
    "predicate.list.all(x, size(predicate.others + [x]) > 0)",
    "predicate.list.all(x, !predicate.text.matches('zz+y'))",
    "predicate.list.all(x, predicate.text <= predicate.twin_text)",
    "predicate.list.all(x, predicate.text.size() > 0)",
    "predicate.list.all(x, string(predicate.text) != '')",
    "predicate.list.all(x, bytes(predicate.text) != b'')",
    "predicate.list.all(x, {predicate.text: x}.size() == 1)",
    "predicate.list.all(x, !(predicate.text in predicate.map))",
    "predicate.list.all(x, predicate.others.exists(y, y == x) || true)",
    "size(predicate.list.map(x, predicate.others.map(y, y + x))) > 0",
    "size(predicate.list.filter(x, predicate.others.exists_one(y, y == x))) >= 0",
    "[predicate.text + '!'].all(t, predicate.list.all(x, t.contains(x) || true))",
    "predicate.list.all(x, predicate.text.startsWith(predicate.text))",
];

/// A predicate of which everything that a condition may multiply has this size.
fn predicate(size: usize) -> Value {
    let others: Vec<_> = (0..size).map(|it| format!("other-{it}")).collect();
    let entries = others.iter().map(|it| (it.clone(), json!(it)));
    let map: serde_json::Map<_, _> = entries.collect();
    let text = "ab".repeat(size * 100);
    json!({ "predicate": {
        "list": (0..size).map(|it| format!("listed-{it}")).collect::<Vec<_>>(),
        "same": others.clone(),
        "others": others,
        "twin": map,
        "map": map,
        "twin_text": text,
        "text": text,
    }})
}

fn work(source: &str, statement: &Value) -> Duration {
    let fuel = Fuel::new(Duration::from_secs(10));
    let condition = Condition::new(source).unwrap();
    let outcome = condition.evaluate(statement, NOW, &fuel);
    assert!(
        !matches!(outcome, Err(ConditionError::OutOfFuel(_))),
        "{source}: {outcome:?}"
    );
    fuel.used()
}

#[test]
fn work_that_grows_with_a_product_is_paid_for() {
    let (few, many) = (predicate(40), predicate(640));
    let unpaid = PRODUCTS.iter().filter(|source| {
        let (few, many) = (work(source, &few), work(source, &many));
        // Sixteen times as large, so that what is only linear costs sixteen times as much.
        many < few * 25
    });
    let unpaid: Vec<_> = unpaid.collect();
    assert!(unpaid.is_empty(), "{unpaid:#?}");
}

#[test]
fn hostile_statements_end_within_the_limit_whatever_the_expression_makes_of_it() {
    let statement = predicate(600);
    for source in PRODUCTS {
        for source in [
            source.to_owned(),
            format!("!({source})"),
            format!("({source}) || true"),
            format!("({source}) ? true : true"),
            format!("[{source}].exists(it, !it || it)"),
        ] {
            let fuel = Fuel::new(Duration::from_millis(2));
            let Ok(condition) = Condition::new(&source) else {
                panic!("{source}");
            };
            let outcome = condition.evaluate(&statement, NOW, &fuel);
            assert!(
                matches!(outcome, Err(ConditionError::OutOfFuel(_))),
                "{source}: {outcome:?}"
            );
        }
    }
}

/// Expressions over whatever a predicate holds, from a seed. Each is one that an operator could write.
fn expression(random: &mut StdRng, depth: usize) -> String {
    let name = ["a", "b", "c"][random.random_range(0..3)];
    let part = format!("predicate.{name}");
    if depth == 0 {
        return format!("{part} == predicate.b");
    }
    let inner = expression(random, depth - 1);
    match random.random_range(0..11) {
        0 => format!("{part}.all(x, x in predicate.b || {inner})"),
        1 => format!("!{part}.exists(x, {inner})"),
        2 => format!("size({part}.map(x, [x, {part}, ({inner})])) > 3"),
        3 => format!("{part}.filter(x, {inner}) + predicate.a == predicate.c"),
        4 => format!("{part}.exists_one(x, x.contains(predicate.t) || {inner})"),
        5 => format!("{part}.all(x, x.matches(predicate.p) || {inner})"),
        6 => format!("{part}.all(x, (x + predicate.t) < predicate.t || {inner})"),
        7 => format!("({inner}) || true"),
        8 => format!("!({inner})"),
        9 => format!("{part}.all(x, predicate.m[x] == predicate.m || {inner})"),
        _ => format!("{part}.all(x, {part}[1.5] == x || {inner})"),
    }
}

fn hostile(random: &mut StdRng) -> Value {
    let mut list = || -> Vec<Value> {
        let size = random.random_range(1..600);
        let (text, length) = (random.random_bool(0.7), random.random_range(1..60));
        let element = |it: usize| {
            if text {
                json!("a".repeat(length))
            } else {
                json!(it)
            }
        };
        (0..size).map(element).collect()
    };
    let (a, b, c) = (list(), list(), list());
    let keys = b
        .iter()
        .enumerate()
        .map(|(at, it)| (at.to_string(), it.clone()));
    let keys: serde_json::Map<_, _> = keys.collect();
    let patterns = ["(a{1,20}){1,20}{1,10}b", "[ab]*a[ab]{200}", "(", "a+"];
    json!({ "predicate": {
        "a": a, "b": b, "c": c, "m": keys,
        "t": "a".repeat(random.random_range(1..20_000)),
        "p": patterns[random.random_range(0..4)],
    }})
}

#[test]
fn generated_conditions_never_pay_more_than_there_is() {
    let mut random = StdRng::seed_from_u64(20_261_130);
    let (mut ended, mut answered) = (0, 0);
    for round in 0..100 {
        let source = expression(&mut random, 1 + round % 4);
        let statement = hostile(&mut random);
        let condition = Condition::new(&source).unwrap();
        let fuel = Fuel::new(Duration::from_millis(3));
        match condition.evaluate(&statement, NOW, &fuel) {
            Err(ConditionError::OutOfFuel(_)) => ended += 1,
            _ => {
                answered += 1;
                assert!(fuel.left() > Duration::ZERO, "{source}");
            }
        }
        assert!(fuel.used() <= Duration::from_millis(3), "{source}");
    }
    assert!(ended > 20 && answered > 20, "{ended} {answered}");
}

#[test]
fn large_honest_statement_is_judged() {
    let component = |it: usize| {
        json!({
            "type": "library", "name": format!("component-{it}"), "version": "1.2.3",
            "purl": format!("pkg:npm/component-{it}@1.2.3"),
            "licenses": [{"license": {"id": "MIT"}}, {"license": {"id": "Apache-2.0"}}],
        })
    };
    let components: Vec<_> = (0..20_000).map(component).collect();
    let allowed = ["MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "MPL-2.0"];
    let statement = json!({ "predicate": { "components": components, "allowed": allowed } });
    assert!(statement.to_string().len() > 3_000_000);
    for source in [
        "predicate.components.all(c, !(c.name == 'xz-utils' && c.version.matches('^5[.]6[.][01]')))",
        "predicate.components.all(c, c.purl.startsWith('pkg:npm/'))",
        "predicate.components.all(c, c.licenses.all(l, l.license.id in predicate.allowed))",
        "!predicate.components.exists(c, c.name.contains('log4j') && c.version < '2.17')",
        "size(predicate.components.filter(c, has(c.version) && c.version != '')) == 20000",
    ] {
        let fuel = Fuel::default();
        let outcome = Condition::new(source)
            .unwrap()
            .evaluate(&statement, NOW, &fuel);
        assert!(matches!(outcome, Ok(true)), "{source}: {outcome:?}");
        assert!(
            fuel.used() < Duration::from_millis(150),
            "{source}: {:?}",
            fuel.used()
        );
    }
}

/// Prints what the work of [`PRODUCTS`] takes. Run it with `--ignored --nocapture`.
#[test]
#[ignore = "prints measurements and asserts nothing about them"]
fn processor_time_of_paid_work() {
    let statement = predicate(8_000);
    for source in PRODUCTS {
        let fuel = Fuel::default();
        let started = std::time::Instant::now();
        let outcome = Condition::new(source)
            .unwrap()
            .evaluate(&statement, NOW, &fuel);
        let taken = started.elapsed();
        println!(
            "{taken:>10.1?} for {:>10.1?} paid: {source}: {}",
            fuel.used(),
            outcome.is_err()
        );
    }
}
