//! The chains of a trusted root: what its certificates say of what they may issue.

use std::path::Path;

use serde_json::{Value, json};

use super::authorities::Own;
use super::forge::{Key, pem};
use super::issue::{Issuer, Request};
use super::world::{failed, proven};
use crate::verify::{Demand, FailedCheck, TrustedRoot, TrustedRootError};

const ISSUER: &str = "https://issuer.example";
/// Names below the domain `a` only.
const BELOW_A: &[u8] = &[0x30, 7, 0xa0, 5, 0x30, 3, 0x82, 1, b'a'];
/// No URIs below the domain `a`.
const NO_URI_OF_A: &[u8] = &[0x30, 7, 0xa1, 5, 0x30, 3, 0x86, 1, b'a'];
/// `digitalSignature`.
const SIGNATURES: &[u8] = &[3, 2, 7, 0x80];
/// `keyCertSign` and `cRLSign`.
const CERTIFICATES: &[u8] = &[3, 2, 1, 0x06];

fn chain(pems: &[&str]) -> Value {
    let certificates = pems.iter().map(|pem| {
        let lines = pem.lines().filter(|line| !line.starts_with("---"));
        json!({ "rawBytes": lines.collect::<String>() })
    });
    json!({ "certificates": certificates.collect::<Vec<_>>() })
}

fn root(logs: &[Value], authorities: &[Value], timestamps: &[Value]) -> String {
    json!({
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": logs,
        "certificateAuthorities": authorities,
        "ctlogs": [],
        "timestampAuthorities": timestamps,
    })
    .to_string()
}

/// The log's root with these certificate authorities in it, the chain of each.
pub(super) fn fulcio_roots(own: &Own, chains: &[&[&Issuer]]) -> TrustedRoot {
    let since = json!({"start": "2020-01-01T00:00:00Z"});
    let authorities = chains.iter().map(|issuers| {
        let pems: Vec<_> = issuers.iter().map(|issuer| issuer.pem.as_str()).collect();
        json!({
            "uri": "https://fulcio.example",
            "certChain": chain(&pems),
            "validFor": since,
        })
    });
    let authorities: Vec<_> = authorities.collect();
    let log = own.world.log.entry_in_root(&since);
    TrustedRoot::from_json(&root(&[log], &authorities, &[])).unwrap()
}

/// The log's root with a certificate authority in it.
pub(super) fn fulcio_root(own: &Own, authority: &Issuer) -> TrustedRoot {
    fulcio_roots(own, &[&[authority]])
}

/// Why a root with the chain of a certificate authority does not load, in words.
fn refused(pems: &[&str]) -> Option<String> {
    let authority = json!({ "uri": "", "certChain": chain(pems) });
    let read = TrustedRoot::from_json(&root(&[], &[authority], &[]));
    read.err()
        .map(|TrustedRootError(source)| source.to_string())
}

/// The same with that of a timestamp authority.
fn refused_for_time(pems: &[&str]) -> Option<String> {
    let authority = json!({ "certChain": chain(pems) });
    let read = TrustedRoot::from_json(&root(&[], &[], &[authority]));
    read.err()
        .map(|TrustedRootError(source)| source.to_string())
}

fn leaf_of(issuer: &Issuer) -> String {
    let request = Request::leaf("https://builds.example/release");
    pem("CERTIFICATE", &issuer.issue(&request, &Key::generate()))
}

fn assert_names(refusal: Option<String>, words: [&str; 2]) {
    let refusal = refusal.expect("the root does not load");
    for word in words {
        assert!(refusal.contains(word), "{refusal}");
    }
}

#[test]
fn every_certificate_of_an_authority_is_one_of_an_authority() {
    let above = Issuer::root("above");
    let between = above.intermediate(Request::authority("between"));
    assert_eq!(refused(&[&between.pem, &above.pem]), None);
    let leaf = leaf_of(&between);
    for chain in [
        vec![leaf.as_str(), &between.pem, &above.pem],
        vec![&between.pem, &above.pem, &leaf],
        vec![&leaf],
    ] {
        assert_names(refused(&chain), ["CN=leaf", "CA:true"]);
    }
    // One that only its place makes a root.
    let root = Issuer::root_of(&Request {
        is_authority: false,
        ..Request::authority("plain")
    });
    assert_names(refused(&[&root.pem]), ["CN=plain", "CA:true"]);
}

