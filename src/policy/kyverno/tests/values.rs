//! Texts that mean something: durations, quantities, versions, names of images, and what the functions make of them.

use std::cmp::Ordering;

use serde_json::json;

use super::super::scalar;
use super::times::evaluated;
use super::*;
use crate::policy::kyverno::version::Version;

const BILLION: i128 = 1_000_000_000;

#[test]
fn durations_as_go_writes_them() {
    for (text, nanoseconds) in [
        ("1ns", Some(1)),
        ("1us", Some(1_000)),
        ("1µs", Some(1_000)),
        ("1μs", Some(1_000)),
        ("1ms", Some(1_000_000)),
        ("1s", Some(BILLION)),
        ("1m", Some(60 * BILLION)),
        ("1h", Some(3600 * BILLION)),
        ("1h30m", Some(5400 * BILLION)),
        ("-1.5s", Some(-3 * BILLION / 2)),
        ("+2m", Some(120 * BILLION)),
        (".5s", Some(BILLION / 2)),
        ("", None),
        ("-", None),
        ("+", None),
        ("5", None),
        ("0", None),
        ("+0", Some(0)),
        ("-0", Some(0)),
        ("0s", Some(0)),
        ("1.h", Some(3600 * BILLION)),
        (".h", None),
        ("1..5s", None),
        ("1.5.5s", None),
        // Digits beyond the nanosecond are dropped.
        ("1.2345678919s", Some(1_234_567_891)),
        ("0.1234567890123456789s", Some(123_456_789)),
        // The longest durations, and longer ones.
        ("9223372036854775807ns", Some(i128::from(i64::MAX))),
        ("-9223372036854775808ns", Some(i128::from(i64::MIN))),
        ("9223372036854775808ns", None),
        ("2562047h47m16.854775807s", Some(i128::from(i64::MAX))),
        ("2562047h47m16.854775808s", None),
        ("3000000h", None),
        ("99999999999999999999h", None),
        ("s", None),
        ("1d", None),
        ("1s ", None),
    ] {
        assert_eq!(scalar::duration(text), nanoseconds, "{text:?}");
    }
}

#[test]
fn quantities_as_kubernetes_writes_them() {
    for (text, billionths) in [
        ("12", Some(12 * BILLION)),
        ("1.5", Some(3 * BILLION / 2)),
        (".5", Some(BILLION / 2)),
        ("1.", Some(BILLION)),
        ("-1", Some(-BILLION)),
        ("+1", Some(BILLION)),
        ("2000000000n", Some(2 * BILLION)),
        ("3000000u", Some(3 * BILLION)),
        ("4000m", Some(4 * BILLION)),
        ("1k", Some(1_000 * BILLION)),
        ("1M", Some(1_000_000 * BILLION)),
        ("1G", Some(BILLION * BILLION)),
        ("1T", Some(1_000 * BILLION * BILLION)),
        ("1P", Some(1_000_000 * BILLION * BILLION)),
        ("1E", Some(BILLION * BILLION * BILLION)),
        ("1Ki", Some(1024 * BILLION)),
        ("1Mi", Some(1024_i128.pow(2) * BILLION)),
        ("1Gi", Some(1024_i128.pow(3) * BILLION)),
        ("1Ti", Some(1024_i128.pow(4) * BILLION)),
        ("1Pi", Some(1024_i128.pow(5) * BILLION)),
        ("1Ei", Some(1024_i128.pow(6) * BILLION)),
        ("2e3", Some(2_000 * BILLION)),
        ("2E3", Some(2_000 * BILLION)),
        ("1.123456789", Some(1_123_456_789)),
        ("1.1234567891", None),
        (
            "999999999999999999",
            Some(999_999_999_999_999_999 * BILLION),
        ),
        ("1000000000000000000", None),
        ("1.2.3", None),
        ("", None),
        (".", None),
        ("-", None),
        ("1Kb", None),
        ("e3", None),
    ] {
        assert_eq!(scalar::quantity(text), billionths, "{text:?}");
        assert!(
            billionths.is_none() || scalar::is_quantity(text),
            "{text:?}"
        );
    }
    // What cannot be calculated with may be one all the same.
    for (text, is_one) in [
        ("1.1234567891", true),
        ("-1000000000000000000Gi", true),
        ("1e-3", true),
        ("1E99", true),
        ("1.2.3", false),
        ("1e", false),
        ("1e3.5", false),
        ("1Kb", false),
        ("e3", false),
        ("Gi", false),
        (".", false),
        ("+", false),
        ("", false),
    ] {
        assert_eq!(scalar::is_quantity(text), is_one, "{text:?}");
    }
}

#[test]
fn seconds_are_whole_and_not_too_many() {
    for (value, nanoseconds) in [
        (json!(1), Some(BILLION)),
        (json!(1.9), Some(BILLION)),
        (json!(-1.9), Some(-BILLION)),
        (json!(9e9), Some(9 * BILLION * BILLION)),
        (json!(9e9 + 1.0), None),
        (json!(1e10), None),
        (json!("1"), None),
    ] {
        assert_eq!(scalar::seconds(&value), nanoseconds, "{value}");
    }
}

