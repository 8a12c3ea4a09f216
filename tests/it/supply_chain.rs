//! The build takes images and actions by what they are, and not by a name that can be moved.

use std::fs;
use std::path::{Path, PathBuf};

/// Files of the repository, without what is built or only read by tests.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !["target", ".git", "fixtures"].contains(&name) {
            files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn is_workflow(path: &Path) -> bool {
    path.to_str().unwrap().contains("/.github/")
}

fn is_build_file(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    ["Dockerfile", "Containerfile"]
        .iter()
        .any(|it| name.starts_with(it) || name.ends_with(it))
}

/// Names in a line of a workflow or a Dockerfile that something is fetched by.
fn fetched(line: &str) -> Option<&str> {
    let line = line.trim().trim_start_matches("- ");
    let keys = [
        "uses:",
        "image:",
        "container:",
        "FROM ",
        "# syntax=",
        "COPY --from=",
    ];
    let rest = keys.iter().find_map(|key| line.strip_prefix(key))?;
    rest.split_whitespace()
        .find(|it| !it.starts_with("--platform"))
}

fn is_pinned(name: &str) -> bool {
    let hex =
        |text: &str, length| text.len() == length && text.bytes().all(|it| it.is_ascii_hexdigit());
    match name.split_once('@') {
        Some((_, digest)) => {
            digest.strip_prefix("sha256:").is_some_and(|it| hex(it, 64)) || hex(digest, 40)
        }
        // A stage of the same file, or an action of this repository.
        None => !name.contains([':', '/', '.']) || name.starts_with("./"),
    }
}

#[test]
fn build_fetches_nothing_by_a_name_that_can_be_moved() {
    let mut all = Vec::new();
    files(Path::new(env!("CARGO_MANIFEST_DIR")), &mut all);
    let mut pins = 0;
    let mut movable = Vec::new();
    for path in all.iter().filter(|it| is_workflow(it) || is_build_file(it)) {
        let text = fs::read_to_string(path).unwrap();
        for name in text.lines().filter_map(fetched) {
            pins += usize::from(name.contains('@'));
            if !is_pinned(name) {
                movable.push(format!("{}: {name}", path.display()));
            }
        }
    }
    assert_eq!(movable, Vec::<String>::new());
    assert!(pins >= 4, "only {pins} names were found");
}

#[test]
fn movable_names_are_told_from_digests() {
    let digest = format!("rust:1@sha256:{}", "0".repeat(64));
    let commit = format!("actions/checkout@{}", "0".repeat(40));
    for name in [digest.as_str(), commit.as_str(), "build", "./action"] {
        assert!(is_pinned(name), "{name}");
    }
    for name in [
        "rust:1",
        "actions/checkout@v4",
        "gcr.io/x/y",
        "rust:1@sha256:00",
    ] {
        assert!(!is_pinned(name), "{name}");
    }
    assert_eq!(fetched("      - uses: a/b@v1 # v1"), Some("a/b@v1"));
    assert_eq!(
        fetched("FROM --platform=linux/amd64 rust:1 AS build"),
        Some("rust:1")
    );
    assert_eq!(fetched("RUN true"), None);
}
