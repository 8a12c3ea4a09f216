use proptest::prelude::*;

use super::*;
use crate::oci::RepositoryName;

fn pattern(text: &str) -> Pattern {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn one_asterisk_stays_within_a_component_and_two_do_not() {
    for (text, covered, not_covered) in [
        (
            "ghcr.io/org/*",
            &["ghcr.io/org/app", "ghcr.io/org/b"][..],
            &["ghcr.io/org", "ghcr.io/org/a/b", "ghcr.io/organ/a"][..],
        ),
        (
            "ghcr.io/org/**",
            &["ghcr.io/org/app", "ghcr.io/org/a/b/c"],
            &["ghcr.io/org", "ghcr.io/orga/b", "xghcr.io/org/a"],
        ),
        ("**", &["a.b/c", "localhost:5000/a/b/c"], &[]),
        (
            "ghcr.io/org/app",
            &["ghcr.io/org/app"],
            &["ghcr.io/org/app/x", "ghcr.io/org/ap", "ghcr.io/org/appx"],
        ),
        (
            "ghcr.io/*/app",
            &["ghcr.io/org/app"],
            &["ghcr.io/a/b/app", "ghcr.io/app"],
        ),
        (
            "*.pkg.dev/project/**",
            &["us-docker.pkg.dev/project/a/b"],
            &["pkg.dev/project/a", "evil.io/x.pkg.dev/project/a"],
        ),
        (
            "ghcr.io/**/app-*",
            &["ghcr.io/a/b/app-x", "ghcr.io/a/app-"],
            &["ghcr.io/a/app-x/y", "ghcr.io/app-x"],
        ),
        (
            "127.0.0.1:5000/c/**",
            &["127.0.0.1:5000/c/x/y"],
            &["127.0.0.1:50001/c/x"],
        ),
        ("[::1]:5000/**", &["[::1]:5000/x"], &[]),
        (
            "ghcr.io/a*b**c/*d",
            &["ghcr.io/abc/d", "ghcr.io/axbx/yc/xd", "ghcr.io/abcc/dd"],
            &["ghcr.io/a/bc/d", "ghcr.io/abc/d/"],
        ),
    ] {
        let pattern = pattern(text);
        for name in covered {
            assert!(pattern.matches(name), "{text} should cover {name}");
        }
        for name in not_covered {
            assert!(!pattern.matches(name), "{text} should not cover {name}");
        }
    }
}

#[test]
fn docker_hub_is_spelled_as_in_canonical_names() {
    for (text, canonical) in [
        ("docker.io/nginx", "docker.io/library/nginx"),
        ("index.docker.io/nginx", "docker.io/library/nginx"),
        ("docker.io/*", "docker.io/library/*"),
        ("registry-1.docker.io/org/app", "docker.io/org/app"),
        ("registry.hub.docker.com/org/app", "docker.io/org/app"),
        ("docker.io/**", "docker.io/**"),
        ("ghcr.io/nginx", "ghcr.io/nginx"),
    ] {
        assert_eq!(pattern(text).as_str(), canonical);
    }
}

#[test]
fn says_what_is_wrong_with_a_pattern() {
    for (text, error) in [
        ("", PatternError::Empty),
        ("ghcr.io/Org/*", PatternError::UpperCase),
        ("ghcr.io/org /x", PatternError::Whitespace),
        ("ghcr.io/org/*\n", PatternError::Whitespace),
        ("https://ghcr.io/org", PatternError::Scheme),
        ("ghcr.io/org/app:v1", PatternError::Tag),
        ("ghcr.io/org/app:*", PatternError::Tag),
        ("ghcr.io/org/app@sha256:00", PatternError::Digest),
        ("nginx", PatternError::NoHost),
        ("org/app", PatternError::NoHost),
        ("*", PatternError::NoHost),
        ("ghcr.io", PatternError::NoRepository),
        ("localhost:5000", PatternError::NoRepository),
        ("-a.io/x", PatternError::Host),
        ("a.io:99999/x", PatternError::Host),
        ("/x", PatternError::EmptyComponent),
        ("ghcr.io//x", PatternError::EmptyComponent),
        ("ghcr.io/x/", PatternError::EmptyComponent),
        ("ghcr.io/***", PatternError::Wildcard),
        ("ghcr.io/a?", PatternError::Wildcard),
        ("ghcr.io/[ab]", PatternError::Character('[')),
        ("ghcr.io/a%2fb", PatternError::Character('%')),
    ] {
        assert_eq!(text.parse::<Pattern>(), Err(error), "{text:?}");
    }
    let long = format!("ghcr.io/{}", "a".repeat(CHARACTERS_MAX));
    assert_eq!(long.parse::<Pattern>(), Err(PatternError::TooLong));
    let longest = format!("ghcr.io/{}", "a".repeat(CHARACTERS_MAX - "ghcr.io/".len()));
    assert!(longest.parse::<Pattern>().is_ok());
}

#[test]
fn knows_what_covers_everything() {
    for text in ["**", "*/**", "**/**", "**/*"] {
        assert!(pattern(text).covers_everything(), "{text}");
    }
    for text in ["*/*", "ghcr.io/**", "*/*/**", "*.*/**"] {
        assert!(!pattern(text).covers_everything(), "{text}");
    }
}

#[test]
fn many_wildcards_do_not_blow_up() {
    let hostile = pattern(&format!("ghcr.io/{}b", "a*".repeat(120)));
    let name = format!("ghcr.io/{}", "a".repeat(247));
    let started = std::time::Instant::now();
    for _ in 0..100 {
        assert!(!hostile.matches(&name));
    }
    // Backtracking would take longer than the age of the universe.
    assert!(started.elapsed() < std::time::Duration::from_secs(10));
}

/// The definition, word by word, as an expression.
fn as_expression(pattern: &Pattern) -> regex::Regex {
    let mut expression = regex::escape(pattern.as_str());
    expression = expression.replace(r"\*\*", ".*").replace(r"\*", "[^/]*");
    regex::Regex::new(&format!("^(?:{expression})$")).unwrap()
}

proptest! {
    #[test]
    fn matches_exactly_what_the_definition_says(
        components in proptest::collection::vec("(a|b|\\*|\\*\\*|-){1,4}", 1..4),
        names in proptest::collection::vec("(a|b|-){1,3}(/(a|b|-){1,3}){0,4}", 1..8),
    ) {
        let text = format!("x.io/{}", components.join("/"));
        if let Ok(pattern) = text.parse::<Pattern>() {
            let expression = as_expression(&pattern);
            for name in names {
                let name = format!("x.io/{name}");
                prop_assert_eq!(pattern.matches(&name), expression.is_match(&name), "{} {}", pattern, name);
            }
        }
    }

    #[test]
    fn a_name_is_a_pattern_for_itself(name in "[a-z]{1,5}\\.io(:[1-9][0-9]{0,3})?/[a-z0-9]{1,5}((\\.|_|-|/)[a-z0-9]{1,5}){0,4}") {
        let name: RepositoryName = name.parse().unwrap();
        let pattern: Pattern = name.as_str().parse().unwrap();
        prop_assert!(pattern.matches(name.as_str()));
        prop_assert_eq!(pattern.literal_host(), Some(name.host()));
        let longer = format!("{name}x");
        prop_assert!(!pattern.matches(&longer));
    }

    #[test]
    fn what_covers_everything_does(name in "[a-z]{1,5}\\.io/[a-z0-9]{1,5}(/[a-z0-9]{1,5}){0,4}", text in "[*/]{1,6}") {
        if let Ok(pattern) = text.parse::<Pattern>() && pattern.covers_everything() {
            prop_assert!(pattern.matches(&name), "{} {}", pattern, name);
        }
    }

    #[test]
    fn never_panics(text in "\\PC{0,40}", name in "\\PC{0,40}") {
        if let Ok(pattern) = text.parse::<Pattern>() {
            let _covered = pattern.matches(&name);
        }
    }
}
