use std::collections::BTreeSet;

use super::*;
use crate::oci::Digest;

/// The tour against the real engine, on ports of its own.
#[tokio::test(flavor = "multi_thread")]
async fn every_pull_ends_as_it_should() {
    let demo = Demo::start().await.unwrap();
    let stops = tour::run(demo.app.address).await.unwrap();
    for stop in &stops {
        assert!(stop.is_as_expected(), "{stop:?}");
    }
    assert!(stops.iter().any(|stop| stop.plan.refused_as.is_none()));
    let text = report::tour(&stops);
    assert!(
        text.contains("All 14 pulls ended as they should."),
        "{text}"
    );
    let (table, _messages) = text.split_once("\n\n").unwrap();
    assert!(
        table.lines().all(|line| line.chars().count() <= 100),
        "{table}"
    );
    assert!(report::what_next(&demo).contains(&demo.app.address.to_string()));
    assert!(report::introduction(&demo).contains("release-workflow"));
    demo.stop().await;
}

#[test]
fn the_embedded_objects_have_their_digests_and_are_small() {
    let blobs = CORPUS.get_dir("blobs").unwrap();
    let mut bytes = 0;
    let mut names = BTreeSet::new();
    for file in blobs.files() {
        let name = file.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(Digest::sha256(file.contents()).to_hex(), name);
        bytes += file.contents().len();
        names.insert(name);
    }
    assert!(!names.is_empty());
    assert!(bytes < 1024 * 1024, "{bytes}");
}
