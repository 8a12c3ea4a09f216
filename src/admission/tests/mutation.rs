//! Inputs derived from every admitted case of the corpus, by a seeded generator: none is admitted, except those that are
//! provably the same in another form, each form of which is a [`Class`].
//!
//! `COUNTERSIGN_MUTANTS=5000` derives as many from each case; `COUNTERSIGN_MUTANT=<case>:<number>` only that one, and
//! says what became of it. `COUNTERSIGN_SEED` is another sequence.

mod canonical;
mod der;
mod derive;
mod ecdsa;
mod equivalence;
mod hub;
mod json;
mod moves;
mod parsers;
mod random;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use futures::StreamExt;

use self::equivalence::{Class, Sufficient, classes};
use self::hub::Hub;
use self::moves::{Deriving, Layer, Mutant, layer, layers, signed_by_only};
use self::random::Random;
use self::world::{Case, Corpus, Demands, Repository, slots};
use super::house::{House, Settings, asked};
use super::question::now;
use crate::admission::Outcome;
use crate::decision_log::Subject;

/// Inputs derived from each case unless the environment says otherwise.
const MUTANTS: usize = 30;
const SEED: u64 = 0x00c0_ffee;
/// Decisions made at the same time; their records share transactions.
const AT_ONCE: usize = 32;
/// Decisions after which a new data directory is begun, so that a long run does not fill the disk.
const DECISIONS_PER_HOUSE: usize = 4000;

/// A case with what is known of it before anything is derived.
struct Prepared<'c> {
    case: &'c Case,
    hub: BTreeMap<String, Repository>,
    asks: Vec<String>,
    demands: Demands,
    sufficient: Sufficient,
}

