//! The repository in the name that a signer gave the image.

use super::forge::{legacy_candidate, payload, subject};
use super::world::{World, failed, proven};
use crate::oci::RepositoryName;
use crate::verify::{Demand, FailedCheck};

#[test]
fn a_port_is_no_tag() {
    let world = World::new();
    let name = RepositoryName::new("registry.example:5000", "org/app").unwrap();
    let demand = Demand {
        transparency_log: false,
        signed_name: Some(&name),
        ..world.demand()
    };
    let signed = |reference: &str| {
        let payload = payload(&subject().to_string(), reference);
        legacy_candidate(&payload, &world.signer.sign(&payload), None)
    };
    for reference in [
        "registry.example:5000/org/app",
        "registry.example:5000/org/app:v1",
    ] {
        proven(&signed(reference), &demand);
    }
    for reference in ["registry.example", "registry.example/org/app:5000"] {
        let failure = failed(&signed(reference), &demand);
        assert_eq!(failure.check, FailedCheck::WrongName, "{reference}");
    }
}
