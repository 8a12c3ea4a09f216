//! `${NAME}` in values.

/// The text with every `${NAME}` replaced and `$${` turned into `${`, or what is wrong with it. What was inserted is not
/// looked at again.
pub(super) fn replace_variables(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            replaced.push_str(before);
            replaced.push_str("${");
            rest = after;
            continue;
        }
        replaced.push_str(before);
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| "`${` without `}`".to_owned())?;
        let valid = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !name.is_empty();
        if !valid {
            return Err(format!("`{name}` is no name of an environment variable"));
        }
        let value = environment(name)
            .ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        replaced.push_str(&value);
        rest = after;
    }
    replaced.push_str(rest);
    Ok(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> Result<String, String> {
        replace_variables(text, &|name| match name {
            "A" => Some("1".to_owned()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn replaces_once() {
        for (text, expected) in [
            ("", ""),
            ("a$b {A} $A", "a$b {A} $A"),
            ("${A}", "1"),
            ("x${A}y${A}", "x1y1"),
            ("$${A}", "${A}"),
            ("$${${A}", "${1"),
            ("${NESTED}", "${A}"),
        ] {
            assert_eq!(replaced(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for text in ["${", "${A", "${}", "${A B}", "${B}", "${A:-x}"] {
            assert!(replaced(text).is_err(), "{text}");
        }
    }
}
