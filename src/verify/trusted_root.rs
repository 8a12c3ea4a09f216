//! Trusted roots, prepared once.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use sigstore_crypto::Keyring;
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use sigstore_types::{TimeRange, TsaAuthority};
use sigstore_verify::Verifier;

use super::authority::{self, Authority, NoAuthority};
use super::issuing::{self, UnusableChain};
use super::{CertificateAuthorities, RootParts};
use crate::oci::Digest;
use crate::signature::{Intermediate, SigningCertificate};

/// Certificate authorities, transparency logs, certificate-transparency logs and timestamp authorities that are
/// believed, prepared once for many verifications.
pub struct TrustedRoot {
    /// SHA-256 of the JSON it was read from; where something of it was replaced, over that too.
    pub digest: Digest,
    pub(super) verifier: Verifier,
    pub(super) logs: Keyring,
    pub(super) timestamp_authorities: Vec<TsaAuthority>,
    certificate_authorities: Vec<Authority>,
    authorities: Vec<TrustedAuthority>,
    source: sigstore_trust_root::TrustedRoot,
    has_own_authorities: bool,
}

/// A trusted root that believes nobody.
const NOBODY: &str =
    r#"{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

/// What a trusted root believes somebody about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustedRole {
    /// Who holds which identity.
    CertificateAuthority,
    /// Which signatures were published, and when.
    TransparencyLog,
    /// Which certificates were published.
    CertificateTransparencyLog,
    /// When something was signed.
    TimestampAuthority,
}

/// Somebody that a trusted root believes, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustedAuthority {
    /// About what.
    pub role: TrustedRole,
    /// Who runs it: the host of its address, else the organization of its certificate.
    pub operator: String,
    /// From when on, inclusive; absent when the document does not say.
    pub valid_from: Option<Timestamp>,
    /// Until when, inclusive; absent while it is in use.
    pub valid_until: Option<Timestamp>,
}

/// The bytes are not a usable trusted root.
#[derive(Debug, thiserror::Error)]
#[error("not a usable trusted root")]
pub struct TrustedRootError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl TrustedRoot {
    /// Reads a Sigstore `trusted_root.json`.
    ///
    /// # Errors
    /// When it is not one, or a key, certificate or validity window in it is unusable.
    pub fn from_json(text: &str) -> Result<Self, TrustedRootError> {
        let root = sigstore_trust_root::TrustedRoot::from_json(text)
            .map_err(|error| TrustedRootError(Box::new(error)))?;
        Self::prepared(root, Digest::sha256(text.as_bytes()), false)
    }

    /// The same logs and timestamp authorities with other certificate authorities. Certificates by those it had are
    /// not believed; certificates by the new ones need no OIDC issuer.
    ///
    /// # Errors
    /// When a certificate is unusable as a trust anchor.
    pub fn with_certificate_authorities(
        &self,
        authorities: &CertificateAuthorities,
    ) -> Result<Self, TrustedRootError> {
        let mut root = self.source.clone();
        // One entry per way to a root, each trusted while all of its certificates are valid.
        let replaced = authorities.chains.iter().map(|chain| {
            let certificates = chain.iter().map(|it| json!({ "rawBytes": it.der }));
            let certificates: Vec<_> = certificates.collect();
            serde_json::from_value(json!({
                "uri": "",
                "certChain": { "certificates": certificates },
            }))
        });
        root.certificate_authorities = replaced
            .collect::<Result<_, _>>()
            .map_err(|error| TrustedRootError(Box::new(error)))?;
        Self::prepared(root, both(self.digest, authorities.digest), true)
    }

    /// The same with these logs and timestamp authorities in place of its own. Those it had are not believed.
    ///
    /// # Errors
    /// When a key or certificate is unusable.
    pub fn with_parts(&self, parts: &RootParts) -> Result<Self, TrustedRootError> {
        let mut root = self.source.clone();
        parts.replace_in(&mut root);
        let digest = both(self.digest, parts.digest);
        Self::prepared(root, digest, self.has_own_authorities)
    }

