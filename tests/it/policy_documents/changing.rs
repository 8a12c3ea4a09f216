//! What changes while the process runs: the key service, the key, the documents.

use super::*;

#[tokio::test]
async fn without_the_key_service_nothing_is_decided_until_it_is_back() {
    let bench = Bench::with_service_away().await;
    let image = bench.signed("web", "v1");
    let name = format!("{APPS}/web");
    for reference in ["v1", &image.digest] {
        let answer = bench.get(&name, reference).await;
        let error = assert_unavailable(&answer);
        assert_withheld(&answer, &image.digest);
        assert!(error["message"].as_str().unwrap().contains(KEY), "{error}");
    }
    // What needs no key is decided.
    let unsigned = bench.unsigned("project123/apps/unsigned", "v1");
    let unsigned_name = format!("{APPS}/unsigned");
    bench
        .refuses(&unsigned_name, "v1", &unsigned, "unsigned", APPS_POLICY)
        .await;
    let secrets = bench.secrets("kf/legacy-gh", "v1");
    bench.serves(SECRETS, "v1", &secrets).await;
    bench.kms.service.resume().await;
    bench.served_soon("web", "v1", &image).await;
    bench.serves(&name, "v1", &image).await;
    // Away again, the key that was read serves, for what was never asked for, too.
    bench.kms.service.stop();
    let later = bench.app("key/tlog-bundle-sc-r1", "later", "v1");
    bench.serves(&format!("{APPS}/later"), "v1", &later).await;
    let foreign = bench.unsigned("project123/apps/foreign", "v1");
    let stranger = SigningKey::generate();
    bench
        .registry
        .sign_legacy("project123/apps/foreign", &foreign, &stranger);
    let answer = bench.get(&format!("{APPS}/foreign"), "v1").await;
    assert_denied_by(&answer, "untrusted_key", APPS_POLICY, &foreign.digest);
}

/// The key is read again when its policy is taken away and put back, and when the process starts.
#[tokio::test]
async fn a_version_that_was_disabled_vouches_no_more_once_it_is_read_again() {
    let bench = Bench::start().await;
    let image = bench.signed("web", "v1");
    let name = format!("{APPS}/web");
    bench.serves(&name, "v1", &image).await;
    bench.kms.disable(1);
    bench.run_documents(&["external-secrets"]).await;
    assert_denied(&bench.get(&name, "v1").await, "no_policy");
    bench
        .run_documents(&["apps-gcpkms", "external-secrets"])
        .await;
    let withheld = async || {
        for reference in ["v1", &image.digest] {
            let answer = bench.get(&name, reference).await;
            let error = assert_unavailable(&answer);
            assert_withheld(&answer, &image.digest);
            let message = error["message"].as_str().unwrap();
            let reason = "the version is not enabled";
            assert!(message.contains(reason), "{message}");
        }
    };
    withheld().await;
    bench.proxy.restart().await;
    withheld().await;
    bench.kms.enable(1);
    bench.served_soon("web", "v1", &image).await;
}

/// The same while nothing else changes: the key is read every five minutes.
#[tokio::test]
#[ignore = "takes six minutes"]
async fn a_version_that_was_disabled_vouches_no_more_after_five_minutes() {
    let bench = Bench::start().await;
    let image = bench.signed("web", "v1");
    let name = format!("{APPS}/web");
    bench.serves(&name, "v1", &image).await;
    bench.kms.disable(1);
    let started = Instant::now();
    while bench.get(&name, "v1").await.status == 200 {
        assert!(started.elapsed() < Duration::from_secs(340));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_unavailable(&bench.get(&name, &image.digest).await);
}

/// Whoever edits a document while the process runs.
#[tokio::test]
async fn a_document_that_breaks_leaves_the_one_before_in_force() {
    let bench = Bench::start().await;
    let image = bench.signed("web", "v1");
    let name = format!("{APPS}/web");
    let text = std::fs::read_to_string(document("apps-gcpkms")).unwrap();
    let put = |text: &str| bench.proxy.write_file("apps.yaml", text);
    let told = async |is_so: &dyn Fn(&Value) -> bool| {
        let started = Instant::now();
        loop {
            let told = bench.configuration().await;
            if is_so(&told) {
                return told;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    put(&text);
    let before = bench.configuration().await;
    bench
        .proxy
        .rewrite(|configuration| configuration["policy_files"] = json!(["apps.yaml"]));
    let before = told(&|told| told["loaded_at"] != before["loaded_at"]).await;
    bench.serves(&name, "v1", &image).await;

    put(&text.replace("key:", "kye:"));
    let broken = told(&|told| told["rejected_at"].is_string()).await;
    assert_eq!(broken["hash"], before["hash"]);
    assert_eq!(broken["loaded_at"], before["loaded_at"]);
    let problems = broken["problems"].to_string();
    assert!(problems.contains("apps.yaml:20:"), "{problems}");
    assert!(problems.contains("kye"), "{problems}");
    bench.serves(&name, "v1", &image).await;
    let unsigned = bench.unsigned("project123/apps/unsigned", "v1");
    let answer = bench.get(&format!("{APPS}/unsigned"), "v1").await;
    assert_denied_by(&answer, "unsigned", APPS_POLICY, &unsigned.digest);
    let metrics = bench.proxy.admin("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let rejected = "countersign_configuration_reloads_total{outcome=\"rejected\"}";
    assert!(!metrics.contains(&format!("{rejected} 0")), "{metrics}");
    assert!(bench.proxy.log().contains("is not put in force"));

    // Mended, and by another key.
    let key = SigningKey::generate();
    let key = key.public_pem().replace('\n', "\n            ");
    let (start, _reference) = text.split_once("key: ").unwrap();
    put(&format!("{start}key: |\n            {key}\n"));
    let mended = told(&|told| told["rejected_at"].is_null()).await;
    assert_ne!(mended["hash"], before["hash"]);
    for reference in ["v1", &image.digest] {
        let answer = bench.get(&name, reference).await;
        assert_denied_by(&answer, "untrusted_key", APPS_POLICY, &image.digest);
    }
}
