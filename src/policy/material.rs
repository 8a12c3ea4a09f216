//! What authorities vouch with, as it is known now: keys and trusted roots that are kept elsewhere and change there.
//!
//! A policy holds a snapshot. When a key service or a trusted root says something new, a new set of policies is made
//! from the old one (see [`Policies::with_material`]); nothing is changed in place.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    AttestationRequirement, Authority, AuthoritySigner, Policies, Policy, Quantifier, Requirement,
    SignatureRequirement,
};
use crate::limits::Limits;
use crate::verify::{CertificateAuthorities, PublicKey, RootParts, TrustedRoot, TrustedRootError};

/// The keys behind one reference.
#[derive(Debug, Clone)]
pub enum KeySet {
    /// These, the newest version first; never empty. Any of them may vouch.
    Known(Vec<KeyVersion>),
    /// They could not be read, or too long ago. What depends on them cannot be decided.
    Unusable {
        /// One sentence without the final stop: what could not be read and why.
        reason: String,
    },
}

/// One version of a key.
#[derive(Debug, Clone)]
pub struct KeyVersion {
    /// The service's name for the version; absent for keys without versions, such as files.
    pub version: Option<String>,
    /// The key.
    pub key: PublicKey,
}

/// A trusted root as it is known now.
#[derive(Debug, Clone)]
pub enum Root {
    /// It may be believed.
    Usable {
        /// The root.
        root: Arc<TrustedRoot>,
        /// The first moment at which it no longer may; absent when nothing but a change ends it. It goes with the root,
        /// so that nothing has to run for it to end.
        until: Option<Timestamp>,
    },
    /// It could not be had, or was refreshed too long ago. What depends on it cannot be decided.
    Unusable {
        /// One sentence without the final stop: what is wrong with it.
        reason: String,
    },
}

impl KeySet {
    /// The set of one key without versions.
    #[must_use]
    pub fn of(key: PublicKey) -> Self {
        Self::Known(vec![KeyVersion { version: None, key }])
    }

    /// The keys; none while they are unusable.
    #[must_use]
    pub fn versions(&self) -> &[KeyVersion] {
        match self {
            Self::Known(versions) => versions,
            Self::Unusable { .. } => &[],
        }
    }
}

impl Root {
    /// A root that may be believed until it changes.
    #[must_use]
    pub fn usable(root: Arc<TrustedRoot>) -> Self {
        Self::Usable { root, until: None }
    }

    /// The root and when its time ends, if it may be believed at `now`.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence without the final stop.
    pub fn at(&self, now: Timestamp) -> Result<(&Arc<TrustedRoot>, Option<Timestamp>), String> {
        match self {
            Self::Usable {
                until: Some(until), ..
            } if now >= *until => Err(format!(
                "the trusted root could not be refreshed in time, it counted until {until}"
            )),
            Self::Usable { root, until } => Ok((root, *until)),
            Self::Unusable { reason } => Err(reason.clone()),
        }
    }

    /// The root with an authority's own logs and timestamp authorities in place of its own, where there are any.
    #[must_use]
    pub fn with_parts(self, parts: Option<&Arc<RootParts>>) -> Self {
        match parts {
            Some(parts) => self.replacing("logs or timestamp authorities", |root| {
                root.with_parts(parts)
            }),
            None => self,
        }
    }

    /// The root with an authority's own certificate authorities in place of its own, where there are any.
    #[must_use]
    pub fn with_certificate_authorities(
        self,
        authorities: Option<&Arc<CertificateAuthorities>>,
    ) -> Self {
        match authorities {
            Some(authorities) => self.replacing("certificate authorities", |root| {
                root.with_certificate_authorities(authorities)
            }),
            None => self,
        }
    }

