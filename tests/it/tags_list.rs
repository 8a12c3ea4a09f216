//! The list of tags, in pages, for repositories that a policy covers.

use serde_json::json;

use crate::support::*;

async fn scene() -> Scene {
    let scene = Scene::start().await;
    let image = Image::new("tagged");
    for tag in ["a", "b", "c", "d", "e"] {
        scene.registry.push_tagged("apps/web", tag, &image);
    }
    scene
}

fn path(scene: &Scene, name: &str, query: &str) -> String {
    format!("/v2/{}/tags/list{query}", scene.repository(name))
}

#[tokio::test]
async fn is_the_upstream_s() {
    let scene = scene().await;
    let answer = scene.proxy.get(&path(&scene, "apps/web", "")).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json")
    );
    assert_eq!(answer.json()["tags"], json!(["a", "b", "c", "d", "e"]));
}

/// All tags, as a client collects them that follows the links, and how many pages it got.
async fn collect(scene: &Scene, first: &str) -> (Vec<String>, usize) {
    let mut tags: Vec<String> = Vec::new();
    let mut next = Some(first.to_owned());
    let mut pages = 0;
    while let Some(path) = next.filter(|_| pages < 20) {
        let answer = scene.proxy.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {answer}");
        tags.extend(serde_json::from_value::<Vec<String>>(answer.json()["tags"].clone()).unwrap());
        next = answer.next_page();
        pages += 1;
        let here = first.split('?').next().unwrap();
        let stays = |path: &String| path.split('?').next() == Some(here);
        assert!(next.as_ref().is_none_or(stays), "{next:?}");
    }
    (tags, pages)
}

#[tokio::test]
async fn comes_in_pages_that_lead_back_here() {
    let scene = scene().await;
    let first = path(&scene, "apps/web", "?n=2");
    let (tags, pages) = collect(&scene, &first).await;
    assert_eq!((tags.concat().as_str(), pages), ("abcde", 3));
    let answer = scene
        .proxy
        .get(&path(&scene, "apps/web", "?n=2&last=c"))
        .await;
    assert_eq!(answer.json()["tags"], json!(["d", "e"]));
}

#[tokio::test]
async fn pages_go_on_by_the_query_that_the_upstream_links_to() {
    let scene = Scene::with(|configuration, registry| {
        let route = format!("{}/apps", registry.name());
        configuration.set("routes", json!({"team": route}))
    })
    .await;
    let image = Image::new("tagged");
    for tag in ["a", "b", "c", "d", "e"] {
        scene.registry.push_tagged("apps/web", tag, &image);
    }
    let host = scene.registry.name();
    let firsts = [
        path(&scene, "apps/web", ""),
        format!("/v2/apps/web/tags/list?ns={host}"),
        format!("/v2/apps/web/tags/list?n=2&ns={host}&last="),
        "/v2/team/web/tags/list?n=2".to_owned(),
    ];
    let own = format!("http://{host}");
    for by in [
        PagingBy::LastEntry,
        PagingBy::NextPage,
        PagingBy::OpaqueLast,
    ] {
        for origin in [
            "",
            &own,
            "http://registry.internal:5000",
            "https://127.0.0.1",
        ] {
            let paging = Paging::new(by, 2).at(origin);
            scene.registry.set_paging("apps/web", paging);
            for first in &firsts {
                let (mut tags, pages) = collect(&scene, first).await;
                tags.sort_unstable();
                let found = (tags.concat(), pages);
                assert_eq!(found, ("abcde".to_owned(), 3), "{by:?} {origin} {first}");
            }
        }
    }
}

#[tokio::test]
async fn ends_where_the_upstream_links_to_the_same_page_again() {
    let scene = scene().await;
    let paging = Paging::new(PagingBy::Nothing, 2);
    scene.registry.set_paging("apps/web", paging);
    let (tags, pages) = collect(&scene, &path(&scene, "apps/web", "")).await;
    assert_eq!((tags.concat().as_str(), pages), ("abab", 2));
}

