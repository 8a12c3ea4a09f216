//! What each status means, and lists.

use super::*;

async fn with_status(status: u16) -> Server {
    Server::start(move |_| Reply::status(status)).await
}

#[tokio::test]
async fn statuses_of_content() {
    for (status, expected, requests) in [
        (404, "not_found", 1),
        (401, "denied", 1),
        (403, "denied", 1),
        (400, "failed", 1),
        (405, "failed", 1),
        (410, "failed", 1),
        (416, "failed", 1),
        (204, "failed", 1),
        (304, "failed", 1),
        (500, "failed", 2),
        (501, "failed", 1),
        (502, "failed", 2),
        (503, "failed", 2),
        (504, "failed", 2),
    ] {
        let server = with_status(status).await;
        let limits = Limits {
            upstream_attempts_max: 2,
            ..limits()
        };
        let upstream = build(
            &server.host(),
            plain(credentials::Credentials::Anonymous),
            limits,
        )
        .unwrap();
        let error = pull(&upstream, &server).await.unwrap_err();
        assert_eq!(observer::outcome(&error), expected, "{status}");
        assert_eq!(server.seen().len(), requests, "{status}");
    }
}

#[tokio::test]
async fn a_denial_says_its_status() {
    let server = with_status(403).await;
    let error = pull(&upstream(&server), &server).await.unwrap_err();
    assert!(
        matches!(error, Error::Denied { status: 403, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn lists_and_referrers_may_be_unsupported() {
    for (status, expected) in [
        (400, "unsupported"),
        (405, "unsupported"),
        (406, "unsupported"),
        (501, "unsupported"),
        (404, "not_found"),
        (206, "failed"),
        (410, "failed"),
    ] {
        let server = with_status(status).await;
        let upstream = upstream(&server);
        let error = upstream
            .tags(&repository(&server), None, None, soon())
            .await
            .unwrap_err();
        assert_eq!(observer::outcome(&error), expected, "{status}");
        let digest = Digest::sha256(b"");
        let error = upstream
            .referrers(&repository(&server), &digest, None, soon())
            .await
            .unwrap_err();
        assert_eq!(observer::outcome(&error), expected, "{status}");
    }
}

#[tokio::test]
async fn not_found_tells_an_unknown_repository() {
    for (code, expected) in [("NAME_UNKNOWN", true), ("MANIFEST_UNKNOWN", false)] {
        let server = Server::start(move |_| {
            Reply::Answer(
                404,
                Vec::new(),
                format!(r#"{{"errors": [{{"code": "{code}"}}]}}"#).into(),
            )
        })
        .await;
        let error = pull(&upstream(&server), &server).await.unwrap_err();
        assert!(
            matches!(error, Error::NotFound { name_unknown, .. } if name_unknown == expected),
            "{error:?}"
        );
    }
    let server = Server::start(|_| {
        let padding = " ".repeat(64 * 1024);
        Reply::Answer(
            404,
            Vec::new(),
            format!(r#"{{"errors": [{{"code": "NAME_UNKNOWN"}}]{padding}}}"#).into(),
        )
    })
    .await;
    let error = pull(&upstream(&server), &server).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotFound {
                name_unknown: false,
                ..
            }
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn tags_are_asked_for_by_page() {
    let server = Server::start(|_| {
        Reply::ok("{}")
            .with("Content-Type", "application/json")
            .with(
                "Link",
                r#"</v2/org/app/tags/list?last=b%2Fc&n=2>; rel="next""#,
            )
    })
    .await;
    let page = upstream(&server)
        .tags(&repository(&server), Some(2), Some("a&b"), soon())
        .await
        .unwrap();
    assert_eq!(
        server.seen()[0].target,
        "/v2/org/app/tags/list?n=2&last=a%26b"
    );
    assert_eq!(
        (&page.bytes[..], page.content_type.as_str()),
        (&b"{}"[..], "application/json")
    );
    assert_eq!(
        page.next.as_deref(),
        Some("/v2/org/app/tags/list?last=b%2Fc&n=2")
    );
}

#[tokio::test]
async fn referrers_are_followed_page_by_page() {
    let server = Server::start(|request| {
        if request.target.contains('?') {
            return Reply::ok("2");
        }
        Reply::ok("1").with("Link", "<?page=2>; rel=next")
    })
    .await;
    let upstream = upstream(&server);
    let digest = Digest::sha256(b"");
    let first = upstream
        .referrers(&repository(&server), &digest, None, soon())
        .await
        .unwrap();
    let path = format!("/v2/org/app/referrers/{digest}");
    assert_eq!(first.next, Some(format!("{path}?page=2")));
    let second = upstream
        .referrers(&repository(&server), &digest, first.next.as_deref(), soon())
        .await
        .unwrap();
    assert_eq!((&second.bytes[..], second.next), (&b"2"[..], None));
    assert_eq!(server.seen()[0].target, path);
    assert_eq!(
        server.seen()[0].header("accept"),
        Some(crate::oci::media_type::OCI_INDEX)
    );
}

#[tokio::test]
async fn paging_never_leaves_the_upstream() {
    let foreign = Server::start(|_| Reply::ok("{}")).await;
    let link = format!("<{}>; rel=next", foreign.url("/v2/org/app/tags/list"));
    let server = Server::start(move |_| Reply::ok("{}").with("Link", &link)).await;
    let upstream = upstream(&server);
    let error = upstream
        .tags(&repository(&server), None, None, soon())
        .await
        .unwrap_err();
    assert!(is_failed(&error, "another host"), "{error:?}");
    let next = foreign.url("/");
    let error = upstream
        .referrers(
            &repository(&server),
            &Digest::sha256(b""),
            Some(&next),
            soon(),
        )
        .await
        .unwrap_err();
    assert!(is_failed(&error, "another host"), "{error:?}");
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn the_observer_hears_how_calls_ended() {
    let server = Server::start(|request| match request.method.as_str() {
        "HEAD" => Reply::status(404),
        _ => Reply::ok("{}"),
    })
    .await;
    let outcomes = Arc::new(Outcomes::default());
    let hosts = [(server.host(), plain(credentials::Credentials::Anonymous))].into();
    let config = Config {
        hosts,
        proxy: no_proxy(),
    };
    let observer: Arc<dyn Observer> = Arc::<Outcomes>::clone(&outcomes);
    let upstream = HttpUpstream::new(config, Arc::new(limits()), observer).unwrap();
    pull_for(&upstream, &server, Purpose::CosignTag)
        .await
        .unwrap();
    upstream
        .head_blob(&repository(&server), &Digest::sha256(b""), soon())
        .await
        .unwrap_err();
    let expected = [
        (server.host(), Purpose::CosignTag, "ok"),
        (server.host(), Purpose::Blob, "not_found"),
    ];
    assert_eq!(*outcomes.0.lock().unwrap(), expected);
}
