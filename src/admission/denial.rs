//! Why something is refused, in fixed words for programs and one sentence for people.

use crate::foreign::Message;
use crate::oci::Digest;
use crate::verify::FailedCheck;

/// The kind of a denial: fixed words that programs may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no signature at all.
    Unsigned,
    /// No key of the policy verifies a signature, and nothing says whose it is.
    UntrustedKey,
    /// Signed by another identity.
    WrongIdentity,
    /// The identity was vouched for by another issuer.
    WrongIssuer,
    /// It claims to be the authority's and does not verify.
    InvalidSignature,
    /// The signature is for another digest.
    WrongSubject,
    /// The certificate is not acceptable.
    InvalidCertificate,
    /// The transparency-log entry is missing or wrong.
    TransparencyLog,
    /// The signed timestamp is missing or wrong.
    Timestamp,
    /// A demanded annotation is missing or different.
    AnnotationMismatch,
    /// Too few distinct signers.
    ThresholdNotMet,
    /// No attestation of the demanded type.
    AttestationMissing,
    /// The attestation's condition is false.
    AttestationRejected,
    /// No policy covers the name.
    NoPolicy,
    /// No admitted manifest of the repository refers to it.
    NotEndorsed,
    /// The manifest or the signature is broken.
    Malformed,
    /// More than the limits allow.
    LimitExceeded,
    /// On the list of what is revoked.
    Revoked,
    /// Signed too long ago.
    SignatureTooOld,
    /// The signature names another repository.
    WrongName,
    /// The client may not pull this.
    ClientDenied,
    /// The host is not configured.
    UpstreamNotAllowed,
    /// The upstream refuses the proxy's credentials.
    UpstreamDenied,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The fixed word.
    pub kind: Kind,
    /// One sentence: name, digest, policy, what was expected, what was found.
    pub message: Message,
    /// The policy that refused, where one did.
    pub policy: Option<String>,
    /// What was refused, where it has a digest.
    pub digest: Option<Digest>,
}

impl Denial {
    /// Ends the sentence with the decision under which it is recorded, for people who read it on a terminal.
    pub fn name_decision(&mut self, id: ulid::Ulid) {
        self.message = format!("{}{}", self.message, naming(id)).into();
    }

    /// Returns true if it could have been otherwise under other tags, because another policy would judge the signatures. A
    /// revoked digest is refused under all tags, and so is content that is broken or too much by itself.
    #[must_use]
    pub fn depends_on_tags(&self) -> bool {
        let is_by_policy = self.policy.is_some();
        self.kind.is_waivable()
            || matches!(self.kind, Kind::NoPolicy | Kind::NotEndorsed)
            || (is_by_policy && matches!(self.kind, Kind::Malformed | Kind::LimitExceeded))
    }

    /// The message without the decision, for commands that keep no log in which the id could be found.
    #[must_use]
    pub fn unnamed(message: &str, id: ulid::Ulid) -> &str {
        message.strip_suffix(&naming(id)).unwrap_or(message)
    }
}

fn naming(id: ulid::Ulid) -> String {
    format!(" (decision {id})")
}

impl Kind {
    /// The word as it stands in answers, log and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::UntrustedKey => "untrusted_key",
            Self::WrongIdentity => "wrong_identity",
            Self::WrongIssuer => "wrong_issuer",
            Self::InvalidSignature => "invalid_signature",
            Self::WrongSubject => "wrong_subject",
            Self::InvalidCertificate => "invalid_certificate",
            Self::TransparencyLog => "transparency_log",
            Self::Timestamp => "timestamp",
            Self::AnnotationMismatch => "annotation_mismatch",
            Self::ThresholdNotMet => "threshold_not_met",
            Self::AttestationMissing => "attestation_missing",
            Self::AttestationRejected => "attestation_rejected",
            Self::NoPolicy => "no_policy",
            Self::NotEndorsed => "not_endorsed",
            Self::Malformed => "malformed",
            Self::LimitExceeded => "limit_exceeded",
            Self::Revoked => "revoked",
            Self::SignatureTooOld => "signature_too_old",
            Self::WrongName => "wrong_name",
            Self::ClientDenied => "client_denied",
            Self::UpstreamNotAllowed => "upstream_not_allowed",
            Self::UpstreamDenied => "upstream_denied",
        }
    }
}

impl From<FailedCheck> for Kind {
    fn from(check: FailedCheck) -> Self {
        match check {
            FailedCheck::Malformed => Self::Malformed,
            FailedCheck::LimitExceeded => Self::LimitExceeded,
            FailedCheck::UntrustedKey => Self::UntrustedKey,
            FailedCheck::InvalidSignature => Self::InvalidSignature,
            FailedCheck::WrongSubject => Self::WrongSubject,
            FailedCheck::WrongName => Self::WrongName,
            FailedCheck::TransparencyLog => Self::TransparencyLog,
            FailedCheck::Timestamp => Self::Timestamp,
            FailedCheck::InvalidCertificate => Self::InvalidCertificate,
            FailedCheck::WrongIdentity => Self::WrongIdentity,
            FailedCheck::WrongIssuer => Self::WrongIssuer,
            FailedCheck::AnnotationMismatch => Self::AnnotationMismatch,
        }
    }
}
