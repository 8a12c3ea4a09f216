//! The state of each image today: its digest, and the signatures that verify.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use jiff::Timestamp;

use super::identity::AcceptedIdentity;
use super::progress::Progress;
use crate::app::{Recording, RecordingError, Snapshot};
use crate::cli::chain;
use crate::cli::image::ImageReference;
use crate::cli::replay::{self, Replay};
use crate::clock;
use crate::config::{Config, PUBLIC_GOOD};
use crate::decision_log::Subject;
use crate::limits::Limits;
use crate::oci::{Reference, Tag};
use crate::policy::Root;
use crate::signature::Candidate;
use crate::verify::{
    self, Attempt, Demand, FailedCheck, Failure, Proof, ProvenSigner, PublicKey, Purpose, Signer,
    TransparencyLog, TrustedRoot,
};

/// Images that are asked about at the same time.
const CONCURRENT_IMAGES: usize = 8;
/// The manifests of an unsigned index that are looked at.
const CHILDREN_MAX: usize = 16;
/// The time that fetching a trusted root may take.
const ROOT_TIME_MAX: Duration = Duration::from_secs(10);

/// An image and its signatures.
#[derive(Debug, Clone)]
pub(super) struct Survey {
    pub(super) image: ImageReference,
    pub(super) subject: Subject,
    /// Signatures that verify, each signer once.
    pub(super) signatures: Vec<Evidence>,
    /// Attestations that verify.
    pub(super) attestations: Vec<Evidence>,
    /// Signatures that do not.
    pub(super) unverified: Vec<Unverified>,
    /// The number of manifests that an unsigned index lists, and the number of these that are signed.
    pub(super) children: Option<(usize, usize)>,
}

/// An image that could not be asked about, and the reason.
#[derive(Debug, Clone)]
pub(super) struct Unknown {
    pub(super) image: String,
    pub(super) reason: String,
}

/// A signature or attestation that verifies.
#[derive(Debug, Clone)]
pub(super) struct Evidence {
    pub(super) signer: AcceptedSigner,
    /// The signer in one line.
    pub(super) by: String,
    pub(super) log: Option<TransparencyLog>,
    pub(super) time: Option<Timestamp>,
    pub(super) predicate_type: Option<String>,
}

/// A signer as an authority of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AcceptedSigner {
    pub(super) who: Who,
    pub(super) trusted_root: String,
    pub(super) terms: Terms,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Identity(AcceptedIdentity),
    /// The path of a public key.
    Key(String),
}

/// The requirements that a signature meets, besides its signer. Stricter ones come first in their order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms {
    pub(super) without_log: bool,
    pub(super) without_sct: bool,
    pub(super) timestamp: bool,
}

/// A signature that does not verify.
#[derive(Debug, Clone)]
pub(super) struct Unverified {
    /// True if it was made with an unknown key.
    pub(super) is_keyed: bool,
    pub(super) reason: String,
    /// The identity that its certificate claims.
    pub(super) claimed: Option<String>,
}

/// A public key, and how the configuration names it.
#[derive(Debug)]
pub(super) struct NamedKey {
    pub(super) path: String,
    pub(super) key: PublicKey,
}

/// The images that were asked about, and the directory with what is stored of them.
#[derive(Debug)]
pub(super) struct Recorded {
    images: Vec<(ImageReference, Subject, Vec<Subject>)>,
    pub(super) unknown: Vec<Unknown>,
}

/// Asks the registries once about every image, and keeps their answers in `directory`.
pub(super) async fn record(
    config: &Config,
    images: &[ImageReference],
    directory: &Path,
) -> Result<Recorded, RecordingError> {
    let recording = Recording::open(config, directory).await?;
    let progress = Progress::of(images.len());
    let asking = images.iter().map(|image| {
        let (recording, progress) = (&recording, &progress);
        async move {
            let recorded = record_image(recording, image).await;
            progress.step(image);
            (image.clone(), recorded)
        }
    });
    let asked: Vec<_> = stream::iter(asking)
        .buffered(CONCURRENT_IMAGES)
        .collect()
        .await;
    progress.end();
    recording.close().await?;
    let mut recorded = Recorded {
        images: Vec::new(),
        unknown: Vec::new(),
    };
    for (image, outcome) in asked {
        match outcome {
            Ok((subject, children)) => recorded.images.push((image, subject, children)),
            Err(error) => recorded.unknown.push(Unknown {
                image: image.to_string(),
                reason: chain(&error),
            }),
        }
    }
    Ok(recorded)
}

