//! `routes:`

use std::collections::BTreeMap;

use super::Upstream;
use super::reader::{Field, Reader};
use crate::oci::RepositoryName;
use crate::oci::repository::{ParseError, canonical_host, looks_like_host};

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

/// The routes by first path component.
pub(super) fn read(
    field: Option<&Field<'_>>,
    upstreams: &BTreeMap<String, Upstream>,
    reader: &mut Reader,
) -> BTreeMap<String, RepositoryPrefix> {
    let mut routes = BTreeMap::new();
    let entries = field.map(|field| field.entries(reader)).unwrap_or_default();
    for (name, field) in entries {
        // `localhost`, dots and colons would be taken for a host, so such a route would never be asked for.
        let usable = !looks_like_host(&name.name)
            && !name.name.contains('/')
            && RepositoryName::new("localhost", &name.name).is_ok();
        if !usable {
            reader.problem_at(
                name.position.clone(),
                &field.key,
                format!("`{}` is not the first component of a path", name.name),
                "use lower-case letters, digits, `-` and `_`, without dots, colons or slashes",
            );
        }
        if let Some(prefix) = read_prefix(&field, upstreams, reader) {
            routes.insert(name.name.clone(), prefix);
        }
    }
    routes
}

fn read_prefix(
    field: &Field<'_>,
    upstreams: &BTreeMap<String, Upstream>,
    reader: &mut Reader,
) -> Option<RepositoryPrefix> {
    let text = field.text(reader)?;
    let (host, repository) = match text.split_once('/') {
        Some((host, repository)) => (host, Some(repository)),
        None => (text, None),
    };
    // Not through `RepositoryName` for Docker Hub, which would put `library/` in front of `docker.io/org`.
    let checked = canonical_host(host).and_then(|host| {
        if let Some(repository) = repository {
            RepositoryName::new("localhost", repository)?;
        }
        Ok(host)
    });
    let host = match checked {
        Ok(host) => host,
        Err(error) => {
            reader.problem(
                field,
                field.explain(&error),
                "write a host, or a host and the beginning of a repository, such as ghcr.io/org",
            );
            return None;
        }
    };
    if !upstreams.contains_key(host) {
        reader.problem(
            field,
            format!(
                "the host of `{}` is not among the upstreams",
                field.written()
            ),
            "add it under `upstreams`",
        );
    }
    Some(RepositoryPrefix {
        host: host.to_owned(),
        repository: repository.map(str::to_owned),
    })
}
