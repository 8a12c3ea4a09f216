//! Where the log is read from.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ulid::Ulid;
use url::{Host, Url};

use super::super::{EXIT_NO, EXIT_UNDECIDED, EXIT_USAGE};
use crate::decision_log::{Page, Query, Record};
use crate::state::{self, State};
use crate::upstream::behind_system_proxies;

/// Where decisions are read from.
#[derive(Debug)]
pub(in crate::cli) enum Source {
    /// A running proxy.
    Admin(AdminApi),
    /// A data directory.
    Directory(State),
}

/// The admin API of a running proxy.
#[derive(Debug)]
pub(in crate::cli) struct AdminApi {
    client: reqwest::Client,
    decisions: Url,
    token: Option<String>,
}

/// The log cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum Error {
    /// The address is none of an admin API.
    #[error("{0} is not an http:// or https:// address")]
    Address(Url),
    /// The HTTP client does not start.
    #[error("cannot start an HTTP client")]
    Client(#[source] reqwest::Error),
    /// Nobody answers.
    #[error("no answer from {url}; is the proxy running, and is this its admin API?")]
    NoAnswer {
        url: Url,
        #[source]
        source: reqwest::Error,
    },
    /// The token is missing or wrong.
    #[error("the admin API asks for its token: give --token, or set ADMIN_TOKEN")]
    Token,
    /// It says that it cannot.
    #[error("the admin API answers {status}: {message}")]
    Refused {
        status: reqwest::StatusCode,
        message: String,
    },
    /// The answer is larger than any page.
    #[error("the answer of the admin API is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// The answer is no page of decisions.
    #[error("the answer of the admin API is none of this version")]
    Answer(#[source] serde_json::Error),
    /// The id is not in the log.
    #[error(
        "the log has no decision {0}; it may be older than the log, or another replica made it"
    )]
    NoDecision(Ulid),
    /// There is nothing there.
    #[error("there is no decision log in {}", .0.display())]
    NoLog(PathBuf),
    /// The state does not open or read.
    #[error("read the decision log")]
    State(#[from] state::Error),
}

const TIME_MAX: Duration = Duration::from_secs(30);
/// A thousand records with many attempts each.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What is shown of an error.
const MESSAGE_CHARACTERS: usize = 300;

impl Source {
    /// The log of the proxy whose admin API is at `address`.
    pub(in crate::cli) fn connect(address: &Url, token: Option<&str>) -> Result<Self, Error> {
        AdminApi::at(address, token).map(Self::Admin)
    }

    /// The data directory of a proxy, which may be running.
    pub(in crate::cli) fn open(directory: &Path) -> Result<Self, Error> {
        match State::open_read_only(directory) {
            Ok(state) => Ok(Self::Directory(state)),
            Err(state::Error::Absent(directory)) => Err(Error::NoLog(directory)),
            Err(error) => Err(Error::State(error)),
        }
    }

    pub(in crate::cli) async fn page(&self, query: &Query) -> Result<Page, Error> {
        match self {
            Self::Directory(state) => Ok(state.records(query.clone()).await?),
            Self::Admin(api) => {
                let mut url = api.decisions.clone();
                url.query_pairs_mut().extend_pairs(parameters(query));
                api.get(url).await
            }
        }
    }

    /// The decision with this id.
    pub(in crate::cli) async fn record(&self, id: Ulid) -> Result<Record, Error> {
        match self {
            Self::Directory(state) => state.record(id).await?.ok_or(Error::NoDecision(id)),
            Self::Admin(api) => {
                let mut url = api.decisions.clone();
                if let Ok(mut segments) = url.path_segments_mut() {
                    segments.push(&id.to_string());
                }
                match api.get(url).await {
                    Err(Error::Refused { status, .. })
                        if status == reqwest::StatusCode::NOT_FOUND =>
                    {
                        Err(Error::NoDecision(id))
                    }
                    outcome => outcome,
                }
            }
        }
    }
}