#[test]
fn every_key_of_an_authority_may_sign_certificates() {
    let request = |key_usage| Request {
        key_usage: Some(key_usage),
        ..Request::authority("used")
    };
    let (good, bad) = (
        Issuer::root_of(&request(CERTIFICATES)),
        Issuer::root_of(&request(SIGNATURES)),
    );
    assert_eq!(refused(&[&good.pem]), None);
    let words = ["CN=used", "may not sign certificates"];
    assert_names(refused(&[&bad.pem]), words);
    let between = bad.intermediate(Request::authority("between"));
    assert_names(refused(&[&between.pem, &bad.pem]), words);
    let between = good.intermediate(request(SIGNATURES));
    assert_names(refused(&[&between.pem, &good.pem]), words);
}

#[test]
fn what_an_authority_issues_may_be_for_this() {
    const TIME_STAMPING: &str = "1.3.6.1.5.5.7.3.8";
    const ANY: &str = "2.5.29.37.0";
    let words = ["CN=above", "purposes"];
    let above = |usage| {
        let usage = Some(usage);
        Issuer::root_of(&Request {
            usage,
            ..Request::authority("above")
        })
    };
    let code = Issuer::root_of(&Request::authority("above").for_code());
    let servers = Issuer::root_of(&Request::authority("above").for_servers());
    for (above, for_code, for_time) in [
        (above(ANY), true, true),
        (code, true, false),
        (above(TIME_STAMPING), false, true),
        (servers, false, false),
    ] {
        let between = above.intermediate(Request::authority("between"));
        for (is_allowed, refusal) in [
            (for_code, refused(&[&between.pem, &above.pem])),
            (for_time, refused_for_time(&[&leaf_of(&above), &above.pem])),
        ] {
            match is_allowed {
                true => assert_eq!(refusal, None),
                false => assert_names(refusal, words),
            }
        }
    }
}

/// A path ends at the lowest certificate of a chain that leads to the leaf, and what stands above it is not looked at.
#[test]
fn nothing_in_a_chain_stands_below_name_constraints() {
    let narrow = |name| Request {
        name_constraints: Some(BELOW_A),
        ..Request::authority(name)
    };
    let above = Issuer::root_of(&narrow("narrow"));
    let between = above.intermediate(Request::authority("between"));
    let lowest = between.intermediate(Request::authority("lowest"));
    for chain in [
        vec![between.pem.as_str(), &above.pem],
        vec![&above.pem, &between.pem],
        vec![&lowest.pem, &between.pem, &above.pem],
    ] {
        assert_names(refused(&chain), ["CN=narrow", "name constraints"]);
    }
    let root = Issuer::root("root");
    let middle = root.intermediate(narrow("middle"));
    let lowest = middle.intermediate(Request::authority("lowest"));
    let chain = [lowest.pem.as_str(), &middle.pem, &root.pem];
    assert_names(refused(&chain), ["CN=middle", "name constraints"]);
    assert_eq!(refused(&[&middle.pem, &root.pem]), None);
    assert_eq!(refused(&[&above.pem]), None);
}

#[test]
fn name_constraints_of_the_lowest_certificate_are_applied() {
    let own = Own::new(&[&Issuer::root("other")]);
    let request = Request {
        oidc_issuer: Some(ISSUER),
        ..Request::leaf("https://builds.example/release")
    };
    for (name_constraints, is_allowed) in [(BELOW_A, true), (NO_URI_OF_A, false)] {
        let above = Issuer::root("above");
        let narrow = above.intermediate(Request {
            name_constraints: Some(name_constraints),
            ..Request::authority("narrow")
        });
        let root = fulcio_roots(&own, &[&[&narrow, &above]]);
        let demand = Demand {
            trusted_root: &root,
            ..own.demand()
        };
        let candidate = own.bundle(&narrow.issue(&request, &own.signer));
        if is_allowed {
            proven(&candidate, &demand);
        } else {
            let failure = failed(&candidate, &demand);
            assert_eq!(failure.check, FailedCheck::InvalidCertificate);
        }
    }
}

