//! `server:`

use crate::config::WarningName;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use url::{Host, Url};

use super::reader::{Field, Reader, describe};
use crate::secret::Secret;
use crate::trust;

/// The listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The registry API.
    pub listen: SocketAddr,
    /// Probes, metrics, the JSON API and the console.
    pub admin_listen: SocketAddr,
    /// The certificate of the registry API; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Scheme, host and port under which clients reach the registry API; without it, each request says it.
    pub public_url: Option<String>,
    /// The secret that the tokens of clients are signed with; without it, a random one for the life of the process.
    pub token_key: Option<Secret>,
    /// What opens the admin listener beyond loopback; without it, only probes are served there.
    pub admin_token: Option<Secret>,
    /// Scheme, host and port under which people reach the admin listener.
    pub console_url: Option<String>,
    /// Further host names under which programs reach the admin listener.
    pub admin_hosts: Vec<String>,
}

/// A certificate and its key, both PEM, both readable when the configuration was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The key of the leaf.
    pub private_key: PathBuf,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5080)),
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5081)),
            tls: None,
            public_url: None,
            token_key: None,
            admin_token: None,
            console_url: None,
            admin_hosts: Vec::new(),
        }
    }
}

impl Server {
    /// Returns true when clients reach the registry API by TLS, be it the listener's or that of a proxy in front.
    #[must_use]
    pub fn is_reached_by_tls(&self) -> bool {
        let in_front = self.public_url.as_ref();
        self.tls.is_some() || in_front.is_some_and(|url| url.starts_with("https:"))
    }

    /// The host names under which the admin listener may be reached, besides addresses and `localhost`.
    #[must_use]
    pub fn admin_host_names(&self) -> Vec<String> {
        let console = self
            .console_url
            .as_deref()
            .and_then(|url| Url::parse(url).ok());
        let console = console.and_then(|url| url.host_str().map(str::to_owned));
        self.admin_hosts.iter().cloned().chain(console).collect()
    }
}

pub(super) const KEYS: &[&str] = &[
    "listen",
    "admin_listen",
    "tls",
    "public_url",
    "token_key",
    "admin_token",
    "console_url",
    "admin_hosts",
];
pub(super) const TLS_KEYS: &[&str] = &["certificate", "private_key"];

/// Long enough that nobody guesses it.
const TOKEN_CHARACTERS_MIN: usize = 16;
/// A client with a token can try keys without asking the proxy, so a key must not be guessable at any speed.
const TOKEN_KEY_CHARACTERS_MIN: usize = 32;

pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> Server {
    let mut server = Server::default();
    let Some(section) = field.map(|field| field.section(KEYS, reader)) else {
        return server;
    };
    let help = "write an address and a port, such as 127.0.0.1:5080 or [::]:5080";
    if let Some(listen) = section
        .get("listen")
        .and_then(|field| field.parse(help, reader))
    {
        server.listen = listen;
    }
    if let Some(listen) = section
        .get("admin_listen")
        .and_then(|field| field.parse(help, reader))
    {
        server.admin_listen = listen;
    }
    if server.listen == server.admin_listen && server.listen.port() != 0 {
        reader.problem(
            section.field(),
            "`listen` and `admin_listen` are the same address",
            "give the admin listener a port of its own",
        );
    }
    server.tls = section
        .get("tls")
        .and_then(|field| read_tls(&field, reader));
    server.public_url = section
        .get("public_url")
        .and_then(|field| read_address(&field, reader));
    server.token_key = section
        .get("token_key")
        .and_then(|field| read_token_key(&field, reader));
    server.console_url = section
        .get("console_url")
        .and_then(|field| read_address(&field, reader));
    if let Some(field) = section.get("admin_hosts") {
        let items = field.items(reader);
        server.admin_hosts = items
            .iter()
            .filter_map(|item| read_host(item, reader))
            .collect();
    }
    if let Some(field) = section.get("admin_token") {
        server.admin_token = field.secret(reader);
        let short = server
            .admin_token
            .as_ref()
            .is_some_and(|token| token.expose().chars().count() < TOKEN_CHARACTERS_MIN);
        if short {
            reader.warn(
                &field,
                WarningName::WeakToken,
                format!("shorter than {TOKEN_CHARACTERS_MIN} characters: easy to guess"),
            );
        }
    }
    server
}

/// An address of this proxy without its last slash.
fn read_address(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = field.text(reader)?;
    let usable = Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
    });
    // The text is sent as it stands, so it must not need the mending that a browser would do.
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b".-_:/[]".contains(&byte));
    if usable && plain {
        return Some(text.trim_end_matches('/').to_owned());
    }
    let help = "write an address without a path, such as https://images.example";
    refuse_form(field, "scheme, host and port", help, reader)
}

/// Reports a text that has not the form that it must have. There is nothing to return then.
fn refuse_form<T>(
    field: &Field<'_>,
    form: &str,
    help: &'static str,
    reader: &mut Reader,
) -> Option<T> {
    let message = format!("`{}` is not {form}", field.written());
    reader.problem(field, message, help);
    None
}

fn read_token_key(field: &Field<'_>, reader: &mut Reader) -> Option<Secret> {
    let key = field.secret(reader)?;
    if key.expose().chars().count() >= TOKEN_KEY_CHARACTERS_MIN {
        return Some(key);
    }
    reader.problem(
        field,
        format!(
            "shorter than {TOKEN_KEY_CHARACTERS_MIN} characters: it could be guessed from a token"
        ),
        "make a key with `openssl rand -base64 32`",
    );
    None
}

fn read_host(field: &Field<'_>, reader: &mut Reader) -> Option<String> {
    let text = field.text(reader)?;
    match Host::parse(text) {
        Ok(Host::Domain(name)) if name == text.to_ascii_lowercase() => Some(name),
        Ok(_) | Err(_) => {
            let help = "write a name without scheme and port, such as countersign.monitoring.svc; addresses always pass";
            refuse_form(field, "a host name", help, reader)
        }
    }
}

fn read_tls(field: &Field<'_>, reader: &mut Reader) -> Option<TlsFiles> {
    let section = field.section(TLS_KEYS, reader);
    let mut file = |key| {
        let field = section.required(key, "name both PEM files, or leave `tls` out", reader)?;
        let path = field.path(reader)?;
        if let Err(error) = trust::read_text(&path) {
            reader.problem(&field, describe(&error), "name a readable PEM file");
            return None;
        }
        Some(path)
    };
    let (certificate, private_key) = (file("certificate"), file("private_key"));
    Some(TlsFiles {
        certificate: certificate?,
        private_key: private_key?,
    })
}