/// Records an image, and the manifests that it lists if it is an index without a signature.
async fn record_image(
    recording: &Recording,
    image: &ImageReference,
) -> Result<(Subject, Vec<Subject>), RecordingError> {
    let now = clock::now();
    let document = recording
        .record(&image.repository, &image.reference, now)
        .await?;
    let subject = document.subject.clone();
    let listed = document.manifest.children().iter();
    let mut children = Vec::new();
    if !recording.has_signatures(&subject).await? {
        for child in listed.take(CHILDREN_MAX) {
            let reference = Reference::Digest(child.digest);
            // It only adds to what is told about the image.
            if let Ok(child) = recording.record(&image.repository, &reference, now).await {
                children.push(child.subject.clone());
            }
        }
    }
    Ok((subject, children))
}

/// The signers of everything that was recorded, by the trusted roots of the configuration and these keys.
pub(super) async fn survey(
    recorded: &Recorded,
    replay: &Replay,
    keys: &[NamedKey],
) -> Result<Vec<Survey>, replay::Error> {
    let roots = roots(replay).await;
    let verifier = Verifier {
        roots: &roots,
        keys,
        limits: &replay.config.limits,
        now: clock::now(),
    };
    let mut surveys = Vec::new();
    for (image, subject, children) in &recorded.images {
        let mut survey = Survey {
            image: image.clone(),
            subject: subject.clone(),
            signatures: Vec::new(),
            attestations: Vec::new(),
            unverified: Vec::new(),
            children: None,
        };
        for candidate in replay.candidates(subject).await? {
            survey.take(&verifier, &candidate);
        }
        if !children.is_empty() {
            let mut signed = 0;
            for child in children {
                let candidates = replay.candidates(child).await?;
                let proves = |candidate: &Candidate| {
                    let purpose = Purpose::Signature;
                    verifier.prove(candidate, child, purpose).is_ok()
                };
                signed += usize::from(candidates.iter().any(proves));
            }
            survey.children = Some((children.len(), signed));
        }
        surveys.push(survey);
    }
    Ok(surveys)
}

/// The usable trusted roots by name, the public-good one first.
async fn roots(replay: &Replay) -> Vec<(String, Arc<TrustedRoot>)> {
    let mut names: Vec<_> = replay.config.root_sources.keys().cloned().collect();
    names.sort_by_key(|name| name != PUBLIC_GOOD);
    let now = clock::now();
    let mut roots = Vec::new();
    for name in names {
        let refreshing = replay.refreshed_root(&name, now);
        let root = tokio::time::timeout(ROOT_TIME_MAX, refreshing).await;
        if let Ok(Some(Root::Usable { root, .. })) = root {
            roots.push((name, root));
        }
    }
    roots
}

/// Finds the signer of a candidate.
struct Verifier<'a> {
    roots: &'a [(String, Arc<TrustedRoot>)],
    keys: &'a [NamedKey],
    limits: &'a Limits,
    now: Timestamp,
}

/// A proof, its signer, the trusted root and the terms.
type Proven = (Box<Proof>, Who, String, Terms);

impl Verifier<'_> {
    /// The first proof, under the strictest terms that there is one for; or the failure that got furthest, if the
    /// candidate is one for this purpose at all.
    fn prove(
        &self,
        candidate: &Candidate,
        subject: &Subject,
        purpose: Purpose<'_>,
    ) -> Result<Proven, Option<Box<Failure>>> {
        let mut furthest: Option<Box<Failure>> = None;
        let signers = std::iter::once(None).chain(self.keys.iter().map(Some));
        for key in signers {
            let ladder = if key.is_some() {
                Terms::OF_KEYS
            } else {
                Terms::OF_IDENTITIES
            };
            for terms in ladder {
                for (name, root) in self.roots {
                    // Where certificates are logged, one that is not is no everyday signature.
                    if terms.without_sct && root.has_certificate_logs() {
                        continue;
                    }
                    let demand = Demand {
                        signer: key.map_or(Signer::Certificate, |named| Signer::Key(&named.key)),
                        purpose,
                        trusted_root: root,
                        transparency_log: !terms.without_log,
                        signed_timestamp: terms.timestamp,
                        sct: key.is_none() && !terms.without_sct,
                        signed_name: None,
                    };
                    let digest = &subject.digest;
                    match verify::verify(candidate, digest, &demand, self.limits, self.now) {
                        Attempt::NotApplicable => return Err(None),
                        Attempt::Proven(proof) => {
                            let who = who(&proof, key);
                            return Ok((proof, who, name.clone(), *terms));
                        }
                        Attempt::Failed(failure) => {
                            let reached = furthest.as_ref().map(|furthest| furthest.check);
                            if reached.is_none_or(|check| failure.check > check) {
                                furthest = Some(failure);
                            }
                        }
                    }
                }
            }
        }
        Err(furthest)
    }
}

