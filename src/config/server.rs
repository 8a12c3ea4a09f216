//! `server:`

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

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
    /// What opens the admin listener beyond loopback; without it, only probes are served there.
    pub admin_token: Option<Secret>,
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
            admin_token: None,
        }
    }
}

pub(super) const KEYS: &[&str] = &["listen", "admin_listen", "tls", "admin_token"];
pub(super) const TLS_KEYS: &[&str] = &["certificate", "private_key"];

/// Long enough that nobody guesses it.
const TOKEN_CHARACTERS_MIN: usize = 16;

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
    if let Some(field) = section.get("admin_token") {
        server.admin_token = field.secret(reader);
        let short = server
            .admin_token
            .as_ref()
            .is_some_and(|token| token.expose().chars().count() < TOKEN_CHARACTERS_MIN);
        if short {
            reader.warn(
                &field,
                format!("shorter than {TOKEN_CHARACTERS_MIN} characters: easy to guess"),
            );
        }
    }
    server
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
