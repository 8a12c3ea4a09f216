//! How the image's registry is reached.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::cli::environment;
use crate::secret::Secret;

/// How the image's registry is reached, in cosign's words.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Access {
    /// Speak plain HTTP to the image's registry, as for one on loopback.
    #[arg(long, visible_alias = "plain-http", conflicts_with = "config")]
    allow_http_registry: bool,
    /// PEM file with certificate authorities to trust for the registry, besides the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    registry_cacert: Option<String>,
    /// User name at the registry; without one, what `docker login` has left behind.
    #[arg(
        long,
        value_name = "NAME",
        requires = "registry_password",
        conflicts_with = "config"
    )]
    registry_username: Option<String>,
    /// Password at the registry.
    #[arg(long, value_name = "PASSWORD", requires = "registry_username", conflicts_with = "config",
        value_parser = secret)]
    registry_password: Option<Secret>,
}

impl Access {
    pub(super) fn is_given(&self) -> bool {
        self.allow_http_registry
            || self.registry_cacert.is_some()
            || self.registry_username.is_some()
            || self.registry_password.is_some()
    }

    /// The registry `host` as one of the configuration's `upstreams`. One on loopback that speaks plain HTTP is spoken to
    /// so, as cosign does.
    pub(in crate::cli) fn to_upstream(&self, host: &str) -> Map<String, Value> {
        let mut upstream = Map::new();
        let mut set = |key: &str, value: Value| upstream.insert(key.to_owned(), value);
        let is_plain = self.allow_http_registry
            || self.registry_cacert.is_none() && is_loopback(host) && speaks_plain_http(host);
        if is_plain {
            set("plain_http", json!(true));
        }
        if let Some(path) = &self.registry_cacert {
            set("ca", json!(path));
        }
        if let (Some(username), Some(password)) = (&self.registry_username, &self.registry_password)
        {
            set(
                "credentials",
                json!({"username": username, "password": password.expose()}),
            );
        } else if let Some(path) = docker_config() {
            set(
                "credentials",
                json!({ "docker_config": path.to_string_lossy() }),
            );
        }
        upstream
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse().is_ok_and(|it: IpAddr| it.is_loopback())
}

/// Whether what listens there answers without TLS. Who expects TLS answers with an alert, or says that the request was
/// bad.
fn speaks_plain_http(host: &str) -> bool {
    let answer = || -> std::io::Result<[u8; 12]> {
        let addresses = host.to_socket_addrs()?;
        let mut stream = None;
        for address in addresses {
            stream = TcpStream::connect_timeout(&address, PROBE_TIME_MAX).ok();
            if stream.is_some() {
                break;
            }
        }
        let mut stream = stream.ok_or(std::io::ErrorKind::ConnectionRefused)?;
        stream.set_read_timeout(Some(PROBE_TIME_MAX))?;
        stream.write_all(format!("GET /v2/ HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut beginning = [0; 12];
        stream.read_exact(&mut beginning)?;
        Ok(beginning)
    };
    answer().is_ok_and(|it| it.starts_with(b"HTTP/1.") && !it.ends_with(b" 400"))
}

/// How long a registry on this machine has for each step of saying how it is spoken to.
const PROBE_TIME_MAX: Duration = Duration::from_secs(1);

#[expect(
    clippy::unnecessary_wraps,
    reason = "the shape of a parser of arguments"
)]
fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text.to_owned()))
}

/// What `docker login` has left behind, as cosign takes it.
fn docker_config() -> Option<PathBuf> {
    let directory = environment("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".docker")))?;
    // Relative paths in a configuration are relative to it, and this one has no place.
    let path = std::path::absolute(directory.join("config.json")).ok()?;
    path.is_file().then_some(path)
}
