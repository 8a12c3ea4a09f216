//! Progress of long work, on a terminal alone.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::image::ImageReference;

/// The characters of a name that are shown.
const NAME_CHARACTERS: usize = 60;

/// Counts the images that have been asked about.
#[derive(Debug)]
pub(super) struct Progress {
    all: usize,
    done: AtomicUsize,
    is_shown: bool,
}

impl Progress {
    pub(super) fn of(all: usize) -> Self {
        Self {
            all,
            done: AtomicUsize::new(0),
            is_shown: io::stderr().is_terminal(),
        }
    }

    /// Counts an image.
    pub(super) fn step(&self, image: &ImageReference) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let name: String = image.to_string().chars().take(NAME_CHARACTERS).collect();
        self.show(&format!("[{done}/{}] {name}", self.all));
    }

    /// Clears the line.
    pub(super) fn end(&self) {
        self.show("");
    }

    fn show(&self, text: &str) {
        if self.is_shown {
            // A closed terminal shows nothing.
            drop(write!(io::stderr(), "\r\u{1b}[K{text}"));
        }
    }
}
