use x509_cert::der::Tag;
use x509_cert::der::asn1::{Any, Ia5String, OctetString};

use super::*;

fn extension(identifier: &str, value: Vec<u8>) -> Extension {
    Extension {
        extn_id: ObjectIdentifier::new_unwrap(identifier),
        critical: false,
        extn_value: OctetString::new(value).unwrap(),
    }
}

fn names(names: Vec<GeneralName>) -> Extension {
    extension("2.5.29.17", SubjectAltName(names).to_der().unwrap())
}

fn uri(text: &str) -> GeneralName {
    GeneralName::UniformResourceIdentifier(Ia5String::new(text).unwrap())
}

fn other_name(identifier: &str, text: &str) -> GeneralName {
    GeneralName::OtherName(OtherName {
        type_id: ObjectIdentifier::new_unwrap(identifier),
        value: Any::new(Tag::Utf8String, text.as_bytes()).unwrap(),
    })
}

fn issuer(arc: u32, text: &str) -> Extension {
    let value = if arc < 8 {
        text.as_bytes().to_vec()
    } else {
        Utf8StringRef::new(text).unwrap().to_der().unwrap()
    };
    extension(&format!("1.3.6.1.4.1.57264.1.{arc}"), value)
}

#[test]
fn exactly_one_name() {
    let email = GeneralName::Rfc822Name(Ia5String::new("a@example.com").unwrap());
    let host = GeneralName::DnsName(Ia5String::new("example.com").unwrap());
    for (name, text) in [
        (uri("https://example.com/a"), "https://example.com/a"),
        (email.clone(), "a@example.com"),
        (host, "example.com"),
        (other_name("1.3.6.1.4.1.57264.1.7", "user"), "user"),
    ] {
        assert_eq!(identity(&[names(vec![name])]).unwrap(), text);
    }
    let one = names(vec![uri("https://example.com/a")]);
    for extensions in [
        vec![],
        vec![names(vec![])],
        vec![names(vec![uri("https://example.com/a"), email])],
        vec![one.clone(), one],
        vec![names(vec![other_name("1.3.6.1.4.1.57264.1.9", "user")])],
        vec![extension("2.5.29.17", vec![0])],
    ] {
        assert!(identity(&extensions).is_err(), "{extensions:?}");
    }
}

#[test]
fn exactly_one_issuer() {
    for extensions in [
        vec![issuer(8, "https://a")],
        vec![issuer(1, "https://a")],
        vec![issuer(1, "https://a"), issuer(8, "https://a")],
    ] {
        assert_eq!(
            oidc_issuer(&extensions).unwrap().as_deref(),
            Some("https://a")
        );
    }
    for extensions in [vec![], vec![issuer(9, "https://a")]] {
        assert_eq!(oidc_issuer(&extensions), Ok(None));
    }
    for extensions in [
        vec![issuer(1, "https://b"), issuer(8, "https://a")],
        vec![issuer(8, "https://a"), issuer(8, "https://a")],
        vec![issuer(1, "https://a"), issuer(1, "https://b")],
        vec![
            issuer(1, "https://a"),
            extension("1.3.6.1.4.1.57264.1.8", b"https://a".to_vec()),
        ],
    ] {
        assert!(oidc_issuer(&extensions).is_err(), "{extensions:?}");
    }
}
