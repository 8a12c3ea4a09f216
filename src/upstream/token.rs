//! What goes into `Authorization`: tokens and Basic credentials, kept per repository, obtained once however many ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use tokio::time::Instant;

use super::exchange::Fault;
use super::token_answer::TokenAnswer;

/// A value for `Authorization`.
#[derive(Debug)]
pub(super) struct Grant {
    /// The header, marked sensitive.
    pub(super) header: HeaderValue,
    /// The scopes that the token was asked for; none for Basic credentials.
    pub(super) scopes: Vec<String>,
    expires_at: Instant,
    number: u64,
}

/// A grant and its origin.
#[derive(Debug)]
pub(super) struct Renewed {
    /// The grant.
    pub(super) grant: Arc<Grant>,
    /// True if it was fetched for this request, false if another request obtained it before.
    pub(super) is_new: bool,
}

/// Grants by repository: those of one upstream, or those of the hosts that it redirects to.
#[derive(Debug)]
pub(super) struct Grants {
    slots: moka::sync::Cache<String, Arc<Slot>>,
}

/// The grant of one repository.
#[derive(Debug, Default)]
pub(super) struct Slot {
    current: Mutex<Option<Arc<Grant>>>,
    /// Held by the request that fetches. The others wait here, and then find the grant, or why and when it failed.
    fetching: tokio::sync::Mutex<Option<(Instant, Fault)>>,
}

const IDLE_MAX: Duration = Duration::from_secs(3600);

/// A token is given up this long before its end, or a fifth of its life, so that it does not end on its way.
const MARGIN_MAX: Duration = Duration::from_secs(10);

impl Grants {
    /// Keeps the grants of at most `repositories_max` repositories.
    pub(super) fn new(repositories_max: u64) -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(repositories_max)
            .time_to_idle(IDLE_MAX)
            .build();
        Self { slots }
    }

    /// The slot of a repository.
    pub(super) fn slot(&self, repository: &str) -> Arc<Slot> {
        self.slots
            .get(repository)
            .unwrap_or_else(|| self.slots.get_with(repository.to_owned(), Arc::default))
    }

    /// A grant that may still be good.
    pub(super) fn current(&self, repository: &str) -> Option<Renewed> {
        let grant = self.slots.get(repository)?.current()?;
        Some(Renewed {
            grant,
            is_new: false,
        })
    }

    /// Drops `rejected` if it is still the grant of that repository.
    pub(super) fn forget(&self, repository: &str, rejected: &Grant) {
        if let Some(slot) = self.slots.get(repository) {
            slot.forget(rejected);
        }
    }
}

impl Slot {
    /// A grant that may still be good.
    pub(super) fn current(&self) -> Option<Arc<Grant>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        current
            .as_ref()
            .filter(|grant| now < grant.expires_at)
            .cloned()
    }

    /// A grant other than `rejected`: one that another request has obtained in the meantime, or the one that `obtain`
    /// fetches. One request fetches at a time, and those that waited for it share its outcome.
    ///
    /// # Errors
    /// When `obtain` fails, or failed for another request while this one waited.
    pub(super) async fn renew(
        &self,
        rejected: Option<&Grant>,
        obtain: impl Future<Output = Result<Grant, Fault>>,
    ) -> Result<Renewed, Fault> {
        if let Some(rejected) = rejected {
            self.forget(rejected);
        }
        let asked_at = Instant::now();
        let mut last_failure = self.fetching.lock().await;
        if let Some(grant) = self.newer_than(rejected) {
            return Ok(Renewed {
                grant,
                is_new: false,
            });
        }
        if let Some((_, fault)) = last_failure.as_ref().filter(|(at, _)| *at > asked_at) {
            return Err(fault.clone());
        }
        match obtain.await {
            Ok(grant) => {
                let grant = Arc::new(grant);
                self.keep(&grant);
                Ok(Renewed {
                    grant,
                    is_new: true,
                })
            }
            Err(fault) => {
                *last_failure = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    /// Drops `rejected`, so that no other request uses it.
    pub(super) fn forget(&self, rejected: &Grant) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current
            .as_ref()
            .is_some_and(|current| current.number == rejected.number)
        {
            *current = None;
        }
    }

    /// A grant other than `rejected`, if another request has obtained one in the meantime.
    fn newer_than(&self, rejected: Option<&Grant>) -> Option<Arc<Grant>> {
        self.current()
            .filter(|grant| rejected.is_none_or(|rejected| rejected.number < grant.number))
    }

    /// Keeps `grant` for later requests.
    fn keep(&self, grant: &Arc<Grant>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(grant));
    }
}

impl Grant {
    /// Basic credentials. They do not end by themselves, but what they were read from may change: a few minutes.
    pub(super) fn basic(username: &str, password: &str) -> Option<Self> {
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        let header = format!("Basic {encoded}");
        Self::new(&header, Vec::new(), super::host::LOGIN_LIFE)
    }

    /// A token for these scopes. `None` when a header cannot carry it.
    pub(super) fn bearer(answer: &TokenAnswer, scopes: Vec<String>) -> Option<Self> {
        let life = answer.life - MARGIN_MAX.min(answer.life / 5);
        Self::new(&format!("Bearer {}", answer.token), scopes, life)
    }

    fn new(header: &str, scopes: Vec<String>, life: Duration) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut header = HeaderValue::from_str(header).ok()?;
        header.set_sensitive(true);
        Some(Self {
            header,
            scopes,
            expires_at: Instant::now() + life,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(token: &str, seconds: u64) -> Option<Grant> {
        let answer = TokenAnswer {
            token: token.to_owned(),
            life: Duration::from_secs(seconds),
        };
        Grant::bearer(&answer, Vec::new())
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_before_its_time() {
        for (life, last, end) in [(60, 49, 51), (300, 289, 291), (5, 3, 5)] {
            let slot = Slot::default();
            slot.keep(&Arc::new(bearer("t", life).unwrap()));
            tokio::time::advance(Duration::from_secs(last)).await;
            assert!(slot.current().is_some(), "{life}");
            tokio::time::advance(Duration::from_secs(end - last)).await;
            assert!(slot.current().is_none(), "{life}");
        }
    }

    #[tokio::test]
    async fn rejected_grant_is_dropped_unless_a_newer_one_took_its_place() {
        let slot = Slot::default();
        let (first, second) = (bearer("a", 60).unwrap(), bearer("b", 60).unwrap());
        slot.keep(&Arc::new(second));
        slot.forget(&first);
        assert!(slot.current().is_some());
        let second = slot.current().unwrap();
        slot.forget(&second);
        assert!(slot.current().is_none());
    }

    #[test]
    fn a_token_must_fit_into_a_header() {
        assert!(bearer("a\r\nX: y", 60).is_none());
    }

    #[tokio::test]
    async fn grants_do_not_print() {
        let text = format!("{:?}", bearer("hunter2", 60).unwrap());
        assert!(!text.contains("hunter2"), "{text}");
    }
}
