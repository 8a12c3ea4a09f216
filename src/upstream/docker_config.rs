//! Credentials from Docker's `config.json` and its helper programs (docker-credential-helpers protocol).

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::credentials::Login;
use crate::oci::repository::{DOCKER_HUB, OTHER_DOCKER_HUBS};
use crate::secret::Secret;

/// A `config.json`, read again whenever it is asked.
#[derive(Debug)]
pub(super) struct DockerConfig {
    path: PathBuf,
    /// Where helper programs are looked for; the process's `PATH` when `None`.
    search_path: Option<OsString>,
    helper_time_max: Duration,
}

/// Why no credentials could be determined. Nothing of what was read is repeated: it may be secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LookupError {
    #[error("the Docker configuration cannot be read")]
    Unreadable,
    #[error("the Docker configuration is malformed")]
    Malformed,
    #[error("the Docker credential helper cannot be run")]
    HelperNotRun,
    #[error("the Docker credential helper did not answer in time")]
    HelperTime,
    #[error("the Docker credential helper failed")]
    HelperFailed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: HashMap<String, Auth>,
    #[serde(default)]
    cred_helpers: HashMap<String, String>,
    #[serde(default)]
    creds_store: String,
}

#[derive(Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// The key under which Docker files what belongs to Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// What helpers print, with a status other than 0, when they know nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";
/// The user name by which helpers say that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

const FILE_BYTES_MAX: u64 = 1024 * 1024;
const ANSWER_BYTES_MAX: u64 = 64 * 1024;
const HELPER_TIME_MAX: Duration = Duration::from_secs(10);

impl DockerConfig {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            search_path: None,
            helper_time_max: HELPER_TIME_MAX,
        }
    }

    #[cfg(test)]
    pub(super) fn with_search_path(path: PathBuf, search_path: OsString) -> Self {
        Self {
            path,
            search_path: Some(search_path),
            helper_time_max: Duration::from_secs(3),
        }
    }

    /// The credentials for `host`, a host as it stands in canonical names.
    ///
    /// # Errors
    /// When the file or a helper that is responsible for the host gives no definite answer. That is no reason to go on
    /// without credentials: what is then denied would be remembered as denied.
    pub(super) async fn login(&self, host: &str) -> Result<Login, LookupError> {
        let file = read(&self.path).await?;
        if let Some((key, helper)) = entry(&file.cred_helpers, host) {
            return self.ask(helper, key).await;
        }
        let login = entry(&file.auths, host)
            .map(|(_, auth)| auth.to_login())
            .transpose()?;
        match login {
            Some(login) if login != Login::Anonymous => Ok(login),
            Some(_) | None if file.creds_store.is_empty() => Ok(Login::Anonymous),
            Some(_) | None => {
                let key = if host == DOCKER_HUB {
                    DOCKER_HUB_KEY
                } else {
                    host
                };
                self.ask(&file.creds_store, key).await
            }
        }
    }

    async fn ask(&self, helper: &str, key: &str) -> Result<Login, LookupError> {
        // The name becomes part of a program's name: no path, nothing for a shell.
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if helper.is_empty() || !helper.bytes().all(valid) {
            return Err(LookupError::Malformed);
        }
        let run = self.run(helper, key);
        tokio::time::timeout(self.helper_time_max, run)
            .await
            .map_err(|_elapsed| LookupError::HelperTime)?
    }

    async fn run(&self, helper: &str, key: &str) -> Result<Login, LookupError> {
        let mut command = tokio::process::Command::new(format!("docker-credential-{helper}"));
        command
            .arg("get")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        if let Some(search_path) = &self.search_path {
            command.env("PATH", search_path);
        }
        let mut child = command.spawn().map_err(|_io| LookupError::HelperNotRun)?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(LookupError::HelperNotRun);
        };
        // A helper that answers without reading closes its end early; its answer is what counts.
        drop(stdin.write_all(key.as_bytes()).await);
        drop(stdin);
        let mut answer = Vec::new();
        let read = stdout
            .take(ANSWER_BYTES_MAX + 1)
            .read_to_end(&mut answer)
            .await;
        let read = read.map_err(|_io| LookupError::HelperFailed)?;
        if read as u64 > ANSWER_BYTES_MAX {
            return Err(LookupError::HelperFailed);
        }
        let status = child
            .wait()
            .await
            .map_err(|_io| LookupError::HelperFailed)?;
        if status.success() {
            return to_login(&answer);
        }
        let unknown = String::from_utf8_lossy(&answer).contains(NOT_FOUND);
        if unknown {
            Ok(Login::Anonymous)
        } else {
            Err(LookupError::HelperFailed)
        }
    }
}

async fn read(path: &Path) -> Result<File, LookupError> {
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|_io| LookupError::Unreadable)?;
    let mut bytes = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).await;
    let read = read.map_err(|_io| LookupError::Unreadable)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(LookupError::Malformed);
    }
    serde_json::from_slice(&bytes).map_err(|_json| LookupError::Malformed)
}

fn to_login(answer: &[u8]) -> Result<Login, LookupError> {
    let answer: HelperAnswer =
        serde_json::from_slice(answer).map_err(|_json| LookupError::HelperFailed)?;
    let secret = Secret::new(answer.secret);
    Ok(if answer.username == TOKEN_USER {
        Login::IdentityToken(secret)
    } else {
        Login::Password {
            username: answer.username,
            password: secret,
        }
    })
}

/// The entry for `host`: under exactly that key first, else under one of the spellings in use.
fn entry<'file, T>(
    entries: &'file HashMap<String, T>,
    host: &str,
) -> Option<(&'file str, &'file T)> {
    let exact = entries.get_key_value(host);
    let found = exact.or_else(|| {
        let mut matching: Vec<_> = entries
            .iter()
            .filter(|(key, _)| key_host(key) == Some(host))
            .collect();
        matching.sort_by_key(|(key, _)| key.as_str());
        matching.into_iter().next()
    });
    found.map(|(key, value)| (key.as_str(), value))
}

/// The host that a key means: `https://ghcr.io/v2/` is `ghcr.io`. A key with any other path is for one repository and
/// not for its host.
fn key_host(key: &str) -> Option<&str> {
    let rest = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !matches!(path.trim_end_matches('/'), "" | "v1" | "v2") {
        return None;
    }
    Some(match host {
        other if OTHER_DOCKER_HUBS.contains(&other) => DOCKER_HUB,
        other => other,
    })
}

impl Auth {
    fn to_login(&self) -> Result<Login, LookupError> {
        if !self.identitytoken.is_empty() {
            return Ok(Login::IdentityToken(Secret::new(
                self.identitytoken.clone(),
            )));
        }
        if self.auth.is_empty() {
            return Ok(password(&self.username, &self.password));
        }
        let decoded = STANDARD
            .decode(self.auth.trim())
            .map_err(|_base64| LookupError::Malformed)?;
        let decoded = String::from_utf8(decoded).map_err(|_utf8| LookupError::Malformed)?;
        let (username, secret) = decoded.split_once(':').ok_or(LookupError::Malformed)?;
        Ok(password(username, secret.trim_end_matches('\0')))
    }
}

fn password(username: &str, secret: &str) -> Login {
    if username.is_empty() {
        return Login::Anonymous;
    }
    Login::Password {
        username: username.to_owned(),
        password: Secret::new(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests;
