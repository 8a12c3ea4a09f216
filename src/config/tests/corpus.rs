use serde_json::{Map, Value as Json, json};

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus");

/// An authority of the corpus as a user would configure it.
fn authority(neutral: &Json, index: usize, roots: &mut Map<String, Json>) -> Json {
    let mut authority = json!({ "name": format!("{}-{index}", neutral["name"].as_str().unwrap()) });
    for (key, value) in neutral.as_object().unwrap() {
        let text = value.as_str().unwrap_or_default();
        match key.as_str() {
            "key" => authority["key"] = json!(format!("{CORPUS}/{text}")),
            "trusted_root" => {
                roots.insert(
                    text.to_owned(),
                    json!({ "file": format!("{CORPUS}/{text}") }),
                );
                authority["trusted_root"] = json!(text);
            }
            key if key.starts_with("certificate_") => authority[key] = value.clone(),
            _ => {}
        }
    }
    let word = |key: &str, default: bool, opposite: &str| {
        let required = neutral.get(key).map_or(default, |value| value == true);
        json!(if required { "required" } else { opposite })
    };
    authority["transparency_log"] = word("require_tlog", true, "not_required");
    authority["signed_timestamp"] = word("require_signed_timestamp", false, "accepted");
    if neutral.get("key").is_none() {
        authority["sct"] = word("require_sct", true, "not_required");
    }
    authority
}

fn authorities(neutral: &Json, roots: &mut Map<String, Json>) -> Json {
    let authorities = neutral.as_array().unwrap().iter().enumerate();
    authorities
        .map(|(index, neutral)| authority(neutral, index, roots))
        .collect()
}

#[test]
fn every_policy_of_the_corpus_loads() {
    let cases = std::fs::read_to_string(format!("{CORPUS}/cases.json")).unwrap();
    let cases: Vec<Json> = serde_json::from_str(&cases).unwrap();
    let mut roots = Map::new();
    let mut policies = Vec::new();
    for case in &cases {
        let neutral = &case["policy"];
        let base = format!("127.0.0.1:5000/c/{}", case["id"].as_str().unwrap());
        let mut policy = json!({ "name": case["id"], "images": [format!("{base}/**")] });
        for (key, value) in neutral.as_object().unwrap() {
            policy[key] = match key.as_str() {
                "authorities" => authorities(value, &mut roots),
                "attestations" => {
                    let mut attestations = value.clone();
                    for attestation in attestations.as_array_mut().unwrap() {
                        let attestation = attestation.as_object_mut().unwrap();
                        attestation.remove("cosign_type");
                        let own = authorities(&attestation["authorities"], &mut roots);
                        attestation.insert("authorities".to_owned(), own);
                    }
                    attestations
                }
                "signature_repository" => json!(format!("{base}/{}", value.as_str().unwrap())),
                _ => value.clone(),
            };
        }
        policies.push(policy);
    }
    let text = json!({
        "server": {"listen": "127.0.0.1:5080", "admin_listen": "127.0.0.1:5081"},
        "upstreams": {"127.0.0.1:5000": {"plain_http": true}},
        "trusted_roots": roots, "policies": policies, "default": "deny",
    });
    for text in [format!("{text:#}"), text.to_string()] {
        let source = Source {
            path: PathBuf::from("config.json"),
            text,
        };
        let config = Config::from_sources(&[source], &environment)
            .unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(config.policies.policies.len(), cases.len());
        // The corpus has one threshold that cannot be met and three expressions that match anything.
        let unmet = |warning: &&Warning| warning.message.starts_with("can never be met");
        assert_eq!(config.warnings.iter().filter(unmet).count(), 1);
        let loose = |warning: &&Warning| warning.message == "`.*` matches almost anybody";
        assert_eq!(config.warnings.iter().filter(loose).count(), 3);
        assert_eq!(config.warnings.len(), 4);
    }
}
