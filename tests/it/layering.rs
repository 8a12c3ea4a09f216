//! Who may import whom. The table is the design; a module that is not in it fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What each module may name with `crate::`. `*` is everything. Everybody may name `limits`, `shares` and `foreign`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("limits", &[]),
    ("clock", &[]),
    ("compute", &[]),
    ("flights", &[]),
    ("secret", &[]),
    ("shares", &[]),
    ("foreign", &["oci"]),
    ("pace", &[]),
    ("private", &[]),
    ("disk", &[]),
    ("listener", &["pace", "telemetry"]),
    ("telemetry", &[]),
    ("signature", &["oci"]),
    ("verify", &["oci", "signature"]),
    ("policy", &["oci", "signature", "verify"]),
    ("in_force", &["policy", "keys", "trust"]),
    ("upstream", &["oci", "telemetry"]),
    ("store", &["oci", "telemetry"]),
    ("keys", &["oci", "policy", "verify"]),
    (
        "trust",
        &["oci", "telemetry", "verify", "policy", "upstream"],
    ),
    ("decision_log", &["oci", "telemetry"]),
    ("state", &["oci", "telemetry", "decision_log"]),
    (
        "discovery",
        &["oci", "signature", "upstream", "telemetry", "compute"],
    ),
    (
        "admission",
        &[
            "oci",
            "signature",
            "verify",
            "policy",
            "discovery",
            "trust",
            "state",
            "decision_log",
            "telemetry",
            "compute",
        ],
    ),
    (
        "pull",
        &[
            "oci",
            "admission",
            "upstream",
            "store",
            "state",
            "telemetry",
        ],
    ),
    (
        "manifests",
        &[
            "oci",
            "state",
            "store",
            "upstream",
            "decision_log",
            "compute",
        ],
    ),
    ("clients", &["oci", "policy"]),
    ("server", &["oci", "pull", "admission", "telemetry"]),
    ("admin", &["telemetry", "decision_log"]),
    ("config", &["*"]),
    ("cli", &["*"]),
    ("app", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

/// What goes beyond the table above, and why.
const EXTRA: &[(&str, &str, &str)] = &[
    (
        "admission",
        "in_force",
        "each decision takes the policies once, and counts while they are in force",
    ),
    ("server", "listener", "requests come from a listener"),
    ("server", "pace", "HTTP/2 bodies begin with small pieces"),
    ("store", "pace", "content is read in pieces of that size"),
    (
        "store",
        "disk",
        "the last write tells whether the disk takes content",
    ),
    (
        "state",
        "disk",
        "the last write tells whether the disk takes rows",
    ),
    ("store", "private", "content is readable by this user only"),
    (
        "state",
        "private",
        "the database is readable by this user only",
    ),
    (
        "trust",
        "private",
        "kept roots are readable by this user only",
    ),
    (
        "admin",
        "listener",
        "requests come from a listener, whose use the metrics show",
    ),
    (
        "admission",
        "flights",
        "who asks for a decision under way joins it",
    ),
    ("pull", "flights", "who asks for a tag under way joins it"),
    (
        "pull",
        "compute",
        "large lists are read away from the threads that serve",
    ),
    (
        "clients",
        "flights",
        "who gives a password that is being checked joins the check",
    ),
    ("admin", "secret", "the token of the listener"),
    ("upstream", "secret", "credentials do not print"),
    ("keys", "secret", "tokens do not print"),
    ("keys", "clock", "operators are told when a key was read"),
    (
        "keys",
        "upstream",
        "key services are trusted like upstreams: by the platform's certificates",
    ),
    (
        "state",
        "clock",
        "once, when opened: new hints come after old ones",
    ),
    (
        "store",
        "clock",
        "once, when opened: ages are counted from there",
    ),
    (
        "store",
        "upstream",
        "a transfer tells its readers why the upstream gave no more bytes",
    ),
    (
        "state",
        "signature",
        "a row of evidence says in which source an artifact was found",
    ),
    (
        "decision_log",
        "signature",
        "an attempt names its source and format",
    ),
    (
        "decision_log",
        "verify",
        "an attempt carries the log entry as verified",
    ),
    (
        "trust",
        "clock",
        "the refresher of trusted roots runs by itself",
    ),
    (
        "admin",
        "in_force",
        "the API tells what is in force, and a change of it is asked for there",
    ),
    (
        "admin",
        "keys",
        "the API and the metrics tell how old keys are",
    ),
    (
        "admin",
        "trust",
        "the API and the metrics tell how old roots are",
    ),
    ("admin", "policy", "the API lists the policies in force"),
    (
        "telemetry",
        "keys",
        "reads of keys are counted where they end",
    ),
    ("telemetry", "trust", "gauges tell how old roots are"),
    (
        "admin",
        "pull",
        "an image is looked at again on demand, on the path of a pull",
    ),
    ("admin", "oci", "a query filters by digest"),
    ("admin", "state", "the API reads the decisions"),
    ("admin", "store", "the API says how full the store is"),
    (
        "admission",
        "manifests",
        "what is decided about is read once, as a document",
    ),
    (
        "admission",
        "store",
        "evidence is content, read from the store",
    ),
    (
        "admission",
        "upstream",
        "a manifest that cannot be had is no decision, and says why",
    ),
    (
        "pull",
        "decision_log",
        "a pull is about a subject, asked for by a client",
    ),
    ("pull", "manifests", "a tag is resolved to a document"),
    (
        "server",
        "clients",
        "who may pull what is asked before anything else",
    ),
    (
        "server",
        "decision_log",
        "every pull leaves a line in the access log",
    ),
    ("server", "manifests", "the answer is a document's bytes"),
    (
        "telemetry",
        "decision_log",
        "decisions are counted from their records",
    ),
    (
        "telemetry",
        "upstream",
        "upstream requests are counted by an observer",
    ),
    (
        "admission",
        "store",
        "evidence is content, read back and hashed",
    ),
    (
        "admission",
        "manifests",
        "what is decided about is a manifest, judged and served as the same bytes",
    ),
    ("admission", "flights", "one decision under way per subject"),
    (
        "admission",
        "upstream",
        "an upstream's error says whether there is anything to decide",
    ),
    (
        "pull",
        "manifests",
        "a tag is resolved to the manifest that was got for it",
    ),
    ("pull", "flights", "one look-up under way per tag"),
    (
        "pull",
        "decision_log",
        "a decision is about a subject, and records who asked",
    ),
    (
        "server",
        "clients",
        "who may pull what is asked before anything else",
    ),
    (
        "server",
        "decision_log",
        "one line in the access log per request",
    ),
    ("server", "manifests", "an admitted manifest is a document"),
    ("admin", "store", "metrics tell its usage"),
    ("admin", "secret", "the token is one"),
    ("upstream", "secret", "so are credentials"),
    (
        "telemetry",
        "decision_log",
        "decisions are counted by what their records say",
    ),
    (
        "telemetry",
        "upstream",
        "requests to upstreams are counted where they end",
    ),
];

/// Modules that may read the wall clock through `crate::clock`: the edges.
const READ_THE_CLOCK: &[&str] = &[
    "admin", "app", "cli", "config", "main", "server", "state", "store",
];

/// Nobody but these may import them.
const PRIVATE_TO: &[(&str, &[&str])] = &[
    ("config", &["app", "cli", "lib", "main"]),
    ("app", &["cli", "lib", "main"]),
];

/// What a pure module may not name.
const PURE: &[&str] = &["oci", "signature", "verify", "policy"];
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "ToSocketAddrs",
    "std::env",
    "std::process",
    "tokio::",
    "tracing::",
    "reqwest::",
    "rusqlite::",
    "Timestamp::now",
    "SystemTime",
    "Instant::now",
];

