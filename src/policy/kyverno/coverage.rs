//! Which images a `verifyImages` entry covers.

use serde_json::{Value, json};

use super::Image;
use super::wildcard::{self, Suffix};
use crate::oci::RepositoryName;
use crate::oci::repository::{DOCKER_HUB, OTHER_DOCKER_HUBS};
use crate::policy::{Doubt, ImportedCoverage, Tags};

/// `imageReferences` without `skipImageReferences`.
///
/// Kyverno compares `registry/path:tag`, or `registry/path@digest` where a Pod names a digest. A pull names a tag first
/// and then its digest, so here an image is covered if Kyverno would cover it under any of the tags through which it was
/// asked for, or under its digest; without known tags, if it would under some tag. In doubt it is covered, unless what
/// is covered is let through: then only if Kyverno would cover it under each of those tags.
#[derive(Debug, Clone)]
pub struct ImageCoverage {
    images: Vec<String>,
    skip: Vec<String>,
    doubt: Doubt,
}

impl ImageCoverage {
    /// These patterns without those.
    #[must_use]
    pub fn new(images: Vec<String>, skip: Vec<String>, doubt: Doubt) -> Self {
        Self {
            images,
            skip,
            doubt,
        }
    }

    /// Whether `pattern` can match the name of an image in the registry `host`.
    #[must_use]
    pub fn can_name(pattern: &str, host: &str) -> bool {
        let names = spellings(&format!("{host}/"));
        let mut names = names.iter();
        names.any(|name| wildcard::can_begin(pattern, name))
    }

    /// Whether a pattern tells some tags of a repository from others, or its tags from its digests. In doubt it does: a
    /// wildcard before the end may stand for the end of the name and the beginning of the tag.
    #[must_use]
    pub fn compares_tags(pattern: &str) -> bool {
        let last = last_component(pattern);
        let before = last.trim_end_matches('*');
        before == last || before.contains([':', '@', '*', '?'])
    }

    /// Whether `skip` takes away every image that `pattern` names, as far as a few of them can tell.
    #[must_use]
    pub fn skips_all_of(skip: &str, pattern: &str) -> bool {
        let texts = SOME_TEXTS.iter();
        let names = texts.map(|text| pattern.replace('*', text).replace('?', "q"));
        let mut names = names.filter(|name| last_component(name).contains([':', '@']));
        let mut some = false;
        names.all(|name| {
            some = true;
            wildcard::matches(skip, &name)
        }) && some
    }

    /// Whether an image may be covered that is asked for under this name.
    fn may_cover(&self, name: &str, tags: &Tags) -> bool {
        let known = tags.known();
        let skipped = !known.is_empty() && known.iter().all(|tag| self.skips_tag(name, tag));
        let mut covered = known.iter().filter(|tag| !self.skips_tag(name, tag));
        !skipped
            && (covered.any(|tag| self.names_tag(name, tag))
                || self.covers_some(name, Suffix::Digest)
                || known.is_empty() && self.covers_some(name, Suffix::Tag))
    }

    fn names_tag(&self, name: &str, tag: &str) -> bool {
        any_matches(&self.images, &format!("{name}:{tag}"))
    }

    fn skips_tag(&self, name: &str, tag: &str) -> bool {
        let names = skipped_as(name);
        let mut names = names.iter();
        names.any(|name| any_matches(&self.skip, &format!("{name}:{tag}")))
    }

    fn covers_some(&self, name: &str, suffix: Suffix) -> bool {
        let can = |pattern: &String| wildcard::can_continue(pattern, name, suffix);
        let skipped_as = skipped_as(name);
        let always = |pattern: &String| {
            let mut names = skipped_as.iter();
            names.any(|name| wildcard::always_continues(pattern, name, suffix))
        };
        self.images.iter().any(can) && !self.skip.iter().any(always)
    }

    /// Whether it certainly is covered: under each of the known tags, or under every tag there can be.
    fn must_cover(&self, names: &[String], tags: &Tags) -> bool {
        let known = tags.known();
        !known.is_empty() && known.iter().all(|tag| self.surely_covers_tag(names, tag))
            || self.covers_every_tag(names)
    }

