//! Scopes of images, as containers' `policy.json` has them: of all that match, the most specific decides alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::coverage::{ImportedCoverage, Tags};
use crate::oci::RepositoryName;

/// The scopes of the `docker` transport of one document; the empty one is the transport's default.
pub type Scopes = Arc<BTreeSet<String>>;

/// What one scope covers: the images for which no other scope of its document is more specific.
#[derive(Debug, Clone)]
pub struct ScopeCoverage {
    /// `None` for the default of the whole document.
    own: Option<String>,
    scopes: Scopes,
}

impl ScopeCoverage {
    /// What `scope` covers among `scopes`.
    #[must_use]
    pub fn scope(scope: &str, scopes: Scopes) -> Self {
        Self {
            own: Some(scope.to_owned()),
            scopes,
        }
    }

    /// What none of `scopes` covers.
    #[must_use]
    pub fn default_of(scopes: Scopes) -> Self {
        Self { own: None, scopes }
    }

    /// Whether it is the one that decides about the image with this name and, after its separator, tag or digest.
    fn decides(&self, name: &str, identity: Option<&str>) -> bool {
        let mut candidates: Vec<_> = identity.map(str::to_owned).into_iter().collect();
        candidates.extend(namespaces(name));
        let winner = candidates.iter().find(|it| self.scopes.contains(*it));
        match (winner, &self.own) {
            (Some(winner), Some(own)) => winner == own,
            (None, Some(own)) => own.is_empty(),
            (None, None) => !self.scopes.contains(""),
            (Some(_), None) => false,
        }
    }

    /// Whether it is for one tag of `name`.
    fn is_within(&self, name: &str) -> bool {
        let rest = self.own.as_deref().and_then(|own| own.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with([':', '@']))
    }
}

impl ImportedCoverage for ScopeCoverage {
    /// Without known tags, scopes for single tags cover the image as well as what decides about the rest.
    fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        let name = repository.as_str();
        if tags.known().is_empty() {
            return self.is_within(name) || self.decides(name, None);
        }
        tags.known()
            .iter()
            .any(|tag| self.decides(name, Some(&format!("{name}:{tag}"))))
    }

    fn matches(&self, reference: &str) -> bool {
        let (named, digest) = match reference.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (reference, None),
        };
        let name_end = named.rfind('/').map_or(0, |slash| slash + 1);
        let Some((path, last)) = named.split_at_checked(name_end) else {
            return false;
        };
        let (last, tag) = match last.split_once(':') {
            Some((last, tag)) => (last, Some(tag)),
            None => (last, None),
        };
        let Some(name) = full_name(&format!("{path}{last}")) else {
            return false;
        };
        match (tag, digest) {
            // The project refuses references with both.
            (Some(_), Some(_)) => false,
            (None, Some(digest)) => self.decides(&name, Some(&format!("{name}@{digest}"))),
            (tag, None) => {
                let tag = tag.unwrap_or("latest");
                self.decides(&name, Some(&format!("{name}:{tag}")))
            }
        }
    }

    fn is_about_tags(&self) -> bool {
        self.scopes.iter().any(|scope| is_for_one_image(scope))
    }

    fn describe(&self) -> Value {
        json!({ "containers_scope": self.own, "scopes": *self.scopes })
    }

    fn patterns(&self) -> Vec<String> {
        vec![match self.own.as_deref() {
            Some("") => "every other image (docker)".to_owned(),
            Some(scope) => scope.to_owned(),
            None => "every other image".to_owned(),
        }]
    }
}

/// Whether the scope names a tag or a digest; a port belongs to a host.
#[must_use]
pub fn is_for_one_image(scope: &str) -> bool {
    let last = scope.rsplit('/').next().unwrap_or_default();
    scope.contains('/') && last.contains([':', '@'])
}

/// The scopes that match an image of this name, the most specific first: the repository, the namespaces above it, its
/// host, and wildcards for the domains above that.
fn namespaces(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = name;
    loop {
        found.push(rest.to_owned());
        match rest.rsplit_once('/') {
            Some((above, _)) => rest = above,
            None => break,
        }
    }
    let mut domain = rest.split(':').next().unwrap_or_default();
    while let Some((_, above)) = domain.split_once('.') {
        found.push(format!("*.{above}"));
        domain = above;
    }
    found
}

