//! From a request line to what it asks for, with one canonical name and no second interpretation.

use std::collections::BTreeMap;

use http::{Method, Uri};

use crate::oci::page_query;
use crate::oci::repository::{canonical_host, looks_like_host};
use crate::oci::{Digest, PageQuery, Reference, RepositoryName};
use crate::telemetry::Endpoint;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// `/v2/`: is this a registry, and may I use it?
    Base,
    /// A token for a client.
    Token,
    /// A manifest.
    Manifest {
        /// The canonical name.
        repository: RepositoryName,
        /// Tag or digest.
        reference: Reference,
    },
    /// A blob.
    Blob {
        /// The canonical name.
        repository: RepositoryName,
        /// The digest.
        digest: Digest,
    },
    /// A page of tags.
    Tags {
        /// The canonical name.
        repository: RepositoryName,
        /// The page, by the query that the upstream gets; absent for the first one.
        page: Option<PageQuery>,
    },
    /// The referrers of a digest.
    Referrers {
        /// The canonical name.
        repository: RepositoryName,
        /// The digest.
        digest: Digest,
        /// Only this artifact type.
        artifact_type: Option<String>,
    },
}

/// The token endpoint. It stands under `/v2/`, because a proxy in front may pass on nothing else.
pub(super) const TOKEN_PATH: &str = "/v2/token";

/// A parsed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// What it asks for.
    pub action: Action,
    /// The value of `?ns=`, echoed as `OCI-Namespace`.
    pub namespace: Option<String>,
}

/// Why a request is for nothing that exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not `GET` or `HEAD`.
    #[error("this registry is read-only: push to the upstream instead")]
    Method,
    /// Not under `/v2/`, or no endpoint of the specification.
    #[error("no such endpoint; images are at /v2/<host>/<repository>/manifests/<tag or digest>")]
    Path,
    /// The name is not of its grammar.
    #[error("{0}")]
    Name(String),
    /// A valid name that says nothing about where it comes from.
    #[error(
        "`{0}` names no upstream: put the registry's host first (as in ghcr.io/org/app), add ?ns=<host>, or configure a route for its first component"
    )]
    Unrouted(String),
    /// Not a tag.
    #[error("not a tag: letters, digits, `_`, `.` and `-`, at most 128 characters")]
    Tag,
    /// Not a digest.
    #[error("not a sha256 or sha512 digest in lower-case hex")]
    Digest,
    /// A query parameter that is not usable.
    #[error("the query parameter `{0}` is not usable")]
    Query(&'static str),
    /// A query that selects no page of a list.
    #[error("{0}")]
    Page(page_query::ParseError),
}

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
    pub fn join(&self, rest: &str) -> Result<RepositoryName, crate::oci::repository::ParseError> {
        match &self.repository {
            Some(repository) => RepositoryName::new(&self.host, &format!("{repository}/{rest}")),
            None => RepositoryName::new(&self.host, rest),
        }
    }
}

/// First path components that stand for an upstream, or a part of one.
pub type Routes = BTreeMap<String, RepositoryPrefix>;

impl Route {
    /// Reads a request line. Nothing is percent-decoded in the path: whatever is not spelled as the specification
    /// spells it is refused.
    ///
    /// # Errors
    /// When it asks for nothing this registry has.
    pub fn parse(method: &Method, uri: &Uri, routes: &Routes) -> Result<Self, Error> {
        let path = uri.path();
        if path == TOKEN_PATH && matches!(*method, Method::GET | Method::POST) {
            return Ok(Self {
                action: Action::Token,
                namespace: None,
            });
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(Error::Method);
        }
        if matches!(path, "/v2" | "/v2/") {
            return Ok(Self {
                action: Action::Base,
                namespace: None,
            });
        }
        let rest = path.strip_prefix("/v2/").ok_or(Error::Path)?;
        let (rest, last) = rest.rsplit_once('/').ok_or(Error::Path)?;
        let (name, endpoint) = rest.rsplit_once('/').ok_or(Error::Path)?;
        let query = Query::parse(uri.query().unwrap_or_default())?;
        let repository = || canonical_name(name, query.namespace.as_deref(), routes);
        let digest = || {
            last.parse::<Digest>()
                .map_err(|_not_a_digest| Error::Digest)
        };
        let action = match (endpoint, last) {
            ("tags", "list") => Action::Tags {
                repository: repository()?,
                page: page(uri.query().unwrap_or_default())?,
            },
            ("manifests", _) => Action::Manifest {
                repository: repository()?,
                reference: reference(last)?,
            },
            ("blobs", _) => Action::Blob {
                repository: repository()?,
                digest: digest()?,
            },
            ("referrers", _) => Action::Referrers {
                repository: repository()?,
                digest: digest()?,
                artifact_type: query.artifact_type,
            },
            _ => return Err(Error::Path),
        };
        Ok(Self {
            action,
            namespace: query.namespace,
        })
    }
}

