//! The files of scenarios.

use std::fs;
use std::path::{Path, PathBuf};

/// What a project documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Admits,
    /// It would refuse, and only says so.
    Warns,
    Refuses,
    /// No policy is for the image.
    IsNotAsked,
    /// The document is not accepted.
    RejectsDocument,
}

#[derive(Debug)]
pub(super) struct Scenario {
    pub(super) name: String,
    /// The file in which the policy would be found.
    pub(super) file: &'static str,
    /// The documents, with placeholders for keys.
    pub(super) documents: String,
    /// What becomes of names that no policy covers.
    pub(super) default: String,
    /// As it is asked for: with a tag, or by its digest.
    pub(super) image: String,
    /// What was signed, a word for the kind first.
    pub(super) found: Vec<String>,
    pub(super) project: Outcome,
    pub(super) here: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/policies/scenarios")
}

/// The scenarios of a project.
pub(super) fn read(project: &str) -> Vec<Scenario> {
    let text = fs::read_to_string(folder().join(format!("{project}.txt"))).unwrap();
    let file = match project {
        "containers" => "policy.json",
        _ => "policy.yaml",
    };
    text.split("\n===\n")
        .filter(|it| !it.trim().is_empty())
        .map(|it| scenario(it.trim_start(), file))
        .collect()
}

/// Which scenarios end otherwise here, and why.
pub(super) fn differences() -> Vec<(String, String)> {
    let text = fs::read_to_string(folder().join("differences.tsv")).unwrap();
    let rows = text.lines().map(|row| row.split_once('\t').unwrap());
    rows.map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        .collect()
}

/// Lines `key: value`, an empty one, and the documents.
fn scenario(text: &str, file: &'static str) -> Scenario {
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| panic!("{text}"));
    let mut head: Vec<_> = head
        .lines()
        .map(|line| line.split_once(": ").unwrap_or_else(|| panic!("{line}")))
        .collect();
    let mut take = |key: &str| {
        let position = head.iter().position(|(name, _)| *name == key)?;
        Some(head.remove(position).1.to_owned())
    };
    let name = take("scenario").unwrap();
    let project = match take("project").unwrap().as_str() {
        "admits" => Outcome::Admits,
        "warns" => Outcome::Warns,
        "refuses" => Outcome::Refuses,
        "is not asked" => Outcome::IsNotAsked,
        "rejects the document" => Outcome::RejectsDocument,
        other => panic!("{name}: {other}"),
    };
    // Where that is documented.
    assert!(take("source").is_some_and(|it| !it.is_empty()), "{name}");
    let found = take("found").unwrap_or_default();
    let scenario = Scenario {
        file,
        documents: documents(take("form").as_deref(), body.trim_end()),
        default: take("default").unwrap_or_else(|| "deny".to_owned()),
        image: take("image").unwrap_or_else(|| "ghcr.io/org/app:v1".to_owned()),
        found: found
            .split("; ")
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect(),
        project,
        here: take("here").unwrap(),
        name,
    };
    assert!(head.is_empty(), "{head:?}");
    scenario
}

/// The body is the documents, or that part of one which the scenario is about.
fn documents(form: Option<&str>, body: &str) -> String {
    let indented = |by: usize| body.replace('\n', &format!("\n{}", " ".repeat(by)));
    match form {
        None => body.to_owned(),
        Some("entry") => {
            let images = if body.contains("imageReferences:") || body.contains("image:") {
                ""
            } else {
                "imageReferences: ['ghcr.io/org/*']\n          "
            };
            format!(
                "apiVersion: kyverno.io/v1
kind: ClusterPolicy
metadata: {{name: p}}
spec:
  validationFailureAction: Enforce
  rules:
    - name: r
      match: {{any: [{{resources: {{kinds: [Pod]}}}}]}}
      verifyImages:
        - {images}{}",
                indented(10)
            )
        }
        Some("authorities") => format!(
            "apiVersion: policy.sigstore.dev/v1beta1
kind: ClusterImagePolicy
metadata: {{name: p}}
spec:
  images: [{{glob: 'ghcr.io/org/**'}}]
  authorities:
    {}",
            indented(4)
        ),
        Some("requirements") => format!(
            r#"{{"default": [{{"type": "reject"}}], "transports": {{"docker": {{"ghcr.io/org": [{body}]}}}}}}"#
        ),
        Some(other) => panic!("{other}"),
    }
}
