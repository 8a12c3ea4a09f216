//! `countersign verify`: images through the server's own engine.

use serde_json::json;

use super::image::ImageReference;
use super::image_name::ImageName;
use super::judgement::{Answer, Judgement, UnloggedRecord};
use super::output::{Format, print_for_people, print_json, tell};
use super::question::Question;
use super::requirements::Demand;
use super::{EXIT_NO, EXIT_UNDECIDED, EXIT_USAGE, block_on};
use crate::decision_log::{AttemptOutcome, AttemptReport, Record};
use crate::oci::Digest;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign verify registry.k8s.io/pause:3.10                       # by the built-in catalogue
  countersign verify --config config.yaml ghcr.io/org/app:v1 \\
      ghcr.io/org/other:v1
  countersign verify --key cosign.pub ghcr.io/org/app@sha256:…
  countersign verify \\
      --certificate-identity-regexp 'https://github\\.com/org/app/.+' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com \\
      ghcr.io/org/app:v1
  countersign verify --key cosign.pub --insecure-ignore-tlog --plain-http \\
      localhost:5000/app

Every flag of `cosign verify` is known: those not listed are accepted where they ask for what is done anyway, and
refused with the reason otherwise. Expressions match the whole value. JSON is one line for each image.

Exit status: 0 admitted, 1 refused, 2 cannot be decided, 64 bad usage or configuration; of several images the worst.")]
pub(super) struct Arguments {
    /// The images, as for `docker pull` or as a Pod names them behind the proxy.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<ImageName>,
    #[command(flatten)]
    question: Question,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    arguments.question.log_to_stderr();
    block_on(verify_all(
        &arguments.images,
        &arguments.question,
        Demand::Signature,
    ))
}

/// Answers about each image, and returns the exit code for all.
pub(super) async fn verify_all(
    images: &[ImageName],
    question: &Question,
    demand: Demand<'_>,
) -> u8 {
    let mut codes = Vec::new();
    for image in images {
        let code = verify(image, question, demand).await;
        if code == EXIT_USAGE {
            return code;
        }
        codes.push(code);
    }
    // One refusal is an answer for all of them, whatever could not be decided.
    let worst = [EXIT_NO, EXIT_UNDECIDED];
    let worst = worst.into_iter().find(|code| codes.contains(code));
    worst.unwrap_or(0)
}

async fn verify(name: &ImageName, question: &Question, demand: Demand<'_>) -> u8 {
    let (judgement, reading, _config) = match question.judge(name, demand).await {
        Ok(judged) => judged,
        Err(code) => return code,
    };
    if let Some(remark) = &reading.remark {
        tell(remark);
    }
    match question.output {
        Format::Json => print_record(&reading.image, &judgement),
        Format::Text => print_for_people(&describe(&judgement)),
    };
    question.tell_hints(judgement.record.as_ref());
    judgement.answer.exit_code()
}

fn print_record(image: &ImageReference, judgement: &Judgement) -> bool {
    match (&judgement.record, &judgement.answer) {
        (Some(record), _) => print_json(&UnloggedRecord(record)),
        (None, Answer::Admit { .. }) => print_json(&json!(null)),
        (None, Answer::Deny { kind, message, .. }) => {
            print_json(&unrecorded(image, "deny", kind.as_str(), message))
        }
        (None, Answer::Undecided { kind, message }) => {
            print_json(&unrecorded(image, "unavailable", kind, message))
        }
    }
}

/// What is said in place of a record where there was nothing to decide about.
fn unrecorded(
    image: &ImageReference,
    decision: &str,
    kind: &str,
    message: &str,
) -> serde_json::Value {
    json!({
        "id": null,
        "repository": image.repository,
        "reference": image.reference.to_string(),
        "digest": image.reference.digest(),
        "decision": decision,
        "denial": { "kind": kind, "message": message },
    })
}

fn describe(judgement: &Judgement) -> String {
    match &judgement.answer {
        Answer::Admit { digest, warning } => {
            describe_admitted(digest, warning.as_deref(), judgement.record.as_ref())
        }
        Answer::Deny { kind, message, .. } => describe_refused(kind.as_str(), message),
        Answer::Undecided { kind, message } => describe_undecided(kind, message),
    }
}

/// Says that an image is admitted, and names the signers in its record.
pub(super) fn describe_admitted(
    digest: &Digest,
    warning: Option<&str>,
    record: Option<&Record>,
) -> String {
    let mut text = match record {
        Some(record) => format!("admitted: {}@{digest}\n", record.repository),
        None => format!("admitted: {digest}\n"),
    };
    if let Some(warning) = warning {
        text.push_str(&format!("  only because the policy audits: {warning}\n"));
    }
    for line in record.into_iter().flat_map(signers) {
        text.push_str(&format!("  signed by {line}\n"));
    }
    text
}

/// Says that an image is refused.
pub(super) fn describe_refused(kind: &str, message: &str) -> String {
    format!("refused ({kind}): {message}\n")
}

/// Says that an image cannot be decided about.
pub(super) fn describe_undecided(kind: &str, message: &str) -> String {
    format!("cannot be decided ({kind}): {message}\n")
}

/// Who vouched, each once.
pub(super) fn signers(record: &Record) -> Vec<String> {
    let mut signers: Vec<_> = record
        .attempts
        .iter()
        .filter(|attempt| attempt.outcome == AttemptOutcome::Verified)
        .filter_map(signer)
        .collect();
    signers.dedup();
    signers
}

/// Who signed, by what the attempt says: proven only if it verified.
pub(super) fn signer(attempt: &AttemptReport) -> Option<String> {
    match (&attempt.certificate, &attempt.key) {
        (Some(certificate), _) => Some(named(&certificate.identity, &certificate.oidc_issuer)),
        (None, Some(key)) => Some(format!("key {} ({})", key.reference, key.fingerprint)),
        (None, None) => None,
    }
}

/// Certificates of one's own authorities need not name an issuer.
fn named(identity: &str, oidc_issuer: &str) -> String {
    if oidc_issuer.is_empty() {
        return identity.to_owned();
    }
    format!("{identity} (issuer {oidc_issuer})")
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn an_issuer_that_is_not_named_is_not_printed() {
        assert_eq!(
            named("a@example", "https://i.example"),
            "a@example (issuer https://i.example)"
        );
        assert_eq!(named("a@example", ""), "a@example");
    }
}
