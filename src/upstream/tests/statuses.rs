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
        (410, "not_found", 1),
        (400, "unexpected", 1),
        (402, "unexpected", 1),
        (405, "unexpected", 1),
        (406, "unexpected", 1),
        (409, "unexpected", 1),
        (416, "unexpected", 1),
        (418, "unexpected", 1),
        (451, "unexpected", 1),
        (203, "unexpected", 1),
        (204, "unexpected", 1),
        (206, "unexpected", 1),
        (300, "unexpected", 1),
        (304, "unexpected", 1),
        (408, "failed", 2),
        (425, "failed", 2),
        (500, "failed", 2),
        (501, "failed", 1),
        (502, "failed", 2),
        (503, "failed", 2),
        (504, "failed", 2),
        (505, "failed", 1),
        (521, "failed", 2),
        (529, "failed", 2),
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
        assert_eq!(error.is_transient(), expected == "failed", "{status}");
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
        (410, "not_found"),
        (206, "unexpected"),
        (409, "unexpected"),
        (425, "failed"),
        (520, "failed"),
    ] {
        let server = with_status(status).await;
        let upstream = upstream(&server);
        let error = upstream
            .tags(&repository(&server), None, soon())
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

fn page_query(text: &str) -> PageQuery {
    PageQuery::parse(text).unwrap().unwrap()
}

#[tokio::test]
async fn tags_are_asked_for_by_the_query_of_the_page() {
    let server = Server::start(|_| {
        Reply::ok("{}")
            .with("Content-Type", "application/json")
            .with("Link", r#"</inner/tags/list?last=b%2Fc&n=2>; rel="next""#)
    })
    .await;
    let upstream = upstream(&server);
    for (query, expected) in [
        (None, ""),
        (Some("n=2&last=a%26b"), "?n=2&last=a%26b"),
        (Some("next_page=/../../x?y"), "?next_page=/../../x?y"),
        (Some("@evil.example/"), "?@evil.example/"),
        (Some("a=#b"), "?a=%23b"),
    ] {
        let page = upstream
            .tags(&repository(&server), query.map(page_query).as_ref(), soon())
            .await
            .unwrap();
        assert_eq!(
            server.seen().last().unwrap().target,
            format!("/v2/org/app/tags/list{expected}")
        );
        assert_eq!(
            (&page.bytes[..], page.content_type.as_str()),
            (&b"{}"[..], "application/json")
        );
        assert_eq!(page.next, NextPage::At(page_query("last=b%2Fc&n=2")));
    }
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
    assert_eq!(first.next, NextPage::At(page_query("page=2")));
    let mut paging = Paging::default();
    let query = paging.follow(first.next).unwrap();
    let second = upstream
        .referrers(&repository(&server), &digest, query, soon())
        .await
        .unwrap();
    assert_eq!(
        (&second.bytes[..], second.next),
        (&b"2"[..], NextPage::None)
    );
    let path = format!("/v2/org/app/referrers/{digest}");
    assert_eq!(server.seen()[0].target, path);
    assert_eq!(server.seen()[1].target, format!("{path}?page=2"));
    assert_eq!(
        server.seen()[0].header("accept"),
        Some(crate::oci::media_type::OCI_INDEX)
    );
}

#[tokio::test]
async fn paging_never_leaves_the_upstream() {
    let foreign = Server::start(|_| Reply::ok("{}")).await;
    let link = format!(
        "<{}>; rel=next",
        foreign.url("/v2/org/app/tags/list?last=x")
    );
    let server = Server::start(move |_| Reply::ok("{}").with("Link", &link)).await;
    let upstream = upstream(&server);
    let mut paging = Paging::default();
    let page = upstream
        .tags(&repository(&server), None, soon())
        .await
        .unwrap();
    let query = paging.follow(page.next).unwrap();
    let page = upstream
        .tags(&repository(&server), query, soon())
        .await
        .unwrap();
    assert_eq!(paging.follow(page.next), Err(PagingError::Circle));
    assert_eq!(server.seen_at("/v2/org/app/tags/list?last=x").len(), 1);
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
        .head_manifest(&repository(&server), &tag("v1"), Purpose::Manifest, soon())
        .await
        .unwrap_err();
    let expected = [
        (server.host(), Purpose::CosignTag, "ok"),
        (server.host(), Purpose::Manifest, "not_found"),
    ];
    assert_eq!(*outcomes.0.lock().unwrap(), expected);
}
