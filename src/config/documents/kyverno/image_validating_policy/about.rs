//! Which images of a Pod a part of an expression is about.
//!
//! A pull knows its own image alone. A part that is about one list of images and a part that is about another one may
//! be joined by `&&`, which only tightens the policy. Joined otherwise, an image could be let through for what is said of
//! other images of its Pod. So each value carries what it is about, also through lists, loops and variables.

use std::collections::BTreeSet;

use super::term::Term;

/// What the value of a part depends on beside the image itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct About {
    /// The lists of images that were looked at.
    lists: BTreeSet<String>,
    /// True if parts of it are about different lists.
    pub(super) lists_differ: bool,
    /// True if a loop over images gave something that depends on their names.
    pub(super) by_names: bool,
    /// True if a loop put together what other loops had decided by names.
    pub(super) joins_names: bool,
}

/// A value with what it is about: an item of a list that is written out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) term: Term,
    pub(super) about: About,
}

/// What a name stands for inside a loop.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) item: Item,
}

/// What names stand for inside `all`, `map` and the like, the innermost last.
pub(super) type Scope = Vec<Binding>;

impl About {
    /// Adds a list of images.
    pub(super) fn add_list(&mut self, name: &str) {
        self.lists.insert(name.to_owned());
    }

    /// Adds what another part of the same expression is about.
    pub(super) fn absorb(&mut self, other: Self) {
        let is_about_others =
            !self.lists.is_empty() && !other.lists.is_empty() && self.lists != other.lists;
        self.lists_differ |= other.lists_differ || is_about_others;
        self.by_names |= other.by_names;
        self.joins_names |= other.joins_names;
        self.lists.extend(other.lists);
    }

    /// What each image of a list is about. Its own name is asked for image by image.
    pub(super) fn of_each(&self) -> Self {
        Self {
            by_names: false,
            ..self.clone()
        }
    }
}
