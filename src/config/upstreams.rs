//! `upstreams:`

use crate::config::WarningName;
use std::collections::BTreeMap;
use std::path::PathBuf;

use url::Url;

use super::reader::{Field, Reader, describe};
use crate::oci::repository::canonical_host;
use crate::secret::Secret;
use crate::trust;

/// How to reach one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Where the connection goes instead of to the name: scheme, host and port only.
    pub endpoint: Option<Url>,
    /// PEM certificates that are trusted for this upstream in addition to the system's.
    pub ca: Option<Vec<u8>>,
    /// Whether the connection is plain HTTP.
    pub plain_http: bool,
    /// What the proxy authenticates with.
    pub credentials: Credentials,
    /// Hosts, besides the upstream's own, whose token endpoints may see the credentials.
    pub token_hosts: Vec<String>,
    /// Hosts to which redirects may lead although their addresses are inner ones.
    pub redirect_hosts: Vec<String>,
}

/// What the proxy authenticates with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nothing; anonymous tokens where the upstream hands them out.
    #[default]
    Anonymous,
    /// The Docker configuration, its credential helpers included.
    DockerConfig {
        /// The file; absent for `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`.
        path: Option<PathBuf>,
    },
    /// A user name and a password.
    Basic {
        /// The user name.
        username: Secret,
        /// The password.
        password: Secret,
    },
}

impl Credentials {
    /// Where Docker keeps its configuration, unless the file is named: `$DOCKER_CONFIG`, or `.docker` at home.
    pub(super) fn find_docker_config(&mut self, environment: &dyn Fn(&str) -> Option<String>) {
        if let Self::DockerConfig { path: path @ None } = self {
            let folder = environment("DOCKER_CONFIG").filter(|folder| !folder.is_empty());
            let folder = folder.map(PathBuf::from);
            let home = || environment("HOME").map(|home| PathBuf::from(home).join(".docker"));
            *path = folder
                .or_else(home)
                .map(|folder| folder.join("config.json"));
        }
    }
}

pub(super) const KEYS: &[&str] = &[
    "endpoint",
    "ca",
    "plain_http",
    "credentials",
    "token_hosts",
    "redirect_hosts",
];
pub(super) const CREDENTIAL_KEYS: &[&str] = &["username", "password", "docker_config"];

