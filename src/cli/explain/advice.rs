//! What would change an outcome.

use super::super::judgement::Answer;
use super::super::verify::signer;
use crate::admission::{EXCEPTED, Kind};
use crate::config::Config;
use crate::decision_log::{AttemptOutcome, Basis, Record};
use crate::oci::RepositoryName;
use crate::policy::{Coverage, SignedName};

/// Ways to another outcome, most likely first.
pub(super) fn advice(
    answer: &Answer,
    repository: &RepositoryName,
    config: &Config,
    record: Option<&Record>,
) -> Vec<String> {
    match answer {
        Answer::Admit { .. } => for_admitted(record),
        Answer::Deny {
            kind: Kind::WrongName,
            policy,
            ..
        } => wrong_name(policy.as_deref(), repository, config),
        Answer::Deny { kind, .. } => for_denied(*kind, repository, config, record),
        Answer::Undecided { kind, .. } => match *kind {
            "not_found" => vec!["check the spelling of the name and the tag; the upstream was asked and says that there is no such thing".to_owned()],
            "bad_upstream" => vec!["what the upstream sends is not what it says it sends: look at the upstream, or at what stands between".to_owned()],
            _ => vec!["ask again when what is named above is available; the proxy answers 503 with Retry-After until then and does not remember it".to_owned()],
        },
    }
}

fn for_admitted(record: Option<&Record>) -> Vec<String> {
    let Some(record) = record else {
        return Vec::new();
    };
    let mut advice = vec![match record.basis {
        Some(Basis::Audit) => for_audited(record).to_owned(),
        Some(Basis::SignatureArtifact) => {
            "nothing: signature material is served so that others can verify".to_owned()
        }
        Some(Basis::Signature | Basis::Endorsement) | None => {
            "it would be refused if its signer, key or digest were listed under `revoked`, or if another enforcing \
             policy covered the name and were not satisfied"
                .to_owned()
        }
    }];
    let policies: Vec<_> = record.policies.iter().map(|it| it.name.as_str()).collect();
    if !policies.is_empty() {
        advice.push(format!(
            "it depends on {} ({}); a change there decides again at the next pull",
            if policies.len() == 1 {
                "the policy"
            } else {
                "the policies"
            },
            policies.join(", ")
        ));
    }
    advice
}

/// What serves it although it is refused.
fn for_audited(record: &Record) -> &'static str {
    let denial = record.denial.as_ref();
    if denial.is_some_and(|denial| denial.message.starts_with(EXCEPTED)) {
        return "take the exception away, or wait until its time is over, and this is refused";
    }
    if record.policies.is_empty() {
        return "no policy covers it and `default: audit` serves it all the same: write `default: deny` and this is refused";
    }
    "set `mode: enforce` on the policy and this is refused"
}

fn for_denied(
    kind: Kind,
    repository: &RepositoryName,
    config: &Config,
    record: Option<&Record>,
) -> Vec<String> {
    let host = repository.host();
    match kind {
        Kind::Unsigned => unsigned(repository),
        Kind::UntrustedKey => vec![
            "sign it with a key that the policy names, or add the key that did sign to the policy's `authorities`".to_owned(),
        ],
        Kind::WrongIdentity | Kind::WrongIssuer => wrong_signer(record),
        Kind::InvalidSignature => vec!["the signature does not verify: sign the digest anew, and find out who changed what was there".to_owned()],
        Kind::WrongSubject => vec!["the signature belongs to another digest: sign this one; a signature does not follow a tag".to_owned()],
        Kind::InvalidCertificate => vec!["name under `trusted_root` the Sigstore instance that certified the signer, if it is one that you trust".to_owned()],
        Kind::TransparencyLog => vec![
            "sign it with an entry in a transparency log that the trusted root knows (cosign's default)".to_owned(),
            "for keys only: `transparency_log: not_required` on the authority does without".to_owned(),
        ],
        Kind::Timestamp => vec!["sign it with a timestamp or a log entry by an instance that the trusted root knows (`cosign sign --timestamp-server-url …`)".to_owned()],
        Kind::AnnotationMismatch => vec!["sign it with the annotations that the policy demands (`cosign sign -a key=value`)".to_owned()],
        Kind::ThresholdNotMet => vec!["let more of the policy's authorities sign; each key and each identity counts once".to_owned()],
        Kind::AttestationMissing => vec![format!("attach the attestation that the policy demands: cosign attest --type … --predicate … {repository}@<digest>")],
        Kind::AttestationRejected => vec!["the attestation is genuine and says something that the policy's condition does not accept: build it anew, or change the condition".to_owned()],
        Kind::NoPolicy => no_policy(repository, config),
        Kind::NotEndorsed => vec!["pull the manifest that refers to it first; it must be admitted".to_owned()],
        Kind::Malformed => vec!["what the registry holds does not parse or does not have its size: push it anew".to_owned()],
        Kind::LimitExceeded => vec!["remove superfluous signatures from the repository, or raise the limit under `limits` (config/reference.yaml)".to_owned()],
        Kind::Revoked => vec!["it stands under `revoked`, which nothing overrides".to_owned()],
        Kind::SignatureTooOld => vec!["sign it anew, or raise the policy's `max_signature_age`".to_owned()],
        Kind::WrongName => wrong_name(None, repository, config),
        Kind::ClientDenied => vec!["`clients` says who may pull what".to_owned()],
        Kind::UpstreamNotAllowed => vec![format!("add `{host}: {{}}` under `upstreams`")],
        Kind::UpstreamDenied => vec![format!("give the proxy credentials for {host} (`upstreams`), or check those that it has")],
    }
}