#[tokio::test]
async fn page_whose_link_is_not_usable_is_served_with_a_warning() {
    let scene = scene().await;
    for (link, is_whole) in [
        ("</v2/apps/web/tags/list>; rel=next", true),
        ("</inner/tags/list>; rel=next", false),
        ("<http://>; rel=next", false),
        ("<?last=%0d%0aX-Evil:%20yes>; rel=next", false),
    ] {
        scene.registry.lift_faults();
        scene
            .registry
            .fault("/tags/list", Fault::Header("Link", link));
        let answer = scene.proxy.get(&path(&scene, "apps/web", "")).await;
        if is_whole {
            assert_eq!(answer.header("warning"), "", "{link}");
        } else {
            let warning = answer.header("warning");
            assert!(warning.contains("goes on"), "{link}: {answer}");
        }
        assert_eq!(answer.status, 200, "{link}: {answer}");
        assert_eq!(answer.header("link"), "", "{link}");
    }
}

#[tokio::test]
async fn empty_n_and_last_count_as_absent() {
    let scene = scene().await;
    for query in ["?n=", "?last=", "?n=&last=", "?n&last"] {
        scene.registry.forget_requests();
        let answer = scene.proxy.get(&path(&scene, "apps/web", query)).await;
        assert_eq!(
            answer.json()["tags"],
            json!(["a", "b", "c", "d", "e"]),
            "{query}"
        );
        let asked = scene.registry.requests();
        assert_eq!(asked[0].path, "/v2/apps/web/tags/list", "{query}");
    }
}

#[tokio::test]
async fn query_of_a_client_changes_the_query_only() {
    let scene = scene().await;
    for query in [
        "last=../../../_catalog",
        "last=%2F..%2F..%2Fother%2Fweb%2Ftags%2Flist",
        "x=@evil.example/",
        "//evil.example/v2/",
        "last=a&n=1;ns=evil.example",
    ] {
        scene.registry.forget_requests();
        let answer = scene
            .proxy
            .get(&path(&scene, "apps/web", &format!("?{query}")))
            .await;
        assert_eq!(
            answer.status,
            if query.contains("n=1;") { 400 } else { 200 },
            "{query}: {answer}"
        );
        for asked in scene.registry.requests() {
            assert_eq!(asked.path, format!("/v2/apps/web/tags/list?{query}"));
        }
    }
    scene.registry.forget_requests();
    let long = format!("last={}", "x".repeat(8 * 1024));
    for query in [
        "last=%0d%0aX-Evil:%20yes",
        "%00",
        "n=many",
        "ns=evil.example",
        &long,
    ] {
        let answer = scene
            .proxy
            .get(&path(&scene, "apps/web", &format!("?{query}")))
            .await;
        assert!(matches!(answer.status, 400 | 403), "{query}: {answer}");
    }
    assert_eq!(scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn of_a_repository_that_no_policy_covers_is_refused() {
    let scene = scene().await;
    scene.unsigned("elsewhere/web", "v1");
    scene.registry.forget_requests();
    let answer = scene.proxy.get(&path(&scene, "elsewhere/web", "")).await;
    assert_denied(&answer, "no_policy");
    assert_eq!(scene.registry.requests().len(), 0);
}

#[tokio::test]
async fn fails_as_the_upstream_does() {
    let scene = scene().await;
    let path = path(&scene, "apps/web", "");
    for (fault, status) in [
        (Fault::Status(404), 404),
        (Fault::Status(403), 403),
        (Fault::Status(500), 503),
        (Fault::Throttled(1), 503),
        (Fault::Reset, 503),
    ] {
        scene.registry.fault("/tags/list", fault.clone());
        let answer = scene.proxy.get(&path).await;
        assert_eq!(answer.status, status, "{fault:?}: {answer}");
        match status {
            404 => drop(assert_not_found(&answer, "NAME_UNKNOWN")),
            403 => drop(assert_denied(&answer, "upstream_denied")),
            _ => drop(assert_unavailable(&answer)),
        }
        scene.registry.lift_faults();
        tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    }
    assert_eq!(scene.proxy.get(&path).await.status, 200);
}
