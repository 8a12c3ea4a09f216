//! What a repository requires (pure).

pub mod condition;
pub mod coverage;
pub mod exception;
pub mod fuel;
pub mod glob;
mod hash;
pub mod kyverno;
pub mod matcher;
pub mod material;
pub mod pattern;
pub(crate) mod re2;
mod received;
pub mod rego;
pub mod scope;
pub mod signed_name;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;
use crate::oci::{Digest, RepositoryName};
use crate::verify::{CertificateAuthorities, RootParts};
pub use condition::{Condition, ConditionError, Rule};
pub use coverage::{Coverage, Doubt, ImportedCoverage, Tags};
pub use exception::Exception;
pub use fuel::{Fuel, OutOfFuel};
pub use matcher::Matcher;
pub use material::{KeySet, KeyVersion, Material, Root, RootAt};
pub use pattern::Pattern;
pub use signed_name::SignedName;

/// The whole of what is required, as one immutable value; a change makes a new one.
#[derive(Debug)]
pub struct Policies {
    /// In configuration order.
    pub policies: Vec<Arc<Policy>>,
    /// What happens to a name that no policy covers.
    pub default: DefaultAction,
    /// What is refused whatever vouches for it.
    pub revoked: Revoked,
    /// What is let through for a while although a policy refuses it. Set by [`Policies::excepting`].
    pub exceptions: Vec<Arc<Exception>>,
    /// Digest over everything that decides: policies, keys (by fingerprint), trusted roots (by digest), default,
    /// revoked, limits, exceptions. The same after a restart.
    pub hash: Digest,
    /// The same of what is configured, before anything was known of keys and roots that are kept elsewhere.
    pub configured: Digest,
    /// Whether any policy is about tags: asked on every pull.
    about_tags: bool,
}

/// What happens to a name that no policy covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAction {
    /// Refused as `no_policy`.
    Deny,
    /// Served, with a warning, and logged as a would-be refusal.
    Audit,
}

/// Whether a policy's refusal counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Enforce,
    /// It is logged and the content served.
    Audit,
}

/// Requirements for the repositories that match.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The name in messages and in the log.
    pub name: String,
    /// Digest over the policy as configured, keys and roots included; the same after a restart. Set by
    /// [`Policy::with_hash`].
    pub hash: Digest,
    /// Where it is written; absent for what has no file, such as flags.
    pub origin: Option<Origin>,
    /// Which images it covers.
    pub coverage: Coverage,
    /// Enforce or audit.
    pub mode: Mode,
    /// What must be there.
    pub requirement: Requirement,
    /// Further repositories in which signatures are looked for.
    pub signature_repositories: Vec<RepositoryName>,
    /// What the name inside a signature must be.
    pub signed_name: SignedName,
    /// The age, from the verified time, after which a signature no longer counts.
    pub max_signature_age: Option<Duration>,
}

/// Where a policy is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// What must be there.
#[derive(Debug, Clone)]
pub enum Requirement {
    /// A signature.
    Signature(SignatureRequirement),
    /// An attestation.
    Attestation(AttestationRequirement),
    /// Every member; never empty.
    All(Vec<Self>),
    /// One of the members; never empty.
    Any(Vec<Self>),
    /// So many of the members. A signer counts for one member only.
    AtLeast {
        /// How many; at least 1.
        count: usize,
        /// Of these; never fewer than `count`.
        of: Vec<Self>,
    },
    /// Signatures by so many distinct keys and identities, whichever members they satisfy (`threshold`).
    Signers {
        /// How many; at least 1.
        count: usize,
        /// By any of these; never empty.
        of: Vec<SignatureRequirement>,
    },
    /// Nothing: whatever is covered is let through (`static: {action: pass}`, `insecureAcceptAnything`).
    Nothing,
    /// Whatever is covered is refused.
    Refusal {
        /// Why, in the words of the policy's author.
        message: String,
    },
}

/// A signature that must exist.
#[derive(Debug, Clone)]
pub struct SignatureRequirement {
    /// Who must have made it.
    pub authority: Arc<Authority>,
    /// Annotations it must carry.
    pub annotations: BTreeMap<String, String>,
}

/// An attestation that must exist.
#[derive(Debug, Clone)]
pub struct AttestationRequirement {
    /// The predicate type, an URI.
    pub predicate_type: String,
    /// Any of these may vouch; never empty (the policy's own authorities where none are given).
    pub authorities: Vec<Arc<Authority>>,
    /// Which of several attestations of the type must hold.
    pub quantifier: Quantifier,
    /// What must be true of the statement; absent means that existence suffices.
    pub condition: Option<Arc<dyn Rule>>,
}

/// Which of several attestations must hold (`match:`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// One.
    Any,
    /// Every one of the type; at least one.
    All,
    /// The one with the latest verified time.
    Newest,
}

/// One key or one set of identities that may vouch.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The name in messages and in the log.
    pub name: String,
    /// Who it is.
    pub signer: AuthoritySigner,
    /// The configured name of the trusted root.
    pub trusted_root_name: String,
    /// The trusted root itself, as it is known now, with what the authority has of its own in it.
    pub trusted_root: Root,
    /// Logs and timestamp authorities in place of the trusted root's. The authority's `trusted_root` has them already;
    /// they are kept for the next version of it.
    pub root_parts: Option<Arc<RootParts>>,
    /// Whether a log entry is demanded.
    pub transparency_log: bool,
    /// Whether an RFC 3161 timestamp is demanded.
    pub signed_timestamp: bool,
    /// Whether an SCT is demanded (identities only).
    pub sct: bool,
}

