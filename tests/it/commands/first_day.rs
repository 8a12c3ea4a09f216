//! The first day of a user: names from a Pod, slips of the pen, wrong files, and where help is found.

use serde_json::json;

use crate::commands::{
    ADMITTED, REFUSED, UNDECIDED, USAGE, Workplace, code, command, countersign, json, text,
};
use crate::support::*;

#[tokio::test]
async fn names_from_a_pod_are_read_as_the_proxy_reads_them() {
    let place = Workplace::new().await;
    let image = place.signed("apps/web");
    let registry = place.registry.name();
    let images = format!("{registry}/apps/**");
    let configuration = Configuration::new(&[&place.registry])
        .policy(key_policy("apps", &images, &[&place.key]))
        .set("routes", json!({"shop": format!("{registry}/apps")}));
    let config = place.write("config.yaml", &configuration.0.to_string());
    let canonical = place.image("apps/web");
    for name in [
        format!("proxy.example:5080/{registry}/apps/web:v1"),
        format!("proxy.example/{registry}/apps/web:v1@{}", image.digest),
        format!("10.1.2.3:5080/{registry}/apps/web@{}", image.digest),
        "shop/web:v1".to_owned(),
        "proxy.example:5080/shop/web:v1".to_owned(),
    ] {
        let output = countersign(&["verify", "--config", &config, &name]).await;
        assert_eq!(code(&output), ADMITTED, "{name}: {}", text(&output));
        let told = format!("`{name}` is read as {canonical}");
        assert!(text(&output).contains(&told), "{name}: {}", text(&output));

        let output = countersign(&["explain", "--config", &config, "-o", "json", &name]).await;
        assert_eq!(code(&output), ADMITTED, "{name}: {}", text(&output));
        let explanation = json(&output);
        assert_eq!(explanation["repository"], canonical.as_str());
        let remark = explanation["remark"].as_str().unwrap();
        assert!(remark.contains(&told), "{remark}");

        let output = countersign(&["policy", "match", &config, &name]).await;
        assert_eq!(code(&output), ADMITTED, "{name}: {}", text(&output));
        assert_eq!(output.stdout, b"apps\n", "{name}: {}", text(&output));
    }
    // A name with one reading needs no remark.
    let plain = place.image("apps/web:v1");
    let output = countersign(&["verify", "--config", &config, &plain]).await;
    assert!(!text(&output).contains("is read as"), "{}", text(&output));
    let output = countersign(&["explain", "--config", &config, "-o", "json", &plain]).await;
    assert!(json(&output)["remark"].is_null());
    // The proxy's own address with nothing that it serves behind it.
    let output = countersign(&["explain", "--config", &config, "127.0.0.1:5080/org/app"]).await;
    assert_eq!(code(&output), USAGE);
    let told = "`org/app` names no upstream of the proxy at 127.0.0.1:5080";
    assert!(text(&output).contains(told), "{}", text(&output));
}

#[tokio::test]
async fn a_forgotten_plain_http_is_named() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    let name = place.registry.name();
    let config = json!({
        "upstreams": {name.clone(): {}},
        "policies": [key_policy("apps", &format!("{name}/**"), &[&place.key])],
    });
    let config = place.write("config.yaml", &config.to_string());
    let image = place.image("apps/web:v1");
    for arguments in [
        ["verify", "--config", &config, &image],
        ["explain", "--config", &config, &image],
    ] {
        let output = countersign(&arguments).await;
        assert_eq!(code(&output), UNDECIDED, "{}", text(&output));
        // The text of an explanation wraps.
        let words: Vec<_> = text(&output)
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let told = words.join(" ");
        assert!(told.contains("`plain_http: true`"), "{told}");
    }
}

#[tokio::test]
async fn a_private_key_is_not_taken_for_a_public_one() {
    let place = Workplace::new().await;
    for (name, label) in [
        ("pkcs8.pem", "PRIVATE KEY"),
        ("sec1.pem", "EC PRIVATE KEY"),
        ("cosign.key", "ENCRYPTED SIGSTORE PRIVATE KEY"),
        ("pkcs1.pem", "RSA PRIVATE KEY"),
    ] {
        let pem = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let path = place.write(name, &pem);
        let verify = countersign(&["verify", "--key", &path, "ghcr.io/org/app"]).await;
        let config = json!({
            "upstreams": {"ghcr.io": {}},
            "policies": [{"name": "apps", "images": ["ghcr.io/**"], "authorities": [{"key": path}]}],
        });
        let config = place.write("config.yaml", &config.to_string());
        let check = countersign(&["policy", "check", &config]).await;
        assert_eq!((code(&verify), code(&check)), (USAGE, REFUSED));
        for output in [verify, check] {
            let told = text(&output);
            assert!(told.contains("it is a private key"), "{label}: {told}");
            assert!(told.contains("cosign public-key --key FILE"), "{told}");
        }
    }
}

