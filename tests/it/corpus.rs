//! Every case of the corpus has its outcome through the running proxy: cold, warm, and after a restart.

use futures::StreamExt;

use crate::support::corpus::{Case, Step, cases, configuration, registry};
use crate::support::*;

/// Cases asked at the same time.
const CASES_AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_has_its_outcome_cold_warm_and_restarted() {
    let (registry, cases) = (registry().await, cases());
    let proxy = Proxy::start(configuration(&cases, &registry)).await;
    let mut problems = Vec::new();
    for phase in ["cold", "warm", "restarted"] {
        if phase == "restarted" {
            proxy.restart().await;
        }
        let found: Vec<String> = futures::stream::iter(&cases)
            .map(|case| problems_of(&proxy, &registry, case))
            .buffer_unordered(CASES_AT_ONCE)
            .concat()
            .await;
        problems.extend(found.iter().map(|problem| format!("{phase}: {problem}")));
    }
    proxy.assert_content_is_right();
    assert!(
        problems.is_empty(),
        "{} of {} cases and phases differ:\n{}",
        problems.len(),
        cases.len() * 3,
        problems.join("\n")
    );
}

async fn problems_of(proxy: &Proxy, registry: &FakeRegistry, case: &Case) -> Vec<String> {
    let mut problems = Vec::new();
    for (position, step) in case.steps.iter().enumerate() {
        let is_last = position + 1 == case.steps.len();
        let repository = step.repository.as_ref().unwrap_or(&case.repository);
        let endpoint = step.endpoint.as_deref().unwrap_or("manifests");
        let path = format!(
            "/v2/{}/c/{}/{repository}/{endpoint}/{}",
            registry.name(),
            case.id,
            step.reference
        );
        let answer = proxy.get(&path).await;
        if let Err(problem) = judge(case, step, is_last, &answer) {
            problems.push(format!("{}: {problem}", case.id));
        } else if endpoint == "manifests" {
            let head = proxy.head(&path).await;
            if head.status != answer.status {
                problems.push(format!(
                    "{}: GET answered {}, HEAD {}",
                    case.id, answer.status, head.status
                ));
            }
        }
    }
    problems
}

/// Whether the answer is the expected one, or what is wrong with it.
fn judge(case: &Case, step: &Step, is_last: bool, answer: &Answer) -> Result<(), String> {
    let alternatives = step.or.as_ref().unwrap_or(&case.or);
    let allows = |outcome: &str| alternatives.iter().any(|allowed| allowed == outcome);
    let expected = step.expect.as_ref().unwrap_or(&case.expect).as_str();
    let expected = match answer.status {
        200 if allows("admit") => "admit",
        403 if allows("deny") => return Ok(()),
        503 if allows("unavailable") => return Ok(()),
        _ => expected,
    };
    let wanted = match expected {
        "admit" => 200,
        "not_found" => 404,
        "unavailable" => 503,
        "deny" => 403,
        other => return Err(format!("no such outcome: {other}")),
    };
    if answer.status != wanted {
        return Err(format!("expected {expected}, got {answer}"));
    }
    match expected {
        "admit" => judge_content(step, answer),
        "deny" => judge_denial(case, is_last, answer),
        _ => Ok(()),
    }
}

fn judge_content(step: &Step, answer: &Answer) -> Result<(), String> {
    let digest = answer.digest();
    let named = answer.header("docker-content-digest");
    let is_other = step.reference.contains(':') && step.reference != digest;
    if answer.broken.is_some() || named != digest || is_other {
        return Err(format!(
            "asked for {}, got {digest}, which the header calls {named:?} ({:?})",
            step.reference, answer.broken
        ));
    }
    Ok(())
}

fn judge_denial(case: &Case, is_last: bool, answer: &Answer) -> Result<(), String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("403 without the documented body ({error}): {answer}"))?;
    let error = &body["errors"][0];
    let message = error["message"].as_str().unwrap_or_default();
    let Some(kind) = error["detail"]["kind"].as_str() else {
        return Err(format!("403 without a kind: {answer}"));
    };
    if error["code"] != "DENIED" || message.len() < 20 {
        return Err(format!("403 that explains nothing: {answer}"));
    }
    let is_expected = case.kinds.is_empty() || case.kinds.iter().any(|wanted| wanted == kind);
    if is_last && !is_expected {
        return Err(format!(
            "refused as {kind}, expected {}: {message}",
            case.kinds.join(" or ")
        ));
    }
    Ok(())
}