struct World {
    corpus: Corpus,
    donors: Vec<Layer>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_derived_is_admitted_but_what_is_equivalent() {
    let corpus = Corpus::load();
    let donors = layers(&corpus.repositories);
    let world = World { corpus, donors };
    let seed = number("COUNTERSIGN_SEED").unwrap_or(SEED);
    let count =
        number("COUNTERSIGN_MUTANTS").map_or(MUTANTS, |count| usize::try_from(count).unwrap());
    let only = environment("COUNTERSIGN_MUTANT");
    let is_wanted = |name: &str| only.as_ref().is_none_or(|only| only == name);
    let cases: Vec<_> = world
        .corpus
        .cases
        .iter()
        .filter(|case| {
            only.as_ref()
                .is_none_or(|only| only.starts_with(&format!("{}:", case.id)))
        })
        .collect();
    let mut tally: BTreeMap<Option<Class>, usize> = BTreeMap::new();
    let (mut derived, mut problems) = (0, Vec::new());
    for cases in cases.chunks((DECISIONS_PER_HOUSE / count).max(1)) {
        let house = House::new().await;
        let prepared = futures::stream::iter(cases)
            .map(|case| world.prepare(&house, case))
            .buffered(AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        let numbered = prepared
            .iter()
            .flat_map(|prepared| (0..count).map(move |number| (prepared, number)))
            .filter(|(prepared, number)| is_wanted(&format!("{}:{number}", prepared.case.id)));
        let mut judged = futures::stream::iter(numbered)
            .map(|(prepared, number)| world.judge(&house, prepared, seed, number))
            .buffer_unordered(AT_ONCE);
        while let Some(judged) = judged.next().await {
            derived += 1;
            match judged {
                Judged::Withheld => *tally.entry(None).or_default() += 1,
                Judged::Equivalent(classes) => {
                    for class in classes {
                        *tally.entry(Some(class)).or_default() += 1;
                    }
                }
                Judged::Wrong(problem) => problems.push(problem),
            }
        }
    }
    eprintln!("{derived} derived: {tally:?}");
    assert!(
        problems.is_empty(),
        "{} of {derived} are admitted and equivalent to nothing (seed {seed:#x}):\n{}",
        problems.len(),
        problems.join("\n")
    );
}

fn number(variable: &str) -> Option<u64> {
    environment(variable)?.parse().ok()
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a test runs is no configuration"
)]
fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

enum Judged {
    Withheld,
    Equivalent(equivalence::Classes),
    Wrong(String),
}

impl World {
    /// The case as it stands, and the smallest sets of signatures that suffice for it.
    async fn prepare<'c>(&self, house: &House, case: &'c Case) -> Prepared<'c> {
        let (hub, asks) = (self.corpus.hub(case), self.corpus.asks(case));
        let outcome = self
            .decide(house, case, &hub, &asks, &format!("{}/whole", case.id))
            .await;
        assert!(is_admitted(&outcome), "{} as it stands: {outcome}", case.id);
        let mut own: Vec<Layer> = Vec::new();
        for slot in slots(&hub) {
            own.extend(layer(&hub[&slot.repository], &slot));
        }
        let about = |layer: &Layer| {
            let hex = |asked: &String| asked.split_once(':').unwrap().1.to_owned();
            asks.iter().any(|asked| says(&layer.blob, &hex(asked)))
        };
        let others = self.donors.iter().filter(|layer| about(layer)).cloned();
        let mut all: Vec<Layer> = own.iter().cloned().chain(others).collect();
        let known = |layer: &Layer| (layer.descriptor.to_string(), layer.blob.clone());
        all.sort_by_key(known);
        all.dedup_by_key(|layer| known(layer));
        let mut sufficient = Vec::new();
        for size in 1..=3 {
            for (number, set) in combinations(&all, size).into_iter().enumerate() {
                let only = signed_by_only(&hub, &case.repository, &asks, &set);
                let prefix = format!("{}/only{size}-{number}", case.id);
                if is_admitted(&self.decide(house, case, &only, &asks, &prefix).await) {
                    sufficient.push(read_all(&only, set.len()));
                }
            }
            if !sufficient.is_empty() {
                break;
            }
        }
        assert!(
            !sufficient.is_empty(),
            "{}: nothing suffices alone",
            case.id
        );
        Prepared {
            case,
            demands: case.demands(),
            hub,
            asks,
            sufficient,
        }
    }

    async fn judge(
        &self,
        house: &House,
        prepared: &Prepared<'_>,
        seed: u64,
        number: usize,
    ) -> Judged {
        let case = prepared.case;
        let mut random = Random::of(seed, &case.id, number);
        let Mutant {
            hub,
            asks,
            how,
            is_subject,
        } = Deriving {
            corpus: &self.corpus,
            donors: &self.donors,
            repository: &case.repository,
            hub: prepared.hub.clone(),
            asks: prepared.asks.clone(),
        }
        .mutant(&mut random);
        let outcome = self
            .decide(house, case, &hub, &asks, &format!("{}/m{number}", case.id))
            .await;
        let equivalent = is_subject
            .then(|| classes(&prepared.sufficient, &hub, &prepared.demands))
            .flatten();
        let mut line = format!("{}:{number}: {outcome}, {equivalent:?}: ", case.id);
        line.extend(how.chars().take(300));
        if environment("COUNTERSIGN_MUTANT").is_some() {
            eprintln!("{line}");
        }
        match (is_admitted(&outcome), equivalent) {
            (false, _) => Judged::Withheld,
            (true, Some(classes)) => Judged::Equivalent(classes),
            (true, None) => Judged::Wrong(line),
        }
    }

    /// Everything is asked for in a repository of its own; the last answer counts.
    async fn decide(
        &self,
        house: &House,
        case: &Case,
        hub: &BTreeMap<String, Repository>,
        asks: &[String],
        place: &str,
    ) -> String {
        let prefix = format!("registry.example/{}", place.to_lowercase());
        let policy = self.corpus.policy(case, &prefix);
        let upstream = Hub {
            prefix: prefix.clone(),
            repositories: hub.clone(),
        };
        let process = house.process_before(Arc::new(upstream), vec![policy], Settings::default());
        let mut last = String::new();
        for digest in asks {
            let subject = Subject {
                repository: format!("{prefix}/{}", case.repository).parse().unwrap(),
                digest: digest.parse().unwrap(),
            };
            let decided = process
                .admission
                .decide(&subject, None, &asked(now()))
                .await;
            last = match decided {
                Ok(decision) => match &decision.outcome {
                    Outcome::Admit { basis, .. } => format!("admitted: {basis:?}"),
                    Outcome::Deny(denial) => denial.kind.as_str().to_owned(),
                    Outcome::Unavailable { .. } => "unavailable".to_owned(),
                },
                Err(error) => {
                    let mut text = "failed: ".to_owned();
                    write!(text, "{error}").unwrap();
                    text
                }
            };
        }
        last
    }
}

fn is_admitted(outcome: &str) -> bool {
    outcome.starts_with("admitted")
}

fn read_all(hub: &BTreeMap<String, Repository>, expected: usize) -> Vec<canonical::Canonical> {
    let read: Vec<_> = slots(hub)
        .iter()
        .map(|slot| {
            canonical::read(&hub[&slot.repository], slot)
                .expect("a signature that suffices is readable")
        })
        .collect();
    assert_eq!(read.len(), expected);
    read
}

/// Whether a layer's payload, plain or in an envelope, contains the text.
fn says(blob: &[u8], text: &str) -> bool {
    let contains = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text);
    let value: serde_json::Value = serde_json::from_slice(blob).unwrap_or_default();
    let payloads = [&value["payload"], &value["dsseEnvelope"]["payload"]];
    contains(blob)
        || payloads
            .into_iter()
            .filter_map(canonical::base64)
            .any(|payload| contains(&payload))
}

fn combinations(all: &[Layer], size: usize) -> Vec<Vec<Layer>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let mut found = Vec::new();
    for (position, first) in all.iter().enumerate() {
        for mut rest in combinations(&all[position + 1..], size - 1) {
            rest.insert(0, first.clone());
            found.push(rest);
        }
    }
    found
}
