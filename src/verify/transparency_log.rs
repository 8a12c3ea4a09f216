//! Log entries: is the entry in a trusted log, and is it for this signature?
//!
//! Whatever an entry says is compared with what was verified; nothing is taken from it. No log is asked online.

use jiff::Timestamp;
use sigstore_types::KeyHint;
use sigstore_types::bundle::InclusionProof;

use super::log_keys::{LogId, LogKey};
use super::{Demand, FailedCheck, Signer, TransparencyLog, TrustedRoot};
use crate::signature::{
    Claim, EntryKind, LogEntry, LogEvidence, LoggedVerifier, Signed, SignedPart,
};
use crate::verify::attempt::Refusal;

/// What the log proves about a signature.
#[derive(Debug, Default)]
pub(super) struct Logged {
    /// The first entry.
    pub(super) entry: Option<TransparencyLog>,
    /// Times under a log's signature.
    pub(super) times: Vec<Timestamp>,
    /// Logs of entries that carry no time of their own (Rekor v2).
    untimed: Vec<LogId>,
}

/// Checks every entry that came along; any wrong one refuses the signature, demanded or not.
///
/// `public_key` is the DER key that verified the signature. Where no entry is demanded of a key, one of a log that the
/// trusted root does not have is neither right nor wrong: it must be for this signature, and proves nothing.
pub(super) fn check(
    signed: &Signed,
    public_key: &[u8],
    demand: &Demand<'_>,
    now: Timestamp,
) -> Result<Logged, Refusal> {
    let refusal = |reason| Refusal {
        check: FailedCheck::TransparencyLog,
        reason,
    };
    let root = demand.trusted_root;
    let only_known_logs = demand.transparency_log || matches!(demand.signer, Signer::Certificate);
    let mut logged = Logged::default();
    for entry in &signed.log_entries {
        check_binding(entry, signed, public_key, demand.signer).map_err(refusal)?;
        if !only_known_logs && !is_known(entry, root) {
            continue;
        }
        let time = check_entry(entry, signed, root, now).map_err(refusal)?;
        logged.times.extend(time);
        if time.is_none() {
            logged
                .untimed
                .extend(LogId::try_from(entry.log_id.as_bytes()));
        }
        if logged.entry.is_none() {
            logged.entry = Some(TransparencyLog {
                integrated_time: time,
                ..claimed(entry)
            });
        }
    }
    Ok(logged)
}

/// Checks that the keys of logs that give no time were valid when the signature was made, by its signed timestamps
/// (CVE-2026-54787). Where there is none, a key counts from its start on.
pub(super) fn check_validity(
    logged: &Logged,
    timestamps: &[Timestamp],
    root: &TrustedRoot,
) -> Result<(), Refusal> {
    for log_id in &logged.untimed {
        let outside = timestamps
            .iter()
            .find(|time| root.logs.at(log_id, **time).is_none());
        if let Some(time) = outside {
            return Err(Refusal {
                check: FailedCheck::TransparencyLog,
                reason: format!(
                    "the signature was made {time}, when the key of the log {} was not valid",
                    hex::encode(log_id)
                ),
            });
        }
    }
    Ok(())
}

/// What an entry claims.
pub(super) fn claimed(entry: &LogEntry) -> TransparencyLog {
    TransparencyLog {
        log_id: hex::encode(entry.log_id.as_bytes()),
        log_index: entry.log_index.get(),
        integrated_time: entry.integrated_time,
    }
}

fn is_known(entry: &LogEntry, root: &TrustedRoot) -> bool {
    LogId::try_from(entry.log_id.as_bytes()).is_ok_and(|id| root.logs.get(&id).is_some())
}

/// The verified time of the entry, if it has one.
fn check_entry(
    entry: &LogEntry,
    signed: &Signed,
    root: &TrustedRoot,
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    let log_id = LogId::try_from(entry.log_id.as_bytes())
        .map_err(|_length| "the id of the transparency log is not 32 bytes long".to_owned())?;
    let log = root.logs.started_by(&log_id, now).ok_or_else(|| {
        format!(
            "the log entry is of the log {}, which the trusted root does not have",
            hex::encode(log_id)
        )
    })?;
    let evidence = match signed.log_evidence {
        LogEvidence::Promise => entry.promise.is_some(),
        LogEvidence::Proof => entry.proof.is_some(),
    };
    if !evidence {
        return Err(match signed.log_evidence {
            LogEvidence::Promise => "the log entry has no signed entry timestamp",
            LogEvidence::Proof => "the log entry has no inclusion proof",
        }
        .to_owned());
    }
    if let Some(proof) = &entry.proof {
        check_inclusion(entry, proof, log, &log_id)?;
    }
    if entry.promise.is_none() {
        return Ok(None);
    }
    check_promise(entry, &log_id, root, now)
}

