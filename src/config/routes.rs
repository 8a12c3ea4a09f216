//! `routes:`

use crate::oci::RepositoryName;
use crate::oci::repository::ParseError;

/// What a first path component stands for: a host, or a host and the beginning of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryPrefix {
    /// The upstream's host in canonical spelling.
    pub host: String,
    /// The beginning of the repository.
    pub repository: Option<String>,
}

impl RepositoryPrefix {
    /// The canonical name of `rest` behind this prefix.
    ///
    /// # Errors
    /// When both together are no valid name.
    pub fn join(&self, rest: &str) -> Result<RepositoryName, ParseError> {
        match &self.repository {
            Some(repository) => RepositoryName::new(&self.host, &format!("{repository}/{rest}")),
            None => RepositoryName::new(&self.host, rest),
        }
    }
}
