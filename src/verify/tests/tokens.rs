//! Timestamp tokens: those of OpenSSL with every kind of key, and such as nobody should believe.

use jiff::Timestamp;

use super::forge::LOG_TIME;
use super::issue::Request;
use super::stamp::{STAMPED, Stamp, certificates, identifier, made_authority, sequence, tlv};
use crate::verify::signing_certificate::SigningCertificateError;
use crate::verify::timestamp_authority::TimestampAuthority;
use crate::verify::timestamp_token::{Token, TokenError};

fn file(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/timestamps");
    std::fs::read(format!("{folder}/{name}")).unwrap()
}

fn authority(name: &str) -> TimestampAuthority {
    let pem = String::from_utf8(file(&format!("{name}.pem"))).unwrap();
    TimestampAuthority::new(&certificates(&pem), None)
        .unwrap()
        .unwrap()
}

fn verify(token: &[u8], authority: &TimestampAuthority) -> Result<Timestamp, TokenError> {
    Token::parse(token)?.verify(&file("stamped"), authority)
}

/// Tokens that count, each with its authority.
const GOOD: [(&str, &str); 16] = [
    ("rsa4096-sha512", "rsa4096"),
    ("rsa4096-sha384", "rsa4096"),
    ("rsa2048-sha256", "rsa2048"),
    ("rsa2048-pss-sha256", "rsa2048"),
    ("rsa2048-pss-sha384", "rsa2048"),
    ("p256-sha256", "p256"),
    ("p256-sha512", "p256"),
    ("p256-token", "p256"),
    ("p256-milliseconds", "p256"),
    ("p256-microseconds", "p256"),
    ("p256-imprint-sha512", "p256"),
    ("p384-sha256", "p384"),
    ("p384-sha512", "p384"),
    ("p521-sha256", "p521"),
    ("p521-sha512", "p521"),
    ("p256-sha256", "p256"),
];

#[test]
fn tokens_of_every_kind_of_authority_are_believed() {
    for (name, by) in GOOD {
        let time = verify(&file(&format!("{name}.tsr")), &authority(by)).expect(name);
        assert!(
            time > "2026-01-01T00:00:00Z".parse().unwrap(),
            "{name}: {time}"
        );
        let fraction = time.subsec_nanosecond();
        let is_fine = name.ends_with("seconds");
        assert!(is_fine || fraction == 0, "{name}: {time}");
        assert!(fraction % 1000 == 0, "{name}: {time}");
    }
}

/// OpenSSL puts the certificate into the token and names it in the signed attributes. Its tokens in PSS were signed again as
/// CMS, without that attribute.
#[test]
fn tokens_count_by_their_own_certificate_below_the_root() {
    for (name, by) in GOOD {
        let pem = String::from_utf8(file(&format!("{by}.pem"))).unwrap();
        let below = made_authority(&certificates(&pem)[1..], None);
        let verified = verify(&file(&format!("{name}.tsr")), &below);
        if name.contains("-pss-") {
            let missing = TokenError::SigningCertificate(SigningCertificateError::Missing);
            assert_eq!(verified.unwrap_err().to_string(), missing.to_string());
        } else {
            verified.expect(name);
        }
        let other = if by == "p384" { "p521" } else { "p384" };
        let pem = String::from_utf8(file(&format!("{other}.pem"))).unwrap();
        let other = made_authority(&certificates(&pem)[1..], None);
        assert!(
            verify(&file(&format!("{name}.tsr")), &other).is_err(),
            "{name}"
        );
    }
}

