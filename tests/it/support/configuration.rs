//! The configuration of a proxy under test. It is written as JSON, which is YAML.

use serde_json::{Value, json};

use super::registry::FakeRegistry;
use super::signing::SigningKey;

/// Keys and values as they stand in the file; `server` and `data_dir` are added by the proxy.
#[derive(Debug, Clone)]
pub(crate) struct Configuration(pub(crate) Value);

impl Configuration {
    /// These registries over plain HTTP, and no policy.
    pub(crate) fn new(registries: &[&FakeRegistry]) -> Self {
        let mut configuration = Self(json!({"upstreams": {}, "policies": [], "default": "deny"}));
        for registry in registries {
            configuration.0["upstreams"][registry.name()] = json!({"plain_http": true});
        }
        configuration
    }

    /// One more policy.
    #[must_use]
    pub(crate) fn policy(mut self, policy: Value) -> Self {
        self.0["policies"].as_array_mut().unwrap().push(policy);
        self
    }

    /// Sets a key at the top.
    #[must_use]
    pub(crate) fn set(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }
}

/// A policy that any of these keys satisfies, without a log entry.
pub(crate) fn key_policy(name: &str, images: &str, keys: &[&SigningKey]) -> Value {
    let authorities: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(position, key)| {
            json!({
                "name": format!("key-{position}"),
                "key": key.public_pem(),
                "transparency_log": "not_required",
            })
        })
        .collect();
    json!({"name": name, "images": [images], "authorities": authorities})
}