    /// A root of an authority's own parts only. Everything that the parts do not name is believed of nobody.
    ///
    /// # Errors
    /// When a key or certificate is unusable.
    pub fn of_parts(
        parts: Option<&RootParts>,
        authorities: Option<&CertificateAuthorities>,
    ) -> Result<Self, TrustedRootError> {
        let mut root = Self::from_json(NOBODY)?;
        if let Some(parts) = parts {
            root = root.with_parts(parts)?;
        }
        if let Some(authorities) = authorities {
            root = root.with_certificate_authorities(authorities)?;
        }
        Ok(root)
    }

    fn prepared(
        mut root: sigstore_trust_root::TrustedRoot,
        digest: Digest,
        has_own_authorities: bool,
    ) -> Result<Self, TrustedRootError> {
        let failed = |error: sigstore_verify::Error| TrustedRootError(Box::new(error));
        // Before the windows are narrowed: a window that ends before it starts is an error of the document.
        Verifier::new(&root).map_err(failed)?;
        let mut certificate_authorities = Vec::new();
        for authority in &mut root.certificate_authorities {
            let certificates = chain(&authority.cert_chain, issuing::check_authority)?;
            authority.valid_for = Some(narrowed(authority.valid_for, &certificates));
            certificate_authorities.push(Authority::new(certificates, authority.valid_for));
        }
        for authority in &mut root.timestamp_authorities {
            let certificates = chain(&authority.cert_chain, issuing::check_timestamp_authority)?;
            authority.valid_for = Some(narrowed(authority.valid_for, &certificates));
        }
        let authorities = authorities(&root);
        // A chain whose certificates are never valid together vouches for nothing.
        root.certificate_authorities
            .retain(|authority| is_ever_valid(authority.valid_for));
        root.timestamp_authorities
            .retain(|authority| is_ever_valid(authority.valid_for));
        Ok(Self {
            digest,
            verifier: Verifier::new(&root).map_err(failed)?,
            logs: root.rekor_keys().map_err(|error| failed(error.into()))?,
            timestamp_authorities: root.tsa_authorities(),
            certificate_authorities,
            authorities,
            source: root,
            has_own_authorities,
        })
    }

    /// The public-good root that this version was built with.
    ///
    /// # Errors
    /// Never in a released build; a test loads it.
    pub fn public_good() -> Result<Self, TrustedRootError> {
        Self::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT)
    }

    /// Whom the root believes, by role and operator, each with the window in which it does; those whose window is empty
    /// included.
    #[must_use]
    pub fn authorities(&self) -> &[TrustedAuthority] {
        &self.authorities
    }

    /// Whether it has certificate-transparency logs, without which no SCT can be verified.
    #[must_use]
    pub fn has_certificate_logs(&self) -> bool {
        !self.source.ctlogs.is_empty()
    }

    pub(super) fn has_own_authorities(&self) -> bool {
        self.has_own_authorities
    }

    /// Proves of a certificate to which a path was found that its authority stood above it when it was issued and at every
    /// time of signing.
    pub(super) fn check_authority<'t>(
        &self,
        certificate: &SigningCertificate,
        signed_at: impl IntoIterator<Item = &'t Timestamp>,
    ) -> Result<(), NoAuthority> {
        authority::check(certificate, &self.certificate_authorities, signed_at)
    }

    /// Whether a chain from `certificate` that is right at `judged` is surely right at `time`: the certificate and all
    /// that came along are valid then, and so is every authority that could have vouched at `judged`.
    pub(super) fn vouches_alike(
        &self,
        certificate: &SigningCertificate,
        judged: Timestamp,
        time: Timestamp,
    ) -> bool {
        let came_along = certificate
            .intermediates
            .iter()
            .map(|intermediate| (intermediate.not_before, intermediate.not_after));
        let mut windows = came_along.chain([(certificate.not_before, certificate.not_after)]);
        windows.all(|(start, end)| start <= time && time <= end)
            && self
                .certificate_authorities
                .iter()
                .all(|authority| !authority.is_valid_at(judged) || authority.is_valid_at(time))
    }
}