    /// What a part of it becomes; a part that is not usable leaves nothing that is.
    fn replacing(
        self,
        part: &str,
        replace: impl FnOnce(&TrustedRoot) -> Result<TrustedRoot, TrustedRootError>,
    ) -> Self {
        let Self::Usable { root, until } = &self else {
            return self;
        };
        match replace(root) {
            Ok(root) => Self::Usable {
                root: Arc::new(root),
                until: *until,
            },
            Err(error) => Self::Unusable {
                reason: format!("its {part} are not usable: {}", error.0),
            },
        }
    }
}

/// The trusted root of an authority at one time.
#[derive(Debug, Clone)]
pub struct RootAt {
    /// The root; only the authority's own parts while the shared root is unusable.
    pub root: Arc<TrustedRoot>,
    /// The first moment at which it no longer counts; absent when only a change ends it.
    pub until: Option<Timestamp>,
    /// The reason for which the shared root is unusable, and the setting that helps; absent while it is usable.
    pub unusable: Option<String>,
}

impl Authority {
    /// Returns the trusted root for an attempt at `now`.
    ///
    /// A shared root that is unusable decides nothing for an attempt that does not use it. Such an attempt gets a root
    /// of the authority's own parts, and only what it proves without the shared root counts.
    #[must_use]
    pub fn root_at(&self, now: Timestamp) -> Option<RootAt> {
        let reason = match self.trusted_root.at(now) {
            Ok((root, until)) => {
                return Some(RootAt {
                    root: Arc::clone(root),
                    until,
                    unusable: None,
                });
            }
            Err(reason) => reason,
        };
        let certificate_authorities = match &self.signer {
            AuthoritySigner::Key { .. } => None,
            AuthoritySigner::Identity(requirement) => {
                requirement.certificate_authorities.as_deref()
            }
        };
        let own =
            TrustedRoot::of_parts(self.root_parts.as_deref(), certificate_authorities).ok()?;
        let name = &self.trusted_root_name;
        Some(RootAt {
            root: Arc::new(own),
            until: None,
            unusable: Some(format!(
                "{reason}; without access to the network, name a copy of it as `trusted_roots: {{{name}: {{file: trusted_root.json}}}}`, or let it count for longer with `freshness: {{root_max_stale: …}}`"
            )),
        })
    }

    /// Returns true if the shared trusted root may prove when something was signed, because the authority lacks logs or
    /// timestamp authorities of its own.
    #[must_use]
    pub fn is_dated_by_shared_root(&self) -> bool {
        let parts = self.root_parts.as_deref();
        !parts.is_some_and(|parts| parts.has_logs() && parts.has_timestamp_authorities())
    }

    /// Returns true if an attempt may need the shared trusted root, because the authority demands more than it has
    /// itself. A policy may need the root to know the age of a signature, too ([`Policy::needing_shared_root`]).
    #[must_use]
    pub fn needs_shared_root(&self) -> bool {
        let parts = self.root_parts.as_deref();
        let lacks_logs = self.transparency_log && !parts.is_some_and(RootParts::has_logs);
        let lacks_clocks =
            self.signed_timestamp && !parts.is_some_and(RootParts::has_timestamp_authorities);
        let lacks_certificates = match &self.signer {
            AuthoritySigner::Key { .. } => false,
            AuthoritySigner::Identity(requirement) => {
                requirement.certificate_authorities.is_none()
                    || (self.sct && !parts.is_some_and(RootParts::has_certificate_logs))
            }
        };
        lacks_logs || lacks_clocks || lacks_certificates
    }
}

/// What is known now of keys and roots that may change.
pub trait Material: std::fmt::Debug + Send + Sync {
    /// The keys behind the reference; nothing if it names no key service.
    fn keys(&self, reference: &str) -> Option<Arc<KeySet>>;
    /// The trusted root of this name; nothing if it never changes.
    fn trusted_root(&self, name: &str) -> Option<Root>;
}

