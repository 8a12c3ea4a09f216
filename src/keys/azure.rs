//! Stand-in for the reader of `azurekms://` references.

use super::ReferenceError;

/// A key, as a reference names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyId(String);

/// Checks the form of a reference.
///
/// # Errors
/// When nothing follows the scheme.
pub fn parse(text: &str) -> Result<KeyId, ReferenceError> {
    match text.strip_prefix("azurekms://") {
        Some(rest) if !rest.is_empty() => Ok(KeyId(rest.to_owned())),
        Some(_) | None => Err(ReferenceError {
            problem: "the key is not named",
            example: "azurekms://example.vault.azure.net/countersign",
        }),
    }
}
