//! Which images a `verifyImages` entry covers.

use serde_json::{Value, json};

use super::Image;
use super::wildcard::{self, Suffix};
use crate::oci::RepositoryName;
use crate::policy::{ImportedCoverage, Tags};

/// `imageReferences` without `skipImageReferences`.
///
/// Kyverno compares `registry/path:tag`, or `registry/path@digest` where a Pod names a digest. A pull names a tag first
/// and then its digest, so here an image is covered if Kyverno would cover it under any of the tags through which it was
/// asked for, or under its digest; without known tags, if it would under some tag.
#[derive(Debug, Clone)]
pub struct ImageCoverage {
    images: Vec<String>,
    skip: Vec<String>,
}

impl ImageCoverage {
    /// These patterns without those.
    #[must_use]
    pub fn new(images: Vec<String>, skip: Vec<String>) -> Self {
        Self { images, skip }
    }

    /// Whether `pattern` can match the name of an image in the registry `host`.
    #[must_use]
    pub fn can_name(pattern: &str, host: &str) -> bool {
        let names = spellings(&format!("{host}/"));
        let mut names = names.iter();
        names.any(|name| wildcard::can_begin(pattern, name))
    }

    fn covers_tag(&self, names: &[String], tag: &str) -> bool {
        let under = |patterns: &[String]| {
            let mut names = names.iter();
            names.any(|name| any_matches(patterns, &format!("{name}:{tag}")))
        };
        under(&self.images) && !under(&self.skip)
    }

    fn can_cover(&self, names: &[String], suffix: Suffix) -> bool {
        let can = |pattern: &String| {
            let mut names = names.iter();
            names.any(|name| wildcard::can_continue(pattern, name, suffix))
        };
        self.images.iter().any(can) && !self.skips_all(names, suffix)
    }

    fn skips_all(&self, names: &[String], suffix: Suffix) -> bool {
        let always = |pattern: &String| {
            let mut names = names.iter();
            names.any(|name| wildcard::always_continues(pattern, name, suffix))
        };
        self.skip.iter().any(always)
    }

    /// Every tag through which the image was asked for is on the skip list: so is the image.
    fn skips_tags(&self, names: &[String], tags: &Tags) -> bool {
        let skipped = |tag: &String| {
            let mut names = names.iter();
            names.any(|name| any_matches(&self.skip, &format!("{name}:{tag}")))
        };
        !tags.known().is_empty() && tags.known().iter().all(skipped)
    }
}

impl ImportedCoverage for ImageCoverage {
    fn covers(&self, repository: &RepositoryName, tags: &Tags) -> bool {
        let names = spellings(repository.as_str());
        if self.skips_tags(&names, tags) {
            return false;
        }
        let mut known = tags.known().iter();
        known.any(|tag| self.covers_tag(&names, tag))
            || self.can_cover(&names, Suffix::Digest)
            || tags.known().is_empty() && self.can_cover(&names, Suffix::Tag)
    }

    fn matches(&self, reference: &str) -> bool {
        let Some(image) = Image::parse(reference) else {
            return false;
        };
        let text = image.to_string();
        any_matches(&self.images, &text) && !any_matches(&self.skip, &text)
    }

    fn is_about_tags(&self) -> bool {
        let mut patterns = self.images.iter().chain(&self.skip);
        patterns.any(|pattern| is_about_tags(pattern))
    }

    fn describe(&self) -> Value {
        json!({ "kyverno": { "images": self.images, "skip": self.skip } })
    }

    fn patterns(&self) -> Vec<String> {
        self.images.clone()
    }
}

/// The names under which Pods may ask for a repository whose canonical name this is.
pub(super) fn spellings(canonical: &str) -> Vec<String> {
    let Some(path) = canonical.strip_prefix("docker.io/") else {
        return vec![canonical.to_owned()];
    };
    let short = path.strip_prefix("library/");
    let hosts = ["docker.io", "index.docker.io", "registry-1.docker.io"];
    let paths = [Some(path), short];
    let names = hosts.iter().flat_map(|host| {
        let paths = paths.iter().flatten();
        paths.map(move |path| format!("{host}/{path}"))
    });
    names.collect()
}

fn any_matches(patterns: &[String], text: &str) -> bool {
    let mut patterns = patterns.iter();
    patterns.any(|pattern| wildcard::matches(pattern, text))
}

/// Whether the pattern tells some tags of a repository from others. In doubt it does.
fn is_about_tags(pattern: &str) -> bool {
    let last = pattern.rsplit('/').next().unwrap_or(pattern);
    let Some(before) = last.strip_suffix('*') else {
        return true;
    };
    let before = before.strip_suffix(':').unwrap_or(before);
    before.contains([':', '@'])
}