/// The files under `directory`, without those of unit tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            found.extend(sources(&path));
        } else if is_source && !is_test {
            found.push(path);
        }
    }
    found
}

/// The module at the top that a file belongs to.
fn module_of(root: &Path, path: &Path) -> String {
    let first = path.strip_prefix(root).unwrap().iter().next().unwrap();
    first.to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The code of a file without comments and without its tests, which stand at the end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("\n#[cfg(test)]").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules named as `crate::…`, one by one and in groups.
fn imports(code: &str) -> BTreeSet<String> {
    let single = regex::Regex::new(r"\bcrate::([a-z_0-9]+)").unwrap();
    let group = regex::Regex::new(r"\bcrate::\{((?:[^{}]|\{[^{}]*\})*)\}").unwrap();
    let inner = regex::Regex::new(r"\{[^{}]*\}").unwrap();
    let mut found: BTreeSet<String> = single
        .captures_iter(code)
        .map(|parts| parts[1].to_owned())
        .collect();
    for parts in group.captures_iter(code) {
        let flat = inner.replace_all(&parts[1], "").into_owned();
        let names = flat
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        found.extend(names.map(|name| name.split("::").next().unwrap().to_owned()));
    }
    found
}

/// The imports of every module, with the file of each.
fn edges() -> BTreeMap<(String, String), PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut edges = BTreeMap::new();
    for path in sources(&root) {
        let module = module_of(&root, &path);
        for import in imports(&code(&path)) {
            if import != module {
                edges.insert((module.clone(), import), path.clone());
            }
        }
    }
    edges
}

