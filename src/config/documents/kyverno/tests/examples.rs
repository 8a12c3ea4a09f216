//! The documents that Kyverno publishes as samples and as tests.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
struct Table {
    cases: Vec<Case>,
}

/// What a file means: its policies, and the problems that keep entries from being one (the end of the key, and what is
/// said).
#[derive(Debug, Deserialize, PartialEq, Eq)]
struct Case {
    file: String,
    policies: Vec<String>,
    refused: Vec<String>,
}

fn outcome(folder: &str, path: &Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    let (policies, reader) = load(&text);
    let policies = policies.iter().map(|policy| {
        let patterns = policy.coverage.patterns().join(" ");
        let requirement = words(&policy.requirement);
        format!(
            "{} {:?} {patterns}: {requirement}",
            policy.name, policy.mode
        )
    });
    let refused = reader.problems.iter().map(|problem| {
        let key = problem.key.rsplit_once("verifyImages");
        let key = key.or_else(|| problem.key.split_once("spec."));
        let key = key.map_or("", |(_, end)| end);
        format!("{key}: {}", problem.message)
    });
    Case {
        file: format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap()),
        policies: policies.collect(),
        refused: refused.collect(),
    }
}

/// The outcomes of the files in these folders are those of the table.
fn assert_outcomes(table: &str, folders: &[&str], files: usize) {
    let text = std::fs::read_to_string(format!("{FIXTURES}/{table}")).unwrap();
    let table: Table = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    for folder in folders {
        let files = std::fs::read_dir(format!("{FIXTURES}/{folder}")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        found.extend(files.iter().map(|path| outcome(folder, path)));
    }
    assert_eq!(found.len(), files);
    for case in &found {
        // A file whose rules all verify nothing would be in the table for no reason.
        assert!(
            !case.policies.is_empty() || !case.refused.is_empty(),
            "{}",
            case.file
        );
    }
    if std::env::var_os("PRINT").is_some() {
        for case in &found {
            println!(
                "{}",
                serde_json::json!({"file": case.file, "policies": case.policies, "refused": case.refused})
            );
        }
    }
    assert_eq!(found, table.cases);
}

#[test]
fn every_published_document_loads_or_is_refused_by_name() {
    assert_outcomes("examples.json", &["policies", "conformance"], 73);
}

#[test]
fn every_published_image_validating_policy_loads_or_is_refused_by_name() {
    let folders = ["image-validating/samples", "image-validating/conformance"];
    assert_outcomes("image-validating.json", &folders, 60);
}
