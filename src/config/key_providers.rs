//! `key_providers:`

use std::collections::BTreeMap;

use url::Url;

use super::reader::{Field, Reader};
use super::upstreams;
use crate::keys::Scheme;

pub(super) const KEYS: &[&str] = &["endpoint"];

/// The endpoints that take the place of the services' own, by scheme.
pub(super) fn read(field: Option<&Field<'_>>, reader: &mut Reader) -> BTreeMap<Scheme, Url> {
    let mut endpoints = BTreeMap::new();
    let entries = field.map(|field| field.entries(reader)).unwrap_or_default();
    for (name, field) in entries {
        let known = Scheme::ALL
            .into_iter()
            .find(|scheme| scheme.as_str() == name.name);
        let Some(scheme) = known else {
            let schemes: Vec<_> = Scheme::ALL.iter().map(|it| it.as_str()).collect();
            reader.problem_at(
                name.position.clone(),
                &field.key,
                "no such key service",
                format!("known: {}", schemes.join(", ")),
            );
            continue;
        };
        let help = "write the address of the service, such as https://kms.internal:8443; plain http only on loopback";
        let endpoint = field.section(KEYS, reader).get("endpoint");
        if let Some(endpoint) = endpoint.and_then(|field| read_endpoint(&field, help, reader)) {
            endpoints.insert(scheme, endpoint);
        }
    }
    endpoints
}

fn read_endpoint(field: &Field<'_>, help: &str, reader: &mut Reader) -> Option<Url> {
    let url: Url = field.parse(help, reader)?;
    let usable = match url.scheme() {
        "https" => url.has_host(),
        "http" => upstreams::is_loopback(&url),
        _ => false,
    };
    if !usable {
        let message = format!("`{}` cannot be asked safely", field.written());
        reader.problem(field, message, help);
        return None;
    }
    Some(url)
}
