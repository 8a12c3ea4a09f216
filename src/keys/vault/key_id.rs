//! `hashivault://KEY`, as cosign spells it.

use crate::keys::ReferenceError;

/// A key of the transit engine, as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId {
    name: String,
}

/// Reads `hashivault://KEY`.
///
/// # Errors
/// When it is not of that form.
pub fn parse(text: &str) -> Result<KeyId, ReferenceError> {
    let error = |problem| ReferenceError {
        problem,
        example: "hashivault://my-key",
    };
    let name = text
        .strip_prefix("hashivault://")
        .ok_or_else(|| error("the reference does not begin with `hashivault://`"))?;
    if name.contains('/') {
        return Err(error(
            "only the key's name stands in the reference; the engine's mount is TRANSIT_SECRET_ENGINE_PATH",
        ));
    }
    let is_word = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_alphanumeric() || character == '_')
    };
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let mut characters = name.chars();
    let has_word_ends = is_word(name.chars().next()) && is_word(characters.next_back());
    if !has_word_ends || name.len() > 256 || !name.bytes().all(is_part) {
        return Err(error(
            "the key's name is not letters, digits, `_`, `-` and `.` between two of the first three",
        ));
    }
    Ok(KeyId {
        name: name.to_owned(),
    })
}

impl KeyId {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}
