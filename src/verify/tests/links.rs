//! How certificates of one's own authorities hang together.

use super::authorities::{Own, text};
use super::chains::fulcio_root;
use super::issue::{Issuer, Request};
use super::world::{failed, proven};
use crate::verify::{
    CertificateAuthorities, CertificateAuthoritiesError as Error, Demand, FailedCheck,
};

const OLD: (i64, i64) = (-1_000_000, -1000);
const NEW: (i64, i64) = (-1000, 1_000_000);

/// The error with the name in it.
fn refused(authorities: &[&Issuer]) -> (String, Error) {
    let error = CertificateAuthorities::from_pem(&text(authorities)).unwrap_err();
    (error.to_string(), error)
}

fn below(issuer: &Issuer, name: &str, path_length: Option<u8>) -> Issuer {
    issuer.intermediate(Request {
        path_length,
        ..Request::authority(name)
    })
}

fn root(path_length: Option<u8>) -> Issuer {
    Issuer::root_of(&Request {
        path_length,
        ..Request::authority("root")
    })
}

#[test]
fn a_root_and_its_renewal_stand_in_either_order() {
    let new = Issuer::root("root").renewed(NEW);
    let between = new.intermediate(Request::authority("between"));
    // With the same key, and with another.
    for old in [new.renewed(OLD), Issuer::root("root").renewed(OLD)] {
        for file in [
            [&old, &new, &between],
            [&new, &old, &between],
            [&between, &old, &new],
        ] {
            let own = Own::new(&file);
            let leaf = own.leaf(&between);
            for candidate in [own.legacy(&leaf, &[]), own.bundle(&leaf)] {
                proven(&candidate, &own.demand());
            }
        }
    }
    // The old one alone ended before.
    let own = Own::new(&[&new.renewed(OLD), &between]);
    let failure = failed(&own.bundle(&own.leaf(&between)), &own.demand());
    assert_eq!(failure.check, FailedCheck::InvalidCertificate);
}

#[test]
fn an_intermediate_must_be_signed_by_the_one_that_it_names() {
    let (mine, impostor) = (Issuer::root("root"), Issuer::root("root"));
    let between = below(&impostor, "between", None);
    let lower = below(&between, "lower", None);
    let (message, error) = refused(&[&mine, &between]);
    assert!(matches!(error, Error::NoIssuer { .. }), "{error:?}");
    assert!(message.contains("CN=between"), "{message}");
    assert!(matches!(
        refused(&[&mine, &lower]).1,
        Error::NoIssuer { .. }
    ));
    Own::new(&[&impostor, &lower, &between]);
}

#[test]
fn path_lengths_are_kept() {
    for (of_root, of_between, refused_name) in [
        (None, None, None),
        (Some(2), Some(1), None),
        (Some(1), None, Some("CN=lower")),
        (Some(0), None, Some("CN=between")),
        (None, Some(0), Some("CN=lower")),
    ] {
        let root = root(of_root);
        let between = below(&root, "between", of_between);
        let lower = below(&between, "lower", Some(0));
        let file = [&root, &between, &lower];
        let Some(name) = refused_name else {
            let own = Own::new(&file);
            proven(&own.bundle(&own.leaf(&lower)), &own.demand());
            continue;
        };
        let (message, error) = refused(&file);
        assert!(matches!(error, Error::PathLength { .. }), "{error:?}");
        assert!(message.contains(name), "{message}");
    }
}

/// An authority that comes along with a signature.
fn along(issuer: &Issuer, name: &str) -> Issuer {
    issuer.intermediate(Request::authority(name).for_code())
}

fn assert_too_deep(own: &Own, demand: &Demand<'_>, leaf: &[u8], chain: &[&Issuer]) {
    let failure = failed(&own.legacy(leaf, chain), demand);
    assert_eq!(failure.check, FailedCheck::InvalidCertificate);
    assert!(failure.reason.contains("path length"), "{}", failure.reason);
}

