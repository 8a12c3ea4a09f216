//! The configuration as text, with the evidence in comments.

mod yaml;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::identity::IdentityMatch;
use super::plan::{NamedAuthority, Plan, PlannedPolicy, Refused, Why};
use super::surroundings::Surroundings;
use super::survey::{Evidence, Survey, Unknown, Who};
use crate::config::PUBLIC_GOOD;
use yaml::comment;
pub(super) use yaml::scalar;

/// The files that are named of those that name an image.
const PLACES_SHOWN: usize = 3;
/// The failed signatures that are told of an image.
const FAILURES_SHOWN: usize = 3;

/// The material of the text.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) unknown: &'a [Unknown],
    pub(super) surroundings: &'a Surroundings,
    /// The files that name an image, by its canonical name.
    pub(super) places: &'a BTreeMap<String, Vec<String>>,
    /// The titles of the catalogue's entries, by name.
    pub(super) titles: &'a BTreeMap<String, String>,
    /// One line of numbers.
    pub(super) summary: &'a str,
    pub(super) now: Timestamp,
}

impl Findings<'_> {
    pub(super) fn render(&self) -> String {
        let mut text = String::new();
        self.header(&mut text);
        self.surroundings
            .write(&self.plan.trusted_roots(), &mut text);
        self.catalog(&mut text);
        self.policies(&mut text);
        text.push_str("\ndefault: deny\n");
        self.refused(&mut text);
        text
    }

    fn header(&self, text: &mut String) {
        let day = self.now.to_string();
        let day = day.split('T').next().unwrap_or_default();
        comment(
            text,
            "",
            &format!("Written by `countersign init` on {day}: {}.", self.summary),
        );
        for line in [
            "It admits the repositories below when they are signed as they are today, and refuses everything else.",
            "Review each authority: a valid signature says who signed, and not that the signer is to be trusted.",
            "Then: countersign policy check FILE, and countersign serve --config FILE.",
        ] {
            comment(text, "", line);
        }
    }

    fn catalog(&self, text: &mut String) {
        if self.plan.catalog.is_empty() {
            return;
        }
        text.push('\n');
        comment(
            text,
            "",
            "Publishers whose signers are known already; `countersign policy catalog NAME` prints an entry.",
        );
        text.push_str("catalog:\n");
        for (name, surveys) in &self.plan.catalog {
            if let Some(title) = self.titles.get(name) {
                comment(text, "  ", title);
            }
            for survey in surveys {
                self.image(survey, "  ", text);
            }
            text.push_str(&format!("  - {}\n", scalar(name)));
        }
    }

    fn policies(&self, text: &mut String) {
        if self.plan.policies.is_empty() {
            text.push_str("\npolicies: []\n");
            return;
        }
        text.push_str("\npolicies:\n");
        for (index, policy) in self.plan.policies.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            self.policy(policy, text);
        }
    }

    fn policy(&self, policy: &PlannedPolicy<'_>, text: &mut String) {
        for survey in policy.images.values().flatten() {
            self.image(survey, "  ", text);
        }
        text.push_str(&format!(
            "  - name: {}\n    images:\n",
            scalar(&policy.name)
        ));
        for repository in policy.images.keys() {
            text.push_str(&format!("      - {}\n", scalar(repository.as_str())));
        }
        if policy.authorities.len() > 1 {
            comment(
                text,
                "    ",
                "Any of them may vouch: each signed some of the images above.",
            );
        }
        text.push_str("    authorities:\n");
        for authority in &policy.authorities {
            let (reasons, lines) = authority_lines(authority);
            for reason in reasons {
                comment(text, "      ", &reason);
            }
            for line in lines {
                text.push_str(&format!("      {line}\n"));
            }
        }
        if !policy.spare.is_empty() {
            comment(
                text,
                "      ",
                "These signed too, beside one of the above. Accept them only if they may sign alone:",
            );
        }
        for authority in &policy.spare {
            let (_reasons, lines) = authority_lines(authority);
            for line in lines {
                comment(text, "      ", &line);
            }
        }
    }

    /// An image, its digest, and the evidence for its signers.
    fn image(&self, survey: &Survey, indent: &str, text: &mut String) {
        comment(
            text,
            indent,
            &format!("{}{}", survey.image, self.named_in(survey)),
        );
        if survey.image.reference.digest().is_none() {
            comment(text, indent, &format!("  {}", survey.subject.digest));
        }
        for evidence in &survey.signatures {
            comment(text, indent, &format!("  signed by {}", told(evidence)));
        }
        for evidence in &survey.attestations {
            let predicate_type = evidence.predicate_type.as_deref().unwrap_or_default();
            comment(
                text,
                indent,
                &format!("  attested: {predicate_type} by {}", told(evidence)),
            );
        }
    }

    fn named_in(&self, survey: &Survey) -> String {
        let places = self.places.get(&survey.image.to_string());
        let places = places.map(Vec::as_slice).unwrap_or_default();
        if places.is_empty() {
            return String::new();
        }
        let shown: Vec<_> = places
            .iter()
            .take(PLACES_SHOWN)
            .map(String::as_str)
            .collect();
        let more = match places.len().saturating_sub(PLACES_SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(", in {}{more}", shown.join(", "))
    }

    /// Lists the images that this configuration refuses, with the way to mend each.
    fn refused(&self, text: &mut String) {
        for refused in &self.plan.refused {
            text.push('\n');
            self.refusal(refused, text);
        }
        for unknown in self.unknown {
            text.push('\n');
            let line = format!("Could not be told: {}: {}", unknown.image, unknown.reason);
            comment(text, "", &line);
            comment(
                text,
                "",
                "It is refused until a policy covers it: run `countersign init` again.",
            );
        }
    }

    fn refusal(&self, refused: &Refused<'_>, text: &mut String) {
        let survey = refused.survey;
        let reason = match &refused.why {
            Why::Unsigned => "no signature was found",
            Why::UnknownKey => "it is signed with a key that is not known here",
            Why::Unverified(_) => "no signature of it verifies",
            Why::OtherThanCatalog(_) => "it is signed by another than its publisher announces",
        };
        comment(text, "", &format!("Refused, because {reason}:"));
        self.image(survey, "", text);
        if let Some((listed, signed)) = survey.children {
            let line = format!(
                "  {signed} of the {listed} manifests looked at that the index lists are signed, the index itself is not"
            );
            comment(text, "", &line);
        }
        for unverified in survey.unverified.iter().take(FAILURES_SHOWN) {
            let claimed = unverified.claimed.as_ref();
            let claimed = claimed.map(|identity| format!(" (its certificate claims {identity})"));
            let line = format!("  {}{}", unverified.reason, claimed.unwrap_or_default());
            comment(text, "", &line);
        }
        for line in advice(refused) {
            comment(text, "", &line);
        }
    }
}