    fn surely_covers_tag(&self, names: &[String], tag: &str) -> bool {
        names.iter().any(|name| self.names_tag(name, tag))
            && !names.iter().any(|name| self.skips_tag(name, tag))
    }

    fn covers_every_tag(&self, names: &[String]) -> bool {
        let always = |pattern: &String| {
            let mut names = names.iter();
            names.any(|name| wildcard::always_continues(pattern, name, Suffix::Tag))
        };
        let can = |pattern: &String| {
            names.iter().any(|name| {
                let mut suffixes = [Suffix::Tag, Suffix::Digest].into_iter();
                suffixes.any(|suffix| wildcard::can_continue(pattern, name, suffix))
            })
        };
        self.images.iter().any(always) && !self.skip.iter().any(can)
    }
}

impl ImportedCoverage for ImageCoverage {
    fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        let names = spellings(repository.as_str());
        match self.doubt {
            // Whichever way a Pod writes the name, what Kyverno would verify is verified.
            Doubt::Covers => names.iter().any(|name| self.may_cover(name, tags)),
            Doubt::DoesNotCover => self.must_cover(&names, tags),
        }
    }

    fn can_cover(&self, repository: &RepositoryName) -> bool {
        let names = spellings(repository.as_str());
        let mut names = names.iter();
        names.any(|name| self.may_cover(name, &Tags::default()))
    }

    fn matches(&self, reference: &str) -> bool {
        let Some(image) = Image::parse(reference) else {
            return false;
        };
        let text = image.to_string();
        any_matches(&self.images, &text) && !any_matches(&self.skip, &text)
    }

    fn understands(&self, reference: &str) -> bool {
        Image::parse(reference).is_some()
    }

    fn is_about_tags(&self) -> bool {
        // Every tag is as good as none for what covers all of them, but not for what skips them.
        let is_about_some =
            |pattern: &String| Self::compares_tags(pattern) && !ends_with_any_tag(pattern);
        self.images.iter().any(is_about_some)
            || self.skip.iter().any(|pattern| Self::compares_tags(pattern))
    }

    fn describe(&self) -> Value {
        json!({ "kyverno": { "images": self.images, "skip": self.skip, "doubt": self.doubt.word() } })
    }

    fn patterns(&self) -> Vec<String> {
        self.images.clone()
    }

    fn excluded(&self) -> Vec<String> {
        self.skip.clone()
    }
}

/// What a wildcard may stand for; of names with these in its place, no honest pattern matches all unless it has wildcards
/// there too.
const SOME_TEXTS: [&str; 5] = [
    "",
    "q7-u",
    "k9v.x/w/3b",
    "k9v.x/w/3b:v7-u",
    "q7-u@sha256:0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
];

/// The names under which Pods may ask for a repository whose canonical name this is.
pub(super) fn spellings(canonical: &str) -> Vec<String> {
    let Some(path) = canonical.strip_prefix("docker.io/") else {
        return vec![canonical.to_owned()];
    };
    let short = path.strip_prefix("library/");
    let paths = [Some(path), short];
    let hosts = [DOCKER_HUB].into_iter().chain(OTHER_DOCKER_HUBS);
    let names = hosts.flat_map(|host| {
        let paths = paths.iter().flatten();
        paths.map(move |path| format!("{host}/{path}"))
    });
    names.collect()
}

/// The names of which one must be on the skip list. A name of Docker Hub that nobody writes is skipped with the usual
/// one: that a skip list does not have it says nothing.
fn skipped_as(name: &str) -> Vec<String> {
    let usual = name.split_once('/').and_then(|(host, path)| {
        let is_other = OTHER_DOCKER_HUBS.contains(&host);
        is_other.then(|| format!("{DOCKER_HUB}/{path}"))
    });
    usual.into_iter().chain([name.to_owned()]).collect()
}

fn any_matches(patterns: &[String], text: &str) -> bool {
    let mut patterns = patterns.iter();
    patterns.any(|pattern| wildcard::matches(pattern, text))
}

/// Whether all of a pattern but its name is `:*`.
fn ends_with_any_tag(pattern: &str) -> bool {
    let name = last_component(pattern).strip_suffix(":*");
    name.is_some_and(|name| !name.contains([':', '@']))
}

fn last_component(pattern: &str) -> &str {
    pattern.rsplit('/').next().unwrap_or(pattern)
}
