//! What cosign answers to the cases of the corpus, and what the proxy answers: every difference is one that
//! ARCHITECTURE.md lists with its reason, and nothing is listed that is no difference.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::support::corpus::{Case, cases, configuration, directory, registry};
use crate::support::*;

/// The section of ARCHITECTURE.md whose table ends each row with the cases.
const SECTION: &str = "### Cases of the corpus";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_difference_from_cosign_is_listed_with_its_reason() {
    let (registry, cases) = (registry().await, cases());
    let proxy = Proxy::start(configuration(&cases, &registry)).await;
    let cosign = answers_of_cosign();
    let mut compared = 0;
    let mut differing = BTreeSet::new();
    for case in &cases {
        let Some(verdicts) = cosign.get(&case.id) else {
            continue;
        };
        for (verdict, answer) in verdicts.iter().zip(answers(&proxy, &registry, case).await) {
            compared += 1;
            if *verdict != answer {
                differing.insert(case.id.clone());
            }
        }
    }
    assert!(compared > 240, "only {compared} answers were compared");
    let listed = listed();
    let unlisted: Vec<_> = differing.difference(&listed).collect();
    let agreeing: Vec<_> = listed.difference(&differing).collect();
    assert!(
        unlisted.is_empty() && agreeing.is_empty(),
        "cosign answers differently, and ARCHITECTURE.md does not say why: {unlisted:?}\n\
         listed there, and cosign answers the same (or there is no such case): {agreeing:?}"
    );
}

/// Whether each step of the case is served, as far as cosign, too, would be asked: by manifest.
async fn answers(proxy: &Proxy, registry: &FakeRegistry, case: &Case) -> Vec<bool> {
    let mut served = Vec::new();
    for step in &case.steps {
        let repository = step.repository.as_ref().unwrap_or(&case.repository);
        let endpoint = step.endpoint.as_deref().unwrap_or("manifests");
        let path = format!(
            "/v2/{}/c/{}/{repository}/{endpoint}/{}",
            registry.name(),
            case.id,
            step.reference
        );
        let answer = proxy.get(&path).await;
        assert!(
            [200, 403, 404].contains(&answer.status),
            "{}: {answer}",
            case.id
        );
        served.push(answer.status == 200);
    }
    served
}

/// Whether `cosign verify` accepted, for each step, by the id of the case.
fn answers_of_cosign() -> std::collections::BTreeMap<String, Vec<bool>> {
    let text = std::fs::read_to_string(directory().join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&text).unwrap();
    let verdicts = cases.iter().filter_map(|case| {
        let verdict = case["cosign"].get("verdict")?;
        let verdicts = verdict
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![verdict.clone()]);
        let accepted = verdicts.iter().map(|verdict| match verdict.as_str() {
            Some("admit") => true,
            Some("deny") => false,
            _ => panic!("{}: cosign answered {verdict}", case["id"]),
        });
        Some((case["id"].as_str().unwrap().to_owned(), accepted.collect()))
    });
    verdicts.collect()
}

/// The cases that the table in ARCHITECTURE.md names.
fn listed() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, section) = text
        .split_once(SECTION)
        .expect("ARCHITECTURE.md has the section");
    let section = section.split("\n#").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.trim_end_matches('|').rsplit('|').next());
    // Between backticks.
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}
