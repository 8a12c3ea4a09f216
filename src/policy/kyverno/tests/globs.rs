//! The globs of `matchImageReferences` by themselves.

use super::*;
use crate::policy::kyverno::glob::{Glob, GlobError};

#[test]
fn globs_match_what_their_project_says() {
    let text = std::fs::read_to_string(format!("{FIXTURES}/globs.tsv")).unwrap();
    let mut cases = 0;
    for line in text.lines() {
        let [pattern, text, matched] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        assert_eq!(
            Glob::new(pattern).unwrap().matches(text),
            matched == "true",
            "{line}"
        );
        cases += 1;
    }
    assert_eq!(cases, 59);
}

#[test]
fn globs_have_classes_alternatives_and_escapes() {
    for (pattern, text, matched) in [
        ("ghcr.io/*", "ghcr.io/kyverno/kyverno", true),
        ("ghcr.io/*/foo", "ghcr.io/kyverno/kyverno", false),
        ("ghcr.io/{a,b}/*", "ghcr.io/b/c:v1", true),
        ("ghcr.io/{a,b}/*", "ghcr.io/c/c:v1", false),
        ("{a,{b,c}d}", "cd", true),
        ("{a,{b,c}d}", "d", false),
        ("{a,b", "b", true),
        ("a,b}", "a,b}", true),
        ("[!-a]", "b", true),
        ("[!-a]", "-", false),
        ("[a\\]b]", "]", true),
        ("a\\", "a", true),
        ("[a-a]", "a", true),
        ("x:[0-9]", "x:5", true),
        ("x:[0-9]", "x:a", false),
        ("ghcr.io/app", "ghcr.io/app:latest", false),
    ] {
        assert_eq!(
            Glob::new(pattern).unwrap().matches(text),
            matched,
            "{pattern} {text}"
        );
    }
    for pattern in ["[", "[]", "[a", "[a-]", "[b-a]", "[a-b", "[a-bc]", "[!]"] {
        assert_eq!(
            Glob::new(pattern).unwrap_err(),
            GlobError::Class,
            "{pattern}"
        );
    }
    assert_eq!(Glob::new("").unwrap_err(), GlobError::Empty);
    let many = "{a,b}".repeat(7);
    assert_eq!(
        Glob::new(&many).unwrap_err(),
        GlobError::TooManyAlternatives
    );
    let many = format!("{{{}}}", "a,".repeat(Glob::ALTERNATIVES_MAX));
    assert_eq!(
        Glob::new(&many).unwrap_err(),
        GlobError::TooManyAlternatives
    );
    // As many as there may be, and one more.
    let listed = |count: usize| format!("{{{}a}}", "a,".repeat(count - 1));
    let within = |depth: usize| format!("{}a{}", "{".repeat(depth), "}".repeat(depth));
    for good in [
        listed(Glob::ALTERNATIVES_MAX),
        format!("{}{{a,b}}", listed(Glob::ALTERNATIVES_MAX / 2)),
        within(Glob::DEPTH_MAX),
    ] {
        assert!(Glob::new(&good).is_ok(), "{good}");
    }
    let many = format!("{}{{a,b}}", listed(Glob::ALTERNATIVES_MAX / 2 + 1));
    assert_eq!(
        Glob::new(&many).unwrap_err(),
        GlobError::TooManyAlternatives
    );
    let deep = "{".repeat(Glob::DEPTH_MAX + 1);
    assert_eq!(
        Glob::new(&deep).unwrap_err(),
        GlobError::TooManyAlternatives
    );
    let long = "a".repeat(Glob::CHARACTERS_MAX + 1);
    assert_eq!(Glob::new(&long).unwrap_err(), GlobError::TooLong);
}
