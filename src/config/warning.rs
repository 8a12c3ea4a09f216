//! The names of warnings, by which a configuration acknowledges them.

use super::reader::{Field, Reader};

/// The name of a kind of warning. It stays the same from version to version, so that `acknowledge` can refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningName {
    /// No registry can be reached.
    NoUpstreams,
    /// No policy is in force, so every image is refused.
    NoPolicies,
    /// Passwords of clients travel without TLS.
    PasswordsInClear,
    /// Everybody who reaches a listener beyond loopback may pull.
    OpenToEverybody,
    /// A condition is always true, or always false.
    ConstantCondition,
    /// A pattern, a scope or an entry matches no image, or an expression no identity.
    CoversNothing,
    /// No client is allowed anything.
    NobodyMayPull,
    /// An exception of a cluster is not read.
    ExceptionNotRead,
    /// A kustomization that changes policies is not applied.
    KustomizationNotApplied,
    /// A policy that waives every image loads only under `default: audit`.
    OnlyUnderDefaultAudit,
    /// The outcome depends on tags, which are not always known at a pull.
    TagsDecide,
    /// A restriction to some resources, users or namespaces of a cluster is not known at a pull.
    ClusterScope,
    /// Images are let through unsigned.
    LetsThroughUnsigned,
    /// Credentials are those under `upstreams`, and not those of the document.
    CredentialsElsewhere,
    /// Signatures are looked for in another repository and beside the image.
    FurtherSignatureRepository,
    /// Signatures need not be in a transparency log.
    NoTransparencyLog,
    /// A log or certificate authority is judged by the trusted root, and not asked.
    ServiceNotAsked,
    /// Certificates need not have been published.
    UnpublishedCertificates,
    /// An identity that is probably not meant is accepted, too.
    AlsoAccepts,
    /// An expression accepts any text around what it matches.
    Unanchored,
    /// The hash follows from the key, and not from the document.
    HashByKey,
    /// A key is read from a secret of a cluster.
    KeyInSecret,
    /// What needs signatures by GPG keys is refused.
    GpgRefused,
    /// A transport that goes through no registry is left out.
    TransportLeftOut,
    /// Of a reference only the repository is compared.
    OnlyRepositoryCompared,
    /// An image of one name is always refused.
    NameRefused,
    /// A policy, a rule or a field demands nothing.
    VerifiesNothing,
    /// Every rule must be satisfied, and not only the first.
    EveryRuleCounts,
    /// A policy that only reports in a cluster decides here.
    BackgroundOnly,
    /// What cannot be verified is refused whatever the document says.
    FailurePolicy,
    /// The attestors of an entry must vouch for an attestation that names none.
    AttestorsOfEntry,
    /// A predicate type is none that attestations have.
    TypeIsNoUri,
    /// A signer who is listed more than once counts once.
    ListedTwice,
    /// Anybody with a certificate by an authority may vouch.
    AnybodyCertified,
    /// What is said about digests in a Pod is not asked of pulls.
    DigestsNotRewritten,
    /// A signature in the older form counts as well.
    OlderFormCounts,
    /// An entry is enforced because another one of its rule is.
    EnforcedWithRule,
    /// A policy only audits because it does not say otherwise.
    AuditByDefault,
    /// Annotations are those that were signed.
    SignedAnnotations,
    /// A message of the document is not shown.
    MessageLeftOut,
    /// No statement has the field that a condition looks at.
    NotInStatement,
    /// An attestor of Notary is left out among others.
    NotaryLeftOut,
    /// An asterisk stands for itself.
    LiteralAsterisk,
    /// A policy covers every image.
    CoversEverything,
    /// A part of a document has no meaning at a pull.
    NoMeaningAtPull,
    /// A signed timestamp is required.
    TimestampRequired,
    /// A requirement can never be satisfied, so images are refused.
    NeverSatisfied,
    /// A trusted root of the configuration takes the place of one in a document.
    ConfiguredRootUsed,
    /// A trusted root in a document counts until a date.
    RootExpires,
    /// A part of a trusted root cannot be used and is left out.
    PartLeftOut,
    /// A whole registry is excepted for a long time.
    ExceptionTooWide,
    /// An exception is over.
    ExceptionOver,
    /// A token is easy to guess.
    WeakToken,
    /// Something travels over plain HTTP.
    PlainHttp,
}

