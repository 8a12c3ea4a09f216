//! Intermediate certificates that only the signature brings along.

use super::authorities::Own;
use super::chains::fulcio_root;
use super::forge::Key;
use super::issue::{Issuer, Request};
use super::world::{failed, proven};
use crate::verify::{Demand, FailedCheck};

const BUILDER: &str = "https://builds.example/release";
const ANY: &str = "2.5.29.37.0";
/// `digitalSignature`.
const SIGNATURES: &[u8] = &[3, 2, 7, 0x80];
/// `keyCertSign` and `cRLSign`.
const CERTIFICATES: &[u8] = &[3, 2, 1, 0x06];
/// No URIs below the domain `builds.example`.
const NOT_THESE_BUILDS: &[u8] = &[
    0x30, 20, 0xa1, 18, 0x30, 16, 0x86, 14, b'b', b'u', b'i', b'l', b'd', b's', b'.', b'e', b'x',
    b'a', b'm', b'p', b'l', b'e',
];

fn leaf_of(own: &Own, issuer: &Issuer, change: impl FnOnce(&mut Request)) -> Vec<u8> {
    let mut request = Request::leaf(BUILDER);
    request.oidc_issuer = Some("https://issuer.example");
    change(&mut request);
    issuer.issue(&request, &own.signer)
}

/// Returns the reason for which the check of the certificate failed, or nothing if the signature is proven.
fn refused(own: &Own, demand: &Demand<'_>, leaf: &[u8], chain: &[&Issuer]) -> Option<String> {
    match super::world::attempt(&own.legacy(leaf, chain), demand) {
        crate::verify::Attempt::Proven(_) => None,
        crate::verify::Attempt::Failed(failure) => {
            assert_eq!(failure.check, FailedCheck::InvalidCertificate);
            Some(failure.reason)
        }
        crate::verify::Attempt::NotApplicable => panic!("it is a signature"),
    }
}

#[test]
fn intermediate_that_comes_along_leads_to_a_root() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let fulcio = fulcio_root(&own, &root);
    let of_trusted_root = Demand {
        trusted_root: &fulcio,
        ..own.demand()
    };
    let requests = [
        // Intermediates of companies seldom say what they are for.
        Request::authority("between"),
        Request::authority("between").for_code(),
        Request {
            usage: Some(ANY),
            ..Request::authority("between")
        },
        Request {
            key_usage: Some(CERTIFICATES),
            path_length: Some(1),
            ..Request::authority("between")
        },
    ];
    for request in requests {
        let between = root.intermediate(request);
        let lower = between.intermediate(Request::authority("lower"));
        for demand in [own.demand(), of_trusted_root] {
            let leaf = leaf_of(&own, &between, |_| {});
            proven(&own.legacy(&leaf, &[&between]), &demand);
            proven(&own.legacy(&leaf, &[&between, &root]), &demand);
            let leaf = leaf_of(&own, &lower, |_| {});
            proven(&own.legacy(&leaf, &[&lower, &between]), &demand);
            proven(&own.legacy(&leaf, &[&between, &lower]), &demand);
        }
    }
}

#[test]
fn intermediate_of_the_root_gets_no_more_room_by_coming_along() {
    let root = Issuer::root("root");
    let between = root.intermediate(Request {
        path_length: Some(0),
        ..Request::authority("between")
    });
    let lower = between.intermediate(Request::authority("lower"));
    let own = Own::new(&[&between, &root]);
    let leaf = leaf_of(&own, &lower, |_| {});
    for chain in [vec![&lower], vec![&lower, &between]] {
        assert!(refused(&own, &own.demand(), &leaf, &chain).is_some());
    }
    let leaf = leaf_of(&own, &between, |_| {});
    proven(&own.legacy(&leaf, &[&between, &root]), &own.demand());
}