#[test]
fn path_lengths_are_kept_by_what_comes_along() {
    for (of_root, depth_max) in [(Some(0), 0), (Some(1), 1), (Some(2), 2), (None, 2)] {
        let root = root(of_root);
        let first = along(&root, "first");
        let second = along(&first, "second");
        let own = Own::new(&[&root]);
        // As an authority of one's own, and as one of a trusted root.
        let fulcio = fulcio_root(&own, &root);
        let demands = [
            own.demand(),
            Demand {
                trusted_root: &fulcio,
                ..own.demand()
            },
        ];
        let request = Request {
            oidc_issuer: Some("https://issuer.example"),
            ..Request::leaf("https://builds.example/release")
        };
        let chains = [vec![], vec![&first], vec![&second, &first]];
        for (depth, chain) in chains.iter().enumerate() {
            let issuer = chain.first().copied().unwrap_or(&root);
            let leaf = issuer.issue(&request, &own.signer);
            for demand in &demands {
                if depth <= depth_max {
                    proven(&own.legacy(&leaf, chain), demand);
                } else {
                    assert_too_deep(&own, demand, &leaf, chain);
                }
            }
        }
    }
}

#[test]
fn path_lengths_above_an_intermediate_of_the_file_are_kept_too() {
    for (of_root, of_between, is_allowed) in [
        (None, None, true),
        (Some(2), Some(1), true),
        (None, Some(0), false),
        (Some(1), None, false),
        (Some(1), Some(1), false),
    ] {
        let root = root(of_root);
        let between = below(&root, "between", of_between);
        let lower = along(&between, "lower");
        let own = Own::new(&[&root, &between]);
        // One that the file has as well is no further authority.
        proven(&own.legacy(&own.leaf(&between), &[&between]), &own.demand());
        let leaf = own.leaf(&lower);
        if is_allowed {
            proven(&own.legacy(&leaf, &[&lower]), &own.demand());
        } else {
            assert_too_deep(&own, &own.demand(), &leaf, &[&lower]);
        }
    }
}

/// The name does not make it one: which certificate issued which is a matter of keys.
#[test]
fn an_authority_that_calls_itself_like_the_root_is_not_the_root() {
    for (of_root, is_allowed) in [(Some(1), false), (Some(2), true)] {
        let root = root(of_root);
        let first = along(&root, "first");
        let impostor = along(&first, "root");
        let own = Own::new(&[&root]);
        let leaf = own.leaf(&impostor);
        let chain = [&impostor, &first];
        if is_allowed {
            proven(&own.legacy(&leaf, &chain), &own.demand());
        } else {
            assert_too_deep(&own, &own.demand(), &leaf, &chain);
        }
    }
}

#[test]
fn what_a_namesake_of_the_root_allows_is_for_what_it_signed() {
    let (strict, lenient) = (root(Some(0)), root(None));
    for file in [[&strict, &lenient], [&lenient, &strict]] {
        let own = Own::new(&file);
        for (root, is_allowed) in [(&strict, false), (&lenient, true)] {
            let between = along(root, "between");
            let leaf = own.leaf(&between);
            if is_allowed {
                proven(&own.legacy(&leaf, &[&between]), &own.demand());
            } else {
                assert_too_deep(&own, &own.demand(), &leaf, &[&between]);
            }
        }
    }
}

#[test]
fn keys_must_be_for_signing_certificates() {
    // `digitalSignature`, and `keyCertSign` with `cRLSign`.
    let (wrong, right): (&[u8], &[u8]) = (&[3, 2, 7, 0x80], &[3, 2, 1, 0x06]);
    let request = |key_usage| Request {
        key_usage: Some(key_usage),
        ..Request::authority("used")
    };
    let (good, bad) = (
        Issuer::root_of(&request(right)),
        Issuer::root_of(&request(wrong)),
    );
    Own::new(&[&good, &below(&good, "between", None)]);
    let above = Issuer::root("above");
    let between = above.intermediate(request(wrong));
    for file in [vec![&bad], vec![&above, &between]] {
        let (message, error) = refused(&file);
        assert!(matches!(error, Error::KeyUsage { .. }), "{error:?}");
        assert!(message.contains("CN=used"), "{message}");
    }
}

