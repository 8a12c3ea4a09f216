//! Refusals that need no upstream: a flood of them from one client hides no refusal of another.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flood_of_refusals_hides_no_probe_of_a_client_with_a_name() {
    let registry = FakeRegistry::start().await;
    let key = SigningKey::generate();
    let name = registry.name();
    let own =
        json!({"basic": {"htpasswd": "users.htpasswd"}, "images": [format!("{name}/apps/**")]});
    let anonymous = json!({"anonymous": true, "images": [format!("{name}/public/**")]});
    let configuration = Configuration::new(&[&registry])
        .policy(key_policy("all", &format!("{name}/**"), &[&key]))
        .set("clients", json!([own, anonymous]));
    let proxy = Proxy::new(configuration);
    let hash = bcrypt::hash("wonderland", 4).unwrap();
    proxy.write_file("users.htpasswd", &format!("alice:{hash}\n"));
    proxy.run().await;

    // Without a name, for blobs that no manifest refers to: no request reaches an upstream.
    let mut ids = HashSet::new();
    for number in 0..1500 {
        let digest = sha256(format!("{number}").as_bytes());
        let path = format!("/v2/{name}/public/app/blobs/{digest}");
        let answer = proxy.get(&path).await;
        let error = assert_denied(&answer, "not_endorsed");
        ids.insert(error["detail"]["decision_id"].as_str().unwrap().to_owned());
    }
    assert!(ids.len() <= 3 * 21, "{} records", ids.len());
    assert!(ids.len() >= 21, "{} records", ids.len());

    let basic = format!("Basic {}", STANDARD.encode("alice:wonderland"));
    let path = format!("/v2/{name}/secret/web/manifests/v1");
    let answer = proxy
        .request("GET", &path, &[("Authorization", &basic)])
        .await;
    assert_denied(&answer, "client_denied");
    let records = proxy.decisions("client=alice").await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["repository"], format!("{name}/secret/web"));

    // One record counts what is not recorded one by one.
    let mut rest = 0;
    for _ in 0..100 {
        let records = proxy.decisions("kind=not_endorsed&limit=1000").await;
        assert!(records.len() <= ids.len());
        let counted = records.iter().filter(|it| it["reference"] == "*");
        rest = counted.map(|it| it["count"].as_u64().unwrap() + 1).sum();
        if rest + 20 * 3 >= 1500 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!((1400..=1480).contains(&rest), "{rest}");
    assert_eq!(registry.requests().len(), 0);
}
