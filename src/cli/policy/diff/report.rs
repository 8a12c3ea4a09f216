//! What `policy diff` tells.

use jiff::Timestamp;
use serde::Serialize;

use super::pulled::Pulled;
use crate::cli::replay::Verdict;
use crate::decision_log::Basis;

/// What another configuration would change.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// At which time both decided.
    pub(super) now: Timestamp,
    /// How many decisions of the log were looked at.
    pub(super) decisions: usize,
    /// Whether those are all there are.
    pub(super) complete: bool,
    /// How many images they are about. One that some of its tags make a difference for counts for each outcome.
    pub(super) images: usize,
    /// How many of them are decided about as before.
    pub(super) same: usize,
    /// Those that are not, most pulled first.
    pub(super) differences: Vec<Compared>,
    /// Those of which it cannot be told.
    pub(super) cannot_tell: Vec<Compared>,
}

/// What both configurations decide about an image.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    #[serde(flatten)]
    pub(super) pulled: Pulled,
    pub(super) was: Verdict,
    pub(super) would_be: Verdict,
}

impl Report {
    /// 0 no difference, 1 some, 2 none that can be told.
    pub(super) fn exit_code(&self) -> u8 {
        if !self.differences.is_empty() {
            crate::cli::EXIT_NO
        } else if !self.cannot_tell.is_empty() {
            crate::cli::EXIT_UNDECIDED
        } else {
            0
        }
    }

    pub(super) fn render(&self) -> String {
        let (refused, admitted): (Vec<_>, Vec<_>) = self
            .differences
            .iter()
            .partition(|compared| compared.would_be.decision == "deny");
        let unknown: Vec<_> = self.cannot_tell.iter().collect();
        let mut text = String::new();
        for (heading, images) in [
            ("would be refused:", &refused),
            ("would be admitted:", &admitted),
            ("cannot tell:", &unknown),
        ] {
            if images.is_empty() {
                continue;
            }
            text.push_str(&format!("{heading}\n"));
            for compared in images {
                text.push_str(&compared.render());
            }
        }
        let bound = if self.complete { "" } else { " newest" };
        text.push_str(&format!(
            "{} images in the{bound} {} decisions: {} would be refused, {} would be admitted, {} cannot be told, {} are decided as before\n",
            self.images,
            self.decisions,
            refused.len(),
            admitted.len(),
            unknown.len(),
            self.same,
        ));
        text
    }
}

impl Compared {
    /// Whether both are decided alike, for whatever reason in detail.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let outcome = |it: &Self| {
            [&it.was, &it.would_be].map(|verdict| (verdict.decision, verdict.kind, verdict.basis))
        };
        outcome(self) == outcome(other)
    }

    fn render(&self) -> String {
        let Pulled {
            repository,
            digest,
            tags,
            pulls,
            last_asked,
            ..
        } = &self.pulled;
        let tags: Vec<_> = tags.iter().map(String::as_str).collect();
        let tags = tags.join(", ");
        let image = match digest {
            Some(digest) if tags.is_empty() => format!("{repository}@{digest}"),
            Some(digest) => format!("{repository}@{digest} ({tags})"),
            None => format!("{repository}:{tags}"),
        };
        let times = if *pulls == 1 { "pull" } else { "pulls" };
        format!(
            "  {image}: {pulls} {times}, last {last_asked:.0}\n    was       {}\n    would be  {}\n",
            phrase(&self.was),
            phrase(&self.would_be)
        )
    }
}

fn phrase(verdict: &Verdict) -> String {
    let policies: Vec<_> = verdict.policies.iter().map(ToString::to_string).collect();
    let policies = policies.join(", ");
    let message = verdict.message.as_deref().unwrap_or_default();
    match (verdict.decision, verdict.kind) {
        ("admit", _) => {
            let basis = verdict.basis.map_or("memory", word);
            match (&verdict.endorsed_by, policies.is_empty()) {
                (Some(index), _) => format!("admitted by {basis} of {index}"),
                (None, true) => format!("admitted by {basis}"),
                (None, false) => format!("admitted by {basis}: {policies}"),
            }
        }
        ("deny", kind) => {
            let kind = kind.unwrap_or("denied");
            match policies.is_empty() {
                true => format!("refused ({kind}): {message}"),
                false => format!("refused ({kind}) by {policies}: {message}"),
            }
        }
        (_, _) => format!("not known: {}", verdict.lacking.join("; ")),
    }
}

fn word(basis: Basis) -> &'static str {
    match basis {
        Basis::Signature => "signature",
        Basis::Endorsement => "endorsement",
        Basis::SignatureArtifact => "signature_artifact",
        Basis::Audit => "audit",
    }
}
