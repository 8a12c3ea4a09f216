//! Why a requirement is not met: what came closest, what is missing, what outranks both.

use super::attempts::{Rank, Refusal};
use super::requirement::Fared;
use super::{Known, Outcome};
use crate::admission::denial::Kind;
use crate::policy::SignatureRequirement;

/// A refusal stands only if everything was seen: otherwise it is not decided, or a limit.
pub(super) fn settle(fared: Fared, known: &Known<'_>) -> Outcome {
    let Refusal { kind, reason, .. } = match fared {
        Fared::Satisfied(_) => return Outcome::Satisfied,
        Fared::Undecided { missing, revoked } => {
            return Outcome::Undecided {
                missing,
                revoked: revoked.is_some(),
            };
        }
        Fared::Refused(refusal) => refusal,
    };
    if let Some(missing) = known.failed_sources.first() {
        return Outcome::Undecided {
            missing: missing.clone(),
            revoked: kind == Kind::Revoked,
        };
    }
    match known.limit_exceeded {
        // A limit must not turn what is revoked into something that an auditing policy waives.
        Some(limit) if kind != Kind::Revoked => Outcome::Refused {
            kind: Kind::LimitExceeded,
            reason: limit.to_owned(),
        },
        Some(_) | None => Outcome::Refused { kind, reason },
    }
}

/// Why something is not satisfied.
#[derive(Debug, Default)]
pub(super) struct Shortfall {
    pub(super) furthest: Furthest,
    /// Keys and roots that were needed and not to be had.
    pub(super) unusable: Option<String>,
    pub(super) exhausted: bool,
    /// How many of how many there are.
    counted: Option<(usize, usize)>,
}

impl Shortfall {
    pub(super) fn note_undecided(&mut self, missing: String, revoked: Option<Refusal>) {
        self.unusable.get_or_insert(missing);
        if let Some(revoked) = revoked {
            self.furthest.note(revoked);
        }
    }

    /// So many are there, of so many that must be.
    pub(super) fn of(mut self, satisfied: usize, count: usize) -> Self {
        self.counted = Some((satisfied, count));
        self
    }

    pub(super) fn into_fared(self, expected: &[&SignatureRequirement]) -> Fared {
        if let Some(missing) = self.unusable {
            return Fared::Undecided {
                missing,
                revoked: self.furthest.into_revoked(),
            };
        }
        // Signatures that count must not hide one that no mode waives.
        if let Some(revoked) = self.furthest.revoked() {
            return Fared::Refused(revoked.clone());
        }
        if self.exhausted {
            return Fared::Refused(self.furthest.exhausted());
        }
        if let Some((satisfied @ 1.., count)) = self.counted {
            let mut reason =
                format!("{satisfied} of the required {count} distinct signers signed it");
            if let Some(best) = self.furthest.0 {
                reason.push_str("; of the others, the best one: ");
                reason.push_str(&best.reason);
            }
            return Fared::Refused(Refusal {
                rank: Rank::Threshold,
                kind: Kind::ThresholdNotMet,
                reason,
            });
        }
        Fared::Refused(self.furthest.0.unwrap_or_else(|| Refusal {
            rank: Rank::Nothing,
            kind: Kind::Unsigned,
            reason: format!(
                "no cosign signature of it was found; expected one by {}",
                names(expected)
            ),
        }))
    }
}

/// The refusal of the attempt that got furthest; of several equal ones the first, which is the newest signature.
#[derive(Debug, Default)]
pub(super) struct Furthest(Option<Refusal>);

impl Furthest {
    pub(super) fn note(&mut self, refusal: Refusal) {
        if self
            .0
            .as_ref()
            .is_none_or(|noted| noted.rank < refusal.rank)
        {
            self.0 = Some(refusal);
        }
    }

    pub(super) fn into_refusal(self) -> Option<Refusal> {
        self.0
    }

    /// The limit, unless something is revoked: no mode waives that.
    pub(super) fn exhausted(self) -> Refusal {
        let best = match self.0 {
            Some(revoked) if revoked.kind == Kind::Revoked => return revoked,
            Some(best) => format!("; the best one: {}", best.reason),
            None => String::new(),
        };
        Refusal {
            rank: Rank::Limit,
            kind: Kind::LimitExceeded,
            reason: format!(
                "the limit on attempts at signatures is used up (`limits.attempts_max`){best}"
            ),
        }
    }

    fn revoked(&self) -> Option<&Refusal> {
        self.0
            .as_ref()
            .filter(|refusal| refusal.kind == Kind::Revoked)
    }

    pub(super) fn into_revoked(self) -> Option<Refusal> {
        self.0.filter(|refusal| refusal.kind == Kind::Revoked)
    }
}

/// What is not satisfied of several that all must be.
#[derive(Debug, Default)]
pub(super) struct Joined {
    refused: Option<Refusal>,
    missing: Option<String>,
    revoked: Option<Refusal>,
}

impl Joined {
    pub(super) fn note(&mut self, unsatisfied: Fared) {
        match unsatisfied {
            Fared::Satisfied(_) => {}
            Fared::Refused(refusal) if refusal.kind == Kind::Revoked => {
                self.revoked.get_or_insert_with(|| refusal.clone());
                self.refused.get_or_insert(refusal);
            }
            Fared::Refused(refusal) => {
                self.refused.get_or_insert(refusal);
            }
            Fared::Undecided { missing, revoked } => {
                self.missing.get_or_insert(missing);
                self.revoked = self.revoked.take().or(revoked);
            }
        }
    }

    /// The first refusal, unless something is revoked: nothing that is not known yet can make up for either.
    pub(super) fn into_fared(self) -> Option<Fared> {
        match (self.refused, self.missing) {
            (Some(refused), _) => Some(Fared::Refused(self.revoked.unwrap_or(refused))),
            (None, Some(missing)) => Some(Fared::Undecided {
                missing,
                revoked: self.revoked,
            }),
            (None, None) => None,
        }
    }
}

fn names(expected: &[&SignatureRequirement]) -> String {
    let names: Vec<_> = expected
        .iter()
        .map(|signature| format!("`{}`", signature.authority.name))
        .collect();
    names.join(" or ")
}
