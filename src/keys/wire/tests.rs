use reqwest::Method;
use url::Url;

use super::*;
use crate::keys::fake_service::{FakeService, Reply, soon};
use crate::keys::limits::{ANSWER_BYTES_MAX, MESSAGE_CHARS_MAX};

fn wire() -> Wire {
    Wire::new("the service", None).unwrap()
}

fn get(url: &Url) -> Request {
    Request::new(Method::GET, url.clone())
}

#[tokio::test]
async fn asks_a_second_time_when_a_failure_may_pass() {
    for status in [429, 500, 503] {
        let replies = [Reply::new(status, "busy"), Reply::ok("good")];
        let service = FakeService::with_replies(replies).await;
        let answer = wire().send(get(&service.url), soon()).await.unwrap();
        assert_eq!(answer.body, b"good");
        let service = FakeService::start(move |_| Reply::new(status, "busy")).await;
        let error = wire().send(get(&service.url), soon()).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        assert!(error.to_string().contains("busy"), "{error}");
        assert_eq!(service.asked().len(), 2);
    }
}

#[tokio::test]
async fn asks_once_when_the_answer_is_definite() {
    for status in [200, 400, 403, 404] {
        let service = FakeService::start(move |_| Reply::new(status, "no")).await;
        let answer = wire().send(get(&service.url), soon()).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.is_success(), status == 200);
        assert_eq!(service.asked().len(), 1);
    }
}

#[tokio::test]
async fn follows_no_redirect() {
    let elsewhere = FakeService::start(|_| Reply::ok("elsewhere")).await;
    let location = elsewhere.url.to_string();
    let reply = Reply::new(302, "").with_header("location", &location);
    let service = FakeService::start(move |_| reply.clone()).await;
    let error = wire().send(get(&service.url), soon()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(elsewhere.asked().is_empty());
}

#[tokio::test]
async fn reads_no_more_than_allowed() {
    for (length, is_read) in [(ANSWER_BYTES_MAX, true), (ANSWER_BYTES_MAX + 1, false)] {
        let service = FakeService::start(move |_| Reply::ok("x".repeat(length))).await;
        let sent = wire().send(get(&service.url), soon()).await;
        assert_eq!(sent.is_ok(), is_read, "{length}");
    }
}

#[tokio::test]
async fn gives_up_at_the_deadline() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let began = Instant::now();
    let deadline = began + Duration::from_millis(300);
    let error = wire().send(get(&url), deadline).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn errors_hide_the_address_that_was_asked() {
    let url = Url::parse("http://127.0.0.1:1/path?secret=hunter2").unwrap();
    let error = wire().send(get(&url), soon()).await.unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("127.0.0.1:1") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn endpoints_are_encrypted_or_local() {
    for (text, is_good) in [
        ("https://kms.example/", true),
        ("https://kms.example:8443/prefix", true),
        ("http://127.0.0.1:4566/", true),
        ("http://[::1]:4566/", true),
        ("http://localhost:4566/", true),
        ("http://kms.localhost/", false),
        ("http://kms.example/", false),
        ("http://localhost.example/", false),
        ("http://10.0.0.1/", false),
        ("ftp://localhost/", false),
        ("https://user@kms.example/", false),
        ("https://:password@kms.example/", false),
        ("https://kms.example/?query", false),
        ("https://kms.example/#fragment", false),
    ] {
        let checked = rest::check_endpoint("the service", &Url::parse(text).unwrap());
        assert_eq!(checked.is_ok(), is_good, "{text}");
    }
}

#[test]
fn trusts_no_broken_certificate() {
    let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(Wire::new("the service", Some(broken)).is_err());
}

#[test]
fn repeats_little_of_what_is_said() {
    assert_eq!(shortened(" one\ntwo\u{1b}[31m "), "one two [31m");
    assert_eq!(
        shortened(&"x".repeat(1000)).chars().count(),
        MESSAGE_CHARS_MAX + 1
    );
}