/// The digest of a root of which something was replaced.
fn both(root: Digest, replaced: Digest) -> Digest {
    let digests = [root, replaced].map(|digest| digest.to_string());
    Digest::sha256(digests.join("\n").as_bytes())
}

impl std::fmt::Debug for TrustedRoot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TrustedRoot")
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

fn authorities(root: &sigstore_trust_root::TrustedRoot) -> Vec<TrustedAuthority> {
    let authority = |role, operator: String, window: Option<TimeRange>| TrustedAuthority {
        role,
        operator,
        valid_from: window.map(|window| window.start),
        valid_until: window.and_then(|window| window.end),
    };
    let certificate_authorities = root.certificate_authorities.iter().map(|entry| {
        let operator = operator(&entry.uri, entry.subject.organization.as_deref());
        let role = TrustedRole::CertificateAuthority;
        authority(role, operator, entry.valid_for)
    });
    let logs = root.tlogs.iter().map(|entry| {
        let operator = operator(&entry.base_url, None);
        let role = TrustedRole::TransparencyLog;
        authority(role, operator, entry.public_key.valid_for)
    });
    let certificate_logs = root.ctlogs.iter().map(|entry| {
        let operator = operator(&entry.base_url, None);
        let role = TrustedRole::CertificateTransparencyLog;
        authority(role, operator, entry.public_key.valid_for)
    });
    let timestamp_authorities = root.timestamp_authorities.iter().map(|entry| {
        let uri = entry.uri.as_deref().unwrap_or_default();
        let operator = operator(uri, entry.subject.organization.as_deref());
        let role = TrustedRole::TimestampAuthority;
        authority(role, operator, entry.valid_for)
    });
    let mut all: Vec<_> = certificate_authorities
        .chain(logs)
        .chain(certificate_logs)
        .chain(timestamp_authorities)
        .collect();
    all.sort_by(|left, right| {
        (left.role, &left.operator, left.valid_from).cmp(&(
            right.role,
            &right.operator,
            right.valid_from,
        ))
    });
    all
}

fn operator(address: &str, organization: Option<&str>) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    match organization {
        Some(organization) if host.is_empty() => organization.to_owned(),
        Some(_) | None => host.to_owned(),
    }
}

/// The certificates of a chain that `check` proves usable.
fn chain(
    chain: &sigstore_trust_root::trusted_root::CertChain,
    check: fn(&[Intermediate]) -> Result<(), UnusableChain>,
) -> Result<Vec<Intermediate>, TrustedRootError> {
    let certificates = chain.certificates.iter();
    let certificates: Vec<_> = certificates
        .map(|entry| Intermediate::parse(&entry.raw_bytes))
        .collect::<Result<_, _>>()
        .map_err(|error| TrustedRootError(Box::new(error)))?;
    check(&certificates).map_err(|error| TrustedRootError(Box::new(error)))?;
    Ok(certificates)
}

/// The window in which the authority is trusted and every certificate of its chain is valid: path building takes the
/// certificates of a trusted root as they are, expired or not (CVE-2026-24122).
fn narrowed(window: Option<TimeRange>, certificates: &[Intermediate]) -> TimeRange {
    let start = certificates
        .iter()
        .map(|certificate| certificate.not_before)
        .chain(window.map(|window| window.start))
        .max()
        .unwrap_or(Timestamp::MIN);
    let end = certificates
        .iter()
        .map(|certificate| certificate.not_after)
        .chain(window.and_then(|window| window.end))
        .min();
    TimeRange::new(start, end)
}

fn is_ever_valid(window: Option<TimeRange>) -> bool {
    window.is_none_or(|window| window.end.is_none_or(|end| window.start <= end))
}
