//! Keys in key services, which a replay reads once.

use super::*;
use crate::support::google_kms::{FakeKms, KEY};

#[tokio::test]
async fn what_no_known_version_signed_is_no_reason_to_ask_again() {
    let kms = FakeKms::start(&[(1, &SigningKey::generate())]).await;
    let pulled = Pulled::by(async |scene| {
        scene.signed("apps/web", "v1");
        pull(scene, "apps/web", &["v1"]).await;
    })
    .await;
    let (status, report) = pulled
        .report(|configuration| {
            let endpoint = kms.service.url();
            configuration["key_providers"] = json!({"gcpkms": {"endpoint": endpoint}});
            configuration["policies"][0]["authorities"] = json!([
                {"name": "kms", "key": format!("gcpkms://{KEY}"), "transparency_log": "not_required"},
            ]);
        })
        .await;
    assert_eq!(status, REFUSED, "{report}");
    let refusing = &report["differences"][0]["would_be"];
    assert_eq!(refusing["kind"], "untrusted_key", "{report}");
    assert_eq!(kms.lists(), 1);
}