fn is_allowed(module: &str, import: &str) -> bool {
    let Some((_, may_import)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
        return false;
    };
    let private = PRIVATE_TO.iter().find(|(name, _)| *name == import);
    if private.is_some_and(|(_, users)| !users.contains(&module)) {
        return false;
    }
    let is_extra = EXTRA
        .iter()
        .any(|(from, to, _)| (*from, *to) == (module, import));
    match import {
        "foreign" | "limits" | "shares" => true,
        "clock" => is_extra || READ_THE_CLOCK.contains(&module),
        _ => is_extra || may_import.contains(&"*") || may_import.contains(&import),
    }
}

#[test]
fn modules_import_what_the_table_allows() {
    let wrong: Vec<String> = edges()
        .into_iter()
        .filter(|((module, import), _)| !is_allowed(module, import))
        .map(|((module, import), path)| format!("{module} -> {import} in {}", path.display()))
        .collect();
    assert!(wrong.is_empty(), "not in the table:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let modules: BTreeSet<String> = sources(&root)
        .iter()
        .map(|path| module_of(&root, path))
        .collect();
    for module in modules {
        assert!(
            MAY_IMPORT.iter().any(|(name, _)| *name == module),
            "{module} has no row"
        );
    }
}

#[test]
fn pure_modules_touch_nothing_outside() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&root) {
        if !PURE.contains(&module_of(&root, &path).as_str()) {
            continue;
        }
        let code = code(&path);
        for name in IMPURE {
            assert!(!code.contains(name), "{} names {name}", path.display());
        }
    }
}

#[test]
fn only_admission_verifies_and_only_admission_admits() {
    for ((module, import), path) in edges() {
        let is_verifier = import == "verify";
        let is_data_path = matches!(
            module.as_str(),
            "pull" | "server" | "discovery" | "upstream" | "store"
        );
        assert!(
            !(is_verifier && is_data_path),
            "{module} verifies in {}",
            path.display()
        );
    }
}

#[test]
fn imports_are_found_in_every_spelling() {
    let code = "use crate::oci::{Digest, Tag};\nuse crate::{limits::Limits, state::{self, State}, clock};\nlet x = crate::verify::verify();";
    let wanted = ["clock", "limits", "oci", "state", "verify"].map(str::to_owned);
    assert_eq!(imports(code), BTreeSet::from(wanted));
}
