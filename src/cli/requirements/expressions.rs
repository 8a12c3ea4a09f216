//! Expressions that somebody wrote for cosign, which is content when they match any part of a value.

use regex::Regex;

use crate::policy::Matcher;

/// What to say of an expression that matches a part of `value` and not the whole of it.
pub(super) fn unanchored(flag: &str, expression: &str, value: &str) -> Option<String> {
    if Matcher::expression(expression).ok()?.matches(value) {
        return None;
    }
    let found = Regex::new(expression).ok()?.find(value)?;
    let begin = "in cosign an expression matches any part of the value, here the whole";
    if found.start() > 0 {
        // An expression that allowed for it would let in whoever can choose what stands before.
        return Some(format!(
            "{flag}: {begin}; `{expression}` matches in the middle of `{value}` only, where whoever asks for a \
             certificate may have put it"
        ));
    }
    let whole = expression.trim_end_matches('$');
    let whole = if whole.contains('|') {
        format!("(?:{whole}).*")
    } else {
        format!("{whole}.*")
    };
    Some(format!(
        "{flag}: {begin}; to accept `{value}`, write `{whole}`, and check that nobody else's begins like that"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "https://github.com/org/app/.github/workflows/release.yml@refs/heads/main";

    #[test]
    fn tells_how_to_write_what_cosign_would_have_accepted() {
        for (expression, suggestion) in [
            ("https://github\\.com/org/", "`https://github\\.com/org/.*`"),
            (
                "^https://github\\.com/org/",
                "`^https://github\\.com/org/.*`",
            ),
            (
                "https://github.com/(org|x)/",
                "`(?:https://github.com/(org|x)/).*`",
            ),
        ] {
            let hint = unanchored("--flag", expression, VALUE).unwrap();
            assert!(hint.contains(suggestion), "{hint}");
            let whole = suggestion.trim_matches('`');
            assert!(
                Matcher::expression(whole).unwrap().matches(VALUE),
                "{whole}"
            );
        }
    }

    #[test]
    fn suggests_nothing_that_others_may_put_their_own_before() {
        let hint = unanchored("--flag", "github\\.com/org", VALUE).unwrap();
        assert!(
            hint.contains("in the middle") && !hint.contains(".*"),
            "{hint}"
        );
    }

    #[test]
    fn says_nothing_where_both_agree() {
        for expression in ["https://github\\.com/org/.*", "https://gitlab\\.com/", "("] {
            assert_eq!(unanchored("--flag", expression, VALUE), None);
        }
    }
}
