//! `compat:`

/// Concessions to clients that do not follow the specification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compat {
    /// Whether `HEAD` answers 200 for refused manifests, for containerd up to 2.2, which hides why a `HEAD` failed.
    /// `GET` refuses all the same.
    pub head_allows: bool,
}
