//! Where time ends, and whose times count: signatures by identities with a log entry and a signed timestamp.

use jiff::{Timestamp, ToSpan as _};

use super::corpus::{Corpus, now};
use crate::limits::Limits;
use crate::verify::{Attempt, Demand, FailedCheck, Purpose, Signer, TrustedRoot, verify};

fn demand(root: &TrustedRoot) -> Demand<'_> {
    Demand {
        signer: Signer::Certificate,
        purpose: Purpose::Signature,
        trusted_root: root,
        transparency_log: false,
        signed_timestamp: false,
        sct: true,
        signed_name: None,
    }
}

fn attempt(corpus: &Corpus, case: &str, root: &str, now: Timestamp) -> Attempt {
    let case = corpus.case(case);
    let found = corpus.candidates(case);
    let demand = demand(corpus.root(root));
    verify(
        &found[0],
        &corpus.digest(case),
        &demand,
        &Limits::default(),
        now,
    )
}

fn check(attempt: &Attempt) -> Option<FailedCheck> {
    match attempt {
        Attempt::Failed(failure) => Some(failure.check),
        Attempt::Proven(_) => None,
        Attempt::NotApplicable => panic!("nothing was tried"),
    }
}

#[test]
fn now_is_not_the_future() {
    let corpus = Corpus::load();
    for (case, failed) in [
        ("kf-legacy-gh", FailedCheck::TransparencyLog),
        ("kf-legacy-tsa-only", FailedCheck::Timestamp),
    ] {
        let root = "trusted_root.json";
        let Attempt::Proven(proof) = attempt(&corpus, case, root, now()) else {
            panic!("{case} is good");
        };
        let time = proof.verified_time.unwrap();
        assert_eq!(check(&attempt(&corpus, case, root, time)), None, "{case}");
        let before = time - 1.nanosecond();
        assert_eq!(
            check(&attempt(&corpus, case, root, before)),
            Some(failed),
            "{case}"
        );
    }
}

#[test]
fn a_certificate_needs_logs_that_are_known_though_none_is_demanded() {
    let corpus = Corpus::load();
    let case = "kfb-r2-control";
    let proven = attempt(&corpus, case, "trusted_root.json", now());
    assert_eq!(check(&proven), None);
    let unknown = attempt(&corpus, case, "trusted_root_rekor1_only.json", now());
    assert_eq!(check(&unknown), Some(FailedCheck::TransparencyLog));
}