#[tokio::test]
async fn slips_are_answered_with_what_was_meant() {
    let place = Workplace::new().await;
    let config = place.write(
        "config.yaml",
        "upstreams: {ghcr.io: {plainhttp: true}}\npolicys: []\ndefault: Deny\n",
    );
    let output = countersign(&["policy", "check", &config]).await;
    for part in [
        "did you mean `plain_http`? known here: endpoint",
        "did you mean `policies`?",
        "did you mean `deny`? write deny or audit",
    ] {
        assert!(text(&output).contains(part), "{part}: {}", text(&output));
    }
    let table = "cases: [{image: nginx, expect: deny, kind: unsinged}]";
    let table = place.write("cases.yaml", table);
    let output = countersign(&["policy", "test", &table]).await;
    let told = "did you mean `unsigned`?";
    assert!(text(&output).contains(told), "{}", text(&output));
    for (arguments, part) in [
        (
            vec!["check", &config],
            "did you mean `countersign policy check`?",
        ),
        (vec!["serv"], "'serve'"),
        (
            vec!["verify", "--certificate-identiy", "a", "nginx"],
            "'--certificate-identity'",
        ),
        (vec!["policy", "chek", &config], "'check'"),
    ] {
        let output = countersign(&arguments).await;
        assert_eq!(code(&output), USAGE);
        assert!(
            text(&output).contains(part),
            "{arguments:?}: {}",
            text(&output)
        );
    }
}

#[tokio::test]
async fn the_version_tells_the_commit_and_its_date() {
    let output = countersign(&["--version"]).await;
    let version = text(&output);
    let expected = format!("countersign {}", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&expected), "{version}");
    // A source archive has no commit.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    if root.join(".git").exists() {
        let (_, build) = version.split_once('(').unwrap();
        let (commit, rest) = build.split_at(12);
        assert!(commit.bytes().all(|it| it.is_ascii_hexdigit()), "{version}");
        let (_, date) = rest.split_once(", ").unwrap();
        let date: jiff::civil::Date = date.trim().trim_end_matches(')').parse().unwrap();
        assert!(date.year() >= 2026);
    }
}

#[tokio::test]
async fn completions_and_manual_pages_are_printed() {
    let place = Workplace::new().await;
    for (shell, part) in [
        ("bash", "complete -F _countersign"),
        ("zsh", "#compdef countersign"),
        ("fish", "complete -c countersign"),
    ] {
        let output = countersign(&["completions", shell]).await;
        assert_eq!(code(&output), ADMITTED);
        assert!(text(&output).contains(part), "{shell}");
        assert!(text(&output).contains("verify-attestation"), "{shell}");
    }
    let output = countersign(&["man"]).await;
    assert!(
        text(&output).contains(".TH COUNTERSIGN 1"),
        "{}",
        text(&output)
    );
    let directory = place.path("man1");
    let output = countersign(&["man", "--write", &directory]).await;
    assert_eq!(code(&output), ADMITTED, "{}", text(&output));
    let page = std::fs::read_to_string(format!("{directory}/countersign-policy-check.1"));
    assert!(page.unwrap().contains("strict"));
}

#[tokio::test]
async fn colour_is_for_terminals_only_unless_it_is_wanted() {
    let place = Workplace::new().await;
    place.signed("apps/web");
    let config = place.config();
    let image = place.image("apps/web:v1");
    for arguments in [
        vec!["verify", "--config", &config, &image],
        vec!["explain", "--config", &config, &image],
        vec!["policy", "check", &config],
    ] {
        let plain = countersign(&arguments).await;
        assert!(!text(&plain).contains('\u{1b}'), "{}", text(&plain));
        let mut wanted = arguments.clone();
        wanted.extend(["--color", "always"]);
        let output = command(&wanted)
            .env("NO_COLOR", "1")
            .output()
            .await
            .unwrap();
        assert!(text(&output).contains("\u{1b}["), "{}", text(&output));
    }
}
