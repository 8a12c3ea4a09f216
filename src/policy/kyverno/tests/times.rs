//! The functions of times, and the layouts by which times are read.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::time::Time;
use super::super::{functions, scalar};
use crate::policy::Fuel;

/// When everything here is asked.
pub(super) const NOW: Timestamp = Timestamp::constant(1_767_225_600, 987_000_000);

/// What an expression gives; nothing where it is an error.
pub(super) fn evaluated(expression: &str) -> Option<Value> {
    let runtime = functions::runtime(NOW, &Fuel::default(), &Arc::default());
    let compiled = runtime.compile(expression).unwrap();
    let answer = compiled.search(json!({})).ok()?;
    Some(serde_json::to_value(answer).unwrap())
}

/// The first column of Kyverno's own tests, and what else its code says.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn functions_of_times_answer_as_kyvernos_do() {
    for (expression, answer) in [
        // pkg/engine/jmespath/time_test.go
        (
            "time_since('', '2021-01-02T15:04:05-07:00', '2021-01-10T03:14:05-07:00')",
            Some("180h10m0s"),
        ),
        (
            "time_since('Mon Jan _2 15:04:05 MST 2006', 'Mon Jan 02 15:04:05 MST 2021', 'Mon Jan 10 03:14:16 MST 2021')",
            Some("180h10m11s"),
        ),
        (
            "time_add('2021-01-02T15:04:05-07:00', '3h')",
            Some("2021-01-02T18:04:05-07:00"),
        ),
        (
            "time_add(time_parse('Mon Jan 02 15:04:05 -0700 2006', 'Sat Jan 02 15:04:05 -0700 2021'), '5h30m40s')",
            Some("2021-01-02T20:34:45-07:00"),
        ),
        (
            "time_parse('2006-01-02T15:04:05Z07:00', '2021-01-02T15:04:05-07:00')",
            Some("2021-01-02T15:04:05-07:00"),
        ),
        (
            "time_parse('Mon Jan 02 15:04:05 -0700 2006', 'Sat Jan 02 15:04:05 -0700 2021')",
            Some("2021-01-02T15:04:05-07:00"),
        ),
        (
            "time_parse('1702691171', '1702691171')",
            Some("2023-12-16T01:46:11Z"),
        ),
        (
            "time_utc('2023-02-02T15:04:05Z')",
            Some("2023-02-02T15:04:05Z"),
        ),
        (
            "time_utc('2023-02-02T15:04:05-07:00')",
            Some("2023-02-02T22:04:05Z"),
        ),
        (
            "time_diff('2021-01-02T15:04:05-07:00', '2021-01-10T03:14:05-07:00')",
            Some("180h10m0s"),
        ),
        // Now is 2026-01-01T00:00:00.987Z.
        ("time_now()", Some("2026-01-01T00:00:00Z")),
        ("time_now_utc()", Some("2026-01-01T00:00:00Z")),
        (
            "time_since('', '2025-12-31T23:00:00Z', '')",
            Some("1h0m0.987s"),
        ),
        (
            "time_since('2006-01-02', '2025-12-31', '')",
            Some("24h0m0.987s"),
        ),
        ("time_since('', '2026-01-01T00:00:00.987Z', '')", Some("0s")),
        // What has not been yet, whatever it is compared with.
        ("time_since('', '2026-01-01T00:00:00.988Z', '')", None),
        (
            "time_since('', '2026-01-02T00:00:00Z', '2026-01-03T00:00:00Z')",
            None,
        ),
        // An end before the start is one all the same.
        (
            "time_since('', '2025-01-02T00:00:00Z', '2025-01-01T00:00:00Z')",
            Some("-24h0m0s"),
        ),
        (
            "time_diff('2025-01-02T00:00:00Z', '2025-01-01T00:00:00Z')",
            Some("-24h0m0s"),
        ),
        ("time_since('', 'yesterday', '')", None),
        ("time_since('', '2025-12-31T23:00:00Z', 'today')", None),
        ("time_since('2006-01-02', '2025-12-31T23:00:00Z', '')", None),
        ("time_since('', '', '')", None),
        // Longer than a duration can be.
        (
            "time_diff('1600-01-01T00:00:00Z', '2025-01-01T00:00:00Z')",
            Some("2562047h47m16.854775807s"),
        ),
        (
            "time_diff('2025-01-01T00:00:00Z', '1600-01-01T00:00:00Z')",
            Some("-2562047h47m16.854775808s"),
        ),
        (
            "time_add('2021-01-02T00:00:00.9Z', '-36h')",
            Some("2020-12-31T12:00:00Z"),
        ),
        (
            "time_add('2021-01-02T00:00:00Z', '0')",
            Some("2021-01-02T00:00:00Z"),
        ),
        ("time_add('2021-01-02T00:00:00Z', '1d')", None),
        ("time_add('9999-12-01T00:00:00Z', '2000h')", None),
        ("time_add('0000-01-01T00:00:00Z', '-1h')", None),
        (
            "time_add('0000-01-01T00:00:00Z', '1h')",
            Some("0000-01-01T01:00:00Z"),
        ),
        (
            "time_truncate('2021-01-02T17:14:05+02:30', '1h')",
            Some("2021-01-02T16:30:00+02:30"),
        ),
        (
            "time_truncate('2021-01-02T17:14:05Z', '24h')",
            Some("2021-01-02T00:00:00Z"),
        ),
        // Counted from the year 1, which began on a Monday.
        (
            "time_truncate('2021-01-02T17:14:05Z', '168h')",
            Some("2020-12-28T00:00:00Z"),
        ),
        (
            "time_truncate('2021-01-02T17:14:05Z', '-1h')",
            Some("2021-01-02T17:14:05Z"),
        ),
        ("time_truncate('2021-01-02T17:14:05Z', '1')", None),
        ("time_parse('0', '-1')", Some("1969-12-31T23:59:59Z")),
        ("time_parse('0', '99999999999999')", None),
        (
            "time_parse('2006-01-02 -07:00:00', '2021-01-02 +00:00:30')",
            Some("2021-01-02T00:00:00+00:00"),
        ),
        ("time_parse('0', '2021-01-02')", None),
        // A layout that is a number is no layout.
        ("time_parse('2006', '2021')", Some("1970-01-01T00:33:41Z")),
        ("time_parse('', '2021-01-02T00:00:00Z')", None),
    ] {
        assert_eq!(
            evaluated(expression),
            answer.map(Value::from),
            "{expression}"
        );
    }
}

