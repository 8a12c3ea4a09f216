//! Groups: `all`, `any` and `at_least` in each other, and that no signer counts twice.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::json;

use super::forge::Key;
use super::question::{Question, SCAN, World, authority, policy, signature, signers};
use crate::admission::evaluate::Finding;
use crate::policy::{
    AttestationRequirement, Authority, Condition, Mode, Policy, Quantifier, Requirement, Revoked,
};
use crate::signature::Candidate;

const SIGNERS: usize = 4;

/// Four signers, and what a group is made of.
struct Four {
    world: World,
    keys: Vec<Key>,
    authorities: Vec<Arc<Authority>>,
    signatures: Vec<Candidate>,
}

impl Four {
    fn new() -> Self {
        let world = World::new();
        let keys: Vec<_> = (0..SIGNERS).map(|_| Key::generate()).collect();
        let name = |index: usize| ["a", "b", "c", "d"][index];
        Self {
            authorities: (0..SIGNERS)
                .map(|index| authority(name(index), &keys[index], &world.root))
                .collect(),
            signatures: keys.iter().map(|key| world.by(key)).collect(),
            keys,
            world,
        }
    }

    /// `a` to `d`, `all(…)`, `any(…)`, `2(…)`.
    fn requirement(&self, tree: &Tree) -> Requirement {
        let members = |of: &[Tree]| of.iter().map(|it| self.requirement(it)).collect();
        match tree {
            Tree::By(signer) => Requirement::Signature(signature(&self.authorities[*signer])),
            Tree::All(of) => Requirement::All(members(of)),
            Tree::Any(of) => Requirement::Any(members(of)),
            Tree::AtLeast(count, of) => Requirement::AtLeast {
                count: *count,
                of: members(of),
            },
            Tree::Signers(count, of) => {
                let of: Vec<_> = of.iter().map(|it| &self.authorities[*it]).collect();
                signers(&of, *count)
            }
        }
    }

    fn question(&self, requirement: Requirement, by: &[usize]) -> Question {
        let requiring = Policy {
            requirement,
            ..policy("apps")
        };
        let found = by.iter().map(|it| self.signatures[*it].clone());
        Question::new(vec![requiring], found.collect())
    }
}

#[derive(Debug, Clone)]
enum Tree {
    By(usize),
    All(Vec<Self>),
    Any(Vec<Self>),
    AtLeast(usize, Vec<Self>),
    Signers(usize, Vec<usize>),
}

impl Tree {
    /// Whether exactly these signers suffice, told from the definition: for `at_least`, every way of sharing the
    /// signers out among the members is tried.
    fn is_met(&self, by: &[usize]) -> bool {
        match self {
            Self::By(signer) => by.contains(signer),
            Self::All(of) => of.iter().all(|it| it.is_met(by)),
            Self::Any(of) => of.iter().any(|it| it.is_met(by)),
            Self::Signers(count, of) => {
                let among: HashSet<_> = of.iter().filter(|it| by.contains(it)).collect();
                among.len() >= *count
            }
            Self::AtLeast(count, of) => {
                (0..of.len().pow(u32::try_from(by.len()).unwrap())).any(|shared_out| {
                    let mut shares = vec![Vec::new(); of.len()];
                    let mut rest = shared_out;
                    for signer in by {
                        shares[rest % of.len()].push(*signer);
                        rest /= of.len();
                    }
                    let met = of.iter().zip(&shares).filter(|(it, by)| it.is_met(by));
                    met.count() >= *count
                })
            }
        }
    }
}

/// A sequence that is the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }

    fn tree(&mut self, depth: usize) -> Tree {
        if depth == 0 || self.below(4) == 0 {
            return Tree::By(self.below(SIGNERS));
        }
        let members = 1 + self.below(3);
        let of: Vec<_> = (0..members).map(|_| self.tree(depth - 1)).collect();
        match self.below(5) {
            0 => Tree::All(of),
            1 => Tree::Any(of),
            2 => {
                let of: Vec<_> = (0..members).map(|_| self.below(SIGNERS)).collect();
                Tree::Signers(1 + self.below(members), of)
            }
            _ => Tree::AtLeast(1 + self.below(members), of),
        }
    }
}

