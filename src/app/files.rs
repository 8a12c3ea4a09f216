//! The files that a configuration is read from: read as they stand still, and looked at for changes.
//!
//! They are looked at by name from time to time. That sees what a watch on a file does not: a Kubernetes volume, which
//! changes by another directory behind a symbolic link, and a new file that a pattern names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{Config, Loaded, Problem, Problems};
use crate::oci::Digest;

/// Reads the configuration anew.
pub type Loader = Arc<dyn Fn() -> Loaded + Send + Sync>;

/// How often a configuration is read because its files changed meanwhile.
const READINGS_MAX: usize = 5;
/// The most of a file that is looked at.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The files of a configuration. Everything here reads the disk.
pub struct Files {
    loader: Loader,
    /// As the configuration names them, patterns among them.
    names: BTreeSet<PathBuf>,
    seen: Seen,
}

/// What the files were when they were looked at; absent for what could not be read.
type Seen = BTreeMap<PathBuf, Look>;

#[derive(Debug, Clone)]
struct Look {
    identity: Option<Identity>,
    digest: Option<Digest>,
}

/// What changes whenever the content does, on any file system worth the name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Identity {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// Loads the configuration, and notes what it was loaded from.
    pub fn open(loader: Loader) -> (Self, Result<Config, Problems>) {
        let mut files = Self {
            loader,
            names: BTreeSet::new(),
            seen: Seen::new(),
        };
        let config = files.load();
        (files, config)
    }

    /// Loads the configuration. Files that change while they are read are read again, so that no configuration is made
    /// of halves.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(&mut self) -> Result<Config, Problems> {
        let mut reading = 0;
        loop {
            let before = look(&self.names, &self.seen);
            let Loaded { config, files } = (self.loader)();
            reading += 1;
            let same_files = files == self.names;
            self.names = files;
            self.seen = look(&self.names, &before);
            if same_files && same(&before, &self.seen) {
                return config;
            }
            if reading == READINGS_MAX {
                // As if nothing had been seen, so that they are read again at the next look.
                self.seen = Seen::new();
                return Err(never_still());
            }
        }
    }

    /// Whether any file is another than when this was last asked or loaded.
    pub fn changed(&mut self) -> bool {
        let now = look(&self.names, &self.seen);
        let changed = !same(&self.seen, &now);
        self.seen = now;
        changed
    }
}

/// No configuration is made of halves, so there is none.
fn never_still() -> Problems {
    Problems(vec![Problem {
        position: None,
        key: String::new(),
        message: format!("the files changed during each of {READINGS_MAX} readings"),
        help: "write them elsewhere and move them into place when they are complete".to_owned(),
    }])
}

fn same(before: &Seen, after: &Seen) -> bool {
    before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|((path, before), (other, after))| path == other && before.digest == after.digest)
}

/// Looks at all files; what has not been touched is not read again.
fn look(names: &BTreeSet<PathBuf>, known: &Seen) -> Seen {
    let mut paths = names.clone();
    for name in names {
        if let Ok(found) = glob::glob(&name.to_string_lossy()) {
            // A folder such as `data_dir` has no content of its own, and it is made after the first look.
            let found = found.filter_map(Result::ok);
            paths.extend(found.filter(|path| path.is_file()));
        }
    }
    let looks = paths.into_iter().map(|path| {
        let look = look_at(&path, known.get(&path));
        (path, look)
    });
    looks.collect()
}

fn look_at(path: &Path, known: Option<&Look>) -> Look {
    let metadata = std::fs::metadata(path).ok();
    let identity = metadata.filter(Metadata::is_file).map(|it| identity(&it));
    if let Some(known) = known
        && known.identity == identity
    {
        return known.clone();
    }
    let digest = identity.as_ref().and_then(|_| digest(path));
    Look { identity, digest }
}