fn unsigned(repository: &RepositoryName) -> Vec<String> {
    vec![
        format!("sign it: cosign sign {repository}@<digest>"),
        "if it is part of a signed multi-platform image, pull that image by its tag first: its index vouches for its \
         parts"
            .to_owned(),
        "if its signatures are in another repository, name it under `signature_repository`".to_owned(),
    ]
}

/// What the signatures that failed say about who made them: nobody has proven it.
fn wrong_signer(record: Option<&Record>) -> Vec<String> {
    let failed = record
        .iter()
        .flat_map(|record| &record.attempts)
        .filter(|attempt| {
            attempt.outcome == AttemptOutcome::Failed && attempt.certificate.is_some()
        });
    let mut signers: Vec<_> = failed.filter_map(signer).collect();
    signers.sort_unstable();
    signers.dedup();
    if signers.is_empty() {
        return vec!["sign it as an identity that the policy names".to_owned()];
    }
    let found = signers.join(", or ");
    vec![format!(
        "if you trust {found}, add it to the policy's `authorities`; otherwise sign it as an identity named there"
    )]
}

/// How the name in the signature becomes the one that `policy` demands, or the other way round.
fn wrong_name(policy: Option<&str>, repository: &RepositoryName, config: &Config) -> Vec<String> {
    let mut policies = config.policies.policies.iter();
    let Some(policy) = policies.find(|it| policy == Some(&it.name)) else {
        return vec![format!("sign it under the name {repository}")];
    };
    let sign =
        |name: &str| format!("sign it as {name} (cosign sign --sign-container-identity {name} …)");
    let of_tags = "write `\"signedIdentity\": {\"type\": \"matchRepository\"}` if it may go by any tag of its repository: \
                   where `signedIdentity` is left out, the tag is compared with the one that was signed";
    match (&policy.signed_name, &policy.coverage) {
        (SignedName::Any | SignedName::Repository, Coverage::Names { .. }) => vec![
            "sign it under this name, or leave `signed_name` out of the policy".to_owned(),
        ],
        (SignedName::Any | SignedName::Repository, Coverage::Imported(_)) => vec![
            sign(repository.as_str()),
            "if it is signed under another name, say which in `signedIdentity` (`exactRepository`, or `remapIdentity` for \
             a mirror)"
                .to_owned(),
        ],
        (SignedName::RepositoryAndTag, _) => vec![
            sign(&format!("{repository}:<tag>")),
            "pull it by its digest, if a signature names any tag at all".to_owned(),
            of_tags.to_owned(),
        ],
        (named @ SignedName::Renamed(_), _) => {
            let name = named.repository(repository);
            let name = name.as_deref().unwrap_or(repository.as_str());
            vec![
                sign(&format!("{name}:<tag>")),
                "check `prefix` and `signedPrefix` of its `signedIdentity`".to_owned(),
            ]
        }
        (SignedName::OtherRepository(other), _) => vec![
            sign(other.as_str()),
            "check `dockerRepository` of its `signedIdentity`".to_owned(),
        ],
        (SignedName::OtherReference(named), _) => vec![
            sign(&named.to_string()),
            "check `dockerReference` of its `signedIdentity`".to_owned(),
        ],
    }
}

fn no_policy(repository: &RepositoryName, config: &Config) -> Vec<String> {
    let same_host = config.policies.policies.iter().filter(|policy| {
        let Coverage::Names { images, .. } = &policy.coverage else {
            return false;
        };
        let mut patterns = images.iter();
        patterns.any(|pattern| pattern.literal_host() == Some(repository.host()))
    });
    let names: Vec<_> = same_host.map(|policy| policy.name.as_str()).collect();
    let mut advice = vec![format!(
        "write a policy whose `images` cover {repository}, with the keys or identities that sign it"
    )];
    if !names.is_empty() {
        advice.push(format!(
            "policies for other repositories at {}: {}",
            repository.host(),
            names.join(", ")
        ));
    }
    advice
}