/// The first certificate of a timestamp authority makes the timestamps itself.
#[test]
fn those_above_a_timestamp_authority_may_issue_it() {
    let request = |is_authority, key_usage| Request {
        is_authority,
        key_usage: Some(key_usage),
        ..Request::authority("root")
    };
    let good = Issuer::root_of(&request(true, CERTIFICATES));
    assert_eq!(refused_for_time(&[&leaf_of(&good), &good.pem]), None);
    assert_eq!(refused_for_time(&[&leaf_of(&good)]), None);
    for (bad, words) in [
        (request(false, CERTIFICATES), ["CN=root", "CA:true"]),
        (
            request(true, SIGNATURES),
            ["CN=root", "may not sign certificates"],
        ),
    ] {
        let bad = Issuer::root_of(&bad);
        assert_names(refused_for_time(&[&leaf_of(&bad), &bad.pem]), words);
    }
    // Path building leads through all of its chain.
    let narrow = Issuer::root_of(&Request {
        name_constraints: Some(BELOW_A),
        ..Request::authority("narrow")
    });
    let between = narrow.intermediate(Request::authority("between"));
    let chain = [leaf_of(&between), between.pem, narrow.pem];
    assert_eq!(
        refused_for_time(&chain.each_ref().map(String::as_str)),
        None
    );
}

/// Which of two authorities of one name issued a certificate is a matter of keys.
#[test]
fn a_namesake_does_not_vouch_for_the_certificates_of_another() {
    let request = Request {
        oidc_issuer: Some(ISSUER),
        ..Request::leaf("https://builds.example/release")
    };
    let namesake = Issuer::root("twin");
    // It was not valid yet when the certificate was issued.
    let late = Issuer::root_of(&Request {
        valid: (-30, 1000),
        ..Request::authority("twin")
    });
    // It may not stand below the authority that is above it.
    let childless = Issuer::root_of(&Request {
        path_length: Some(0),
        ..Request::authority("childless")
    });
    let unwanted = childless.intermediate(Request::authority("twin"));
    for (chain, words) in [
        (vec![&late], "the certificate was issued"),
        (vec![&unwanted, &childless], "path length"),
    ] {
        let own = Own::new(&[&namesake]);
        let leaf = chain[0].issue(&request, &own.signer);
        let refusal = |chains: &[&[&Issuer]]| {
            let root = fulcio_roots(&own, chains);
            let demand = Demand {
                trusted_root: &root,
                ..own.demand()
            };
            // It is the authority that is wanting, and the namesake vouches for its own.
            let issued = namesake.issue(&request, &own.signer);
            if chains.len() > 1 {
                proven(&own.bundle(&issued), &demand);
            }
            failed(&own.bundle(&leaf), &demand).reason
        };
        for chains in [
            vec![chain.as_slice()],
            vec![&chain, &[&namesake]],
            vec![&[&namesake], &chain],
        ] {
            let reason = refusal(&chains);
            assert!(reason.contains(words), "{reason}");
        }
    }
}

#[test]
fn roots_in_use_load() {
    for root in [
        sigstore_trust_root::SIGSTORE_PRODUCTION_TRUSTED_ROOT,
        sigstore_trust_root::SIGSTORE_STAGING_TRUSTED_ROOT,
        sigstore_trust_root::SIGSTORE_GITHUB_TRUSTED_ROOT,
    ] {
        TrustedRoot::from_json(root).unwrap();
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for file in [
        "corpus/trust/trusted_root.json",
        "corpus/trust/trusted_root_no_tsa.json",
        "corpus/trust/trusted_root_rekor1_only.json",
        "corpus/trust/trusted_root_rekor2_tsa.json",
        "corpus/trust/trusted_root_rogue.json",
        "sigstore-python/trusted_root_staging.json",
        "timestamp-authority/root_genuine.json",
        "timestamp-authority/root_spoofed.json",
        "chains/trusted_root.json",
        "chains/trusted_root_expired_intermediate.json",
        "chains/trusted_root_spoofed_timestamps.json",
    ] {
        let text = std::fs::read_to_string(fixtures.join(file)).unwrap();
        if let Err(error) = TrustedRoot::from_json(&text) {
            panic!("{file}: {error:?}");
        }
    }
}
