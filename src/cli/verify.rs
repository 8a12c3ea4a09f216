//! `countersign verify`: one image through the server's own engine.

use serde_json::json;

use super::image::ImageReference;
use super::judgement::{self, Answer, Judgement};
use super::output::{Format, print, print_json, tell};
use super::requirements::Requirements;
use super::{EXIT_UNDECIDED, block_on, chain, environment};
use crate::decision_log::{AttemptOutcome, AttemptReport, Record};
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  countersign verify registry.k8s.io/pause:3.10                       # by the built-in catalogue
  countersign verify --config config.yaml ghcr.io/org/app:v1
  countersign verify --key cosign.pub ghcr.io/org/app@sha256:…
  countersign verify --certificate-identity-regexp 'https://github\\.com/org/app/.+' \\
      --certificate-oidc-issuer https://token.actions.githubusercontent.com ghcr.io/org/app:v1
  countersign verify --key cosign.pub --insecure-ignore-tlog --plain-http localhost:5000/app

Exit status: 0 admitted, 1 refused, 2 cannot be decided, 64 bad usage or configuration.")]
pub(super) struct Arguments {
    #[command(flatten)]
    question: Question,
}

/// An image and what it must satisfy.
#[derive(Debug, clap::Args)]
pub(super) struct Question {
    /// The image, as for `docker pull`.
    image: ImageReference,
    /// How to answer.
    #[arg(long, value_enum, default_value = "text")]
    pub(super) output: Format,
    #[command(flatten)]
    requirements: Requirements,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    telemetry::log_to_stderr(Some(environment("RUST_LOG").as_deref().unwrap_or("error")));
    block_on(verify(&arguments.question))
}

async fn verify(question: &Question) -> u8 {
    let judgement = match question.judge().await {
        Ok((judgement, _config)) => judgement,
        Err(code) => return code,
    };
    match question.output {
        Format::Json => print_record(&question.image, &judgement),
        Format::Text => print(&describe(&judgement)),
    };
    judgement.answer.exit_code()
}

impl Question {
    /// The image, in its canonical spelling.
    pub(super) fn image(&self) -> &ImageReference {
        &self.image
    }

    /// The decision and the configuration it was made by; or an exit code, when what went wrong has been told.
    pub(super) async fn judge(&self) -> Result<(Judgement, crate::config::Config), u8> {
        let config = self.requirements.to_config(&self.image.repository)?;
        for warning in &config.warnings {
            tell(&warning.to_string());
        }
        match judgement::judge(config.clone(), self.image.clone()).await {
            Ok(judgement) => Ok((judgement, config)),
            Err(error) => {
                tell(&chain(&error));
                Err(EXIT_UNDECIDED)
            }
        }
    }
}

fn print_record(image: &ImageReference, judgement: &Judgement) -> bool {
    match (&judgement.record, &judgement.answer) {
        (Some(record), _) => print_json(record),
        (None, Answer::Admit { .. }) => print_json(&json!(null)),
        (None, Answer::Deny { kind, message }) => {
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
            let mut text = match &judgement.record {
                Some(record) => format!("admitted: {}@{digest}\n", record.repository),
                None => format!("admitted: {digest}\n"),
            };
            if let Some(warning) = warning {
                text.push_str(&format!("  only because the policy audits: {warning}\n"));
            }
            for line in judgement.record.iter().flat_map(signers) {
                text.push_str(&format!("  signed by {line}\n"));
            }
            text
        }
        Answer::Deny { kind, message } => format!("refused ({}): {message}\n", kind.as_str()),
        Answer::Undecided { kind, message } => format!("cannot be decided ({kind}): {message}\n"),
    }
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
        (Some(certificate), _) => Some(format!(
            "{} (issuer {})",
            certificate.identity, certificate.oidc_issuer
        )),
        (None, Some(key)) => Some(format!("key {} ({})", key.reference, key.fingerprint)),
        (None, None) => None,
    }
}