/// CVE-2022-23649, CVE-2022-36056, CVE-2026-22703: a valid entry of another signature proves nothing about this one.
fn check_binding(
    entry: &LogEntry,
    signed: &Signed,
    public_key: &[u8],
    signer: Signer<'_>,
) -> Result<(), String> {
    let logged = entry.logged.as_ref().map_err(Clone::clone)?;
    let bytes = match (&signed.claim, logged.part) {
        (Claim::SimpleSigning(_) | Claim::Statement(_), SignedPart::Message) => &signed.message,
        (Claim::Statement(_), SignedPart::DssePayload) => &signed.payload,
        (Claim::SimpleSigning(_), SignedPart::DssePayload) => {
            return Err("the log entry is for an attestation, not for this signature".to_owned());
        }
    };
    if logged.signature != signed.signature {
        return Err("the log entry is for another signature".to_owned());
    }
    if !logged.hash_matches(bytes) {
        return Err("the log entry is for another signed content".to_owned());
    }
    let same_verifier = match (&logged.verifier, signer) {
        (LoggedVerifier::Certificate(logged), _) => signed
            .certificate
            .as_ref()
            .is_some_and(|certificate| certificate.der.as_bytes() == logged.as_slice()),
        (LoggedVerifier::PublicKey(logged), Signer::Key(_)) => logged.as_slice() == public_key,
        // The same key could stand in two certificates.
        (LoggedVerifier::PublicKey(_), Signer::Certificate) => false,
    };
    if !same_verifier {
        return Err("the log entry is for a signature by another key or certificate".to_owned());
    }
    Ok(())
}

/// The Merkle path to the root of a checkpoint that this log signed (RFC 6962, C2SP tlog-checkpoint).
fn check_inclusion(
    entry: &LogEntry,
    proof: &InclusionProof,
    log: &LogKey,
    log_id: &LogId,
) -> Result<(), String> {
    let checkpoint = proof
        .checkpoint
        .checkpoint()
        .ok_or("the inclusion proof of the log entry has no checkpoint")?;
    if *checkpoint.root_hash() != proof.root_hash || checkpoint.tree_size() != proof.tree_size {
        return Err("the inclusion proof of the log entry is for another checkpoint".to_owned());
    }
    // Rekor v1 counts within a shard in its proofs and over all shards in its entries; Rekor v2 has one index.
    let is_rekor_v2 = matches!(entry.kind, EntryKind::HashedRekordV2 | EntryKind::DsseV2);
    if is_rekor_v2 && entry.log_index != proof.log_index {
        return Err("the inclusion proof of the log entry is for another index".to_owned());
    }
    sigstore_merkle::verify_inclusion_proof(
        &sigstore_merkle::hash_leaf(entry.body.as_bytes()),
        proof.log_index.get(),
        proof.tree_size,
        &proof.hashes,
        &proof.root_hash,
    )
    .map_err(|error| format!("the inclusion proof of the log entry is wrong: {error}"))?;
    let [first, second, third, fourth, ..] = *log_id;
    let hint = KeyHint::new([first, second, third, fourth]);
    // Witnesses sign the same checkpoint, and four bytes may collide, so each matching signature is tried.
    let signed = checkpoint.signatures_by_key_hint(&hint).any(|signature| {
        let (message, signature) = (checkpoint.signed_data(), signature.signature.as_bytes());
        if is_rekor_v2 {
            log.verifies(message, signature)
        } else {
            log.verifies_rekor_v1(message, signature)
        }
    });
    if !signed {
        return Err("the checkpoint of the log entry is not signed by the log".to_owned());
    }
    Ok(())
}

/// The log's signature over the entry, its index and its time (Rekor's signed entry timestamp).
fn check_promise(
    entry: &LogEntry,
    log_id: &LogId,
    root: &TrustedRoot,
    now: Timestamp,
) -> Result<Option<Timestamp>, String> {
    let (Some(promise), Some(time)) = (&entry.promise, entry.integrated_time) else {
        return Err("the signed entry timestamp of the log entry has no time".to_owned());
    };
    if time > now {
        return Err(format!(
            "the log entry was made {time}, which is in the future"
        ));
    }
    let log = root.logs.at(log_id, time).ok_or_else(|| {
        format!("the log entry was made {time}, when the key of the log was not valid")
    })?;
    // Canonical JSON (RFC 8785) of four members whose values need no escaping.
    let canonical = format!(
        r#"{{"body":"{}","integratedTime":{},"logID":"{}","logIndex":{}}}"#,
        entry.body.to_base64(),
        time.as_second(),
        hex::encode(log_id),
        entry.log_index.get()
    );
    let signature = promise.signed_entry_timestamp.as_bytes();
    if !log.verifies_rekor_v1(canonical.as_bytes(), signature) {
        return Err("the signed entry timestamp of the log entry is not by the log".to_owned());
    }
    Ok(entry.kind.has_time().then_some(time))
}
