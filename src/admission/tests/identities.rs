//! Signatures by identities: identity and issuer, extensions, thresholds, revocation, age.

use std::sync::Arc;
use std::time::Duration;

use super::corpus::{GITHUB, RELEASE, Signed, exact, expression, holder, identity, root, signed};
use super::question::{Question, signed_by, words};
use crate::decision_log::AttemptOutcome;
use crate::policy::{Authority, AuthoritySigner, Matcher, Mode, Policy, Revoked, SignedName};
use crate::verify::TrustedRoot;

/// The release workflow, signed with a certificate.
const CASE: &str = "kf-legacy-gh";

fn question(signed: &Signed, policy: Policy) -> Question {
    let mut question = Question::new(vec![policy], signed.candidates.clone());
    question.subject.digest = signed.digest;
    question
}

fn release(root: &Arc<TrustedRoot>) -> Arc<Authority> {
    Arc::new(identity(exact(RELEASE), exact(GITHUB), root))
}

#[test]
fn identity_and_issuer_must_both_match_the_whole_value() {
    let (image, root) = (signed(CASE), root());
    let workflow =
        r"https://github\.com/external-secrets/external-secrets/\.github/workflows/release\.yml";
    let wrong_identity: [Matcher; 6] = [
        exact("https://github.com/external-secrets/external-secrets/.github/workflows/release.yml"),
        exact(&RELEASE.to_uppercase()),
        exact(""),
        expression(workflow),
        expression(r"github\.com/external-secrets/.*"),
        // As much of it as matches is not the whole.
        expression(r"a|https://github\.com/external-secrets/"),
    ];
    for matcher in wrong_identity {
        let what = format!("{matcher:?}");
        let authority = identity(matcher, exact(GITHUB), &root);
        let policy = signed_by(&[&Arc::new(authority)], 1);
        assert_eq!(
            question(&image, policy).answer(),
            "wrong_identity",
            "{what}"
        );
    }
    let wrong_issuer = [
        exact("https://token.actions.githubusercontent.com/"),
        exact("https://accounts.google.com"),
        expression("https://token"),
        expression("actions.*"),
    ];
    for matcher in wrong_issuer {
        let what = format!("{matcher:?}");
        let authority = identity(exact(RELEASE), matcher, &root);
        let policy = signed_by(&[&Arc::new(authority)], 1);
        assert_eq!(question(&image, policy).answer(), "wrong_issuer", "{what}");
    }
    for (wanted, issuer) in [
        (exact(RELEASE), exact(GITHUB)),
        (
            expression(&format!("{workflow}@.+")),
            expression(r"https://token\..*"),
        ),
    ] {
        let authority = identity(wanted, issuer, &root);
        let policy = signed_by(&[&Arc::new(authority)], 1);
        assert_eq!(question(&image, policy).answer(), "satisfied");
    }
    // Where neither matches, the identity is what is said first.
    let authority = identity(exact("somebody"), exact("somewhere"), &root);
    let policy = signed_by(&[&Arc::new(authority)], 1);
    assert_eq!(question(&image, policy).answer(), "wrong_identity");
}

#[test]
fn extensions_must_have_exactly_the_value() {
    let (image, root) = (signed(CASE), root());
    for (name, value, answer) in [
        ("github_workflow_trigger", "push", "satisfied"),
        ("github_workflow_trigger", "pus", "wrong_identity"),
        ("github_workflow_trigger", "push.*", "wrong_identity"),
        ("github_workflow_trigger", "", "wrong_identity"),
        ("no_such_extension", "push", "wrong_identity"),
        ("no_such_extension", "", "wrong_identity"),
    ] {
        let mut authority = identity(exact(RELEASE), exact(GITHUB), &root);
        let AuthoritySigner::Identity(requirement) = &mut authority.signer else {
            panic!("{:?}", authority.signer);
        };
        requirement.extensions = [(name.to_owned(), exact(value))].into();
        let policy = signed_by(&[&Arc::new(authority)], 1);
        assert_eq!(question(&image, policy).answer(), answer, "{name}={value}");
    }
}