#[test]
fn certificates_for_something_else_are_refused() {
    let (root, servers) = (
        Issuer::root("root"),
        Issuer::root_of(&Request::authority("servers").for_servers()),
    );
    let between = root.intermediate(Request::authority("servers").for_servers());
    for file in [vec![&servers], vec![&root, &between]] {
        let (message, error) = refused(&file);
        assert!(matches!(error, Error::Purpose { .. }), "{error:?}");
        assert!(message.contains("CN=servers"), "{message}");
    }
}

#[test]
fn name_constraints_are_refused_as_they_would_not_be_applied() {
    // Names below the domain `a` only.
    let constrained = Issuer::root_of(&Request {
        name_constraints: Some(&[0x30, 7, 0xa0, 5, 0x30, 3, 0x82, 1, b'a']),
        ..Request::authority("narrow")
    });
    let (message, error) = refused(&[&constrained]);
    assert!(matches!(error, Error::NameConstraints { .. }), "{error:?}");
    assert!(message.contains("CN=narrow"), "{message}");
}

#[test]
fn ways_are_not_tried_without_end() {
    let root = Issuer::root("root");
    let (left, right) = (below(&root, "left", None), below(&root, "right", None));
    let many: Vec<_> = (1..8)
        .flat_map(|number| {
            let valid = (-number, number);
            [
                left.cross_signed(&right, valid),
                right.cross_signed(&left, valid),
            ]
        })
        .collect();
    let file: Vec<_> = many.iter().chain([&root, &left, &right]).collect();
    let error = CertificateAuthorities::from_pem(&text(&file)).unwrap_err();
    assert!(matches!(error, Error::TooManyWays { .. }), "{error:?}");
}

/// Below `between` many authorities of one name, each signed by all of the many roots of another.
fn many_ways(roots: i64, between: i64) -> Result<usize, Error> {
    let (root, authority) = (Issuer::root("root"), Issuer::root("authority"));
    let renewals = (1..=roots).map(|number| root.renewed((-number, 1000)));
    let signed = (1..=between).map(|number| root.cross_signed(&authority, (-number, 1000)));
    let many: Vec<_> = renewals.chain(signed).collect();
    let lowest = below(&authority, "lowest", None);
    let file: Vec<_> = many.iter().chain([&lowest]).collect();
    CertificateAuthorities::from_pem(&text(&file)).map(|read| read.chains.len())
}

#[test]
fn as_many_certificates_and_ways_as_the_limits_are_read() {
    // One of the lowest, each of those above it with each of the roots: 1 + 15 + 15 * 16 steps.
    assert_eq!(many_ways(16, 15).unwrap(), 15 * 16 + 15 * 16 + 16);
    let beyond = many_ways(15, 16).unwrap_err();
    assert!(matches!(beyond, Error::TooManyWays { .. }), "{beyond:?}");
    let beyond = many_ways(17, 15).unwrap_err();
    assert!(matches!(beyond, Error::TooMany), "{beyond:?}");
}

#[test]
fn the_certificates_that_come_along_have_a_name_each() {
    let for_code = |name| Request::authority(name).for_code();
    let root = Issuer::root("root");
    let upper = root.intermediate(for_code("upper"));
    let lower = upper.intermediate(for_code("lower"));
    let namesake = root.intermediate(for_code("lower"));
    let own = Own::new(&[&root]);
    let leaf = own.leaf(&lower);
    proven(&own.legacy(&leaf, &[&lower, &upper]), &own.demand());
    proven(&own.legacy(&leaf, &[&lower, &upper, &lower]), &own.demand());
    let two = own.legacy(&leaf, &[&lower, &upper, &namesake]);
    assert_eq!(failed(&two, &own.demand()).check, FailedCheck::Malformed);
}
