//! Policies of other projects, from their documents to the decision, each with the outcome that its project documents.
//!
//! tests/fixtures/policies/scenarios has a file for each project; its README says how a scenario is written. Where the
//! outcome here is another one, `differences.tsv` beside it says why, and lists nothing else.

mod place;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use place::Place;
use table::{Outcome, Scenario};

/// What is answered here: as [`super::question::words`], or `problem` and the keys of what is wrong with the document.
fn agrees(project: Outcome, here: &str) -> bool {
    let audited = here.contains("(audit: ");
    match project {
        Outcome::Admits => here == "satisfied",
        Outcome::Warns => audited,
        Outcome::Refuses => {
            !audited
                && !["satisfied", "undecided", "no_policy"].contains(&here)
                && !here.starts_with("problem")
        }
        Outcome::IsNotAsked => here == "no_policy",
        Outcome::RejectsDocument => here.starts_with("problem"),
    }
}

fn scenarios() -> Vec<Scenario> {
    let projects = ["kyverno", "policy-controller", "containers"];
    projects.into_iter().flat_map(table::read).collect()
}

#[test]
fn every_scenario_ends_as_it_says() {
    let place = Place::new();
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let found = place.answer(&scenario);
        if found != scenario.here {
            wrong.push(format!("{}: {found}, not {}", scenario.name, scenario.here));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_difference_is_listed_with_its_reason() {
    let all = scenarios();
    let names: BTreeSet<_> = all.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names.len(), all.len(), "two scenarios have one name");
    assert!(all.len() >= 40);
    let differing: BTreeSet<_> = all
        .iter()
        .filter(|it| !agrees(it.project, &it.here))
        .map(|it| it.name.clone())
        .collect();
    let listed: BTreeMap<_, _> = table::differences().into_iter().collect();
    let named: BTreeSet<_> = listed.keys().cloned().collect();
    assert_eq!(differing, named);
    assert!(listed.values().all(|reason| reason.len() > 20));
    // Nothing that a project refuses or does not let through is admitted without being said.
    for scenario in &all {
        let admitted = scenario.here == "satisfied" && scenario.project != Outcome::Admits;
        let said = listed.get(&scenario.name);
        assert!(
            !admitted || said.is_some_and(|reason| reason.starts_with("ADMITS MORE: ")),
            "{}",
            scenario.name
        );
    }
}
