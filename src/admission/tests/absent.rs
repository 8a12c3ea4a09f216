//! Manifests that do not exist: the upstream is asked once in a while, however often clients ask.

use std::time::Duration;

use super::house::{House, Settings, asked, subject};
use super::question::{World, now, signed_by};
use crate::admission::{Asked, Freshness};
use crate::oci::Digest;

fn settings(absent_ttl: Duration) -> Settings {
    Settings {
        freshness: Freshness {
            absent_ttl,
            ..Freshness::default()
        },
        ..Settings::default()
    }
}

#[tokio::test]
async fn absent_digest_is_asked_for_once_in_its_time() {
    for (absent_ttl, asks_again) in [(300, false), (0, true)] {
        let (world, house) = (World::new(), House::new().await);
        let policies = vec![signed_by(&[&world.authority], 1)];
        let settings = settings(Duration::from_secs(absent_ttl));
        let process = house.process_with(policies, settings);
        let (absent, asked) = (subject(&Digest::sha256(b"never pushed")), asked(now()));
        let mut requests = Vec::new();
        for _ in 0..7 {
            let decided = process.admission.decide(&absent, None, &asked);
            let error = decided.await.unwrap_err();
            assert!(
                matches!(*error, crate::admission::Error::NotFound(..)),
                "{error:?}"
            );
            requests.push(house.registry.requests());
        }
        let asked_again = requests.windows(2).map(|pair| pair[0] < pair[1]);
        assert_eq!(
            asked_again.collect::<Vec<_>>(),
            [asks_again; 6],
            "{absent_ttl} s: {requests:?}"
        );
    }
}

#[tokio::test]
async fn manifest_pushed_after_its_absence_is_found_soon_and_by_a_recheck_at_once() {
    let (world, house) = (World::new(), House::new().await);
    let policies = vec![signed_by(&[&world.authority], 1)];
    let process = house.process_with(policies, settings(Duration::from_millis(400)));
    let image = house.registry.push_image("late");
    house.registry.hide(&image);
    assert!(process.decide(&image).await.contains("NotFound"));
    house.registry.show(&image);
    assert!(process.decide(&image).await.contains("NotFound"));
    let anew = Asked {
        anew: true,
        ..asked(now())
    };
    assert_eq!(process.decide_as(&image, &anew).await, "unsigned");
    house.registry.hide(&image);
    let other = house.registry.push_image("later");
    house.registry.hide(&other);
    assert!(process.decide(&other).await.contains("NotFound"));
    house.registry.show(&other);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(process.decide(&other).await, "unsigned");
}
