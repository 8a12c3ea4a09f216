//! Which images a policy covers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Pattern;
use crate::oci::RepositoryName;

/// The tags through which a digest was asked for in its repository; none are known for one that was only ever asked for
/// by digest.
#[derive(Debug, Clone, Default, Eq)]
pub struct Tags(Arc<[String]>);

/// Which images a policy covers.
#[derive(Debug, Clone)]
pub enum Coverage {
    /// By canonical name, as the native configuration has it.
    Names {
        /// Patterns of canonical names it covers.
        images: Vec<Pattern>,
        /// Patterns of canonical names it does not cover after all.
        exclude: Vec<Pattern>,
    },
    /// By the rules of the project that the policy was written for.
    Imported(Arc<dyn ImportedCoverage>),
}

/// Coverage by the rules of another project.
pub trait ImportedCoverage: std::fmt::Debug + Send + Sync {
    /// Whether an image of this name, asked for through these tags, is covered. Without known tags: whether an image of
    /// the repository can be.
    fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool;
    /// Whether an image of this name is covered under some tag or none.
    fn can_cover(&self, repository: &RepositoryName) -> bool {
        self.covers(repository, &Tags::default())
    }
    /// Whether it can cover names that have nothing in common, as `**` does.
    fn covers_everything(&self) -> bool {
        let names = UNRELATED.iter().filter_map(|name| name.parse().ok());
        let covered = names.filter(|name| self.can_cover(name));
        covered.count() > 1
    }
    /// Whether the reference as a user writes it is covered by the project's own rules, which know nothing of tags that
    /// are not in the reference.
    fn matches(&self, reference: &str) -> bool;
    /// Whether the project knows the reference as one, also where nothing can be pulled under it here.
    fn understands(&self, _reference: &str) -> bool {
        false
    }
    /// Whether tags can make a difference.
    fn is_about_tags(&self) -> bool;
    /// Everything that decides, for the hash of the policy; the same for the same meaning.
    fn describe(&self) -> Value;
    /// The patterns as written, for messages.
    fn patterns(&self) -> Vec<String>;
    /// The patterns of what is not covered after all as written, for messages.
    fn excluded(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What holds of an image of which it is not certain whether it is covered, such as one that was asked for by digest
/// where a pattern has a part for the tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It is covered: more is required of it than of nothing.
    Covers,
    /// It is not covered: the policy lets through what it covers without any evidence.
    DoesNotCover,
}

impl Doubt {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Covers => "covers",
            Self::DoesNotCover => "does_not_cover",
        }
    }
}

/// Names of which no honest pattern matches two.
const UNRELATED: [&str; 4] = [
    "k7w.example/uvq",
    "registry.invalid:5000/d3/zx",
    "10.20.30.41/b6/y/w/h",
    "m-9.test/p4/rq",
];

impl PartialEq for Tags {
    /// Usually it is the very same list, which may be long.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Tags {
    /// These tags.
    #[must_use]
    pub fn new(tags: impl IntoIterator<Item = String>) -> Self {
        Self(tags.into_iter().collect())
    }

    /// The tags; empty when none are known.
    #[must_use]
    pub fn known(&self) -> &[String] {
        &self.0
    }
}

impl Coverage {
    /// Whether an image of this name, asked for through these tags, is covered.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        match self {
            Self::Names { images, exclude } => {
                let matches = |pattern: &Pattern| pattern.matches(repository.as_str());
                images.iter().any(matches) && !exclude.iter().any(matches)
            }
            Self::Imported(imported) => imported.covers(repository, tags),
        }
    }

    /// Whether an image of this name is covered under some tag or none.
    #[must_use]
    pub fn can_cover(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Names { .. } => self.covers(repository, &Tags::default()),
            Self::Imported(imported) => imported.can_cover(repository),
        }
    }

    /// Whether tags can make a difference.
    #[must_use]
    pub fn is_about_tags(&self) -> bool {
        match self {
            Self::Names { .. } => false,
            Self::Imported(imported) => imported.is_about_tags(),
        }
    }

    /// The patterns of what is covered as written, for messages.
    #[must_use]
    pub fn patterns(&self) -> Vec<String> {
        match self {
            Self::Names { images, .. } => images.iter().map(ToString::to_string).collect(),
            Self::Imported(imported) => imported.patterns(),
        }
    }

    /// The patterns of what is not covered after all as written, for messages.
    #[must_use]
    pub fn excluded(&self) -> Vec<String> {
        match self {
            Self::Names { exclude, .. } => exclude.iter().map(ToString::to_string).collect(),
            Self::Imported(imported) => imported.excluded(),
        }
    }

    pub(super) fn describe(&self) -> Value {
        let patterns = |patterns: &[Pattern]| -> Vec<String> {
            patterns.iter().map(ToString::to_string).collect()
        };
        match self {
            Self::Names { images, exclude } => {
                json!({ "images": patterns(images), "exclude": patterns(exclude) })
            }
            Self::Imported(imported) => imported.describe(),
        }
    }
}