/// The fully expanded form, as `docker pull` takes names.
fn full_name(name: &str) -> Option<String> {
    RepositoryName::completed(name)
        .ok()
        .map(|name| name.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By a document with these scopes: which of them decides about `reference`.
    fn decides(scopes: &[&str], reference: &str) -> Vec<String> {
        let all: Scopes = Arc::new(scopes.iter().map(|it| (*it).to_owned()).collect());
        let mut found: Vec<_> = scopes
            .iter()
            .filter(|scope| ScopeCoverage::scope(scope, all.clone()).matches(reference))
            .map(|scope| (*scope).to_owned())
            .collect();
        if ScopeCoverage::default_of(all).matches(reference) {
            found.push("default".to_owned());
        }
        found
    }

    fn covering(scopes: &[&str], name: &str, tags: &[&str]) -> Vec<String> {
        let all: Scopes = Arc::new(scopes.iter().map(|it| (*it).to_owned()).collect());
        let name = name.parse().unwrap();
        let tags = Tags::new(tags.iter().map(|it| (*it).to_owned()));
        scopes
            .iter()
            .filter(|scope| ScopeCoverage::scope(scope, all.clone()).covers(&name, &tags))
            .map(|scope| (*scope).to_owned())
            .collect()
    }

    #[test]
    fn the_most_specific_scope_decides_alone() {
        let scopes = [
            "docker.io/library/busybox:1.36",
            "docker.io/library/busybox",
            "docker.io/library",
            "docker.io",
            "example.com:5000",
            "*.example.com",
            "*.com",
        ];
        for (reference, decides_alone) in [
            ("busybox:1.36", "docker.io/library/busybox:1.36"),
            ("docker.io/busybox:1.37", "docker.io/library/busybox"),
            ("busybox", "docker.io/library/busybox"),
            ("nginx", "docker.io/library"),
            ("org/app", "docker.io"),
            ("example.com:5000/app", "example.com:5000"),
            ("example.com/app", "*.com"),
            ("a.b.example.com:8443/app", "*.example.com"),
            ("ghcr.io/org/app", "default"),
        ] {
            assert_eq!(decides(&scopes, reference), [decides_alone], "{reference}");
        }
    }

    #[test]
    fn the_default_of_the_transport_goes_before_that_of_the_document() {
        assert_eq!(decides(&["", "docker.io"], "ghcr.io/org/app"), [""]);
        assert_eq!(decides(&["docker.io"], "ghcr.io/org/app"), ["default"]);
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        assert_eq!(decides(&["docker.io/org/app"], "org/apple"), ["default"]);
        assert_eq!(decides(&["docker.io/org"], "org/app"), ["docker.io/org"]);
    }

    #[test]
    fn what_is_no_reference_is_not_covered() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for reference in [
            "",
            "/",
            "/busybox",
            "Invalid",
            &format!("busybox:1@{digest}"),
        ] {
            assert_eq!(decides(&["docker.io"], reference), [""; 0], "{reference}");
        }
    }

    #[test]
    fn without_a_known_tag_scopes_of_single_images_cover_too() {
        let scopes = ["ghcr.io/org/app:v1", "ghcr.io/org/app", "ghcr.io"];
        let name = "ghcr.io/org/app";
        assert_eq!(
            covering(&scopes, name, &[]),
            ["ghcr.io/org/app:v1", "ghcr.io/org/app"]
        );
        assert_eq!(covering(&scopes, name, &["v1"]), ["ghcr.io/org/app:v1"]);
        assert_eq!(covering(&scopes, name, &["v2"]), ["ghcr.io/org/app"]);
        assert_eq!(
            covering(&scopes, name, &["v1", "v2"]),
            ["ghcr.io/org/app:v1", "ghcr.io/org/app"]
        );
    }

    #[test]
    fn a_coverage_is_told_from_every_other() {
        let scopes = |scopes: &[&str]| -> Scopes {
            Arc::new(scopes.iter().map(|it| (*it).to_owned()).collect())
        };
        let names = scopes(&["ghcr.io", "ghcr.io/org", ""]);
        let tags = scopes(&["ghcr.io", "ghcr.io/org:v1", ""]);
        // Whether a tag matters is a matter of all scopes: each decides where none of the others does.
        assert!(!ScopeCoverage::scope("ghcr.io", Arc::clone(&names)).is_about_tags());
        assert!(ScopeCoverage::scope("ghcr.io", Arc::clone(&tags)).is_about_tags());
        let coverages = [
            ScopeCoverage::scope("ghcr.io", Arc::clone(&names)),
            ScopeCoverage::scope("ghcr.io/org", Arc::clone(&names)),
            ScopeCoverage::scope("", Arc::clone(&names)),
            ScopeCoverage::default_of(names),
            ScopeCoverage::scope("ghcr.io", tags),
        ];
        // The description goes into the hash of a policy.
        let described = coverages.each_ref().map(ImportedCoverage::describe);
        for (index, one) in described.iter().enumerate() {
            assert!(!described[..index].contains(one), "{one}");
        }
        let shown = coverages.each_ref().map(|it| it.patterns().join(" "));
        let expected = [
            "ghcr.io",
            "ghcr.io/org",
            "every other image (docker)",
            "every other image",
            "ghcr.io",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn tells_scopes_of_single_images() {
        for (scope, expected) in [
            ("localhost:5000", false),
            ("localhost:5000/app", false),
            ("localhost:5000/app:v1", true),
            ("docker.io/library/busybox@sha256:00", true),
            ("*.example.com", false),
            ("", false),
        ] {
            assert_eq!(is_for_one_image(scope), expected, "{scope}");
        }
    }
}
