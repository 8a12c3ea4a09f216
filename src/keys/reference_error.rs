//! What is wrong with a reference to a key.

/// The text is not a reference to a key in a key service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; a reference looks like `{example}`")]
pub struct ReferenceError {
    /// What is wrong with it.
    pub problem: &'static str,
    /// A right one for the same service.
    pub example: &'static str,
}
