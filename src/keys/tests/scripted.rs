//! A service that does as told, and those who listen to what comes of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::pem;
use crate::keys::{Error, KeyService, Observer, Reference};
use crate::policy::KeyVersion;
use crate::verify::PublicKey;

/// What the service does when it is asked.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Versions(Vec<KeyVersion>),
    After(Duration, Vec<KeyVersion>),
    Fails(Error),
    Never,
    Panics,
}

#[derive(Debug)]
pub(super) struct Scripted {
    answer: Mutex<Answer>,
    calls: Mutex<Vec<Instant>>,
    is_fixed: bool,
}

impl Scripted {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer: Mutex::new(answer),
            calls: Mutex::default(),
            is_fixed: false,
        }
    }

    pub(super) fn fixed(answer: Answer) -> Self {
        let mut service = Self::new(answer);
        service.is_fixed = true;
        service
    }

    /// From now on.
    pub(super) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// When it was asked.
    pub(super) fn calls(&self) -> Vec<Instant> {
        self.calls.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl KeyService for Scripted {
    async fn fetch(
        &self,
        _reference: &Reference,
        _deadline: Instant,
    ) -> Result<Vec<KeyVersion>, Error> {
        self.calls.lock().unwrap().push(Instant::now());
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Versions(versions) => Ok(versions),
            Answer::After(delay, versions) => {
                sleep(delay).await;
                Ok(versions)
            }
            Answer::Fails(error) => Err(error),
            Answer::Never => std::future::pending().await,
            Answer::Panics => panic!("as told"),
        }
    }

    fn is_fixed(&self, _reference: &Reference) -> bool {
        self.is_fixed
    }
}

/// A version with a key of its own, the same each time.
pub(super) fn key(version: &str) -> KeyVersion {
    static KEYS: Mutex<Vec<(String, PublicKey)>> = Mutex::new(Vec::new());
    let mut keys = KEYS.lock().unwrap();
    let known = keys.iter().find(|(name, _)| name == version);
    let key = known.map(|(_, key)| key.clone()).unwrap_or_else(|| {
        let key = PublicKey::from_pem(&pem::ec_p256()).unwrap();
        keys.push((version.to_owned(), key.clone()));
        key
    });
    KeyVersion {
        version: Some(version.to_owned()),
        key,
    }
}

pub(super) fn unavailable() -> Error {
    Error::Unavailable {
        host: "kms.example".to_owned(),
        reason: "out of order".to_owned(),
    }
}

pub(super) fn not_found() -> Error {
    Error::NotFound {
        host: "kms.example".to_owned(),
        message: "it is DISABLED".to_owned(),
    }
}

/// The failures that say nothing about the key.
pub(super) fn failures() -> [Error; 4] {
    [
        unavailable(),
        Error::Denied {
            host: "kms.example".to_owned(),
            status: 403,
            message: "not you".to_owned(),
        },
        Error::Malformed {
            host: "kms.example".to_owned(),
            reason: "the checksum is wrong".to_owned(),
        },
        Error::Credentials {
            service: "KMS",
            reason: "none".to_owned(),
        },
    ]
}

/// The outcomes of fetches, in their order.
#[derive(Debug, Default)]
pub(super) struct Outcomes(Mutex<Vec<&'static str>>);

impl Outcomes {
    pub(super) fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Outcomes {
    fn refreshed(&self, _reference: &Reference, outcome: &'static str, _elapsed: Duration) {
        self.0.lock().unwrap().push(outcome);
    }
}

/// Counts warnings of this thread.
#[derive(Debug, Clone, Default)]
pub(super) struct Warnings(Arc<AtomicUsize>);

impl Warnings {
    pub(super) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }

    pub(super) fn take(&self) -> usize {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        if *event.metadata().level() == Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