#[test]
fn missing_intermediate_is_an_unknown_issuer() {
    let root = Issuer::root("root");
    let between = root.intermediate(Request::authority("between"));
    let lower = between.intermediate(Request::authority("lower"));
    let own = Own::new(&[&root]);
    let leaf = leaf_of(&own, &lower, |_| {});
    for chain in [vec![], vec![&lower], vec![&between], vec![&root]] {
        let reason = refused(&own, &own.demand(), &leaf, &chain).unwrap();
        assert_eq!(
            reason,
            "no authority of the trusted root issued the certificate"
        );
    }
}

/// An intermediate, what is changed of the leaf, and words of the reason.
type Row = (Issuer, fn(&mut Request), &'static str);

#[test]
fn reason_names_the_check_that_failed() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let good = root.intermediate(Request::authority("between"));
    let stranger = Issuer::root("root").intermediate(Request::authority("between"));
    let with = |change: fn(&mut Request)| {
        let mut request = Request::authority("between");
        change(&mut request);
        root.intermediate(request)
    };
    let rows: [Row; 9] = [
        (good, |it| it.usage = None, "not for code signing"),
        (
            with(|_| {}),
            |it| it.usage = Some("1.3.6.1.5.5.7.3.1"),
            "not for code signing",
        ),
        // The word for any purpose says nothing of a leaf.
        (
            with(|_| {}),
            |it| it.usage = Some(ANY),
            "not for code signing",
        ),
        (
            with(|_| {}),
            |it| it.valid = (-500, -100),
            "was valid until",
        ),
        (
            with(|it| *it = it.clone().for_servers()),
            |_| {},
            "for other purposes",
        ),
        (with(|it| it.is_authority = false), |_| {}, "CA:true"),
        (
            with(|it| it.key_usage = Some(SIGNATURES)),
            |_| {},
            "may not sign certificates",
        ),
        (
            with(|it| it.valid = (-500, -100)),
            |_| {},
            "was not valid at",
        ),
        (
            with(|it| it.name_constraints = Some(NOT_THESE_BUILDS)),
            |_| {},
            "name constraints",
        ),
    ];
    for (between, change, words) in rows {
        let leaf = leaf_of(&own, &between, change);
        let reason = refused(&own, &own.demand(), &leaf, &[&between]).unwrap();
        assert!(reason.contains(words), "{words}: {reason}");
        assert!(!reason.contains("Context"), "{reason}");
    }
    let leaf = leaf_of(&own, &stranger, |_| {});
    let reason = refused(&own, &own.demand(), &leaf, &[&stranger]).unwrap();
    assert!(reason.contains("not by its issuer"), "{reason}");
}

#[test]
fn path_length_of_an_intermediate_is_kept() {
    let root = Issuer::root("root");
    let own = Own::new(&[&root]);
    let between = root.intermediate(Request {
        path_length: Some(0),
        ..Request::authority("between")
    });
    let lower = between.intermediate(Request::authority("lower"));
    let leaf = leaf_of(&own, &lower, |_| {});
    let reason = refused(&own, &own.demand(), &leaf, &[&lower, &between]).unwrap();
    assert!(reason.contains("path length"), "{reason}");
}

#[test]
fn root_that_comes_along_is_not_believed() {
    let (root, stranger) = (Issuer::root("root"), Issuer::root("stranger"));
    let own = Own::new(&[&root]);
    let between = stranger.intermediate(Request::authority("between"));
    let leaf = leaf_of(&own, &between, |_| {});
    let reason = refused(&own, &own.demand(), &leaf, &[&between, &stranger]).unwrap();
    assert!(reason.contains("no authority"), "{reason}");
    // Nor does a leaf stand for its issuer.
    let request = Request::leaf(BUILDER);
    let other = Key::generate();
    let leaf = root.issue(&request, &other);
    let failure = failed(&own.legacy(&leaf, &[]), &own.demand());
    assert_eq!(failure.check, FailedCheck::InvalidSignature);
}
