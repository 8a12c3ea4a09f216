//! A certificate beside the chain that issued it.

use super::forge::{Key, pem};
use super::issue::{Issuer, Request};
use crate::verify::{IssuedCertificate, NotIssuedError, read_issued};

fn leaf(issuer: &Issuer, request: &Request) -> String {
    pem("CERTIFICATE", &issuer.issue(request, &Key::generate()))
}

fn refused(certificate: &str, chain: &[&Issuer]) -> NotIssuedError {
    let chain: Vec<_> = chain.iter().map(|it| it.pem.as_str()).collect();
    read_issued(certificate, &chain.concat()).unwrap_err()
}

#[test]
fn certificate_leads_to_the_root_at_the_end_of_its_chain() {
    let root = Issuer::root("root");
    let between = root.intermediate(Request::authority("between"));
    let request = Request::leaf("https://builds.example/release");
    let without_purpose = Request {
        usage: None,
        ..request.clone()
    };
    for (issuer, chain) in [
        (&root, vec![&root]),
        (&between, vec![&between, &root]),
        // The order of the others does not count.
        (&root, vec![&between, &root]),
    ] {
        let chain: Vec<_> = chain.into_iter().map(|it| it.pem.as_str()).collect();
        for request in [&request, &without_purpose] {
            let found = read_issued(&leaf(issuer, request), &chain.concat()).unwrap();
            assert_eq!(
                found,
                IssuedCertificate {
                    has_promises: false
                }
            );
        }
    }
}

#[test]
fn certificate_of_another_authority_is_refused() {
    let root = Issuer::root("root");
    let namesake = Issuer::root("root");
    let other = Issuer::root("other");
    let request = Request::leaf("https://builds.example/release");
    let certificate = leaf(&root, &request);
    for chain in [
        vec![&namesake],
        vec![&other],
        // The root is the last, and another one that stands before it is none.
        vec![&root, &other],
    ] {
        assert!(matches!(
            refused(&certificate, &chain),
            NotIssuedError::Issuer
        ));
    }
    let between = root.intermediate(Request::authority("between"));
    assert!(matches!(
        refused(&certificate, &[&between]),
        NotIssuedError::Chain(_)
    ));
}

#[test]
fn certificate_for_another_purpose_or_beyond_its_chain_is_refused() {
    let root = Issuer::root("root");
    let request = Request::leaf("https://builds.example/release");
    let certificate = leaf(&root, &request.clone().for_servers());
    assert!(matches!(
        refused(&certificate, &[&root]),
        NotIssuedError::Purpose
    ));
    let late = Request {
        valid: (2_000_000, 3_000_000),
        ..request
    };
    assert!(matches!(
        refused(&leaf(&root, &late), &[&root]),
        NotIssuedError::Time
    ));
    assert!(matches!(refused("x", &[&root]), NotIssuedError::Broken(_)));
}