impl Action {
    /// The endpoint, for the metrics.
    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Base => Endpoint::Base,
            Self::Token => Endpoint::Token,
            Self::Manifest { .. } => Endpoint::Manifests,
            Self::Blob { .. } => Endpoint::Blobs,
            Self::Tags { .. } => Endpoint::Tags,
            Self::Referrers { .. } => Endpoint::Referrers,
        }
    }

    /// The canonical name, where there is one.
    #[must_use]
    pub fn repository(&self) -> Option<&RepositoryName> {
        match self {
            Self::Base | Self::Token => None,
            Self::Manifest { repository, .. }
            | Self::Blob { repository, .. }
            | Self::Tags { repository, .. }
            | Self::Referrers { repository, .. } => Some(repository),
        }
    }

    /// Tag or digest, where there is one.
    #[must_use]
    pub fn reference(&self) -> Option<Reference> {
        match self {
            Self::Base | Self::Token | Self::Tags { .. } => None,
            Self::Manifest { reference, .. } => Some(reference.clone()),
            Self::Blob { digest, .. } | Self::Referrers { digest, .. } => {
                Some(Reference::Digest(*digest))
            }
        }
    }
}

/// The canonical name of a path. With `?ns=`, the path is a repository of that host and nothing else; otherwise its
/// first component is a host, or a route.
fn canonical_name(
    name: &str,
    namespace: Option<&str>,
    routes: &Routes,
) -> Result<RepositoryName, Error> {
    let invalid = |error: crate::oci::repository::ParseError| Error::Name(error.to_string());
    if let Some(host) = namespace {
        return RepositoryName::new(host, name).map_err(invalid);
    }
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    if looks_like_host(first) {
        return RepositoryName::new(first, rest).map_err(invalid);
    }
    if let Some(prefix) = routes.get(first) {
        return prefix.join(rest).map_err(invalid);
    }
    // Whether it is a name at all is said first, so that a wrong spelling is not sent looking for a route.
    RepositoryName::new("localhost", name).map_err(invalid)?;
    Err(Error::Unrouted(name.to_owned()))
}

fn reference(text: &str) -> Result<Reference, Error> {
    text.parse()
        .map_err(|error: crate::oci::reference::ParseError| match error {
            crate::oci::reference::ParseError::Tag => Error::Tag,
            crate::oci::reference::ParseError::Digest(_) => Error::Digest,
        })
}

/// The page of a list of tags. Its query is the upstream's affair, apart from `n`, which is a number if it is given.
fn page(query: &str) -> Result<Option<PageQuery>, Error> {
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        if key == "n" && !value.is_empty() {
            let _number: u64 = value.parse().map_err(|_not_a_number| Error::Query("n"))?;
        }
    }
    PageQuery::parse(query).map_err(Error::Page)
}

