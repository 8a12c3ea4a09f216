//! The projects' own tables of names and patterns, and tables of what their code answers, through documents.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::check::Checked;

/// A file of tests/fixtures/policies, its rows in columns.
fn rows(file: &str) -> Vec<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies");
    let text = fs::read_to_string(folder.join(file)).unwrap();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// What is in files of these names and contents.
fn checked(files: &[(String, String)]) -> Checked {
    let directory = TempDir::new().unwrap();
    let write = |(name, text): &(String, String)| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let paths: Vec<_> = files.iter().map(write).collect();
    check(&paths, &|_| None)
}

/// The names of the policies that the command prints; none where it says that this is no image.
fn printed(policies: &[Arc<Policy>], image: &str) -> BTreeSet<String> {
    let reference = image.parse().ok();
    let applying = applying(policies, image, reference.as_ref());
    applying.iter().map(|policy| policy.name.clone()).collect()
}

/// Every policy asked about every image of its rows: each row has an image, what it is compared with, and the project's
/// answer.
fn compare(policies: &[Arc<Policy>], rows: &[(String, String, bool)]) {
    let by_name: BTreeMap<_, _> = policies
        .iter()
        .map(|policy| (policy.name.as_str(), policy))
        .collect();
    let mut differences = Vec::new();
    for (name, image, expected) in rows {
        let policy = by_name.get(name.as_str());
        let policy: Vec<_> = policy.into_iter().map(|it| Arc::clone(it)).collect();
        if printed(&policy, image).contains(name) != *expected {
            let patterns = policy.iter().map(|it| it.coverage.patterns());
            let patterns: Vec<_> = patterns.collect();
            differences.push(format!("{image} {patterns:?}: the project says {expected}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

fn kyverno(name: &str, patterns: &[&str]) -> String {
    let references: Vec<_> = patterns.iter().map(|it| format!("'{it}'")).collect();
    format!(
        "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: '{name}'}}
spec:
  validationFailureAction: Enforce
  rules:
  - name: r
    match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
    verifyImages:
    - imageReferences: [{}]
      attestors: [{{entries: [{{keys: {{kms: 'gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k'}}}}]}}]
",
        references.join(", ")
    )
}

#[test]
fn kyverno_documents_match_as_kyverno_does() {
    for (file, count) in [("kyverno/matches.tsv", 5), ("matching/kyverno.tsv", 300)] {
        let rows = rows(file);
        assert_eq!(rows.len(), count);
        let (mut documents, mut expected) = (Vec::new(), Vec::new());
        for (index, row) in rows.into_iter().enumerate() {
            let [image, patterns, answer] = row.as_slice() else {
                panic!("{row:?}");
            };
            // A pattern without text covers nothing, and is refused.
            if patterns.is_empty() {
                assert_ne!(answer, "true");
                continue;
            }
            let patterns: Vec<_> = patterns.split(' ').collect();
            documents.push(kyverno(&format!("p{index}"), &patterns));
            expected.push((format!("p{index}/r"), image.clone(), answer == "true"));
        }
        let checked = checked(&[("kyverno.yaml".to_owned(), documents.join("---\n"))]);
        assert_eq!(checked.problems, []);
        compare(&checked.policies, &expected);
    }
}

/// Where a glob or an image is none, the project ends with an error, and the command prints nothing or refuses the
/// document.
#[test]
fn cluster_image_policies_match_as_policy_controller_does() {
    for (file, count) in [
        ("policy-controller/globs.tsv", 42),
        ("matching/policy-controller.tsv", 300),
    ] {
        let (mut files, mut expected) = (Vec::new(), Vec::new());
        let rows = rows(file);
        assert_eq!(rows.len(), count);
        for (index, row) in rows.into_iter().enumerate() {
            let [image, glob, answer] = row.as_slice() else {
                panic!("{row:?}");
            };
            let document = format!(
                "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{name: p{index}}}
spec: {{images: [{{glob: '{glob}'}}], authorities: [{{static: {{action: fail}}}}]}}
"
            );
            files.push((format!("{index}.yaml"), document));
            expected.push((format!("p{index}"), image.clone(), answer == "true"));
        }
        let checked = checked(&files);
        assert!(
            checked
                .problems
                .iter()
                .all(|it| it.key == "spec.images[0].glob")
        );
        compare(&checked.policies, &expected);
    }
}

fn policy_json(scopes: &[&str]) -> String {
    let scopes: serde_json::Map<_, _> = scopes
        .iter()
        .map(|scope| ((*scope).to_owned(), serde_json::json!([{"type": "reject"}])))
        .collect();
    serde_json::json!({"default": [{"type": "reject"}], "transports": {"docker": scopes}})
        .to_string()
}

/// Each row is a document of its own: an image, its scopes, and the one that decides.
#[test]
fn scopes_decide_as_containers_do() {
    let rows = rows("matching/containers.tsv");
    assert_eq!(rows.len(), 300);
    let file = |index: usize| format!("{index}.json");
    let files: Vec<_> = rows
        .iter()
        .enumerate()
        .map(|(index, row)| {
            (
                file(index),
                policy_json(&row[1].split(' ').collect::<Vec<_>>()),
            )
        })
        .collect();
    let checked = checked(&files);
    assert_eq!(checked.problems, []);
    let mut differences = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        let own = format!("{} ", file(index));
        let own: Vec<_> = checked
            .policies
            .iter()
            .filter(|policy| policy.name.starts_with(&own))
            .cloned()
            .collect();
        let expected = match row[2].as_str() {
            "error" => BTreeSet::new(),
            decides => BTreeSet::from([format!("{} {decides}", file(index))]),
        };
        let found = printed(&own, &row[0]);
        if found != expected {
            differences.push(format!(
                "{} {}: {found:?}, the project says {}",
                row[0], row[1], row[2]
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// containers' own tables: of a document with scopes of every kind, and of the scopes that are looked for.
#[test]
fn containers_own_tables_of_scopes_hold() {
    let rows = rows("containers/scopes.tsv");
    assert_eq!(rows.len(), 101);
    for row in rows {
        let [image, scopes, expected] = row.as_slice() else {
            panic!("{row:?}");
        };
        let scopes: Vec<_> = scopes.split(' ').map(|it| it.trim_matches('"')).collect();
        let checked = checked(&[("policy.json".to_owned(), policy_json(&scopes))]);
        assert_eq!(checked.problems, [], "{row:?}");
        let expected = match expected.as_str() {
            "\"\"" => "policy.json docker".to_owned(),
            scope => format!("policy.json {scope}"),
        };
        assert_eq!(
            printed(&checked.policies, image),
            BTreeSet::from([expected]),
            "{row:?}"
        );
    }
}

#[test]
fn a_registry_in_capitals_is_one_to_kyverno() {
    let documents = [
        kyverno("any", &["*"]),
        kyverno("written", &["Foo/*"]),
        kyverno("lower", &["foo/*", "ghcr.io/*"]),
    ];
    let checked = checked(&[("kyverno.yaml".to_owned(), documents.join("---\n"))]);
    assert_eq!(checked.problems, []);
    for (image, names) in [
        ("Foo/x", &["any/r", "written/r"][..]),
        ("GHCR.io/org/x", &["any/r"]),
        ("foo/X", &[]),
    ] {
        let names: BTreeSet<_> = names.iter().map(|it| (*it).to_owned()).collect();
        assert_eq!(printed(&checked.policies, image), names, "{image}");
        let known = checked.policies.iter().any(|it| understands(it, image));
        assert_eq!(known, image != "foo/X", "{image}");
    }
}
