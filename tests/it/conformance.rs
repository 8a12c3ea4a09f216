//! The `bundle-verify` cases of the public Sigstore conformance suite, as its driver asks them: see
//! `tests/fixtures/conformance/README.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::sha256;

/// Where the suite's `test/assets` are.
const VARIABLE: &str = "COUNTERSIGN_CONFORMANCE";
/// The cases at the commit that the README names: a lost one is a failure.
const CASES: usize = 70;

/// Who signed unless a case says otherwise.
const IDENTITY: &str = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
const ISSUER: &str = "https://token.actions.githubusercontent.com";

#[test]
#[ignore = "needs the suite's test data: see tests/fixtures/conformance/README.md"]
fn every_case_is_answered_by_path_and_by_digest() {
    let assets = std::env::var_os(VARIABLE).map(PathBuf::from);
    let assets = assets.unwrap_or_else(|| panic!("{VARIABLE} must name the suite's test/assets"));
    let mut cases: Vec<_> = std::fs::read_dir(assets.join("bundle-verify"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert_eq!(cases.len(), CASES, "cases in {}", assets.display());
    let mut wrong = Vec::new();
    for case in &cases {
        let artifact = artifact(case);
        let digest = sha256(&std::fs::read(&artifact).unwrap());
        for input in [artifact.to_str().unwrap(), &digest] {
            if let Some(problem) = problem_of(case, input) {
                wrong.push(format!("{} ({input}): {problem}", name(case)));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} answers are wrong:\n{}",
        wrong.len(),
        cases.len() * 2,
        wrong.join("\n")
    );
}

fn name(case: &Path) -> &str {
    case.file_name().unwrap().to_str().unwrap()
}

/// The case's own, or the one that all others share.
fn artifact(case: &Path) -> PathBuf {
    let own = case.join("artifact");
    if own.exists() {
        own
    } else {
        case.parent().unwrap().join("a.txt")
    }
}

/// What is wrong with the answer, if anything.
fn problem_of(case: &Path, input: &str) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.arg("verify-bundle");
    command
        .arg("--bundle")
        .arg(case.join("bundle.sigstore.json"));
    let key = case.join("key.pub");
    if key.exists() {
        command.arg("--key").arg(key);
    } else {
        let text = |file: &str, default: &str| {
            std::fs::read_to_string(case.join(file))
                .map_or_else(|_absent| default.to_owned(), |text| text.trim().to_owned())
        };
        command.args(["--certificate-identity", &text("identity", IDENTITY)]);
        command.args(["--certificate-oidc-issuer", &text("issuer", ISSUER)]);
    }
    // Without one of its own, a case is of the public-good instance.
    let root = case.join("trusted_root.json");
    if root.exists() {
        command.arg("--trusted-root").arg(root);
    }
    let output = command.arg(input).stdin(Stdio::null()).output().unwrap();
    let expected = if name(case).ends_with("_fail") { 1 } else { 0 };
    if output.status.code() == Some(expected) {
        return None;
    }
    Some(format!(
        "expected exit {expected}, got {:?}: {}",
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}
