//! The answers of conditions about statements in one decision.
//!
//! A statement costs what its signer wants it to cost. So the conditions of a decision pay from a tank, and the same
//! statement is judged once, however many copies of it there are and however often a decision looks at what it has.
//!
//! Auditing policies have a tank of their own, or a policy that only audits could leave an enforcing one without fuel. A
//! decision looks at what it has several times, so that the order of policies would not prevent that. One decision costs
//! two tanks at most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

use super::attempts::Refusal;
use crate::limits::Limits;
use crate::oci::Digest;
use crate::policy::fuel::price;
use crate::policy::{Fuel, Mode, OutOfFuel, Rule};

/// The answers for the policies of each mode.
#[derive(Debug)]
pub(in crate::admission) struct Verdicts {
    enforcing: Answers,
    auditing: Answers,
}

/// The answers of conditions so far, and the fuel that is left for more.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) fuel: Fuel,
    memory: Mutex<Memory>,
}

/// Why a statement was not read.
#[derive(Debug)]
pub(super) enum Unread {
    Broken(serde_json::Error),
    OutOfFuel(OutOfFuel),
}

/// A condition, and what it said.
type Verdict = (Arc<dyn Rule>, Result<(), Refusal>);

#[derive(Debug, Default)]
struct Memory {
    /// By the digest of the statement. Conditions are told apart by where they are, so each is kept alive.
    verdicts: HashMap<Digest, Vec<Verdict>>,
    /// The statement that was read last: several conditions may ask about it.
    last: Option<(Digest, Arc<Value>)>,
}

impl Verdicts {
    /// Returns empty memories with full tanks.
    pub(in crate::admission) fn new(limits: &Limits) -> Self {
        Self {
            enforcing: Answers::new(limits),
            auditing: Answers::new(limits),
        }
    }

    /// Returns the answers for policies of this mode.
    pub(super) fn for_mode(&self, mode: Mode) -> &Answers {
        match mode {
            Mode::Enforce => &self.enforcing,
            Mode::Audit => &self.auditing,
        }
    }
}

impl Answers {
    fn new(limits: &Limits) -> Self {
        Self {
            fuel: Fuel::within(limits),
            memory: Mutex::default(),
        }
    }

    /// Returns what `rule` says of a statement. `judge` is asked if the rule was not asked about the same bytes before.
    pub(super) fn of(
        &self,
        rule: &Arc<dyn Rule>,
        statement: &Bytes,
        judge: impl FnOnce(Result<&Value, Unread>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let digest = Digest::sha256(statement);
        if let Some(verdict) = self.known(rule, &digest) {
            return verdict;
        }
        let verdict = match self.read(&digest, statement) {
            Ok(statement) => judge(Ok(&statement)),
            Err(error) => judge(Err(error)),
        };
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let verdicts = memory.verdicts.entry(digest).or_default();
        verdicts.push((Arc::clone(rule), verdict.clone()));
        verdict
    }

    fn known(&self, rule: &Arc<dyn Rule>, digest: &Digest) -> Option<Result<(), Refusal>> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut verdicts = memory.verdicts.get(digest)?.iter();
        let found = verdicts.find(|(known, _)| Arc::ptr_eq(known, rule))?;
        Some(found.1.clone())
    }

    fn read(&self, digest: &Digest, bytes: &[u8]) -> Result<Arc<Value>, Unread> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((last, statement)) = &memory.last
            && last == digest
        {
            return Ok(Arc::clone(statement));
        }
        // The one before must not stay in memory beside the next.
        memory.last = None;
        self.fuel
            .pay(price::parsed(bytes.len()))
            .map_err(Unread::OutOfFuel)?;
        let statement = serde_json::from_slice(bytes).map_err(Unread::Broken)?;
        let statement: Arc<Value> = Arc::new(statement);
        memory.last = Some((*digest, Arc::clone(&statement)));
        Ok(statement)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use jiff::Timestamp;

    use super::*;
    use crate::policy::{Condition, ConditionError};

    /// Counts how often it is asked.
    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl Rule for Counting {
        fn source(&self) -> &'static str {
            "counting"
        }

        fn evaluate(&self, _: &Value, _: Timestamp, _: &Fuel) -> Result<bool, ConditionError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        }

        fn depends_on_time(&self) -> bool {
            false
        }
    }

    fn ask(verdicts: &Answers, rule: &Arc<dyn Rule>, statement: &'static str) -> bool {
        let outcome = verdicts.of(rule, &Bytes::from_static(statement.as_bytes()), |read| {
            let read = read.unwrap();
            let met = rule.evaluate(read, Timestamp::UNIX_EPOCH, &verdicts.fuel);
            met.unwrap();
            Ok(())
        });
        outcome.is_ok()
    }

    #[test]
    fn each_condition_judges_the_same_bytes_once() {
        let verdicts = Answers::new(&Limits::default());
        let counting = [Arc::new(Counting::default()), Arc::new(Counting::default())];
        let [first, second] = counting.clone().map(|it| it as Arc<dyn Rule>);
        for rule in [&first, &first, &second, &first, &second] {
            assert!(ask(&verdicts, rule, r#"{"predicate": 1}"#));
        }
        assert!(ask(&verdicts, &first, r#"{"predicate": 2}"#));
        let asked = counting.map(|it| it.0.load(Ordering::Relaxed));
        assert_eq!(asked, [2, 1]);
    }

    #[test]
    fn conditions_of_a_decision_pay_from_one_tank() {
        let limits = Limits {
            condition_cpu_time_max: std::time::Duration::from_millis(1),
            ..Limits::default()
        };
        let verdicts = Answers::new(&limits);
        let condition: Arc<dyn Rule> =
            Arc::new(Condition::new("predicate.all(it, it > 0)").unwrap());
        let numbers = |first: u64| {
            Bytes::from(serde_json::json!({"predicate": vec![first; 200]}).to_string())
        };
        let outcomes = (1..20).map(|first| {
            verdicts
                .of(&condition, &numbers(first), |read| {
                    let met = match read {
                        Ok(read) => condition.evaluate(read, Timestamp::UNIX_EPOCH, &verdicts.fuel),
                        Err(Unread::OutOfFuel(error)) => Err(error.into()),
                        Err(Unread::Broken(error)) => panic!("{error}"),
                    };
                    match met {
                        Ok(true) => Ok(()),
                        Ok(false) | Err(_) => Err(Refusal {
                            rank: super::super::attempts::Rank::Limit,
                            kind: crate::admission::denial::Kind::LimitExceeded,
                            reason: String::new(),
                        }),
                    }
                })
                .is_ok()
        });
        let outcomes: Vec<_> = outcomes.collect();
        assert_eq!(outcomes.first(), Some(&true));
        assert_eq!(outcomes.last(), Some(&false));
        // Once it is empty, it stays empty.
        assert!(
            outcomes.is_sorted_by(|one, next| one >= next),
            "{outcomes:?}"
        );
    }
}