fn identity(metadata: &Metadata) -> Identity {
    Identity {
        file: (metadata.dev(), metadata.ino()),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn digest(path: &Path) -> Option<Digest> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(Digest::sha256(&bytes))
}

impl std::fmt::Debug for Files {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Files")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write("c.yaml", "policies: []\npolicy_files: [more/*.yaml]\n");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn open(&self) -> (Files, Result<Config, Problems>) {
            let path = self.path("c.yaml");
            Files::open(Arc::new(move || {
                Config::load_with_files(std::slice::from_ref(&path), &|_name| None)
            }))
        }
    }

    #[test]
    fn a_file_that_a_pattern_names_is_noticed_when_it_comes_and_when_it_changes() {
        let folder = Folder::new();
        let (mut files, config) = folder.open();
        // The pattern names no file yet, and that is what is wrong.
        assert!(config.is_err());
        assert!(!files.changed());
        folder.write("more/one.yaml", "kind: A\n");
        assert!(files.changed());
        assert!(!files.changed());
        folder.write("more/one.yaml", "kind: B\n");
        assert!(files.changed());
        folder.write("more/one.yaml", "kind: B\n");
        assert!(!files.changed(), "the content is the same");
        std::fs::remove_file(folder.path("more/one.yaml")).unwrap();
        assert!(files.changed());
    }

    #[test]
    fn a_new_folder_is_no_change() {
        let folder = Folder::new();
        folder.write("more/one.yaml", "kind: A\n");
        let (mut files, _) = folder.open();
        std::fs::create_dir(folder.path("more/two.yaml")).unwrap();
        assert!(!files.changed());
    }

    #[test]
    fn another_directory_behind_a_link_is_noticed() {
        let folder = Folder::new();
        folder.write("first/c.yaml", "policies: []\n");
        folder.write("second/c.yaml", "default: audit\n");
        let link = |to: &str| {
            std::os::unix::fs::symlink(to, folder.path("new")).unwrap();
            std::fs::rename(folder.path("new"), folder.path("data")).unwrap();
        };
        link("first");
        let path = folder.path("data/c.yaml");
        let (mut files, config) = Files::open(Arc::new(move || {
            Config::load_with_files(std::slice::from_ref(&path), &|_name| None)
        }));
        let before = config.unwrap().policies.hash;
        assert!(!files.changed());
        link("second");
        assert!(files.changed());
        assert_ne!(files.load().unwrap().policies.hash, before);
        assert!(!files.changed());
    }

    #[test]
    fn what_never_stands_still_is_not_taken() {
        let folder = Folder::new();
        folder.write("c.yaml", "policies: []\n");
        let path = folder.path("c.yaml");
        let readings = std::sync::atomic::AtomicUsize::new(0);
        let (mut files, config) = Files::open(Arc::new(move || {
            let loaded = Config::load_with_files(std::slice::from_ref(&path), &|_name| None);
            let reading = readings.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if reading < READINGS_MAX {
                std::fs::write(&path, format!("default: audit\n# {reading}\n")).unwrap();
            }
            loaded
        }));
        let problems = config.unwrap_err().to_string();
        assert!(problems.contains("changed during each"), "{problems}");
        // Nothing else has to change for them to be read again.
        assert!(files.changed());
        let default = files.load().unwrap().policies.default;
        assert_eq!(default, crate::policy::DefaultAction::Audit);
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let folder = Folder::new();
        folder.write("c.yaml", "policies: []\n");
        let path = folder.path("c.yaml");
        let readings = std::sync::atomic::AtomicUsize::new(0);
        let (mut files, config) = Files::open(Arc::new(move || {
            let loaded = Config::load_with_files(std::slice::from_ref(&path), &|_name| None);
            // Right after the second reading, and before the files are looked at again.
            if readings.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
                std::fs::write(&path, "default: audit\n").unwrap();
            }
            loaded
        }));
        let default = config.unwrap().policies.default;
        assert_eq!(default, crate::policy::DefaultAction::Audit);
        assert!(!files.changed());
    }
}
