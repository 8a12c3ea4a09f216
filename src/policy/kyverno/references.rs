//! Which images an `ImageValidatingPolicy` covers.

use serde_json::{Value, json};

use super::Image;
use super::coverage::spellings;
use super::glob::Glob;
use super::places::{DIGESTS, DigestForm};
use super::reference::{Answer, Name, ReferenceRule, TagOf};
use crate::oci::RepositoryName;
use crate::policy::{ImportedCoverage, Tags};

/// `matchImageReferences`: one of them must match; where there are none, every image is covered.
///
/// Kyverno compares the text that stands in the Pod: with tag, digest or both, or with neither, and without a registry
/// where that is Docker Hub. An image is covered if Kyverno would cover it under one of the names under which a Pod can
/// have asked for it: with the tags through which it was asked for, or its digest; without known tags, with any.
#[derive(Debug, Clone)]
pub struct ReferenceCoverage {
    matchers: Vec<ReferenceMatcher>,
    /// What must be true of the name besides.
    guard: Option<ReferenceRule>,
}

/// One entry of `matchImageReferences`.
#[derive(Debug, Clone)]
pub enum ReferenceMatcher {
    /// A glob over the whole name.
    Glob(Glob),
    /// An expression over the name.
    Expression {
        /// As written.
        source: String,
        /// What it says.
        rule: ReferenceRule,
    },
}

impl ReferenceCoverage {
    /// What these cover together.
    #[must_use]
    pub fn new(matchers: Vec<ReferenceMatcher>) -> Self {
        Self {
            matchers,
            guard: None,
        }
    }

    /// What these cover if `guard` is true of the name, too.
    #[must_use]
    pub fn guarded(self, guard: Option<ReferenceRule>) -> Self {
        Self { guard, ..self }
    }

    fn can_match(&self, repository: &str, tag: TagOf<'_>, digest: Option<DigestForm>) -> bool {
        let name = Name {
            repository,
            tag,
            digest,
        };
        let guard = self.guard.as_ref();
        (self.matchers.is_empty() || self.matchers.iter().any(|it| it.can_match(&name)))
            && guard.is_none_or(|guard| guard.of(&name) != Answer::No)
    }

    fn can_match_digest(&self, repository: &str, tag: TagOf<'_>) -> bool {
        let mut forms = DIGESTS.into_iter();
        forms.any(|form| self.can_match(repository, tag, Some(form)))
    }
}

impl ReferenceMatcher {
    /// Whether a digest without a known tag is covered in a repository that it does not name.
    #[must_use]
    pub fn is_undecided_for_digests(&self) -> bool {
        let unrelated = |form| Name {
            repository: "a1.example/b/c",
            tag: TagOf::None,
            digest: Some(form),
        };
        let mut forms = DIGESTS.into_iter();
        match self {
            Self::Glob(_) => false,
            Self::Expression { rule, .. } => {
                forms.any(|form| rule.of(&unrelated(form)) == Answer::Maybe)
            }
        }
    }

    fn can_match(&self, name: &Name<'_>) -> bool {
        match self {
            Self::Glob(glob) => glob.can_match(&name.text()),
            Self::Expression { rule, .. } => rule.of(name) != Answer::No,
        }
    }

    fn source(&self) -> &str {
        match self {
            Self::Glob(glob) => glob.source(),
            Self::Expression { source, .. } => source,
        }
    }

    fn is_about_tags(&self) -> bool {
        match self {
            Self::Glob(glob) => is_about_tags(glob.source()),
            Self::Expression { rule, .. } => rule.is_about_tags(),
        }
    }
}

impl ImportedCoverage for ReferenceCoverage {
    fn understands(&self, reference: &str) -> bool {
        Image::parse(reference).is_some()
    }

    fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        let names = written_names(repository.as_str());
        names.iter().any(|name| {
            let asked_for = |tag: &String| {
                let known = TagOf::Known(tag);
                self.can_match(name, known, None)
                    || self.can_match_digest(name, known)
                    || tag == "latest" && self.can_match(name, TagOf::None, None)
            };
            let without_known_tag = || {
                self.can_match(name, TagOf::Unknown, None)
                    || self.can_match_digest(name, TagOf::Unknown)
                    || self.can_match(name, TagOf::None, None)
            };
            self.can_match_digest(name, TagOf::None)
                || tags.known().is_empty() && without_known_tag()
                || tags.known().iter().any(asked_for)
        })
    }

    fn matches(&self, reference: &str) -> bool {
        let mut matchers = self.matchers.iter();
        let guard = self.guard.as_ref();
        let is_matched = self.matchers.is_empty()
            || matchers.any(|matcher| match matcher {
                ReferenceMatcher::Glob(glob) => glob.matches(reference),
                ReferenceMatcher::Expression { rule, .. } => rule.matches(reference),
            });
        is_matched && guard.is_none_or(|guard| guard.matches(reference))
    }

    fn is_about_tags(&self) -> bool {
        let guard = self.guard.as_ref();
        self.matchers.iter().any(ReferenceMatcher::is_about_tags)
            || guard.is_some_and(ReferenceRule::is_about_tags)
    }

    fn describe(&self) -> Value {
        let matchers = self.matchers.iter().map(|matcher| match matcher {
            ReferenceMatcher::Glob(glob) => json!({ "glob": glob.source() }),
            ReferenceMatcher::Expression { source, .. } => json!({ "expression": source }),
        });
        let matchers: Vec<_> = matchers.collect();
        match &self.guard {
            None => json!({ "kyverno_references": matchers }),
            Some(guard) => {
                json!({ "kyverno_references": matchers, "guard": guard.to_string() })
            }
        }
    }

    fn patterns(&self) -> Vec<String> {
        let mut patterns: Vec<_> = self
            .matchers
            .iter()
            .map(|it| it.source().to_owned())
            .collect();
        if patterns.is_empty() {
            patterns.push("*".to_owned());
        }
        if let Some(guard) = &self.guard {
            for pattern in &mut patterns {
                pattern.push_str(&format!(" where {guard}"));
            }
        }
        patterns
    }
}

/// The names under which Pods may ask for a repository whose canonical name this is, with a registry or without.
fn written_names(canonical: &str) -> Vec<String> {
    let mut names = spellings(canonical);
    let short: Vec<_> = names
        .iter()
        .filter_map(|name| name.strip_prefix("docker.io/"))
        .map(ToOwned::to_owned)
        .collect();
    names.extend(short);
    names
}

/// Whether the glob tells some tags of a repository from others. In doubt it does.
fn is_about_tags(glob: &str) -> bool {
    let last = glob.rsplit('/').next().unwrap_or(glob);
    let plain = !glob.contains(['[', '{', '\\']);
    let before = last.strip_suffix('*');
    // With any tag it is no matter which.
    let before = before.map(|before| before.strip_suffix(':').unwrap_or(before));
    !plain || before.is_none_or(|before| before.contains([':', '@', '?', '*']))
}