#[test]
fn times_are_compared_as_kyverno_does() {
    let day = |day: u8| format!("'2021-01-0{day}T15:04:05-07:00'");
    let [first, second, third] = [1, 2, 3].map(day);
    for (expression, answer) in [
        (format!("time_after({second}, {first})"), Some(true)),
        (format!("time_after({first}, {first})"), Some(false)),
        (format!("time_after({first}, {second})"), Some(false)),
        (format!("time_before({first}, {second})"), Some(true)),
        (format!("time_before({first}, {first})"), Some(false)),
        (format!("time_before({second}, {first})"), Some(false)),
        (
            format!("time_between({second}, {first}, {third})"),
            Some(true),
        ),
        (
            format!("time_between({first}, {first}, {third})"),
            Some(false),
        ),
        (
            format!("time_between({third}, {first}, {third})"),
            Some(false),
        ),
        // The same moment under two clocks.
        (
            format!("time_after({first}, '2021-01-01T22:04:05Z')"),
            Some(false),
        ),
        (
            format!("time_before('2021-01-01T22:04:04Z', {first})"),
            Some(true),
        ),
        (format!("time_after('yesterday', {first})"), None),
        (format!("time_before(`1`, {first})"), None),
        (format!("time_between({first}, {first}, `1`)"), None),
    ] {
        assert_eq!(
            evaluated(&expression),
            answer.map(Value::from),
            "{expression}"
        );
    }
}

