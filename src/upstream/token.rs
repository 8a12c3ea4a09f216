//! What goes into `Authorization`: tokens and Basic credentials, kept per repository, obtained once however many ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;
use tokio::time::Instant;

use super::exchange::Fault;

/// A value for `Authorization`.
#[derive(Debug)]
pub(super) struct Grant {
    /// The header, marked sensitive.
    pub(super) header: HeaderValue,
    expires_at: Option<Instant>,
    number: u64,
}

/// The grants of one upstream, by repository. A token's scope is `repository:<name>:pull`, so this is also by scope.
#[derive(Debug)]
pub(super) struct Grants {
    slots: moka::sync::Cache<String, Arc<Slot>>,
}

/// The grant of one repository.
#[derive(Debug, Default)]
pub(super) struct Slot {
    current: Mutex<Option<Arc<Grant>>>,
    /// Held by the one who fetches; the others wait here and then find what it fetched, or why and when it failed.
    pub(super) fetching: tokio::sync::Mutex<Option<(Instant, Fault)>>,
}

/// What a token host answers (distribution token specification; OAuth 2 says `access_token`).
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    expires_in: Option<u64>,
}

const REPOSITORIES_MAX: u64 = 10_000;
const IDLE_MAX: Duration = Duration::from_secs(3600);

/// What a token lives when its host does not say (token specification, "Token Response Fields").
const LIFE_DEFAULT: Duration = Duration::from_secs(60);
const LIFE_MAX: Duration = Duration::from_secs(24 * 3600);
/// A token is given up this long before its end, or a fifth of its life, so that it does not end on its way.
const MARGIN_MAX: Duration = Duration::from_secs(10);

impl Grants {
    pub(super) fn new() -> Self {
        let slots = moka::sync::Cache::builder()
            .max_capacity(REPOSITORIES_MAX)
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
    pub(super) fn current(&self, repository: &str) -> Option<Arc<Grant>> {
        self.slots.get(repository)?.current()
    }
}

impl Slot {
    /// A grant that may still be good.
    pub(super) fn current(&self) -> Option<Arc<Grant>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        current
            .as_ref()
            .filter(|grant| grant.expires_at.is_none_or(|end| now < end))
            .cloned()
    }

    /// A grant other than `rejected`, if somebody has obtained one in the meantime.
    pub(super) fn newer_than(&self, rejected: Option<&Grant>) -> Option<Arc<Grant>> {
        self.current()
            .filter(|grant| rejected.is_none_or(|rejected| rejected.number < grant.number))
    }

    /// Keeps `grant` for later requests.
    pub(super) fn keep(&self, grant: &Arc<Grant>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(grant));
    }
}

impl Grant {
    /// Basic credentials. They do not end by themselves, but what they were read from may change: a few minutes.
    pub(super) fn basic(username: &str, password: &str) -> Option<Self> {
        let encoded = STANDARD.encode(format!("{username}:{password}"));
        Self::new(&format!("Basic {encoded}"), Some(super::host::LOGIN_LIFE))
    }

    /// A token. `None` when the answer has none that a header can carry.
    pub(super) fn bearer(answer: &TokenAnswer) -> Option<Self> {
        let token = if answer.token.is_empty() {
            &answer.access_token
        } else {
            &answer.token
        };
        if token.is_empty() {
            return None;
        }
        let life = answer
            .expires_in
            .filter(|seconds| *seconds > 0)
            .map_or(LIFE_DEFAULT, Duration::from_secs);
        let life = life.min(LIFE_MAX);
        Self::new(
            &format!("Bearer {token}"),
            Some(life - MARGIN_MAX.min(life / 5)),
        )
    }

    fn new(header: &str, life: Option<Duration>) -> Option<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut header = HeaderValue::from_str(header).ok()?;
        header.set_sensitive(true);
        Some(Self {
            header,
            expires_at: life.map(|life| Instant::now() + life),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        })
    }
}

/// What to ask a token for: of the scope in the challenge, only pulling from repositories, since the upstream could
/// ask for anything; the repository's own when the challenge says nothing of use.
pub(super) fn pull_scopes(challenged: Option<&str>, repository: &str) -> Vec<String> {
    let words = challenged.unwrap_or_default().split_ascii_whitespace();
    let narrowed: Vec<_> = words.filter_map(narrow).collect();
    if narrowed.is_empty() && repository.is_empty() {
        // Asked whether we are let in at all, not for a repository.
        Vec::new()
    } else if narrowed.is_empty() {
        vec![format!("repository:{repository}:pull")]
    } else {
        narrowed
    }
}

/// `repository:<name>:pull` for a scope that includes it. Names may contain colons, as in `host:5000/name`.
fn narrow(scope: &str) -> Option<String> {
    let (resource, actions) = scope.rsplit_once(':')?;
    let is_pull = actions
        .split(',')
        .any(|action| matches!(action, "pull" | "*"));
    (is_pull && resource.starts_with("repository:")).then(|| format!("{resource}:pull"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(answer: &str) -> Option<Grant> {
        Grant::bearer(&serde_json::from_str(answer).unwrap())
    }

    #[test]
    fn asks_for_pulling_only() {
        for (challenged, expected) in [
            (None, "repository:a/b:pull"),
            (Some(""), "repository:a/b:pull"),
            (Some("registry:catalog:*"), "repository:a/b:pull"),
            (Some("repository:x/a/b:pull"), "repository:x/a/b:pull"),
            (Some("repository:a/b:push,pull"), "repository:a/b:pull"),
            (Some("repository:a/b:*"), "repository:a/b:pull"),
            (Some("repository:a/b:push"), "repository:a/b:pull"),
            (Some("repository(plugin):a/b:pull"), "repository:a/b:pull"),
        ] {
            assert_eq!(pull_scopes(challenged, "a/b"), [expected], "{challenged:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_ends_before_its_time() {
        for (answer, last, end) in [
            (r#"{"token": "t"}"#, 49, 51),
            (r#"{"token": "t", "expires_in": 0}"#, 49, 51),
            (r#"{"access_token": "t", "expires_in": 300}"#, 289, 291),
            (r#"{"token": "t", "expires_in": 5}"#, 3, 5),
            (
                r#"{"token": "t", "expires_in": 18446744073709551615}"#,
                24 * 3600 - 11,
                24 * 3600 - 9,
            ),
        ] {
            let slot = Slot::default();
            slot.keep(&Arc::new(bearer(answer).unwrap()));
            tokio::time::advance(Duration::from_secs(last)).await;
            assert!(slot.current().is_some(), "{answer}");
            tokio::time::advance(Duration::from_secs(end - last)).await;
            assert!(slot.current().is_none(), "{answer}");
        }
    }

    #[test]
    fn a_token_must_fit_into_a_header() {
        for answer in ["{}", r#"{"token": ""}"#, r#"{"token": "a\r\nX: y"}"#] {
            assert!(bearer(answer).is_none(), "{answer}");
        }
    }

    #[tokio::test]
    async fn grants_do_not_print() {
        let text = format!("{:?}", bearer(r#"{"token": "hunter2"}"#).unwrap());
        assert!(!text.contains("hunter2"), "{text}");
    }
}