impl AdminApi {
    /// The admin API at `address`.
    pub(in crate::cli) fn at(address: &Url, token: Option<&str>) -> Result<Self, Error> {
        let wrong = || Error::Address(address.clone());
        if !matches!(address.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let mut decisions = address.clone();
        decisions
            .path_segments_mut()
            .map_err(|()| wrong())?
            .pop_if_empty()
            .extend(["api", "v1", "decisions"]);
        let mut client = reqwest::Client::builder().timeout(TIME_MAX);
        client = if is_loopback(address) {
            client.no_proxy()
        } else {
            behind_system_proxies(client)
        };
        Ok(Self {
            client: client.build().map_err(Error::Client)?,
            decisions,
            token: token.map(str::to_owned),
        })
    }

    async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, Error> {
        self.send(self.client.get(url)).await
    }

    /// Posts `body` to `endpoint` beside the decisions.
    pub(in crate::cli) async fn post<T: DeserializeOwned>(
        &self,
        endpoint: &str,
        body: &serde_json::Value,
        time_max: Duration,
    ) -> Result<T, Error> {
        let mut url = self.decisions.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop().push(endpoint);
        }
        self.send(self.client.post(url).json(body).timeout(time_max))
            .await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        mut request: reqwest::RequestBuilder,
    ) -> Result<T, Error> {
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let no_answer = |source: reqwest::Error| Error::NoAnswer {
            url: self.decisions.clone(),
            source: source.without_url(),
        };
        let mut response = request.send().await.map_err(no_answer)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(Error::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        if status == reqwest::StatusCode::UNAUTHORIZED {
            return Err(Error::Token);
        }
        if !status.is_success() {
            let message = message(&body);
            return Err(Error::Refused { status, message });
        }
        serde_json::from_slice(&body).map_err(Error::Answer)
    }
}

impl Error {
    /// 64 for what was given wrongly, 2 for what may work another time.
    pub(in crate::cli) fn exit_code(&self) -> u8 {
        match self {
            Self::NoDecision(_) => EXIT_NO,
            Self::Address(_) | Self::NoLog(_) => EXIT_USAGE,
            Self::Client(_)
            | Self::NoAnswer { .. }
            | Self::Token
            | Self::Refused { .. }
            | Self::TooLarge
            | Self::Answer(_)
            | Self::State(_) => EXIT_UNDECIDED,
        }
    }
}

/// An address on this machine, to which no HTTP proxy leads.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

fn parameters(query: &Query) -> Vec<(&'static str, String)> {
    let decision = query.decision.map(|decision| match decision {
        crate::decision_log::Outcome::Admit => "admit",
        crate::decision_log::Outcome::Deny => "deny",
        crate::decision_log::Outcome::Unavailable => "unavailable",
    });
    let parameters = [
        ("repository", query.repository.clone()),
        ("digest", query.digest.as_ref().map(ToString::to_string)),
        ("decision", decision.map(str::to_owned)),
        ("kind", query.kind.map(|kind| kind.as_str().to_owned())),
        ("policy", query.policy.clone()),
        ("signer", query.signer.clone()),
        ("client", query.client.clone()),
        ("since", query.since.map(|time| time.to_string())),
        ("until", query.until.map(|time| time.to_string())),
        ("limit", Some(query.limit.to_string())),
        ("after", query.after.map(|id| id.to_string())),
    ];
    let given = parameters.into_iter();
    given
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// What an error answer says.
fn message(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Problem {
        error: String,
    }
    match serde_json::from_slice(body) {
        Ok(Problem { error }) => error,
        Err(_no_problem) => String::from_utf8_lossy(body)
            .chars()
            .take(MESSAGE_CHARACTERS)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_below_the_address_that_was_given() {
        for (address, decisions) in [
            (
                "http://127.0.0.1:5081",
                "http://127.0.0.1:5081/api/v1/decisions",
            ),
            (
                "http://127.0.0.1:5081/",
                "http://127.0.0.1:5081/api/v1/decisions",
            ),
            ("https://host/admin", "https://host/admin/api/v1/decisions"),
        ] {
            let Source::Admin(api) = Source::connect(&address.parse().unwrap(), None).unwrap()
            else {
                panic!("not an admin API");
            };
            assert_eq!(api.decisions.as_str(), decisions);
        }
        let file = "file:///etc".parse().unwrap();
        assert!(matches!(
            Source::connect(&file, None),
            Err(Error::Address(_))
        ));
    }

    #[test]
    fn makes_no_log_where_there_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            Source::open(directory.path()),
            Err(Error::NoLog(_))
        ));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
