//! Suggestions for misspelt words.

/// The least similarity of a word that is suggested, from 0 to 1.
const LIKENESS_MIN: f64 = 0.7;

/// The known word that is most like `word`, if one is like it.
#[must_use]
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let likeness = |known: &str| {
        let same_case = strsim::normalized_damerau_levenshtein(word, known);
        // `plainHttp` is `plain_http` in another convention.
        let folded = strsim::normalized_damerau_levenshtein(&fold(word), &fold(known));
        same_case.max(folded)
    };
    known
        .into_iter()
        .map(|known| (likeness(known), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// A question that suggests the nearest word and ends with a space; empty if no word is near.
pub(super) fn did_you_mean<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> String {
    match nearest(word, known) {
        Some(near) => format!("did you mean `{near}`? "),
        None => String::new(),
    }
}

fn fold(word: &str) -> String {
    word.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_suggests_the_word_that_was_meant() {
        let known = ["server", "plain_http", "default", "upstreams", "routes"];
        for (word, near) in [
            ("sever", Some("server")),
            ("plainHttp", Some("plain_http")),
            ("plain-http", Some("plain_http")),
            ("upstream", Some("upstreams")),
            ("Routes", Some("routes")),
            ("port", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
    }
}