impl Credentials {
    /// Whether there are none.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

/// The upstreams by canonical host.
pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> BTreeMap<String, Upstream> {
    let mut upstreams = BTreeMap::new();
    let entries = field.map(|field| field.entries(reader)).unwrap_or_default();
    for (name, field) in entries {
        let upstream = read_upstream(&name.name, &field, reader);
        match canonical_host(&name.name) {
            Ok(host) => {
                if upstreams.insert(host.to_owned(), upstream).is_some() {
                    reader.problem_at(
                        name.position.clone(),
                        &field.key,
                        format!("{host} is configured twice, under two of its names"),
                        "keep one of them",
                    );
                }
            }
            Err(error) => reader.problem_at(
                name.position.clone(),
                &field.key,
                error.to_string(),
                "upstreams are named by lower-case host with an optional port, such as ghcr.io or 127.0.0.1:5000; \
                 where to connect to goes under `endpoint`",
            ),
        }
    }
    upstreams
}

fn read_upstream(name: &str, field: &Field<'_>, reader: &mut Reader) -> Upstream {
    let section = field.section(KEYS, reader);
    let plain_http = section
        .get("plain_http")
        .and_then(|field| field.boolean(reader))
        .unwrap_or_default();
    let credentials = section
        .get("credentials")
        .and_then(|field| read_credentials(&field, reader))
        .unwrap_or_default();
    let token_hosts = section
        .get("token_hosts")
        .map(|field| read_hosts(&field, reader))
        .unwrap_or_default();
    let redirect_hosts = section
        .get("redirect_hosts")
        .map(|field| read_hosts(&field, reader))
        .unwrap_or_default();
    if plain_http && !credentials.is_anonymous() {
        reader.warn(
            field,
            WarningName::PlainHttp,
            "credentials travel in clear over plain HTTP",
        );
    }
    let endpoint = section
        .get("endpoint")
        .and_then(|field| read_endpoint(&field, plain_http, reader));
    if let Some(field) = section.get("plain_http")
        && plain_http
        && credentials.is_anonymous()
        && !is_on_this_machine(name, endpoint.as_ref())
    {
        reader.warn(
            &field, WarningName::PlainHttp,
            "plain HTTP beyond this machine: whoever is on the way sees what is pulled, and can withhold signatures",
        );
    }
    Upstream {
        endpoint,
        ca: section.get("ca").and_then(|field| read_ca(&field, reader)),
        plain_http,
        credentials,
        token_hosts,
        redirect_hosts,
    }
}

/// Whether the connection ends on this machine: it goes to the endpoint, or to the name.
fn is_on_this_machine(name: &str, endpoint: Option<&Url>) -> bool {
    let of_name = || Url::parse(&format!("http://{name}")).ok();
    let url = endpoint.cloned().or_else(of_name);
    url.is_some_and(|url| is_loopback(&url))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn read_endpoint(field: &Field<'_>, plain_http: bool, reader: &mut Reader) -> Option<Url> {
    let url: Url = field.parse("write https://host or https://host:port", reader)?;
    // Registries serve `/v2/` at the root; credentials have a key of their own, which does not print.
    let bare = url.host_str().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !bare {
        reader.problem(
            field,
            "an endpoint is a scheme, a host and a port, and nothing else",
            "write https://host or https://host:port; credentials go under `credentials`",
        );
        return None;
    }
    match (url.scheme(), plain_http) {
        ("https", false) | ("http", true) => Some(url),
        ("http", false) => {
            reader.problem(
                field,
                "the endpoint is plain HTTP",
                "write https://, or set `plain_http: true` as well",
            );
            None
        }
        ("https", true) => {
            reader.problem(
                field,
                "the endpoint is https:// and `plain_http` is set",
                "remove one of them",
            );
            None
        }
        _ => {
            reader.problem(field, "not an https:// address", "write https://host");
            None
        }
    }
}

fn read_ca(field: &Field<'_>, reader: &mut Reader) -> Option<Vec<u8>> {
    let path = field.path(reader)?;
    let help = "name a PEM file with the certificates of the authorities to trust";
    match trust::read_text(&path) {
        Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some(text.into_bytes()),
        Ok(_) => {
            reader.problem(
                field,
                format!("{} holds no certificate", path.display()),
                help,
            );
            None
        }
        Err(error) => {
            reader.problem(field, describe(&error), help);
            None
        }
    }
}

fn read_hosts(field: &Field<'_>, reader: &mut Reader) -> Vec<String> {
    let mut hosts = Vec::new();
    for item in field.items(reader) {
        let Some(text) = item.text(reader) else {
            continue;
        };
        if canonical_host(text).is_ok() {
            hosts.push(text.to_owned());
        } else {
            reader.problem(
                &item,
                format!("`{}` is not a host", item.written()),
                "write a lower-case host with an optional port",
            );
        }
    }
    hosts
}

fn read_credentials(field: &Field<'_>, reader: &mut Reader) -> Option<Credentials> {
    if let Some(scalar) = field.scalar() {
        return read_named_credentials(field, &scalar.text, reader);
    }
    let section = field.section(CREDENTIAL_KEYS, reader);
    let help = "write {username, password}, {docker_config: FILE} or docker_config";
    match (
        section.get("docker_config"),
        section.get("username"),
        section.get("password"),
    ) {
        (Some(field), None, None) => Some(Credentials::DockerConfig {
            path: Some(read_docker_config(&field, reader)?),
        }),
        (None, Some(username), Some(password)) => {
            let (username, password) = (username.secret(reader), password.secret(reader));
            Some(Credentials::Basic {
                username: username?,
                password: password?,
            })
        }
        (Some(_), _, _) => {
            reader.problem(field, "two kinds of credentials", help);
            None
        }
        (None, _, _) => {
            reader.problem(field, "`username` and `password` belong together", help);
            None
        }
    }
}

fn read_docker_config(field: &Field<'_>, reader: &mut Reader) -> Option<PathBuf> {
    let path = field.path(reader)?;
    if let Err(error) = trust::read_text(&path) {
        reader.problem(
            field,
            describe(&error),
            "name a readable Docker config.json",
        );
        return None;
    }
    Some(path)
}

fn read_named_credentials(
    field: &Field<'_>,
    name: &str,
    reader: &mut Reader,
) -> Option<Credentials> {
    match name {
        "anonymous" => Some(Credentials::Anonymous),
        "docker_config" => Some(Credentials::DockerConfig { path: None }),
        "google" | "aws" | "azure" => {
            reader.problem(
                field,
                format!("credentials of {name} are not available in this version"),
                "use docker_config with the vendor's credential helper",
            );
            None
        }
        _ => {
            // Not shown: this is where a password may have ended up.
            reader.problem(
                field,
                "unknown credentials",
                "write anonymous, docker_config, {docker_config: FILE} or {username, password}",
            );
            None
        }
    }
}