#[test]
fn versions_have_an_order_or_are_none() {
    let ascending = [
        "0.9.10",
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-rc-1",
        "1.0.0",
        "1.0.1",
        "1.2.0",
        "1.10.0",
        "2.0.0",
    ];
    for (index, lower) in ascending.iter().enumerate() {
        let version = Version::parse(lower).unwrap();
        assert_eq!(version.compare(&version), Ordering::Equal);
        for higher in &ascending[index + 1..] {
            let other = Version::parse(higher).unwrap();
            assert_eq!(version.compare(&other), Ordering::Less, "{lower} {higher}");
            assert_eq!(other.compare(&version), Ordering::Greater);
        }
    }
    for built in ["1.0.0+build.7", "1.0.0+007", "1.0.0+a-b"] {
        assert_eq!(Version::parse(built), Version::parse("1.0.0"), "{built}");
    }
    for text in [
        "",
        "1",
        "1.0",
        "1.0.0.0",
        "1.0.x",
        "01.0.0",
        "1.0.00",
        "1..0",
        "v1.0.0",
        "1.0.0-",
        "1.0.0-a..b",
        "1.0.0-a_b",
        "1.0.0-a b",
        "1.0.0-01",
        "1.0.0-a.00",
        "1.0.0-99999999999999999999",
        "1.0.0+",
        "1.0.0+a..b",
        "1.0.0+a_b",
        "99999999999999999999.0.0",
        "-1.0.0",
    ] {
        assert_eq!(Version::parse(text), None, "{text:?}");
    }
    for text in ["0.0.0", "1.0.0-0", "1.0.0-0a", "1.0.0-a0"] {
        assert!(Version::parse(text).is_some(), "{text:?}");
    }
}

#[test]
fn names_of_images_have_their_limits() {
    let sized = |length: usize| format!("a.io/{}", "a".repeat(length));
    for (reference, is_image) in [
        (sized(255), true),
        (sized(256), false),
        (format!("a.io/b:{}", "t".repeat(128)), true),
        (format!("a.io/b:{}", "t".repeat(129)), false),
        ("a.io/b:_t.-".to_owned(), true),
        ("a.io/b:.t".to_owned(), false),
        ("a.io/b:t/u".to_owned(), false),
        ("a.io:5000/b".to_owned(), true),
        ("a.io:/b".to_owned(), false),
        ("a.io:50x/b".to_owned(), false),
        ("-a.io/b".to_owned(), false),
        ("a-.io/b".to_owned(), false),
        ("a..io/b".to_owned(), false),
        ("a_b.io/c".to_owned(), false),
        ("A/b".to_owned(), true),
        ("a.io/b__c/d---e".to_owned(), true),
        ("a.io/b___c".to_owned(), false),
        ("a.io/b..c".to_owned(), false),
        ("a.io/b._c".to_owned(), false),
        ("a.io/-b".to_owned(), false),
        ("a.io/b-".to_owned(), false),
        ("a.io/B".to_owned(), false),
        ("a.io//b".to_owned(), false),
        ("a.io/".to_owned(), false),
        (format!("a.io/b@sha256:{}", "0f".repeat(32)), true),
        (format!("a.io/b@sha384:{}", "0f".repeat(48)), true),
        (format!("a.io/b@sha512:{}", "0f".repeat(64)), true),
        (format!("a.io/b@sha256:{}", "0f".repeat(48)), false),
        (format!("a.io/b@sha256:{}", "0F".repeat(32)), false),
        (format!("a.io/b@md5:{}", "0f".repeat(16)), false),
    ] {
        assert_eq!(Image::parse(&reference).is_some(), is_image, "{reference}");
    }
}

#[test]
fn functions_answer_as_kyvernos_do() {
    for (expression, answer) in [
        ("base64_decode('eA==')", Some(json!("x"))),
        ("base64_decode('?')", None),
        ("base64_encode('x')", Some(json!("eA=="))),
        ("compare('a', 'b')", Some(json!(-1))),
        ("compare('b', 'a')", Some(json!(1))),
        ("compare('a', 'a')", Some(json!(0))),
        ("equal_fold('Go', 'GO')", Some(json!(true))),
        ("equal_fold('Go', 'No')", Some(json!(false))),
        ("parse_json('{\"a\": 1}').a", Some(json!(1))),
        ("parse_json('{')", None),
        ("pattern_match('a*', 'abc')", Some(json!(true))),
        ("pattern_match('a?', 'abc')", Some(json!(false))),
        ("regex_match('^a', 'abc')", Some(json!(true))),
        ("regex_match('^b', 'abc')", Some(json!(false))),
        ("regex_match('(', 'abc')", None),
        ("replace_all('a.b.c', '.', '-')", Some(json!("a-b-c"))),
        ("split('a,b', ',')", Some(json!(["a", "b"]))),
        ("split('a,b', '')", None),
        ("to_boolean('True')", Some(json!(true))),
        ("to_boolean('false')", Some(json!(false))),
        ("to_boolean('yes')", None),
        ("to_lower('Go')", Some(json!("go"))),
        ("to_upper('Go')", Some(json!("GO"))),
        ("trim('--a--', '-')", Some(json!("a"))),
        ("trim_prefix('v1', 'v')", Some(json!("1"))),
        ("trim_prefix('1', 'v')", Some(json!("1"))),
    ] {
        assert_eq!(evaluated(expression), answer, "{expression}");
    }
    let longest = Matcher::SOURCE_BYTES_MAX;
    for (length, answer) in [(longest, Some(json!(false))), (longest + 1, None)] {
        let expression = format!("regex_match('{}', 'b')", "a".repeat(length));
        assert_eq!(evaluated(&expression), answer, "{length}");
    }
}

/// The source goes into the hash of a policy.
#[test]
fn a_coverage_is_described_by_its_patterns() {
    let described = [
        coverage(&["ghcr.io/*"], &[]).describe(),
        coverage(&["ghcr.io/a*"], &[]).describe(),
        coverage(&["ghcr.io/*"], &["ghcr.io/a*"]).describe(),
    ];
    for (index, one) in described.iter().enumerate() {
        assert!(!described[..index].contains(one), "{one}");
    }
}