/// What is verified once for several policies is not verified for another name.
#[test]
fn each_policy_demands_its_own_name() {
    let (image, root) = (signed(CASE), root());
    let policy = |name: &str, repository: &str| Policy {
        name: name.to_owned(),
        signed_name: SignedName::OtherRepository(repository.parse().unwrap()),
        ..signed_by(&[&release(&root)], 1)
    };
    let right = || policy("right", "127.0.0.1:5001/kf/legacy-gh");
    let wrong = || policy("wrong", "127.0.0.1:5001/kf/legacy");
    assert_eq!(question(&image, right()).answer(), "satisfied");
    for policies in [[right(), wrong()], [wrong(), right()]] {
        let mut question = question(&image, right());
        question.policies = policies.to_vec();
        let evaluation = question.ask();
        assert_eq!(words(&evaluation), "wrong_name");
        for report in &evaluation.policies {
            assert_eq!(report.satisfied, report.name == "right", "{}", report.name);
        }
    }
}

#[test]
fn a_threshold_counts_distinct_identities() {
    let root = root();
    let anyone = Arc::new(identity(expression("https://.+"), expression(".+"), &root));
    let one = signed(CASE);
    // One signature that two authorities accept is by one identity.
    let policy = signed_by(&[&anyone, &release(&root)], 2);
    assert_eq!(question(&one, policy).answer(), "threshold_not_met");
    // One authority that several identities satisfy.
    let several = signed("kf-legacy-multi");
    let distinct: std::collections::BTreeSet<_> = question(&several, signed_by(&[&anyone], 99))
        .ask()
        .attempts
        .into_iter()
        .filter(|attempt| attempt.outcome == AttemptOutcome::Verified)
        .map(|attempt| attempt.certificate.unwrap().identity)
        .collect();
    assert!(distinct.len() > 1, "{distinct:?}");
    let enough = signed_by(&[&anyone], distinct.len());
    assert_eq!(question(&several, enough).answer(), "satisfied");
    let too_many = signed_by(&[&anyone], distinct.len() + 1);
    assert_eq!(question(&several, too_many).answer(), "threshold_not_met");
}

#[test]
fn the_same_identity_signing_twice_counts_once() {
    let root = root();
    let image = signed(CASE);
    let mut twice = question(&image, signed_by(&[&release(&root)], 2));
    twice.candidates.extend(image.candidates);
    assert_eq!(twice.answer(), "threshold_not_met");
}

#[test]
fn a_key_and_an_identity_are_two() {
    let (image, root) = (signed("kf-threshold-key-and-id"), root());
    let (key, workflow) = (holder("k1", &root), release(&root));
    let ask =
        |authorities: &[&Arc<Authority>]| question(&image, signed_by(authorities, 2)).answer();
    assert_eq!(ask(&[&key, &workflow]), "satisfied");
    assert_eq!(ask(&[&key, &holder("k2", &root)]), "threshold_not_met");
    let somebody = Arc::new(identity(exact("somebody"), exact(GITHUB), &root));
    assert_eq!(ask(&[&key, &somebody]), "threshold_not_met");
}

#[test]
fn no_signature_completes_another() {
    // Three identities have signed this one: the issuer of each is right, one identity is.
    let (image, root) = (signed("kf-legacy-multi"), root());
    let mut other = identity(exact(RELEASE), exact(GITHUB), &root);
    let AuthoritySigner::Identity(requirement) = &mut other.signer else {
        panic!("{:?}", other.signer);
    };
    requirement.oidc_issuer = Some(exact("https://accounts.google.com"));
    let policy = signed_by(&[&Arc::new(other)], 1);
    assert_eq!(question(&image, policy).answer(), "wrong_issuer");
}

#[test]
fn what_a_revoked_identity_made_counts_for_nothing() {
    let root = root();
    let revoked = |matcher| Revoked {
        identities: vec![matcher],
        ..Revoked::default()
    };
    let policy = |mode| Policy {
        mode,
        ..signed_by(&[&release(&root)], 1)
    };
    let image = signed(CASE);
    for (matcher, answer) in [
        (exact(RELEASE), "revoked"),
        (
            expression(r"https://github\.com/external-secrets/.*"),
            "revoked",
        ),
        (
            expression(r"https://github\.com/external-secrets/"),
            "satisfied",
        ),
        (exact(GITHUB), "satisfied"),
    ] {
        for mode in [Mode::Enforce, Mode::Audit] {
            let question = question(&image, policy(mode)).revoking(revoked(matcher.clone()));
            assert_eq!(question.answer(), answer, "{matcher:?} {mode:?}");
        }
    }
    // Others who have signed it still count.
    let several = signed("kf-legacy-multi");
    let anyone = Arc::new(identity(expression("https://.+"), expression(".+"), &root));
    let question = question(&several, signed_by(&[&anyone], 1)).revoking(revoked(exact(RELEASE)));
    assert_eq!(question.answer(), "satisfied");
}