#[test]
fn token_counts_for_its_authority_and_its_bytes_only() {
    for (name, by) in GOOD {
        let token = Token::parse(&file(&format!("{name}.tsr"))).unwrap();
        let other = authority(if by == "p384" { "p521" } else { "p384" });
        let refused = token.verify(&file("stamped"), &other);
        assert!(
            matches!(refused, Err(TokenError::OtherSigner)),
            "{name}: {refused:?}"
        );
        let refused = token.verify(b"other bytes", &authority(by));
        assert!(
            matches!(refused, Err(TokenError::OtherBytes)),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn weak_tokens_are_refused() {
    // A key that is too short makes no authority.
    let pem = String::from_utf8(file("rsa1024.pem")).unwrap();
    assert!(TimestampAuthority::new(&certificates(&pem), None).is_err());
    let refused = verify(&file("weak-chain-sha1.tsr"), &authority("sha1"));
    assert!(matches!(refused, Err(TokenError::Chain(_))), "{refused:?}");
    for name in ["weak-digest-sha1.tsr", "weak-imprint-sha1.tsr"] {
        let refused = verify(&file(name), &authority("p256"));
        assert!(
            matches!(refused, Err(TokenError::Algorithm(_))),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn token_with_any_byte_of_what_counts_altered_is_refused() {
    for (name, by) in GOOD {
        let bytes = file(&format!("{name}.tsr"));
        let authority = authority(by);
        let mut believed = Vec::new();
        for place in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[place] ^= 1;
            if verify(&altered, &authority).is_ok() {
                believed.push(place);
            }
        }
        // Neither signed nor looked at: status, versions, the list of hashes, the certificates that came along.
        let certificates: usize = match by {
            "rsa4096" => 1900,
            "rsa2048" => 1300,
            _ => 700,
        };
        let ignored = believed.len();
        assert!(
            ignored <= certificates,
            "{name}: {ignored} of {}",
            bytes.len()
        );
        // The signed parts lie before the certificates, and the signature after them.
        let signature = bytes.len() - 60;
        assert!(believed.iter().all(|place| *place < signature), "{name}");
    }
}

#[test]
fn bytes_before_after_and_missing_make_a_token_unreadable() {
    let bytes = file("p256-sha256.tsr");
    let authority = authority("p256");
    for altered in [
        [bytes.as_slice(), &[0]].concat(),
        [&[0], bytes.as_slice()].concat(),
        bytes[..bytes.len() - 1].to_vec(),
        Vec::new(),
        b"text".to_vec(),
        [bytes.as_slice(), bytes.as_slice()].concat(),
    ] {
        let refused = verify(&altered, &authority);
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn made_token_is_believed_with_its_time() {
    let whole = Timestamp::from_second(LOG_TIME).unwrap();
    for (time, nanoseconds) in [
        (b"20260921141320Z".as_slice(), 0),
        (b"20260921141320.5Z", 500_000_000),
        (b"20260921141320.123Z", 123_000_000),
        (b"20260921141320.000001Z", 1000),
        (b"20260921141320.123456789Z", 123_456_789),
    ] {
        let stamp = Stamp {
            time: Box::leak(time.to_vec().into_boxed_slice()),
            ..Stamp::new()
        };
        let expected = whole + jiff::SignedDuration::from_nanos(nanoseconds);
        assert_eq!(stamp.verified().unwrap(), expected);
    }
}

#[test]
fn times_in_other_forms_are_unreadable() {
    for time in [
        b"20260921141320".as_slice(),
        b"202609211413Z",
        b"20260921141320.Z",
        b"20260921141320,5Z",
        b"20260921141320.1234567890Z",
        b"20260921141320+0100",
        b"20261321141320Z",
        b"20260921146020Z",
        b"19691231235959Z",
        b"2026092114132 Z",
        b"-0260921141320Z",
        b"",
    ] {
        let stamp = Stamp {
            time: Box::leak(time.to_vec().into_boxed_slice()),
            ..Stamp::new()
        };
        let refused = stamp.verified();
        let text = String::from_utf8_lossy(time);
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{text}: {refused:?}"
        );
    }
}

#[test]
fn accuracy_and_whatever_else_may_follow_the_time_are_read() {
    let accuracy = sequence(&[&tlv(2, &[1]), &tlv(0x80, &[1, 0xf4]), &tlv(0x81, &[100])]);
    let (ordering, nonce) = (tlv(1, &[0xff]), tlv(2, &[1, 2, 3]));
    let name = tlv(0xa0, &tlv(0x86, b"https://clock.example"));
    let extension = |critical: &[u8]| {
        let extension = sequence(&[&identifier("1.2.3.4"), critical, &tlv(4, b"x")]);
        tlv(0xa1, &extension)
    };
    let plain = extension(&[]);
    let with = |more: &[&[u8]]| Stamp {
        more: more.concat(),
        ..Stamp::new()
    };
    for more in [
        vec![accuracy.as_slice()],
        vec![&ordering],
        vec![&nonce],
        vec![&accuracy, &ordering, &nonce, &name, &plain],
    ] {
        assert!(with(&more).verified().is_ok(), "{more:?}");
    }
    for more in [
        // Critical, out of order, twice, unknown.
        vec![extension(&tlv(1, &[0xff])).as_slice()],
        vec![&nonce, &accuracy],
        vec![&nonce, &nonce],
        vec![&tlv(0xa2, &[])],
    ] {
        let refused = with(&more).verified();
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn token_with_other_than_one_signer_is_unreadable() {
    for signers in [0, 2] {
        let stamp = Stamp {
            signers,
            ..Stamp::new()
        };
        let refused = stamp.verified();
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn token_that_is_no_timestamp_is_unreadable() {
    const DATA: &str = "1.2.840.113549.1.7.1";
    for (content_type, attribute_type) in [
        (DATA, Some("1.2.840.113549.1.9.16.1.4")),
        ("1.2.840.113549.1.9.16.1.4", Some(DATA)),
        ("1.2.840.113549.1.9.16.1.4", None),
    ] {
        let stamp = Stamp {
            content_type,
            attribute_type,
            ..Stamp::new()
        };
        let refused = stamp.verified();
        assert!(
            matches!(refused, Err(TokenError::Malformed(_))),
            "{refused:?}"
        );
    }
}

#[test]
fn authority_must_be_for_timestamps_and_valid_at_the_time() {
    for usage in [None, Some("1.3.6.1.5.5.7.3.3"), Some("2.5.29.37.0")] {
        let stamp = Stamp {
            request: Request {
                usage,
                ..Stamp::new().request
            },
            ..Stamp::new()
        };
        let refused = stamp.verified();
        assert!(
            matches!(refused, Err(TokenError::Chain(_))),
            "{usage:?}: {refused:?}"
        );
    }
    for valid in [(60, 540), (-540, -60)] {
        let stamp = Stamp {
            request: Request {
                valid,
                ..Stamp::new().request
            },
            ..Stamp::new()
        };
        let refused = stamp.verified();
        assert!(
            matches!(refused, Err(TokenError::Chain(_))),
            "{valid:?}: {refused:?}"
        );
    }
    let time = Timestamp::from_second(LOG_TIME).unwrap();
    let before = jiff::SignedDuration::from_secs(1);
    let (token, chain) = Stamp::new().made();
    let token = Token::parse(&token).unwrap();
    for (window, counts) in [
        ((time, time), true),
        ((time - before * 9, time - before), false),
    ] {
        let window = sigstore_types::TimeRange::new(window.0, Some(window.1));
        let authority = TimestampAuthority::new(&chain, Some(window))
            .unwrap()
            .unwrap();
        assert_eq!(token.verify(STAMPED, &authority).is_ok(), counts);
    }
}

#[test]
fn answer_that_grants_nothing_is_unreadable() {
    let (token, chain) = Stamp::new().made();
    let authority = made_authority(&chain, None);
    for (status, counts) in [(0, true), (1, true), (2, false), (3, false)] {
        let answer = sequence(&[&sequence(&[&tlv(2, &[status])]), &token]);
        let verified = Token::parse(&answer).and_then(|it| it.verify(STAMPED, &authority));
        assert_eq!(verified.is_ok(), counts, "{status}: {verified:?}");
    }
    let empty = sequence(&[&sequence(&[&tlv(2, &[0])])]);
    assert!(Token::parse(&empty).is_err());
}