impl WarningName {
    /// All of them.
    pub const ALL: [Self; 54] = [
        Self::NoUpstreams,
        Self::NoPolicies,
        Self::PasswordsInClear,
        Self::OpenToEverybody,
        Self::ConstantCondition,
        Self::CoversNothing,
        Self::NobodyMayPull,
        Self::ExceptionNotRead,
        Self::KustomizationNotApplied,
        Self::OnlyUnderDefaultAudit,
        Self::TagsDecide,
        Self::ClusterScope,
        Self::LetsThroughUnsigned,
        Self::CredentialsElsewhere,
        Self::FurtherSignatureRepository,
        Self::NoTransparencyLog,
        Self::ServiceNotAsked,
        Self::UnpublishedCertificates,
        Self::AlsoAccepts,
        Self::Unanchored,
        Self::HashByKey,
        Self::KeyInSecret,
        Self::GpgRefused,
        Self::TransportLeftOut,
        Self::OnlyRepositoryCompared,
        Self::NameRefused,
        Self::VerifiesNothing,
        Self::EveryRuleCounts,
        Self::BackgroundOnly,
        Self::FailurePolicy,
        Self::AttestorsOfEntry,
        Self::TypeIsNoUri,
        Self::ListedTwice,
        Self::AnybodyCertified,
        Self::DigestsNotRewritten,
        Self::OlderFormCounts,
        Self::EnforcedWithRule,
        Self::AuditByDefault,
        Self::SignedAnnotations,
        Self::MessageLeftOut,
        Self::NotInStatement,
        Self::NotaryLeftOut,
        Self::LiteralAsterisk,
        Self::CoversEverything,
        Self::NoMeaningAtPull,
        Self::TimestampRequired,
        Self::NeverSatisfied,
        Self::ConfiguredRootUsed,
        Self::RootExpires,
        Self::PartLeftOut,
        Self::ExceptionTooWide,
        Self::ExceptionOver,
        Self::WeakToken,
        Self::PlainHttp,
    ];

    /// The name as it is shown and written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoUpstreams => "no-upstreams",
            Self::NoPolicies => "no-policies",
            Self::PasswordsInClear => "passwords-in-clear",
            Self::OpenToEverybody => "open-to-everybody",
            Self::ConstantCondition => "constant-condition",
            Self::CoversNothing => "covers-nothing",
            Self::NobodyMayPull => "nobody-may-pull",
            Self::ExceptionNotRead => "exception-not-read",
            Self::KustomizationNotApplied => "kustomization-not-applied",
            Self::OnlyUnderDefaultAudit => "only-under-default-audit",
            Self::TagsDecide => "tags-decide",
            Self::ClusterScope => "cluster-scope",
            Self::LetsThroughUnsigned => "lets-through-unsigned",
            Self::CredentialsElsewhere => "credentials-elsewhere",
            Self::FurtherSignatureRepository => "further-signature-repository",
            Self::NoTransparencyLog => "no-transparency-log",
            Self::ServiceNotAsked => "service-not-asked",
            Self::UnpublishedCertificates => "unpublished-certificates",
            Self::AlsoAccepts => "also-accepts",
            Self::Unanchored => "unanchored",
            Self::HashByKey => "hash-by-key",
            Self::KeyInSecret => "key-in-secret",
            Self::GpgRefused => "gpg-refused",
            Self::TransportLeftOut => "transport-left-out",
            Self::OnlyRepositoryCompared => "only-repository-compared",
            Self::NameRefused => "name-refused",
            Self::VerifiesNothing => "verifies-nothing",
            Self::EveryRuleCounts => "every-rule-counts",
            Self::BackgroundOnly => "background-only",
            Self::FailurePolicy => "failure-policy",
            Self::AttestorsOfEntry => "attestors-of-the-entry",
            Self::TypeIsNoUri => "type-is-no-uri",
            Self::ListedTwice => "listed-twice",
            Self::AnybodyCertified => "anybody-certified",
            Self::DigestsNotRewritten => "digests-not-rewritten",
            Self::OlderFormCounts => "older-form-counts",
            Self::EnforcedWithRule => "enforced-with-rule",
            Self::AuditByDefault => "audit-by-default",
            Self::SignedAnnotations => "signed-annotations",
            Self::MessageLeftOut => "message-left-out",
            Self::NotInStatement => "not-in-statement",
            Self::NotaryLeftOut => "notary-left-out",
            Self::LiteralAsterisk => "literal-asterisk",
            Self::CoversEverything => "covers-everything",
            Self::NoMeaningAtPull => "no-meaning-at-a-pull",
            Self::TimestampRequired => "timestamp-required",
            Self::NeverSatisfied => "never-satisfied",
            Self::ConfiguredRootUsed => "configured-root-used",
            Self::RootExpires => "root-expires",
            Self::PartLeftOut => "part-left-out",
            Self::ExceptionTooWide => "exception-too-wide",
            Self::ExceptionOver => "exception-over",
            Self::WeakToken => "weak-token",
            Self::PlainHttp => "plain-http",
        }
    }
}

/// The names under `acknowledge`. One that no warning has is a problem.
pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Vec<WarningName> {
    let words: Vec<_> = WarningName::ALL.map(|name| (name.as_str(), name)).into();
    let items = field.map(|field| field.items(reader)).unwrap_or_default();
    let mut names = Vec::new();
    for item in items {
        let Some(text) = item.text(reader) else {
            continue;
        };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, name)) => names.push(*name),
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
                reader.problem(
                    &item,
                    format!("`{}` is the name of no warning", item.written()),
                    format!(
                        "`policy check` shows the name of each warning in brackets; known: {}",
                        known.join(", ")
                    ),
                );
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_is_listed_and_unlike_the_others() {
        let names: BTreeSet<_> = WarningName::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(names.len(), WarningName::ALL.len());
        for name in names {
            let is_plain = name.chars().all(|it| it.is_ascii_lowercase() || it == '-');
            assert!(is_plain, "{name}");
        }
    }
}
