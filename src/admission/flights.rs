//! One decision under way per subject, however many ask for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use super::decision::{Decision, Error};
use crate::decision_log::Subject;

type Result = std::result::Result<Arc<Decision>, Arc<Error>>;
type Landing = Shared<BoxFuture<'static, Result>>;

/// The decisions under way.
#[derive(Debug, Default, Clone)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Subject, Landing>>>,
}

impl Flights {
    /// The outcome of the decision under way about `subject`, begun with `decide` if there is none. It runs as a task
    /// of its own: nobody who waits for it can stop it by leaving.
    pub(super) fn join(
        &self,
        subject: &Subject,
        tasks: &TaskTracker,
        decide: impl FnOnce() -> BoxFuture<'static, Result>,
    ) -> Landing {
        let mut under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = under_way.get(subject) {
            return landing.clone();
        }
        let (sender, receiver) = oneshot::channel();
        let landing = receiver
            .map(|sent| sent.unwrap_or_else(|_gone| Err(Arc::new(Error::Abandoned))))
            .boxed()
            .shared();
        under_way.insert(subject.clone(), landing.clone());
        drop(under_way);
        let departed = Departed {
            flights: self.clone(),
            subject: subject.clone(),
        };
        let deciding = decide();
        tasks.spawn(async move {
            let outcome = deciding.await;
            // Forgotten before it is told: whoever asks from now on finds what is remembered, or begins anew.
            drop(departed);
            let _nobody_waits = sender.send(outcome);
        });
        landing
    }
}

/// Removes its flight when the task ends, also by a panic.
struct Departed {
    flights: Flights,
    subject: Subject,
}

impl Drop for Departed {
    fn drop(&mut self) {
        self.flights
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.subject);
    }
}
