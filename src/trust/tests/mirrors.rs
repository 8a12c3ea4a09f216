//! What a mirror may say, how much, and where it may be.

use std::collections::BTreeMap;

use super::repository::*;
use crate::trust::mirror::SharedClient;
use crate::trust::repository::Repository as Client;
use crate::trust::roots::{Error, Roots, Source};
use crate::trust::{AddressError, mirror};

#[tokio::test]
async fn answers_without_end_are_cut() {
    let repository = Repository::published().await;
    repository.answer("timestamp.json", Answer::Endless);
    let roots = repository.open(start());
    let error = roots.refresh(NAME, start()).await.unwrap_err();
    assert!(text(&error).contains("too large"), "{}", text(&error));
}

#[tokio::test]
async fn one_visit_has_a_budget() {
    let repository = Repository::published().await;
    // Roots within their own limit, more than a visit may read.
    for version in 2..60_u64 {
        let mut root = repository.roles.root(version);
        root.resize(500_000, b' ');
        repository.put(&format!("{version}.root.json"), root);
    }
    let client = mirror::client(&repository.url).unwrap();
    let mirror = mirror::Mirror::new(repository.url.clone(), client);
    let mut read = 0;
    for version in 2..60_u64 {
        let name = format!("{version}.root.json");
        match sigstore_tuf::Repository::fetch_metadata(&mirror, &name, 512_000).await {
            Ok(bytes) => read += bytes.unwrap().len() as u64,
            Err(_) => break,
        }
    }
    assert!(read <= mirror::REFRESH_BYTES_MAX, "{read}");
    assert!(read > mirror::REFRESH_BYTES_MAX - 512_000, "{read}");
}

#[tokio::test]
async fn redirects_stay_with_the_origin() {
    let repository = Repository::published().await;
    let elsewhere = Repository::published().await;
    let roots = repository.open(start());
    let to = elsewhere.url.join("timestamp.json").unwrap();
    repository.answer("timestamp.json", Answer::Redirect(to.to_string()));
    assert!(roots.refresh(NAME, start()).await.is_err());
    assert!(elsewhere.asked().is_empty());
    repository.publish(&Publication::new(1, FIRST));
    repository.answer("1.targets.json", Answer::Redirect("/tuf/moved".to_owned()));
    repository.answer("moved", Answer::Redirect("/tuf/moved".to_owned()));
    assert!(roots.refresh(NAME, start()).await.is_err());
    let asked = repository.asked();
    let moved = asked.iter().filter(|path| *path == "/tuf/moved");
    assert!(matches!(moved.count(), 1..5));
    let mut publication = Publication::new(2, FIRST);
    publication.targets = 2;
    repository.publish(&publication);
    repository.answer(
        "timestamp.json",
        Answer::Redirect("/tuf/latest.json".to_owned()),
    );
    assert!(roots.refresh(NAME, start()).await.is_err());
    repository.publish(&publication);
    repository.answer("3.root.json", Answer::Redirect("/tuf/none".to_owned()));
    roots.refresh(NAME, start()).await.unwrap();
}

#[tokio::test]
async fn one_visit_has_its_time() {
    let repository = Repository::published().await;
    repository.answer("timestamp.json", Answer::Never);
    let initial = repository.roles.root(1);
    let client = SharedClient::default();
    let mut client = Client::new(&repository.url, initial, Source::TARGET, client).unwrap();
    client.time_max = std::time::Duration::from_millis(200);
    let nothing = client.open(start()).unwrap();
    let (_, outcome) = client.fetch(&nothing, start()).await;
    assert!(matches!(outcome, Err(Error::TimeOut)), "{outcome:?}");
}

#[test]
fn plain_http_goes_through_no_proxy() {
    for (url, is_direct) in [
        ("http://127.0.0.1:1/", true),
        ("http://localhost/tuf/", true),
        ("https://localhost/tuf/", false),
        ("https://tuf.example/", false),
    ] {
        assert_eq!(mirror::is_direct(&url.parse().unwrap()), is_direct, "{url}");
    }
}

#[test]
fn addresses_are_https_or_loopback() {
    let base = |text: &str| mirror::base(&text.parse().unwrap());
    assert_eq!(
        base("https://tuf.example/a").unwrap().as_str(),
        "https://tuf.example/a/"
    );
    for text in ["http://127.0.0.1:1/", "http://[::1]/", "http://localhost/x"] {
        assert!(base(text).is_ok(), "{text}");
    }
    for text in [
        "http://tuf.example/",
        "http://10.0.0.1/",
        "http://localhost.example/",
    ] {
        assert_eq!(base(text), Err(AddressError::PlainHttp), "{text}");
    }
    assert_eq!(base("file:///etc"), Err(AddressError::Scheme));
    for text in [
        "https://a:b@tuf.example/",
        "https://tuf.example/?a",
        "https://tuf.example/#a",
    ] {
        assert_eq!(base(text), Err(AddressError::Extra), "{text}");
    }
}

#[test]
fn address_is_checked_when_opened() {
    let sources = BTreeMap::from([(
        "a".to_owned(),
        Source::BuiltIn {
            mirror: Some("http://tuf.example/".parse().unwrap()),
        },
    )]);
    let opened = Roots::open(sources, None, max_stale(), start());
    assert!(matches!(opened, Err(Error::Address { .. })));
}