impl Policy {
    /// Returns the authorities for which a decision may need their shared trusted root. Without the root, a limit on the age
    /// and `match: newest` stay undecided, because a log or a timestamp authority of the root may prove an earlier time.
    pub fn needing_shared_root(&self) -> impl Iterator<Item = &Arc<Authority>> {
        let is_age_limited = self.max_signature_age.is_some();
        let attestations = self.requirement.attestations().into_iter();
        let ordered_by_time: Vec<_> = attestations
            .filter(|attestation| attestation.quantifier == Quantifier::Newest)
            .flat_map(|attestation| &attestation.authorities)
            .collect();
        let authorities = self.requirement.authorities().into_iter();
        authorities.filter(move |authority| {
            let is_ordered = ordered_by_time.iter().any(|it| Arc::ptr_eq(it, authority));
            authority.needs_shared_root()
                || ((is_age_limited || is_ordered) && authority.is_dated_by_shared_root())
        })
    }
}

impl Policies {
    /// Returns true if any authority may need the shared trusted root of this name.
    #[must_use]
    pub fn need_root(&self, name: &str) -> bool {
        self.policies
            .iter()
            .flat_map(|policy| policy.needing_shared_root())
            .any(|authority| authority.trusted_root_name == name)
    }

    /// The same policies with keys and trusted roots as they are known now.
    #[must_use]
    pub fn with_material(&self, material: &dyn Material, limits: &Limits) -> Self {
        let policies = self.policies.iter().map(|policy| {
            let policy = Policy {
                requirement: policy.requirement.with_material(material),
                ..policy.as_ref().clone()
            };
            Arc::new(policy.with_hash())
        });
        let complete = Self::new(
            policies.collect(),
            self.default,
            self.revoked.clone(),
            limits,
        )
        .excepting(self.exceptions.clone());
        Self {
            configured: self.configured,
            ..complete
        }
    }
}

impl Requirement {
    fn with_material(&self, material: &dyn Material) -> Self {
        let members = |of: &[Self]| of.iter().map(|it| it.with_material(material)).collect();
        match self {
            Self::Signature(signature) => Self::Signature(signature.with_material(material)),
            Self::Attestation(attestation) => {
                let authorities = attestation.authorities.iter();
                Self::Attestation(AttestationRequirement {
                    authorities: authorities
                        .map(|authority| authority.with_material(material))
                        .collect(),
                    ..attestation.clone()
                })
            }
            Self::All(of) => Self::All(members(of)),
            Self::Any(of) => Self::Any(members(of)),
            Self::AtLeast { count, of } => Self::AtLeast {
                count: *count,
                of: members(of),
            },
            Self::Signers { count, of } => Self::Signers {
                count: *count,
                of: of.iter().map(|it| it.with_material(material)).collect(),
            },
            Self::Nothing | Self::Refusal { .. } => self.clone(),
        }
    }
}

impl SignatureRequirement {
    fn with_material(&self, material: &dyn Material) -> Self {
        Self {
            authority: self.authority.with_material(material),
            annotations: self.annotations.clone(),
        }
    }
}

impl Authority {
    fn with_material(self: &Arc<Self>, material: &dyn Material) -> Arc<Self> {
        let keys = match &self.signer {
            AuthoritySigner::Key { reference, .. } => material.keys(reference),
            AuthoritySigner::Identity(_) => None,
        };
        let root = material.trusted_root(&self.trusted_root_name);
        if keys.is_none() && root.is_none() {
            return Arc::clone(self);
        }
        let mut authority = self.as_ref().clone();
        if let (AuthoritySigner::Key { keys, .. }, Some(known)) = (&mut authority.signer, keys) {
            *keys = known;
        }
        if let Some(root) = root {
            let root = root.with_parts(authority.root_parts.as_ref());
            authority.trusted_root = match &authority.signer {
                AuthoritySigner::Identity(requirement) => {
                    root.with_certificate_authorities(requirement.certificate_authorities.as_ref())
                }
                AuthoritySigner::Key { .. } => root,
            };
        }
        Arc::new(authority)
    }
}