/// Who an authority is.
#[derive(Debug, Clone)]
pub enum AuthoritySigner {
    /// The holder of this key, in any version that is in use.
    Key {
        /// How the configuration names it: a path, `inline`, or the reference of a key service.
        reference: String,
        /// The key's versions, as they are known now.
        keys: Arc<KeySet>,
    },
    /// Whoever the trusted root certifies under a matching identity and issuer.
    Identity(IdentityRequirement),
}

/// Both matchers must match the whole value.
#[derive(Debug, Clone)]
pub struct IdentityRequirement {
    /// The certificate's subject alternative name.
    pub identity: Matcher,
    /// Its OIDC issuer; nothing only where `certificate_authorities` vouch themselves.
    pub oidc_issuer: Option<Matcher>,
    /// Fulcio extensions by name.
    pub extensions: BTreeMap<String, Matcher>,
    /// Who issues its certificates in place of the trusted root's authorities. The authority's `trusted_root` has them
    /// already; they are kept for the next version of it.
    pub certificate_authorities: Option<Arc<CertificateAuthorities>>,
}

/// What is refused from the next request on.
#[derive(Debug, Clone, Default)]
pub struct Revoked {
    /// Manifests and blobs.
    pub digests: std::collections::HashSet<Digest>,
    /// Fingerprints of keys.
    pub keys: std::collections::HashSet<Digest>,
    /// Fingerprints of signing certificates.
    pub certificates: std::collections::HashSet<Digest>,
    /// Serial numbers of signing certificates, as [`serial_number`] writes them.
    pub serial_numbers: std::collections::HashSet<String>,
    /// Identities, matched whole.
    pub identities: Vec<Matcher>,
}

/// A serial number in one spelling: lower-case hex without leading zeros. `None` if it is not hex.
#[must_use]
pub fn serial_number(text: &str) -> Option<String> {
    let hex: String = text.chars().filter(|it| *it != ':').collect();
    let is_hex = !hex.is_empty() && hex.chars().all(|it| it.is_ascii_hexdigit());
    is_hex.then(|| hex.trim_start_matches('0').to_ascii_lowercase())
}

impl Policies {
    /// The policies with their hash. `limits` decide too: what exceeds one is refused.
    #[must_use]
    pub fn new(
        policies: Vec<Arc<Policy>>,
        default: DefaultAction,
        revoked: Revoked,
        limits: &Limits,
    ) -> Self {
        let hash = hash::of_policies(&policies, default, &revoked, limits);
        Self {
            hash,
            configured: hash,
            about_tags: policies.iter().any(|it| it.coverage.is_about_tags()),
            exceptions: Vec::new(),
            policies,
            default,
            revoked,
        }
    }

    /// The policies that cover an image of `repository` asked for through `tags`, in configuration order.
    pub fn matching<'a>(
        &'a self,
        repository: &'a RepositoryName,
        tags: &'a Tags,
    ) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.policies
            .iter()
            .filter(|policy| policy.coverage.covers(repository, tags))
    }

    /// The policies that can cover an image of `repository`, through whichever tag it is asked for.
    pub fn concerning<'a>(
        &'a self,
        repository: &'a RepositoryName,
    ) -> impl Iterator<Item = &'a Arc<Policy>> {
        self.policies
            .iter()
            .filter(|policy| policy.coverage.can_cover(repository))
    }

    /// Whether the tags through which a digest was asked for can make a difference.
    #[must_use]
    pub fn are_about_tags(&self) -> bool {
        self.about_tags
    }
}

impl Requirement {
    /// All of `members`, or the one there is.
    #[must_use]
    pub fn all(mut members: Vec<Self>) -> Self {
        match members.pop() {
            Some(only) if members.is_empty() => only,
            Some(last) => {
                members.push(last);
                Self::All(members)
            }
            None => Self::All(members),
        }
    }

    /// The attestations demanded anywhere in it.
    #[must_use]
    pub fn attestations(&self) -> Vec<&AttestationRequirement> {
        match self {
            Self::Signature(_) | Self::Signers { .. } | Self::Nothing | Self::Refusal { .. } => {
                Vec::new()
            }
            Self::Attestation(attestation) => vec![attestation],
            Self::All(of) | Self::Any(of) | Self::AtLeast { of, .. } => {
                of.iter().flat_map(Self::attestations).collect()
            }
        }
    }

    /// Returns true if a signature is demanded anywhere in it.
    #[must_use]
    pub fn demands_signatures(&self) -> bool {
        match self {
            Self::Signature(_) | Self::Signers { .. } => true,
            Self::Attestation(_) | Self::Nothing | Self::Refusal { .. } => false,
            Self::All(of) | Self::Any(of) | Self::AtLeast { of, .. } => {
                of.iter().any(Self::demands_signatures)
            }
        }
    }

    /// The authorities named anywhere in it, in order, each as often as it is named.
    #[must_use]
    pub fn authorities(&self) -> Vec<&Arc<Authority>> {
        match self {
            Self::Signature(signature) => vec![&signature.authority],
            Self::Signers { of, .. } => of.iter().map(|it| &it.authority).collect(),
            Self::Attestation(attestation) => attestation.authorities.iter().collect(),
            Self::All(of) | Self::Any(of) | Self::AtLeast { of, .. } => {
                of.iter().flat_map(Self::authorities).collect()
            }
            Self::Nothing | Self::Refusal { .. } => Vec::new(),
        }
    }
}

impl Policy {
    /// Whether a pull by tag depends on which tag was signed. A policy that only audits refuses no tag.
    #[must_use]
    pub fn compares_tags(&self) -> bool {
        self.mode == Mode::Enforce && self.signed_name.compares_tags()
    }

    /// The policy with its hash computed from everything else in it.
    #[must_use]
    pub fn with_hash(mut self) -> Self {
        self.hash = hash::of_policy(&self);
        self
    }
}