/// The way to mend a refusal.
fn advice(refused: &Refused<'_>) -> Vec<String> {
    let survey = refused.survey;
    let line = match &refused.why {
        Why::Unsigned if survey.attestations.is_empty() => {
            "Sign it, mirror a signed one, or add an entry under `exceptions` for a while."
        }
        Why::Unsigned => {
            "Attestations are no signature. A policy can demand one with `attestations`."
        }
        Why::UnknownKey => {
            let repository = &survey.subject.repository;
            let name = repository
                .repository()
                .rsplit('/')
                .next()
                .unwrap_or_default();
            return vec![
                "Get the public key from the publisher, and give it with --key, or complete this under `policies`:"
                    .to_owned(),
                format!("  - name: {}", scalar(name)),
                format!("    images: [{}]", yaml::quoted(repository.as_str())),
                "    authorities:".to_owned(),
                "      - {name: key, key: cosign.pub}".to_owned(),
            ];
        }
        Why::Unverified(_) if survey.unverified.iter().all(|it| it.claimed.is_none()) => {
            return Vec::new();
        }
        Why::Unverified(_) => {
            "If its signer has certificate authorities of its own, give their trusted root with --trusted-root."
        }
        Why::OtherThanCatalog(entries) => {
            return vec![format!(
                "The catalogue ({entries}) expects another signer. Find out why before you accept this one."
            )];
        }
    };
    vec![line.to_owned()]
}

/// The signer, the time, and the entry in the log.
fn told(evidence: &Evidence) -> String {
    let time = evidence.time.map(|time| format!(", {time:.0}"));
    let log = evidence.log.as_ref();
    let log = log.map(|log| format!(", log index {}", log.log_index));
    let root = &evidence.signer.trusted_root;
    let root = (root != PUBLIC_GOOD).then(|| format!(", by the trusted root {root}"));
    format!(
        "{}{}{}{}",
        evidence.by,
        time.unwrap_or_default(),
        log.unwrap_or_default(),
        root.unwrap_or_default()
    )
}

/// Why an authority is written as it is, and its lines.
fn authority_lines(authority: &NamedAuthority<'_>) -> (Vec<String>, Vec<String>) {
    let signer = authority.signer;
    let mut reasons = Vec::new();
    let mut lines = vec![format!("- name: {}", scalar(&authority.name))];
    let mut set = |key: &str, value: &str| lines.push(format!("  {key}: {}", scalar(value)));
    match &signer.who {
        Who::Key(path) => set("key", path),
        Who::Identity(accepted) => {
            reasons.clone_from(&accepted.reasons);
            match &accepted.identity {
                IdentityMatch::Exact(identity) => set("certificate_identity", identity),
                IdentityMatch::Expression(expression) => {
                    set("certificate_identity_regexp", expression);
                }
            }
            set("certificate_oidc_issuer", &accepted.oidc_issuer);
            if !accepted.extensions.is_empty() {
                lines.push("  certificate_extensions:".to_owned());
                for (name, value) in &accepted.extensions {
                    lines.push(format!("    {name}: {}", scalar(value)));
                }
            }
        }
    }
    let mut set = |key: &str, value: &str| lines.push(format!("  {key}: {}", scalar(value)));
    if signer.trusted_root != PUBLIC_GOOD {
        set("trusted_root", &signer.trusted_root);
    }
    if signer.terms.without_log {
        reasons.push("The signature is in no transparency log that is trusted here.".to_owned());
        set("transparency_log", "not_required");
    }
    if signer.terms.timestamp {
        set("signed_timestamp", "required");
    }
    if signer.terms.without_sct && matches!(signer.who, Who::Identity(_)) {
        reasons.push("The certificate is in no certificate log that is trusted here.".to_owned());
        set("sct", "not_required");
    }
    (reasons, lines)
}
