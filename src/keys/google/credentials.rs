//! Who we are to Google: Application Default Credentials, found and exchanged by Google's own library.

use std::env;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use google_cloud_auth::credentials::{
    AccessTokenCredentials, Builder, CacheableResource, CredentialsProvider as _,
};
use http::{Extensions, HeaderMap};
use tokio::time::{Instant, timeout_at};

use crate::keys::Error;
use crate::keys::limits::{CREDENTIALS_PROBE_TIME_MAX, FETCH_TIME_MAX};
use crate::keys::rest::shortened;
use crate::secret::Secret;

const SERVICE: &str = "Google Cloud";
const FILE_VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";
const HOST_VARIABLE: &str = "GCE_METADATA_HOST";
const WELL_KNOWN_FILE: &str = ".config/gcloud/application_default_credentials.json";
const METADATA_HOST: &str = "metadata.google.internal";

/// Access tokens of Google Cloud, exchanged when they are needed and kept until they expire. A clone is the same one.
#[derive(Clone)]
pub struct GoogleToken {
    credentials: Arc<Mutex<Option<AccessTokenCredentials>>>,
}

/// There is no token.
#[derive(Debug)]
pub(super) struct Missing {
    pub(super) error: Error,
    /// Nothing names credentials, and there is no metadata server: the program does not run at Google.
    pub(super) is_nowhere: bool,
}

/// Where the library finds credentials, in the order in which it looks.
#[derive(Debug, PartialEq, Eq)]
enum Source {
    /// The file that [`FILE_VARIABLE`] names.
    Named(PathBuf),
    /// The file that `gcloud auth application-default login` writes.
    WellKnown(PathBuf),
    /// The metadata server of the machine or the pod.
    Metadata(String),
}

impl GoogleToken {
    /// The Application Default Credentials of the process, looked for when a token is first wanted.
    #[must_use]
    pub fn from_environment() -> Self {
        // The library signs its requests for tokens with the process's provider. That one is installed already is as
        // good.
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        Self {
            credentials: Arc::default(),
        }
    }

    /// A token for an `Authorization: Bearer` header, or for the password of the user `oauth2accesstoken` of Artifact
    /// Registry. Asks Google at most once in its lifetime.
    ///
    /// # Errors
    /// [`Error::Credentials`], which names what was looked for and what went wrong.
    pub async fn token(&self) -> Result<Secret, Error> {
        let headers = self.headers(Instant::now() + FETCH_TIME_MAX, false).await;
        let headers = headers.map_err(|missing| missing.error)?;
        let token = headers
            .get(http::header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        match token {
            Some(token) => Ok(Secret::new(token.to_owned())),
            None => Err(Error::Credentials {
                service: SERVICE,
                reason: "what was got for them is no bearer token".to_owned(),
            }),
        }
    }

    /// The headers of a request: `Authorization`, and the project to account it to where one is named. When they are
    /// `optional`, the metadata server is not waited for long.
    pub(super) async fn headers(
        &self,
        deadline: Instant,
        optional: bool,
    ) -> Result<HeaderMap, Missing> {
        let source = Source::find();
        let deadline = match source {
            Source::Metadata(_) if optional => {
                deadline.min(Instant::now() + CREDENTIALS_PROBE_TIME_MAX)
            }
            Source::Named(_) | Source::WellKnown(_) | Source::Metadata(_) => deadline,
        };
        // A panic in the library is no reason to lose the task that keeps the keys fresh.
        let headers = AssertUnwindSafe(self.ask()).catch_unwind();
        let reason = match timeout_at(deadline, headers).await {
            Ok(Ok(Ok(headers))) => return Ok(headers),
            Ok(Ok(Err(reason))) => reason,
            Ok(Err(_panic)) => "the library failed in a way that is a bug".to_owned(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        // The library gives up for ever after some errors; the next one who asks begins anew, with files read anew.
        *self.lock() = None;
        Err(Missing {
            error: Error::Credentials {
                service: SERVICE,
                reason: format!("{source}: {reason}"),
            },
            is_nowhere: matches!(source, Source::Metadata(_)),
        })
    }

    async fn ask(&self) -> Result<HeaderMap, String> {
        let credentials = self.load()?;
        match credentials.headers(Extensions::new()).await {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            Ok(CacheableResource::NotModified) => Err("there is no token".to_owned()),
            Err(error) => Err(innermost(&error)),
        }
    }

    /// The credentials that are in use, or those that the environment names now.
    fn load(&self) -> Result<AccessTokenCredentials, String> {
        let mut kept = self.lock();
        if let Some(credentials) = &*kept {
            return Ok(credentials.clone());
        }
        let built = Builder::default().build_access_token_credentials();
        let credentials = built.map_err(|error| innermost(&error))?;
        *kept = Some(credentials.clone());
        Ok(credentials)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<AccessTokenCredentials>> {
        // Whole or absent, whatever panicked.
        self.credentials
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl GoogleToken {
    /// Tokens that these credentials give.
    pub(in crate::keys) fn from_credentials(credentials: AccessTokenCredentials) -> Self {
        Self {
            credentials: Arc::new(Mutex::new(Some(credentials))),
        }
    }
}

impl fmt::Debug for GoogleToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GoogleToken")
            .finish_non_exhaustive()
    }
}

impl Source {
    /// Looks where the library looks: it does not tell which way it went.
    fn find() -> Self {
        if let Some(path) = env::var_os(FILE_VARIABLE) {
            return Self::Named(path.into());
        }
        let home = env::var_os("HOME").map(|home| Path::new(&home).join(WELL_KNOWN_FILE));
        if let Some(path) = home.filter(|path| path.exists()) {
            return Self::WellKnown(path);
        }
        let host = env::var_os(HOST_VARIABLE);
        let host = host.map_or_else(
            || METADATA_HOST.to_owned(),
            |host| host.to_string_lossy().into_owned(),
        );
        Self::Metadata(host)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(path) => write!(formatter, "{FILE_VARIABLE} ({})", path.display()),
            Self::WellKnown(path) => write!(formatter, "{}", path.display()),
            Self::Metadata(host) => write!(
                formatter,
                "{FILE_VARIABLE} is not set, there is no ~/{WELL_KNOWN_FILE}, and the metadata server {host} gives no token"
            ),
        }
    }
}

/// The two innermost causes, which say what happened; the outer ones are about the library.
fn innermost(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    let mut causes: Vec<String> = chain.map(ToString::to_string).collect();
    causes.dedup();
    let skipped = causes.len().saturating_sub(2);
    let causes: Vec<String> = causes.into_iter().skip(skipped).collect();
    shortened(&causes.join(": "))
}
