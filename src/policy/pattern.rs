//! Patterns over canonical names: `*` within one path component, `**` across components.

/// A pattern as configured, such as `ghcr.io/org/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    source: String,
    // OWNER `config`: compile, validate; linear-time matching
}

impl Pattern {
    /// The pattern as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the whole name matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let _ = name;
        todo!("owner: config")
    }
}