/// Worked out from Go's documentation of `time.Parse` and of the layouts.
#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn times_are_read_by_layouts_as_go_reads_them() {
    const RFC3339: &str = "2006-01-02T15:04:05Z07:00";
    for (layout, text, expected) in [
        (
            RFC3339,
            "2021-01-02T15:04:05Z",
            Some("2021-01-02T15:04:05Z"),
        ),
        (
            RFC3339,
            "2021-01-02T15:04:05.123456789Z",
            Some("2021-01-02T15:04:05.123456789Z"),
        ),
        (
            RFC3339,
            "2021-01-02T15:04:05,5+01:00",
            Some("2021-01-02T14:04:05.5Z"),
        ),
        (RFC3339, "2021-01-02T5:04:05Z", Some("2021-01-02T05:04:05Z")),
        (
            RFC3339,
            "2020-02-29T00:00:00Z",
            Some("2020-02-29T00:00:00Z"),
        ),
        // What other readers take for RFC 3339.
        (RFC3339, "2021-01-02 15:04:05Z", None),
        (RFC3339, "2021-01-02t15:04:05Z", None),
        (RFC3339, "2021-01-02T15:04:05z", None),
        (RFC3339, "2021-01-02T15:04:05", None),
        (RFC3339, "2021-01-02T15:04Z", None),
        (RFC3339, "2021-01-02T15:04:05+0100", None),
        (RFC3339, "2021-01-02T15:04:05+01", None),
        (RFC3339, "2021-01-02T15:04:05Z[UTC]", None),
        (RFC3339, " 2021-01-02T15:04:05Z", None),
        (RFC3339, "2021-01-02T15:04:05Z ", None),
        (RFC3339, "2021-1-02T15:04:05Z", None),
        (RFC3339, "21-01-02T15:04:05Z", None),
        (RFC3339, "2021-13-02T15:04:05Z", None),
        (RFC3339, "2021-00-02T15:04:05Z", None),
        (RFC3339, "2021-02-29T15:04:05Z", None),
        (RFC3339, "2021-01-32T15:04:05Z", None),
        (RFC3339, "2021-01-00T15:04:05Z", None),
        (RFC3339, "2021-01-02T24:00:00Z", None),
        (RFC3339, "2021-01-02T15:60:05Z", None),
        (RFC3339, "2021-01-02T15:04:60Z", None),
        (RFC3339, "2021-01-02T15:04:05.Z", None),
        (RFC3339, "2021-01-02T15:04:05+25:00", None),
        (RFC3339, "2021-01-02T15:04:05+01:61", None),
        (RFC3339, "2021-01-02T15:04:05*01:00", None),
        (RFC3339, "", None),
        // A word only where none goes on.
        ("Jan 2 2006", "feb 3 2021", Some("2021-02-03T00:00:00Z")),
        (
            "January 2, 2006",
            "December 31, 2021",
            Some("2021-12-31T00:00:00Z"),
        ),
        ("January 2, 2006", "Dec 31, 2021", None),
        ("Janus 2 2006", "Janus 3 2021", Some("2021-01-03T00:00:00Z")),
        (
            "Monday 02-Jan-06",
            "friday 01-Jan-21",
            Some("2021-01-01T00:00:00Z"),
        ),
        ("Mon 02-Jan-06", "Xyz 01-Jan-21", None),
        ("06", "69", Some("1969-01-01T00:00:00Z")),
        ("06", "68", Some("2068-01-01T00:00:00Z")),
        ("_2 Jan 2006", " 3 Jan 2021", Some("2021-01-03T00:00:00Z")),
        ("_2 Jan 2006", "13 Jan 2021", Some("2021-01-13T00:00:00Z")),
        ("02 Jan 2006", "3 Jan 2021", None),
        ("a_2006", "a_2021", Some("2021-01-01T00:00:00Z")),
        ("2006 002", "2021 059", Some("2021-02-28T00:00:00Z")),
        ("2006 002", "2020 366", Some("2020-12-31T00:00:00Z")),
        ("2006 002", "2021 366", None),
        ("2006 002", "2021 59", None),
        ("2006 __2", "2021  59", Some("2021-02-28T00:00:00Z")),
        ("2006-01 002", "2021-02 059", Some("2021-02-28T00:00:00Z")),
        ("2006-01 002", "2021-03 059", None),
        ("2006-02 002", "2021-27 059", None),
        (
            "2006-01-02 3:04PM",
            "2021-01-02 12:04AM",
            Some("2021-01-02T00:04:00Z"),
        ),
        (
            "2006-01-02 3:04PM",
            "2021-01-02 12:04PM",
            Some("2021-01-02T12:04:00Z"),
        ),
        (
            "2006-01-02 3:04PM",
            "2021-01-02 5:04AM",
            Some("2021-01-02T05:04:00Z"),
        ),
        (
            "2006-01-02 03:04 pm",
            "2021-01-02 03:04 pm",
            Some("2021-01-02T15:04:00Z"),
        ),
        ("2006-01-02 03:04 pm", "2021-01-02 03:04 PM", None),
        ("2006-01-02 3:04PM", "2021-01-02 13:04PM", None),
        (
            "2006-1-2 15:4:5",
            "2021-1-2 3:4:5",
            Some("2021-01-02T03:04:05Z"),
        ),
        (
            "2006-01-02 15:04:05.000",
            "2021-01-02 15:04:05.250",
            Some("2021-01-02T15:04:05.25Z"),
        ),
        ("2006-01-02 15:04:05.000", "2021-01-02 15:04:05.25", None),
        ("2006-01-02 15:04:05.000", "2021-01-02 15:04:05", None),
        (
            "2006-01-02 15:04:05,999",
            "2021-01-02 15:04:05.25",
            Some("2021-01-02T15:04:05.25Z"),
        ),
        (
            "2006-01-02 15:04:05.999",
            "2021-01-02 15:04:05",
            Some("2021-01-02T15:04:05Z"),
        ),
        // The point is one where no digits of a fraction follow it.
        ("2006.01.02", "2021.03.04", Some("2021-03-04T00:00:00Z")),
        (
            "2006-01-02 -0700",
            "2021-01-02 +0130",
            Some("2021-01-01T22:30:00Z"),
        ),
        (
            "2006-01-02 -07",
            "2021-01-02 -02",
            Some("2021-01-02T02:00:00Z"),
        ),
        (
            "2006-01-02 -07:00:00",
            "2021-01-02 +01:00:30",
            Some("2021-01-01T22:59:30Z"),
        ),
        (
            "2006-01-02 -070000",
            "2021-01-02 +010030",
            Some("2021-01-01T22:59:30Z"),
        ),
        ("2006-01-02 -0700", "2021-01-02 Z", None),
        // As far as an offset goes.
        (
            "2006-01-02 -0700",
            "2021-01-02 +2460",
            Some("2020-12-31T23:00:00Z"),
        ),
        (
            "2006-01-02 Z0700",
            "2021-01-02 Z",
            Some("2021-01-02T00:00:00Z"),
        ),
        (
            "2006-01-02 Z0700",
            "2021-01-02 +0100",
            Some("2021-01-01T23:00:00Z"),
        ),
        (
            "2006-01-02 Z07",
            "2021-01-02 +01",
            Some("2021-01-01T23:00:00Z"),
        ),
        (
            "2006-01-02 Z07:00:00",
            "2021-01-02 +01:00:00",
            Some("2021-01-01T23:00:00Z"),
        ),
        (
            "2006-01-02 Z070000",
            "2021-01-02 +010000",
            Some("2021-01-01T23:00:00Z"),
        ),
        (
            "2006-01-02 MST",
            "2021-01-02 UTC",
            Some("2021-01-02T00:00:00Z"),
        ),
        (
            "2006-01-02 MST",
            "2021-01-02 CEST",
            Some("2021-01-02T00:00:00Z"),
        ),
        (
            "2006-01-02 MST",
            "2021-01-02 GMT",
            Some("2021-01-02T00:00:00Z"),
        ),
        (
            "2006-01-02 MST",
            "2021-01-02 MeST",
            Some("2021-01-02T00:00:00Z"),
        ),
        (
            "2006-01-02 MST",
            "2021-01-02 WITA",
            Some("2021-01-02T00:00:00Z"),
        ),
        ("2006-01-02 MST", "2021-01-02 GMT+3", None),
        ("2006-01-02 MST", "2021-01-02 +03", None),
        ("2006-01-02 MST", "2021-01-02 AB", None),
        ("2006-01-02 MST", "2021-01-02 ABCD", None),
        ("2006-01-02 MST", "2021-01-02 ABCDE", None),
        (
            "2006-01-02 MST",
            "2021-01-02 ABCDT",
            Some("2021-01-02T00:00:00Z"),
        ),
        ("2006-01-02 MST", "2021-01-02 ABCDET", None),
        // A name beside an offset decides nothing, unless it is UTC.
        (
            "2006-01-02 -0700 MST",
            "2021-01-02 +0100 CET",
            Some("2021-01-01T23:00:00Z"),
        ),
        (
            "2006-01-02 -0700 MST",
            "2021-01-02 +0100 UTC",
            Some("2021-01-02T00:00:00Z"),
        ),
        // Any number of spaces is as good as another.
        (
            "2006-01-02 15",
            "2021-01-02   15",
            Some("2021-01-02T15:00:00Z"),
        ),
        ("2006-01-02 15", "2021-01-0215", None),
        ("2006-01-02", "2021-01-02x", None),
        ("at 2006", "in 2021", None),
    ] {
        let read = Time::parse(layout, text).map(|time| time.moment);
        let expected = expected.map(|it| it.parse::<Timestamp>().unwrap());
        assert_eq!(read, expected, "{text:?} by {layout:?}");
    }
}

#[test]
fn durations_are_written_as_go_writes_them() {
    for (nanoseconds, text) in [
        (0, "0s"),
        (1, "1ns"),
        (-999, "-999ns"),
        (1_000, "1µs"),
        (1_100, "1.1µs"),
        (2_200_000, "2.2ms"),
        (999_999_999, "999.999999ms"),
        (1_000_000_000, "1s"),
        (3_300_000_000, "3.3s"),
        (245_000_000_000, "4m5s"),
        (245_001_000_000, "4m5.001s"),
        (18_367_001_000_000, "5h6m7.001s"),
        (480_000_000_001, "8m0.000000001s"),
        (3_600_000_000_000, "1h0m0s"),
        (-604_800_000_000_000, "-168h0m0s"),
        (i64::MAX, "2562047h47m16.854775807s"),
        (i64::MIN, "-2562047h47m16.854775808s"),
    ] {
        assert_eq!(scalar::duration_text(nanoseconds), text);
        assert_eq!(scalar::go_duration(text), Some(nanoseconds), "{text}");
    }
}
