//! Attestations by versions of a key that are not known yet.

use serde_json::json;

use super::Bench;
use crate::support::google_kms::FakeKms;
use crate::support::signing::bundle_artifact;
use crate::support::*;

const SCAN: &str = "https://scan.example/v1";

impl Bench {
    /// An image with scans by these keys, each clean or not.
    fn scanned(&self, name: &str, scans: &[(&SigningKey, bool)]) -> Image {
        let image = self.unsigned(name);
        for (key, clean) in scans {
            let bundle = key.bundle(&image, SCAN, &json!({"clean": clean}));
            self.registry
                .push(name, &bundle_artifact(&image, bundle, SCAN));
        }
        image
    }
}

/// Where all attestations matter, one that holds must not hide another by a version that nobody has heard of.
#[tokio::test]
async fn a_new_version_counts_at_once_where_all_matter() {
    let (first, second) = (SigningKey::generate(), SigningKey::generate());
    let kms = FakeKms::start(&[(1, &first)]).await;
    let bench = Bench::with(kms, "", |mut configuration| {
        let policy = &mut configuration.0["policies"][0];
        let authorities = policy["authorities"].take();
        policy.as_object_mut().unwrap().remove("authorities");
        policy["attestations"] = json!([{
            "predicate_type": SCAN,
            "authorities": authorities,
            "match": "all",
            "condition": "predicate.clean == true",
        }]);
        configuration
    })
    .await;
    let image = bench.scanned("apps/clean", &[(&first, true)]);
    assert_serves(&bench.get("apps/clean").await, &image);
    bench.kms.create(2, &second);
    bench.scanned("apps/mixed", &[(&first, true), (&second, false)]);
    assert_denied(&bench.get("apps/mixed").await, "attestation_rejected");
    assert_eq!(bench.kms.lists(), 2, "the key was asked for again");
}
