//! What becomes of answers that are not keys, and of no answers.

use super::*;

#[tokio::test]
async fn refusals_say_what_to_grant() {
    let kms = FakeKms::with([1]).await;
    let denied = status(403, "PERMISSION_DENIED", "Permission denied on\nresource");
    kms.change(|held| held.list = Some(denied.clone()));
    let error = fetch(&kms, &unpinned()).await.unwrap_err().to_string();
    assert!(error.contains("Permission denied on resource"), "{error}");
    assert!(error.contains("cloudkms.cryptoKeyVersions.list"), "{error}");
    kms.change_version(1, |version| version.reply = Some(denied));
    let error = fetch(&kms, &pinned(1)).await.unwrap_err();
    assert!(matches!(error, Error::Denied { status: 403, .. }));
    let error = error.to_string();
    assert!(error.contains("roles/cloudkms.publicKeyViewer"), "{error}");
    // Where the API is switched off, a grant does not help.
    let disabled = json!({"error": {"code": 403, "status": "PERMISSION_DENIED",
        "message": "Cloud KMS API has not been used in project 1 before or it is disabled.",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED"}]}});
    kms.change_version(1, |version| {
        version.reply = Some(Reply::Json(403, disabled))
    });
    let error = fetch(&kms, &pinned(1)).await.unwrap_err().to_string();
    assert!(error.contains("has not been used"), "{error}");
    assert!(!error.contains("roles/"), "{error}");
}

#[tokio::test]
async fn statuses_are_told_apart() {
    let kms = FakeKms::with([1]).await;
    type Is = fn(&Error) -> bool;
    let unavailable: Is = |error| matches!(error, Error::Unavailable { .. });
    let denied: Is = |error| matches!(error, Error::Denied { .. });
    let not_found: Is = |error| matches!(error, Error::NotFound { .. });
    for (reply, is) in [
        (status(401, "UNAUTHENTICATED", "who?"), denied),
        (status(400, "INVALID_ARGUMENT", "what?"), denied),
        (status(400, "FAILED_PRECONDITION", "off"), not_found),
        (status(404, "NOT_FOUND", "where?"), not_found),
        (Reply::Text(404, "<html>".to_owned()), unavailable),
        (status(429, "RESOURCE_EXHAUSTED", "quota"), unavailable),
        (status(500, "INTERNAL", "oops"), unavailable),
        (Reply::Text(502, "<html>".to_owned()), unavailable),
        (status(503, "UNAVAILABLE", "later"), unavailable),
    ] {
        kms.change_version(1, |version| version.reply = Some(reply.clone()));
        let error = fetch(&kms, &pinned(1)).await.unwrap_err();
        assert!(is(&error), "{reply:?}: {error}");
        let host = rest::host(&kms.server.url);
        assert!(error.to_string().contains(&host), "{error}");
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let kms = FakeKms::with([1]).await;
    let elsewhere = FakeKms::with([1]).await;
    let location = format!(
        "{}v1/{KEY}/cryptoKeyVersions/1/publicKey",
        elsewhere.server.url
    );
    kms.change_version(1, |version| version.reply = Some(Reply::Redirect(location)));
    let error = fetch(&kms, &pinned(1)).await.unwrap_err();
    assert!(error.to_string().contains("redirects"), "{error}");
    assert!(elsewhere.server.take().is_empty());
}

#[tokio::test]
async fn answers_have_an_end_in_bytes_and_time() {
    let kms = FakeKms::with([1]).await;
    kms.change_version(1, |version| version.reply = Some(Reply::Endless));
    let error = fetch(&kms, &pinned(1)).await.unwrap_err();
    assert!(
        error.to_string().contains("longer than 262144 bytes"),
        "{error}"
    );
    kms.change_version(1, |version| version.reply = Some(Reply::Stalls));
    let deadline = Instant::now() + Duration::from_millis(200);
    let fetched = kms.service.fetch(&pinned(1), deadline).await;
    let error = fetched.unwrap_err();
    assert!(error.to_string().contains("in time"), "{error}");
    assert!(deadline.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_an_outage() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let deadline = Instant::now() + Duration::from_secs(5);
    let service = service(&Url::parse(&url).unwrap());
    let error = service.fetch(&pinned(1), deadline).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn an_endpoint_may_have_a_path() {
    let kms = Server::start(|asked| Reply::Text(500, asked.path.clone())).await;
    for path in ["proxy", "proxy/"] {
        let url = kms.url.join(path).unwrap();
        let deadline = Instant::now() + Duration::from_secs(5);
        service(&url).fetch(&pinned(1), deadline).await.unwrap_err();
        let expected = public_key(1).replace("/v1/", "/proxy/v1/");
        assert_eq!(kms.lines(), [expected]);
    }
}

#[tokio::test]
async fn what_a_service_says_is_shortened() {
    let kms = FakeKms::with([1]).await;
    let long = status(400, "INVALID_ARGUMENT", &"word ".repeat(1000));
    kms.change_version(1, |version| version.reply = Some(long));
    let error = fetch(&kms, &pinned(1)).await.unwrap_err().to_string();
    assert!((400..500).contains(&error.len()), "{error}");
}

/// Credentials whose library has a bug.
#[derive(Debug)]
struct Panicking;

impl CredentialsProvider for Panicking {
    async fn headers(
        &self,
        _extensions: Extensions,
    ) -> Result<CacheableResource<HeaderMap>, CredentialsError> {
        panic!("as told")
    }

    async fn universe_domain(&self) -> Option<String> {
        None
    }
}

impl AccessTokenCredentialsProvider for Panicking {
    async fn access_token(&self) -> Result<AccessToken, CredentialsError> {
        panic!("as told")
    }
}

#[tokio::test]
async fn a_panic_of_the_credentials_is_a_failure() {
    let token = GoogleToken::from_credentials(AccessTokenCredentials::from(Panicking));
    let error = token.token().await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error}");
    assert!(error.to_string().contains("a bug"), "{error}");
}
