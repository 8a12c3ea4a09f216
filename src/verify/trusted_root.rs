//! Trusted roots, prepared once.

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use serde::Serialize;
use serde_json::json;
use sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT;
use sigstore_types::TimeRange;

use super::authority::{self, Authority, NoAuthority};
use super::issuing::{self, UnusableChain};
use super::log_keys::{self, LogKey, LogKeys};
use super::timestamp_authority::{TimestampAuthority, UselessAuthority};
use super::{CertificateAuthorities, RootParts};
use crate::oci::Digest;
use crate::signature::{Intermediate, SigningCertificate};

/// Certificate authorities, transparency logs, certificate-transparency logs and timestamp authorities that are
/// believed, prepared once for many verifications.
pub struct TrustedRoot {
    /// SHA-256 of the JSON it was read from; where something of it was replaced, over that too.
    pub digest: Digest,
    pub(super) logs: LogKeys,
    pub(super) certificate_logs: LogKeys,
    pub(super) timestamp_authorities: Vec<TimestampAuthority>,
    certificate_authorities: Vec<Authority>,
    /// The certificates at which paths end, each with the window of its authority.
    anchors: Vec<(TrustAnchor<'static>, Option<TimeRange>)>,
    authorities: Vec<TrustedAuthority>,
    notes: Vec<String>,
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
        let mut notes = Vec::new();
        let logs = log_keys(root.tlogs.iter().map(Log::transparency), &mut notes)?;
        let certificate_logs = log_keys(root.ctlogs.iter().map(Log::certificates), &mut notes)?;
        let mut certificate_authorities = Vec::new();
        let mut anchors = Vec::new();
        for authority in &mut root.certificate_authorities {
            check_window(authority.valid_for)?;
            let certificates = chain(&authority.cert_chain, issuing::check_authority)?;
            authority.valid_for = Some(narrowed(authority.valid_for, &certificates));
            // A chain whose certificates are never valid together vouches for nothing.
            if is_ever_valid(authority.valid_for) {
                let ends = certificates.iter().map(anchor);
                let ends = ends.collect::<Result<Vec<_>, _>>()?.into_iter();
                anchors.extend(ends.map(|end| (end, authority.valid_for)));
            }
            certificate_authorities.push(Authority::new(certificates, authority.valid_for));
        }
        let mut timestamp_authorities = Vec::new();
        for authority in &mut root.timestamp_authorities {
            check_window(authority.valid_for)?;
            let certificates = chain(&authority.cert_chain, issuing::check_timestamp_authority)?;
            authority.valid_for = Some(narrowed(authority.valid_for, &certificates));
            let chain: Vec<_> = certificates.iter().map(der).collect();
            let uri = authority.uri.as_deref().unwrap_or_default();
            let name = operator(uri, authority.subject.organization.as_deref());
            match TimestampAuthority::new(&chain, authority.valid_for) {
                Ok(Some(prepared)) => {
                    let useless = prepared.useless();
                    if let Some(error) = &useless {
                        let authority = called("timestamp authority", &name);
                        notes.push(format!("the {authority} proves no time: {error}"));
                    }
                    match useless {
                        // A certificate that does not count refuses every token, and the refusal names the reason.
                        None | Some(UselessAuthority::Chain(_)) => {
                            timestamp_authorities.push(prepared);
                        }
                        Some(
                            UselessAuthority::NeverValid
                            | UselessAuthority::Issuer(_)
                            | UselessAuthority::RootKey(_),
                        ) => {}
                    }
                }
                Ok(None) => return Err(TrustedRootError(Box::new(Unusable::TimestampAuthority))),
                Err(error) => notes.push(skipped("timestamp authority", &name, &error)),
            }
        }
        notes.extend(unusable_authorities(&root, &certificate_authorities));
        let authorities = authorities(&root);
        // A chain whose certificates are never valid together vouches for nothing.
        root.certificate_authorities
            .retain(|authority| is_ever_valid(authority.valid_for));
        root.timestamp_authorities
            .retain(|authority| is_ever_valid(authority.valid_for));
        Ok(Self {
            digest,
            logs,
            certificate_logs,
            timestamp_authorities,
            certificate_authorities,
            anchors,
            authorities,
            notes,
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

    /// Returns the keys of a kind that is not supported and the timestamp authorities that can prove nothing, one sentence
    /// each. Nothing that is signed with one of them is believed; the rest of the root is.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The certificates at which a path may end at a time.
    pub(super) fn anchors_at(&self, time: Timestamp) -> Vec<TrustAnchor<'static>> {
        let at_time = self.anchors.iter().filter(|(_, window)| {
            let window = window.as_ref();
            window.is_none_or(|window| window.contains(time))
        });
        at_time.map(|(anchor, _)| anchor.clone()).collect()
    }

    /// Returns true if a certificate of an authority has the key of this one, valid now or not.
    pub(super) fn has_key_of(&self, certificate: &Intermediate) -> bool {
        self.certificate_authorities
            .iter()
            .any(|authority| authority.has_key_of(certificate))
    }

    /// The root as the verifier of the Sigstore project takes it, without what that does not support.
    pub(super) fn for_files(&self) -> Result<sigstore_verify::Verifier, sigstore_verify::Error> {
        let mut root = self.source.clone();
        root.tlogs.retain(|log| {
            sigstore_crypto::VerificationKey::from_spki(&log.public_key.raw_bytes).is_ok()
        });
        root.ctlogs.retain(|log| {
            let key = &log.public_key.raw_bytes;
            let rsa = sigstore_crypto::SigningScheme::RsaPkcs1Sha256;
            sigstore_crypto::VerificationKey::from_spki(key).is_ok()
                || sigstore_crypto::VerificationKey::from_der(key, rsa).is_ok()
        });
        sigstore_verify::Verifier::new(&root)
    }

    /// Returns true if it has certificate-transparency logs with keys that are supported. Without one no SCT can be
    /// verified.
    #[must_use]
    pub fn has_certificate_logs(&self) -> bool {
        !self.certificate_logs.is_empty()
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

/// A log as a trusted root names it.
struct Log<'a> {
    kind: &'static str,
    address: &'a str,
    id: &'a [u8],
    key: &'a sigstore_trust_root::trusted_root::PublicKey,
}

impl<'a> Log<'a> {
    fn transparency(log: &'a sigstore_trust_root::trusted_root::TransparencyLog) -> Self {
        Self {
            kind: "transparency log",
            address: &log.base_url,
            id: log.log_id.key_id.as_bytes(),
            key: &log.public_key,
        }
    }

    fn certificates(
        log: &'a sigstore_trust_root::trusted_root::CertificateTransparencyLog,
    ) -> Self {
        Self {
            kind: "certificate-transparency log",
            address: &log.base_url,
            id: log.log_id.key_id.as_bytes(),
            key: &log.public_key,
        }
    }
}

/// The end of paths that a certificate of an authority makes.
fn anchor(certificate: &Intermediate) -> Result<TrustAnchor<'static>, TrustedRootError> {
    let der = CertificateDer::from(certificate.der.as_bytes());
    let anchor = webpki::anchor_from_trusted_cert(&der);
    let anchor = anchor.map_err(|error| TrustedRootError(Box::new(error)))?;
    Ok(anchor.to_owned())
}

/// The document contradicts itself or lacks something.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the id of the {0} {1} is not 32 bytes long")]
    LogId(&'static str, String),
    #[error("two keys have the id of the {0} {1}")]
    LogTwice(&'static str, String),
    #[error("the key of the {0} {1} is broken")]
    LogKey(&'static str, String),
    #[error("a window of validity ends before it starts")]
    Window,
    #[error("an authority has an empty chain of certificates")]
    EmptyChain,
    #[error("a certificate of a timestamp authority is broken")]
    TimestampAuthority,
}

/// Prepares the keys of logs. One of a kind that is not supported is noted and left out, as are those that a later
/// version of the protocol names.
fn log_keys<'a>(
    logs: impl Iterator<Item = Log<'a>>,
    notes: &mut Vec<String>,
) -> Result<LogKeys, TrustedRootError> {
    let unusable = |error: Unusable| TrustedRootError(Box::new(error));
    let mut keys = LogKeys::default();
    let mut known = std::collections::HashSet::new();
    for Log {
        kind,
        address,
        id,
        key,
    } in logs
    {
        check_window(key.valid_for)?;
        let name = || operator(address, None);
        let id = log_keys::LogId::try_from(id)
            .map_err(|_length| unusable(Unusable::LogId(kind, name())))?;
        if !known.insert(id) {
            return Err(unusable(Unusable::LogTwice(kind, name())));
        }
        let der = key.raw_bytes.as_bytes();
        match LogKey::read(der, key.key_details.as_str(), key.valid_for) {
            Ok(read) => {
                keys.add(id, read);
            }
            Err(error) if log_keys::is_key(der) => notes.push(skipped(kind, &name(), &error)),
            Err(_broken) => return Err(unusable(Unusable::LogKey(kind, name()))),
        }
    }
    Ok(keys)
}

fn check_window(window: Option<TimeRange>) -> Result<(), TrustedRootError> {
    if window.is_some_and(|window| window.end.is_some_and(|end| end < window.start)) {
        return Err(TrustedRootError(Box::new(Unusable::Window)));
    }
    Ok(())
}

fn skipped(kind: &str, name: &str, error: &dyn std::error::Error) -> String {
    let log = called(kind, name);
    format!("the key of the {log} is left out, nothing that it signs is believed: {error}")
}

/// Returns the kind with the name, which may be empty.
fn called(kind: &str, name: &str) -> String {
    if name.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind} {name}")
    }
}

/// Notes the certificate authorities of which no certificate has a key that is supported.
fn unusable_authorities(
    root: &sigstore_trust_root::TrustedRoot,
    prepared: &[Authority],
) -> Vec<String> {
    let authorities = root.certificate_authorities.iter().zip(prepared);
    let notes = authorities.filter_map(|(entry, authority)| {
        let error = authority.unsupported_key()?;
        let name = operator(&entry.uri, entry.subject.organization.as_deref());
        Some(skipped("certificate authority", &name, &error))
    });
    notes.collect()
}

fn der(certificate: &Intermediate) -> CertificateDer<'static> {
    CertificateDer::from(certificate.der.as_bytes().to_vec())
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
    if chain.certificates.is_empty() {
        return Err(TrustedRootError(Box::new(Unusable::EmptyChain)));
    }
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
pub(super) fn narrowed(window: Option<TimeRange>, certificates: &[Intermediate]) -> TimeRange {
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