#[derive(Debug, Default)]
struct Query {
    namespace: Option<String>,
    artifact_type: Option<String>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, Error> {
        let mut query = Self::default();
        if text.is_empty() {
            return Ok(query);
        }
        for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
            match key.as_ref() {
                // Given twice, two readers could choose differently.
                "ns" if query.namespace.is_some() => return Err(Error::Query("ns")),
                "ns" => {
                    canonical_host(&value).map_err(|_not_a_host| Error::Query("ns"))?;
                    query.namespace = Some(value.into_owned());
                }
                "artifactType" => query.artifact_type = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn routes() -> Routes {
        let prefix = RepositoryPrefix {
            host: "us-docker.pkg.dev".to_owned(),
            repository: Some("project123/apps".to_owned()),
        };
        [("apps".to_owned(), prefix)].into()
    }

    fn parse(target: &str) -> Result<Route, Error> {
        Route::parse(
            &Method::GET,
            &Uri::try_from(target).map_err(|_not_a_uri| Error::Path)?,
            &routes(),
        )
    }

    fn name(target: &str) -> String {
        parse(target)
            .unwrap()
            .action
            .repository()
            .unwrap()
            .to_string()
    }

    #[test]
    fn computes_one_canonical_name() {
        for (target, expected) in [
            ("/v2/ghcr.io/org/app/manifests/v1", "ghcr.io/org/app"),
            ("/v2/org/app/manifests/v1?ns=ghcr.io", "ghcr.io/org/app"),
            (
                "/v2/apps/web/manifests/v1",
                "us-docker.pkg.dev/project123/apps/web",
            ),
            (
                "/v2/docker.io/nginx/manifests/v1",
                "docker.io/library/nginx",
            ),
            (
                "/v2/index.docker.io/library/nginx/tags/list",
                "docker.io/library/nginx",
            ),
            (
                "/v2/nginx/tags/list?ns=docker.io",
                "docker.io/library/nginx",
            ),
            (
                "/v2/a.io/manifests/blobs/manifests/v1",
                "a.io/manifests/blobs",
            ),
            ("/v2/x/manifests/v1?ns=127.0.0.1%3A5000", "127.0.0.1:5000/x"),
            // With `?ns=`, even what looks like a host or a route is a repository of that host.
            ("/v2/apps/web/manifests/v1?ns=ghcr.io", "ghcr.io/apps/web"),
            ("/v2/quay.io/x/manifests/v1?ns=ghcr.io", "ghcr.io/quay.io/x"),
        ] {
            assert_eq!(name(target), expected, "{target}");
        }
    }

    #[test]
    fn refuses_every_other_spelling() {
        for target in [
            "/v2/ghcr.io/Org/app/manifests/v1",
            "/v2/GHCR.io/org/app/manifests/v1",
            "/v2/ghcr.io/org%2Fapp/manifests/v1",
            "/v2/ghcr.io%2Forg/app/manifests/v1",
            "/v2/ghcr.io/org/../app/manifests/v1",
            "/v2/ghcr.io/./org/app/manifests/v1",
            "/v2/ghcr.io//org/app/manifests/v1",
            "/v2//ghcr.io/org/app/manifests/v1",
            "/v2/ghcr.io/manifests/v1",
            "/v2/apps/../manifests/v1",
            "/v2/apps/manifests/v1",
        ] {
            assert!(
                matches!(parse(target), Err(Error::Name(_))),
                "{target}: {:?}",
                parse(target)
            );
        }
        for target in [
            "/v2/org/app/manifests/v1?ns=ghcr.io&ns=quay.io",
            "/v2/org/app/manifests/v1?ns=GHCR.io",
            "/v2/org/app/manifests/v1?ns=",
            "/v2/org/app/manifests/v1?ns=ghcr.io/x",
        ] {
            assert_eq!(parse(target), Err(Error::Query("ns")), "{target}");
        }
    }

    #[test]
    fn passes_the_query_of_a_page_on_without_the_namespace() {
        let page = |query: &str| match parse(&format!("/v2/org/app/tags/list?{query}")) {
            Ok(Route {
                action: Action::Tags { page, .. },
                ..
            }) => Ok(page.map(|page| page.as_str().to_owned())),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        for (query, expected) in [
            ("ns=ghcr.io", None),
            ("ns=ghcr.io&n=&last=", None),
            ("ns=ghcr.io&n=2&last=v1", Some("n=2&last=v1")),
            (
                "next_page=gAA%3D&ns=ghcr.io&n=9",
                Some("next_page=gAA%3D&n=9"),
            ),
            ("last=eyJ/%2B3=&n%73=ghcr.io", Some("last=eyJ/%2B3=")),
            (
                "ns=ghcr.io&last=a%2F..%2F..%2F_catalog",
                Some("last=a%2F..%2F..%2F_catalog"),
            ),
        ] {
            assert_eq!(page(query), Ok(expected.map(str::to_owned)), "{query}");
        }
        for query in ["n=two", "n=-1", "n=1.5", "n=99999999999999999999"] {
            let query = format!("ns=ghcr.io&{query}");
            assert_eq!(page(&query), Err(Error::Query("n")), "{query}");
        }
        for query in ["ns=ghcr.io&last=%0d%0a", "ns=ghcr.io&%00"] {
            let refused = Err(Error::Page(page_query::ParseError::ControlCharacter));
            assert_eq!(page(query), refused, "{query}");
        }
        let long = format!("ns=ghcr.io&last={}", "x".repeat(page_query::BYTES_MAX));
        assert_eq!(
            page(&long),
            Err(Error::Page(page_query::ParseError::TooLong))
        );
    }

    #[test]
    fn tells_what_is_wrong() {
        assert_eq!(parse("/"), Err(Error::Path));
        assert_eq!(parse("/v2/ghcr.io/org/app"), Err(Error::Path));
        assert_eq!(parse("/v2/_catalog"), Err(Error::Path));
        assert_eq!(parse("/v2/ghcr.io/a/manifests/"), Err(Error::Tag));
        assert_eq!(parse("/v2/ghcr.io/a/manifests/a%20b"), Err(Error::Tag));
        assert_eq!(
            parse("/v2/ghcr.io/a/manifests/sha256:1"),
            Err(Error::Digest)
        );
        assert_eq!(parse("/v2/ghcr.io/a/blobs/latest"), Err(Error::Digest));
        assert_eq!(
            parse("/v2/org/app/manifests/v1"),
            Err(Error::Unrouted("org/app".to_owned()))
        );
        let target = format!("/v2/ghcr.io/a/blobs/{DIGEST}").parse().unwrap();
        assert_eq!(
            Route::parse(&Method::PUT, &target, &routes()),
            Err(Error::Method)
        );
    }
}