fn who(proof: &Proof, key: Option<&NamedKey>) -> Who {
    match (&proof.signer, key) {
        (ProvenSigner::Certificate(certificate), _) => {
            Who::Identity(AcceptedIdentity::of(certificate))
        }
        (ProvenSigner::Key(fingerprint), None) => Who::Key(fingerprint.to_string()),
        (ProvenSigner::Key(_), Some(named)) => Who::Key(named.path.clone()),
    }
}

impl Terms {
    const fn new(without_log: bool, timestamp: bool, without_sct: bool) -> Self {
        Self {
            without_log,
            without_sct,
            timestamp,
        }
    }

    /// An identity always needs a time, by the log or by a timestamp.
    const OF_IDENTITIES: &[Self] = &[
        Self::new(false, false, false),
        Self::new(false, false, true),
        Self::new(true, true, false),
        Self::new(true, true, true),
    ];
    const OF_KEYS: &[Self] = &[
        Self::new(false, false, false),
        Self::new(true, true, false),
        Self::new(true, false, false),
    ];
}

impl Survey {
    pub(super) fn tag(&self) -> Option<&Tag> {
        self.image.reference.tag()
    }

    fn take(&mut self, verifier: &Verifier<'_>, candidate: &Candidate) {
        let predicate_type = verify::claimed_predicate_type(candidate);
        let purpose = match &predicate_type {
            None => Purpose::Signature,
            Some(predicate_type) => Purpose::Attestation { predicate_type },
        };
        let evidence = match verifier.prove(candidate, &self.subject, purpose) {
            Ok(proven) => Evidence::new(proven, predicate_type),
            Err(None) => return,
            // An attestation that does not verify changes nothing about the image.
            Err(Some(_)) if predicate_type.is_some() => return,
            Err(Some(failure)) => {
                self.unverified.push(Unverified::new(&failure));
                return;
            }
        };
        let known = match &evidence.predicate_type {
            None => &mut self.signatures,
            Some(_) => &mut self.attestations,
        };
        let is_known = |other: &Evidence| {
            (&other.signer, &other.predicate_type) == (&evidence.signer, &evidence.predicate_type)
        };
        if !known.iter().any(is_known) {
            known.push(evidence);
        }
    }
}

impl Evidence {
    fn new((proof, who, trusted_root, terms): Proven, predicate_type: Option<String>) -> Self {
        let by = match (&proof.signer, &who) {
            (ProvenSigner::Certificate(certificate), _) if certificate.oidc_issuer.is_empty() => {
                certificate.identity.clone()
            }
            (ProvenSigner::Certificate(certificate), _) => {
                let (identity, issuer) = (&certificate.identity, &certificate.oidc_issuer);
                format!("{identity} (issuer {issuer})")
            }
            (ProvenSigner::Key(fingerprint), Who::Key(path)) => {
                format!("key {path} ({fingerprint})")
            }
            (ProvenSigner::Key(fingerprint), Who::Identity(_)) => format!("key {fingerprint}"),
        };
        // Without a log entry no root was needed for a key.
        let needs_root = matches!(who, Who::Identity(_)) || !terms.without_log || terms.timestamp;
        let trusted_root = match needs_root {
            true => trusted_root,
            false => PUBLIC_GOOD.to_owned(),
        };
        Self {
            signer: AcceptedSigner {
                who,
                trusted_root,
                terms,
            },
            by,
            log: proof.transparency_log,
            time: proof.verified_time,
            predicate_type,
        }
    }
}

impl Unverified {
    fn new(failure: &Failure) -> Self {
        let certificate = failure.certificate.as_ref();
        Self {
            is_keyed: certificate.is_none()
                && matches!(
                    failure.check,
                    FailedCheck::UntrustedKey | FailedCheck::InvalidSignature
                ),
            reason: failure.reason.clone(),
            claimed: certificate.map(|certificate| certificate.identity.clone()),
        }
    }
}

/// The recorded images as a replay decides about them.
pub(super) async fn replay(config: Config, directory: &Path) -> Result<Replay, replay::Error> {
    let snapshot = Snapshot::open(directory).await?;
    Replay::open(config, &snapshot).await
}
