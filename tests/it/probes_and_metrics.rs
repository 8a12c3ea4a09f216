//! What an orchestrator and an on-call engineer look at.

use crate::support::*;

#[tokio::test]
async fn probes_answer() {
    let scene = Scene::start().await;
    for path in ["/livez", "/readyz"] {
        let answer = scene.proxy.admin(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer}");
    }
    let answer = scene.proxy.get("/livez").await;
    assert_ne!(answer.status, 200, "probes are the admin listener's");
    let answer = scene.proxy.get("/metrics").await;
    assert_ne!(answer.status, 200, "metrics are the admin listener's");
}

#[tokio::test]
async fn readiness_names_nothing_without_the_token() {
    let scene = Scene::with(|configuration, _| {
        let server =
            serde_json::json!({ "admin_listen": "0.0.0.0", "admin_token": "secret-token" });
        configuration.set("server", server)
    })
    .await;
    let config = scene.proxy.config_path();
    std::fs::write(&config, "policies: 17\n").unwrap();
    scene.proxy.signal_hangup();
    let port = scene.proxy.admin_port();
    let with_token = async |token: &str| {
        let token = format!("Bearer {token}");
        send(port, "GET", "/readyz", &[("Authorization", &token)]).await
    };
    let started = std::time::Instant::now();
    let problems = loop {
        let told = with_token("secret-token").await.json()["configuration"]["problems"].clone();
        if told.as_array().is_some_and(|problems| !problems.is_empty()) {
            break told;
        }
        assert!(
            started.elapsed() < std::time::Duration::from_secs(30),
            "{told}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert!(problems.to_string().contains("config.yaml"), "{problems}");
    for answer in [
        scene.proxy.admin("/readyz").await,
        with_token("wrong").await,
    ] {
        assert_eq!(answer.status, 200, "{answer}");
        let told = answer.json();
        let count = problems.as_array().unwrap().len();
        assert_eq!(told["configuration"]["problems"], count);
        assert!(told["keys"]["total"].is_u64(), "{told}");
        assert!(told["trusted_roots"]["total"].is_u64(), "{told}");
        let text = told.to_string();
        for name in ["config.yaml", &scene.registry.name(), "policies: 17"] {
            assert!(!text.contains(name), "{name}: {text}");
        }
    }
}

#[tokio::test]
async fn admin_listener_answers_only_under_its_own_names() {
    let scene = Scene::with(|configuration, _| {
        let server = serde_json::json!({
            "console_url": "https://console.example",
            "admin_hosts": ["countersign.monitoring.svc"],
        });
        configuration.set("server", server)
    })
    .await;
    let port = scene.proxy.admin_port();
    for (host, status) in [
        ("127.0.0.1", 200),
        ("10.0.0.7:5081", 200),
        ("[::1]:5081", 200),
        ("localhost:5081", 200),
        ("console.example", 200),
        ("countersign.monitoring.svc:5081", 200),
        ("evil.example", 421),
        ("evil.example:5081", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ] {
        for path in ["/livez", "/readyz", "/metrics", "/api/v1/decisions"] {
            let answer = send(port, "GET", path, &[("Host", host)]).await;
            assert_eq!(answer.status, status, "{path} {host}: {answer}");
        }
    }
}

#[tokio::test]
async fn admin_listener_takes_no_post_from_another_origin() {
    let scene = Scene::start().await;
    let port = scene.proxy.admin_port();
    let own = format!("http://127.0.0.1:{port}");
    let refresh = "/api/v1/trust/refresh";
    for (origin, refused) in [
        (None, false),
        (Some(own.as_str()), false),
        (Some("https://evil.example"), true),
        (Some("http://127.0.0.1:1"), true),
        (Some("null"), true),
    ] {
        let headers: Vec<_> = origin
            .map(|origin| ("Origin", origin))
            .into_iter()
            .collect();
        let answer = send(port, "POST", refresh, &headers).await;
        assert_eq!(answer.status == 403, refused, "{origin:?}: {answer}");
    }
    let read = send(
        port,
        "GET",
        "/api/v1/decisions",
        &[("Origin", "https://evil.example")],
    )
    .await;
    assert_eq!(read.status, 200, "{read}");
}

/// Name, labels and value of every sample; panics at a line that is no Prometheus text.
fn samples(text: &str) -> Vec<(String, String, f64)> {
    let sample = regex::Regex::new(
        r#"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\]|\\.)*",?)*\})? (\S+)$"#,
    )
    .unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let parts = sample
                .captures(line)
                .unwrap_or_else(|| panic!("no sample: {line}"));
            let labels = parts.get(2).map_or("", |labels| labels.as_str());
            let value: f64 = parts[5]
                .parse()
                .unwrap_or_else(|_| panic!("no number: {line}"));
            (parts[1].to_owned(), labels.to_owned(), value)
        })
        .collect()
}

#[tokio::test]
async fn metrics_are_prometheus_text_and_count() {
    let scene = Scene::start().await;
    let image = scene.signed("apps/web", "v1");
    scene.unsigned("apps/web", "v2");
    let sum = |text: &str| -> f64 { samples(text).iter().map(|sample| sample.2.abs()).sum() };
    let before = scene.proxy.admin("/metrics").await;
    assert_eq!(before.status, 200);
    assert!(
        before.header("content-type").starts_with("text/plain"),
        "{before}"
    );
    let before = String::from_utf8(before.body.to_vec()).unwrap();
    assert_serves(&scene.manifest("apps/web", "v1").await, &image);
    assert_denied(&scene.manifest("apps/web", "v2").await, "unsigned");
    let after = scene.proxy.admin("/metrics").await;
    let after = String::from_utf8(after.body.to_vec()).unwrap();
    assert!(sum(&after) > sum(&before), "nothing was counted:\n{after}");
    let counted = samples(&after);
    for wanted in ["admit", "deny"] {
        assert!(
            counted
                .iter()
                .any(|(_, labels, value)| labels.contains(wanted) && *value >= 1.0),
            "no decision `{wanted}` is counted:\n{after}"
        );
    }
    assert!(
        counted
            .iter()
            .any(|(_, labels, value)| labels.contains("\"unsigned\"") && *value >= 1.0),
        "the kind of denial is not counted:\n{after}"
    );
    for (name, labels, _) in &counted {
        assert!(
            name.starts_with("countersign_") || name.starts_with("process_"),
            "{name}"
        );
        assert!(
            !labels.contains("sha256:"),
            "a digest is no label: {labels}"
        );
    }
}

#[tokio::test]
async fn a_name_is_never_a_label_made_by_clients() {
    let scene = Scene::start().await;
    for number in 0..20 {
        drop(
            scene
                .manifest(&format!("apps/made-up-{number}"), "v1")
                .await,
        );
        drop(
            scene
                .proxy
                .get(&format!("/v2/host-{number}.example.com/a/manifests/v1"))
                .await,
        );
    }
    let metrics = scene.proxy.admin("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(!text.contains("made-up-"), "{text}");
    assert!(!text.contains("example.com"), "{text}");
}
