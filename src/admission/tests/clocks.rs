//! Clocks that jump: what was decided by a clock that is wrong holds no longer than it was meant to.

use std::time::Duration;

use super::house::{House, after};
use super::question::{World, now, signed_by};
use super::registry::Trouble;
use crate::upstream::Purpose;

const HOUR: i64 = 3600;

#[tokio::test]
async fn undecided_by_a_clock_ahead_is_decided_again_when_the_clock_is_right() {
    for ahead in [90, 2 * HOUR, 87_600 * HOUR] {
        let (world, house) = (World::new(), House::new().await);
        let image = house.registry.push_image("of a wrong time");
        let process = house.process(vec![signed_by(&[&world.authority], 1)]);
        house
            .registry
            .fail_at(&[Purpose::Referrers], Trouble::Unreachable);
        let wrong = after(now(), ahead);
        assert_eq!(process.decide_at(&image, wrong).await, "unavailable");
        house.registry.recover();
        assert_eq!(process.decide(&image).await, "unsigned", "{ahead}");
    }
}

#[tokio::test]
async fn refusal_ends_by_the_monotonic_clock_although_the_wall_clock_went_back() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("of a clock that is put back");
    let process = house.process(vec![signed_by(&[&world.authority], 1)]);
    house
        .registry
        .fail_at(&[Purpose::Referrers], Trouble::Unreachable);
    assert_eq!(process.decide(&image).await, "unavailable");
    house.registry.recover();
    // A quarter of a minute back is within what requests may differ by.
    let earlier = after(now(), -15);
    assert_eq!(process.decide_at(&image, earlier).await, "unavailable");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(process.decide_at(&image, earlier).await, "unsigned");
}

#[tokio::test]
async fn admission_by_a_clock_ahead_is_made_again() {
    let (world, house) = (World::new(), House::new().await);
    let image = house.registry.push_image("admitted in the future");
    let layer = super::forge::Signature::default().by(&world.key, &image.digest);
    house.registry.attach(&image, ".sig", layer);
    let process = house.process(vec![signed_by(&[&world.authority], 1)]);
    let wrong = after(now(), 3 * HOUR);
    assert_eq!(process.decide_at(&image, wrong).await, "signature");
    assert!(house.registry.was_asked_for_signatures());
    assert_eq!(process.decide(&image).await, "signature");
    assert!(
        house.registry.was_asked_for_signatures(),
        "evidence of the future counts as old"
    );
}