fn subsets() -> impl Iterator<Item = Vec<usize>> {
    (0..1_usize << SIGNERS).map(|bits| (0..SIGNERS).filter(|it| bits & (1 << it) != 0).collect())
}

#[test]
fn what_is_satisfied_is_what_the_definition_says() {
    let four = Four::new();
    let mut dice = Dice(7);
    let (mut met, mut unmet) = (0, 0);
    for _ in 0..120 {
        let tree = dice.tree(3);
        for by in subsets() {
            let expected = tree.is_met(&by);
            let question = four.question(four.requirement(&tree), &by);
            let satisfied = matches!(question.ask().finding, Finding::Satisfied);
            assert_eq!(satisfied, expected, "{tree:?} signed by {by:?}");
            if expected {
                met += 1;
            } else {
                unmet += 1;
            }
        }
    }
    assert!(met > 400 && unmet > 400, "{met} met, {unmet} not");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn each_kind_of_group_in_each_other() {
    let four = Four::new();
    let of = |signers: &[usize]| signers.iter().map(|it| Tree::By(*it)).collect::<Vec<_>>();
    let all = |signers: &[usize]| Tree::All(of(signers));
    let any = |signers: &[usize]| Tree::Any(of(signers));
    let two = |signers: &[usize]| Tree::AtLeast(2, of(signers));
    let rows: [(Tree, &[usize], &str); 22] = [
        (
            Tree::All(vec![any(&[0, 1]), any(&[2, 3])]),
            &[0, 3],
            "satisfied",
        ),
        (
            Tree::All(vec![any(&[0, 1]), any(&[2, 3])]),
            &[0, 1],
            "untrusted_key",
        ),
        (
            Tree::Any(vec![all(&[0, 1]), all(&[2, 3])]),
            &[2, 3],
            "satisfied",
        ),
        (
            Tree::Any(vec![all(&[0, 1]), all(&[2, 3])]),
            &[1, 2],
            "threshold_not_met",
        ),
        (Tree::Any(vec![all(&[0, 1]), all(&[2, 3])]), &[], "unsigned"),
        // One signer may serve every member of `all`.
        (
            Tree::All(vec![any(&[0, 1]), Tree::By(0)]),
            &[0],
            "satisfied",
        ),
        (
            Tree::All(vec![two(&[0, 1]), two(&[1, 2])]),
            &[0, 1, 2],
            "satisfied",
        ),
        // But one member of `at_least` only.
        (two(&[0, 0]), &[0], "threshold_not_met"),
        (
            Tree::AtLeast(2, vec![any(&[0, 1]), Tree::By(0)]),
            &[0],
            "threshold_not_met",
        ),
        (
            Tree::AtLeast(2, vec![any(&[0, 1]), Tree::By(0)]),
            &[0, 1],
            "satisfied",
        ),
        (
            Tree::AtLeast(2, vec![any(&[0, 1]), Tree::By(0)]),
            &[1, 0],
            "satisfied",
        ),
        // Who is needed for a whole group is used up by it.
        (
            Tree::AtLeast(2, vec![all(&[0, 1]), Tree::By(1)]),
            &[0, 1],
            "threshold_not_met",
        ),
        (
            Tree::AtLeast(2, vec![all(&[0, 1]), any(&[1, 2])]),
            &[0, 1, 2],
            "satisfied",
        ),
        (
            Tree::AtLeast(2, vec![two(&[0, 1, 2]), Tree::By(0)]),
            &[0, 1],
            "threshold_not_met",
        ),
        (
            Tree::AtLeast(2, vec![two(&[0, 1, 2]), Tree::By(0)]),
            &[0, 1, 2],
            "satisfied",
        ),
        (
            Tree::AtLeast(2, vec![Tree::Signers(2, vec![0, 1, 2]), Tree::By(0)]),
            &[0, 1],
            "threshold_not_met",
        ),
        (
            Tree::AtLeast(2, vec![Tree::Signers(2, vec![0, 1, 2]), Tree::By(0)]),
            &[0, 1, 2],
            "satisfied",
        ),
        // Three levels.
        (
            Tree::AtLeast(
                2,
                vec![Tree::All(vec![any(&[0, 1]), Tree::By(2)]), any(&[0, 1])],
            ),
            &[0, 2],
            "threshold_not_met",
        ),
        (
            Tree::AtLeast(
                2,
                vec![Tree::All(vec![any(&[0, 1]), Tree::By(2)]), any(&[0, 1])],
            ),
            &[0, 1, 2],
            "satisfied",
        ),
        (
            Tree::Any(vec![
                Tree::All(vec![two(&[0, 1, 2]), Tree::By(3)]),
                all(&[0, 1, 2]),
            ]),
            &[0, 2, 3],
            "satisfied",
        ),
        (
            Tree::All(vec![Tree::AtLeast(1, vec![all(&[0, 1])])]),
            &[0],
            "threshold_not_met",
        ),
        (
            Tree::All(vec![Tree::Any(vec![Tree::By(3)])]),
            &[0],
            "untrusted_key",
        ),
    ];
    for (tree, by, answer) in rows {
        let question = four.question(four.requirement(&tree), by);
        assert_eq!(question.answer(), answer, "{tree:?} signed by {by:?}");
    }
}

#[test]
fn one_key_under_two_names_counts_once() {
    let four = Four::new();
    let again = authority("the same", &four.keys[0], &four.world.root);
    let both = [&four.authorities[0], &again];
    let at_least = Requirement::AtLeast {
        count: 2,
        of: both
            .iter()
            .map(|it| Requirement::Signature(signature(it)))
            .collect(),
    };
    for requirement in [at_least, signers(&both, 2)] {
        let question = four.question(requirement, &[0, 0]);
        assert_eq!(question.answer(), "threshold_not_met");
    }
}

fn scan(by: &[&Arc<Authority>], quantifier: Quantifier) -> Requirement {
    Requirement::Attestation(AttestationRequirement {
        predicate_type: SCAN.to_owned(),
        authorities: by.iter().map(|it| Arc::clone(it)).collect(),
        quantifier,
        condition: Some(Arc::new(Condition::new("predicate.clean").unwrap())),
    })
}

fn scanned(four: &Four, by: usize, clean: bool) -> Candidate {
    let predicate = json!({ "clean": clean });
    let digest = &four.world.digest;
    super::forge::attestation(&four.keys[by], digest, SCAN, &predicate, None).candidate()
}

#[test]
fn an_attestation_that_does_not_hold_lends_no_signer() {
    let four = Four::new();
    let [a, b] = [&four.authorities[0], &four.authorities[1]];
    let requirement = || Requirement::AtLeast {
        count: 2,
        of: vec![
            Requirement::Signature(signature(b)),
            scan(&[a, b], Quantifier::Any),
        ],
    };
    for (by_first, answer) in [(false, "threshold_not_met"), (true, "satisfied")] {
        let mut question = four.question(requirement(), &[1]);
        let found = [scanned(&four, 0, by_first), scanned(&four, 1, true)];
        question.candidates.extend(found);
        assert_eq!(question.answer(), answer);
    }
    // Every signer is looked for: the first one that holds is needed elsewhere.
    let mut question = four.question(requirement(), &[1]);
    let found = [scanned(&four, 1, true), scanned(&four, 0, true)];
    question.candidates.extend(found);
    assert_eq!(question.answer(), "satisfied");
}

#[test]
fn members_of_all_are_joined() {
    let four = Four::new();
    let [a, b] = [&four.authorities[0], &four.authorities[1]];
    let both = || {
        Requirement::All(vec![
            Requirement::Signature(signature(a)),
            scan(&[b], Quantifier::Any),
        ])
    };
    let rows = [
        (&[0][..], Some(true), "satisfied"),
        (&[0], Some(false), "attestation_rejected"),
        (&[0], None, "attestation_missing"),
        (&[], Some(true), "unsigned"),
        // The first that is missing is named first.
        (&[1], None, "untrusted_key"),
    ];
    for (by, clean, answer) in rows {
        let mut question = four.question(both(), by);
        let found = clean.map(|clean| scanned(&four, 1, clean));
        question.candidates.extend(found);
        assert_eq!(question.answer(), answer);
    }
}

/// Nothing that counts, and nothing that is missing, hides what no mode waives.
#[test]
fn what_is_revoked_outranks_everything() {
    let four = Four::new();
    let revoked = || Revoked {
        keys: HashSet::from([four.keys[1].fingerprint()]),
        ..Revoked::default()
    };
    let [a, b, c] = [0, 1, 2].map(|it| &four.authorities[it]);
    let by = |it: &Arc<Authority>| Requirement::Signature(signature(it));
    let rows = [
        signers(&[a, b], 2),
        Requirement::All(vec![by(a), by(b)]),
        Requirement::AtLeast {
            count: 2,
            of: vec![by(a), by(b)],
        },
        Requirement::All(vec![by(c), Requirement::Any(vec![by(b)])]),
        Requirement::All(vec![
            Requirement::Any(vec![by(c)]),
            Requirement::Any(vec![by(b)]),
        ]),
        Requirement::Any(vec![by(c), Requirement::All(vec![by(b)])]),
        Requirement::AtLeast {
            count: 2,
            of: vec![by(a), Requirement::Any(vec![by(b)])],
        },
    ];
    for requirement in rows {
        for mode in [Mode::Enforce, Mode::Audit] {
            let mut question = four.question(requirement.clone(), &[0, 1]);
            question.policies[0].mode = mode;
            let answer = question.revoking(revoked()).answer();
            assert_eq!(answer, "revoked", "{mode:?} {requirement:?}");
        }
    }
    // Another that suffices is not harmed.
    let either = Requirement::Any(vec![by(b), Requirement::All(vec![by(a)])]);
    let question = four.question(either, &[0, 1]);
    assert_eq!(question.revoking(revoked()).answer(), "satisfied");
}

#[test]
fn annotations_are_demanded_of_each_signature_of_a_group() {
    let four = Four::new();
    let mut demanding = signature(&four.authorities[0]);
    demanding.annotations = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
    let group = Requirement::All(vec![
        Requirement::Signature(demanding),
        Requirement::Signature(signature(&four.authorities[1])),
    ]);
    let mut question = four.question(group.clone(), &[0, 1]);
    assert_eq!(question.answer(), "threshold_not_met");
    question = four.question(group, &[1]);
    let annotated = four.world.annotated(&four.keys[0], &[("env", "prod")]);
    question.candidates.push(annotated);
    assert_eq!(question.answer(), "satisfied");
}

#[test]
fn the_limit_on_attempts_holds_for_groups_together() {
    let four = Four::new();
    let [a, b, c] = [0, 1, 2].map(|it| &four.authorities[it]);
    let by = |it: &Arc<Authority>| Requirement::Signature(signature(it));
    let nested = Requirement::Any(vec![
        by(a),
        Requirement::Any(vec![by(b), Requirement::All(vec![by(c)])]),
    ]);
    // The third attempt would be the good one.
    for (max, answer) in [(2, "limit_exceeded"), (3, "satisfied")] {
        let mut question = four.question(nested.clone(), &[2]);
        question.limits.attempts_max = max;
        assert_eq!(question.answer(), answer);
    }
}

#[test]
fn every_name_of_a_group_is_reported() {
    let four = Four::new();
    let tree = Tree::Any(vec![
        Tree::All(vec![Tree::By(0), Tree::By(1)]),
        Tree::AtLeast(1, vec![Tree::By(2), Tree::By(3)]),
    ]);
    let evaluation = four.question(four.requirement(&tree), &[0, 2]).ask();
    let reported: Vec<_> = evaluation.policies[0]
        .authorities
        .iter()
        .map(|it| (it.name.as_str(), it.satisfied))
        .collect();
    assert_eq!(
        reported,
        [("a", true), ("b", false), ("c", true), ("d", false)]
    );
}