#[test]
fn the_time_in_the_log_bounds_the_age() {
    let (image, root) = (signed(CASE), root());
    let of_age = |seconds| Policy {
        max_signature_age: Some(Duration::from_secs(seconds)),
        ..signed_by(&[&release(&root)], 1)
    };
    assert_eq!(question(&image, of_age(7 * 86_400)).answer(), "satisfied");
    assert_eq!(question(&image, of_age(1)).answer(), "signature_too_old");
    let until = question(&image, of_age(7 * 86_400)).ask().valid_until;
    assert!(until.is_some());
}

#[test]
fn authorities_share_one_verification_of_a_certificate() {
    let (image, root) = (signed(CASE), root());
    let mut ask = question(&image, signed_by(&[&release(&root)], 1));
    ask.policies.push(signed_by(&[&release(&root)], 1));
    ask.limits.attempts_max = image.candidates.len();
    let evaluation = ask.ask();
    assert_eq!(words(&evaluation), "satisfied");
    assert_eq!(evaluation.attempts.len(), 2);
}

#[test]
fn what_one_authority_does_not_demand_another_may() {
    let (image, root) = (signed(CASE), root());
    let strict = Arc::new(Authority {
        signed_timestamp: true,
        ..identity(exact(RELEASE), exact(GITHUB), &root)
    });
    // The lenient one comes first, so that its result is there when the strict one asks.
    let policies = [signed_by(&[&release(&root)], 1), signed_by(&[&strict], 1)];
    let mut both = question(&image, signed_by(&[&strict], 1));
    both.policies = policies.into();
    assert_eq!(both.answer(), "timestamp");
}

#[test]
fn what_a_revoked_certificate_made_counts_for_nothing() {
    let (image, root) = (signed(CASE), root());
    let policy = || signed_by(&[&release(&root)], 1);
    let evaluation = question(&image, policy()).ask();
    let certificate = evaluation.attempts[0].certificate.clone().unwrap();
    let serial = crate::policy::serial_number(&certificate.serial).unwrap();
    let fingerprint = image
        .candidates
        .iter()
        .find_map(|candidate| match candidate.content.as_ref() {
            crate::signature::Content::Signed(signed) => signed.certificate.as_ref(),
            crate::signature::Content::Broken(_) => None,
        })
        .map(|certificate| crate::oci::Digest::sha256(certificate.der.as_bytes()))
        .unwrap();
    let by_serial = |serial: &str| Revoked {
        serial_numbers: [serial.to_owned()].into(),
        ..Revoked::default()
    };
    let by_fingerprint = |fingerprint| Revoked {
        certificates: [fingerprint].into(),
        ..Revoked::default()
    };
    let other = crate::oci::Digest::sha256(b"another certificate");
    for (revoked, answer) in [
        (by_serial(&serial), "revoked"),
        (by_serial("abc"), "satisfied"),
        (by_fingerprint(fingerprint), "revoked"),
        (by_fingerprint(other), "satisfied"),
    ] {
        let what = format!("{revoked:?}");
        let question = question(&image, policy()).revoking(revoked);
        assert_eq!(question.answer(), answer, "{what}");
    }
}

#[test]
fn an_authority_without_an_issuer_is_one_with_certificate_authorities_of_its_own() {
    let (image, root) = (signed(CASE), root());
    let mut authority = identity(exact(RELEASE), exact(GITHUB), &root);
    let AuthoritySigner::Identity(requirement) = &mut authority.signer else {
        panic!("{:?}", authority.signer);
    };
    requirement.oidc_issuer = None;
    let policy = signed_by(&[&Arc::new(authority)], 1);
    assert_eq!(question(&image, policy).answer(), "wrong_issuer");
}
