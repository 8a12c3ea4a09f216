//! The schema against the reader.

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::config::schema::schema;
use crate::config::yaml::{Node, Value, parse};
use crate::keys::Scheme;

mod outcomes;

/// The schema, compiled, which also holds it against the schema of schemas.
struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource("schema.json", schema()).unwrap();
        let index = compiler
            .compile("schema.json", &mut schemas)
            .unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, index }
    }

    fn validate(&self, text: &str) -> Result<(), String> {
        let value = json_of(text);
        let valid = self.schemas.validate(&value, self.index);
        valid.map_err(|error| format!("{error:#}"))
    }
}

/// The text as an editor has it: values without quotes may be numbers and booleans.
fn json_of(text: &str) -> Json {
    let source = Source {
        path: PathBuf::from("c.yaml"),
        text: text.to_owned(),
    };
    let root = parse(&source).unwrap_or_else(|problems| panic!("{}", Problems(problems)));
    convert(&root)
}

fn convert(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(scalar) => {
            let number: Option<i64> = scalar.text.parse().ok();
            match (scalar.plain, scalar.text.as_str(), number) {
                (true, "true", _) => Json::Bool(true),
                (true, "false", _) => Json::Bool(false),
                (true, _, Some(number)) => json!(number),
                (true | false, text, _) => json!(text),
            }
        }
        Value::Sequence(items) => items.iter().map(convert).collect(),
        Value::Mapping(entries) => {
            let entries = entries
                .iter()
                .map(|(key, node)| (key.name.clone(), convert(node)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap()
}

fn assert_valid(validator: &Validator, name: &str, text: &str) {
    let valid = validator.validate(text);
    assert!(valid.is_ok(), "{name}: {}", valid.unwrap_err());
}

#[test]
fn what_is_shipped_is_valid() {
    let validator = Validator::new();
    for name in ["config/reference.yaml", "config/built-in.yaml"] {
        assert_valid(&validator, name, &file(name));
    }
    let enabled = reference::enabled();
    assert_valid(&validator, "the reference with everything on", &enabled);
    for example in std::fs::read_dir("config/examples").unwrap() {
        let path = example.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_valid(&validator, &path.display().to_string(), &text);
    }
    for entry in catalog::entries().unwrap() {
        let text = format!("policies:\n{}", entry.native());
        assert_valid(&validator, &entry.name, &text);
    }
}

#[test]
fn the_file_is_what_the_command_prints() {
    let file: Json = serde_json::from_str(&file("config/schema.json")).unwrap();
    assert!(
        file == schema(),
        "write it anew: countersign policy schema > config/schema.json"
    );
}

/// The keys of every mapping in the schema that has known ones.
fn collect(schema: &Json, found: &mut Vec<BTreeSet<String>>) {
    match schema {
        Json::Object(keywords) => {
            let has_keys = keywords.get("additionalProperties") == Some(&Json::Bool(false));
            if let (true, Some(Json::Object(properties))) = (has_keys, keywords.get("properties")) {
                found.push(properties.keys().cloned().collect());
            }
            keywords.values().for_each(|it| collect(it, found));
        }
        Json::Array(items) => items.iter().for_each(|it| collect(it, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn keys_are_those_of_the_reader() {
    let mut found = Vec::new();
    collect(&schema(), &mut found);
    let mut expected: Vec<BTreeSet<String>> = [
        KEYS,
        server::KEYS,
        server::TLS_KEYS,
        upstreams::KEYS,
        upstreams::CREDENTIAL_KEYS,
        trusted_roots::KEYS,
        trusted_roots::TUF_KEYS,
        policies::KEYS,
        authorities::KEYS,
        members::KEYS,
        attestations::KEYS,
        catalog::KEYS,
        clients::KEYS,
        clients::BASIC_KEYS,
        exceptions::KEYS,
        revoked::KEYS,
        revoked::IDENTITY_KEYS,
        freshness::KEYS,
        limits::KEYS,
        compat::KEYS,
    ]
    .into_iter()
    .map(|keys| keys.iter().map(|key| (*key).to_owned()).collect())
    .collect();
    let schemes = Scheme::ALL.iter().map(|scheme| scheme.as_str().to_owned());
    expected.push(schemes.collect());
    let endpoint: BTreeSet<_> = key_providers::KEYS
        .iter()
        .map(|it| (*it).to_owned())
        .collect();
    expected.extend(Scheme::ALL.map(|_scheme| endpoint.clone()));
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_key_is_described() {
    fn walk(schema: &Json, path: &str) {
        match schema {
            Json::Object(keywords) => {
                let closed = keywords.get("additionalProperties") == Some(&Json::Bool(false));
                if let (true, Some(Json::Object(properties))) = (closed, keywords.get("properties"))
                {
                    for (key, property) in properties {
                        // Schemes of key services say what they are.
                        let is_scheme = Scheme::ALL.iter().any(|it| it.as_str() == key);
                        let described = property["description"].as_str().is_some();
                        assert!(described || is_scheme, "{path}/{key}: {property}");
                    }
                }
                for (keyword, value) in keywords {
                    walk(value, &format!("{path}/{keyword}"));
                }
            }
            Json::Array(items) => items.iter().for_each(|it| walk(it, path)),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
        }
    }
    walk(&schema(), "");
}

/// The words of an enumeration behind a pointer.
fn words(pointer: &str) -> Vec<String> {
    let schema = schema();
    let form = schema
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{pointer}"));
    let mut found = Vec::new();
    find_words(form, &mut found);
    assert!(!found.is_empty(), "{pointer}: {form}");
    found
}

fn find_words(form: &Json, found: &mut Vec<String>) {
    if let Some(Json::Array(words)) = form.get("enum") {
        found.extend(words.iter().filter_map(Json::as_str).map(str::to_owned));
    }
    if let Some(Json::Array(forms)) = form.get("anyOf") {
        forms.iter().for_each(|it| find_words(it, found));
    }
}

#[test]
fn words_are_those_of_the_reader() {
    let directory = Directory::new();
    let policy = "policies: [{name: p, images: [ghcr.io/o/a], authorities: [{key: a.pub}]";
    let identity = "certificate_identity: a, certificate_oidc_issuer: b";
    let attested = "policies: [{name: p, images: [ghcr.io/o/a]";
    for (pointer, configuration) in [
        ("/properties/default", "default: WORD".to_owned()),
        (
            "/properties/compat/properties/head_allows",
            "compat: {head_allows: WORD}".to_owned(),
        ),
        (
            "/properties/upstreams/additionalProperties/properties/plain_http",
            "upstreams: {a.example: {plain_http: WORD}}".to_owned(),
        ),
        (
            "/definitions/policy/properties/mode",
            format!("{policy}, mode: WORD}}]"),
        ),
        (
            "/definitions/policy/properties/signed_name",
            format!("{policy}, signed_name: WORD}}]"),
        ),
        (
            "/definitions/authority/properties/transparency_log",
            format!(
                "{attested}, authorities: [{{{identity}, signed_timestamp: required, transparency_log: WORD}}]}}]"
            ),
        ),
        (
            "/definitions/authority/properties/signed_timestamp",
            format!("{attested}, authorities: [{{{identity}, signed_timestamp: WORD}}]}}]"),
        ),
        (
            "/definitions/authority/properties/sct",
            format!("{attested}, authorities: [{{{identity}, sct: WORD}}]}}]"),
        ),
        (
            "/definitions/attestation/properties/match",
            format!("{policy}, attestations: [{{predicate_type: spdx, match: WORD}}]}}]"),
        ),
        (
            "/properties/catalog/anyOf/1/items/anyOf/1/properties/mode",
            "upstreams: {gcr.io: {}}\ncatalog: [{name: distroless, mode: WORD}]".to_owned(),
        ),
        (
            "/properties/catalog/anyOf/0/anyOf/0",
            "catalog: WORD".to_owned(),
        ),
        (
            "/properties/trusted_roots/additionalProperties/else",
            "trusted_roots: {public-good: WORD}".to_owned(),
        ),
    ] {
        let words = words(pointer);
        for word in &words {
            let text = configuration.replace("WORD", word);
            let loaded = directory.load(&text);
            assert!(loaded.is_ok(), "{text}: {}", loaded.unwrap_err());
        }
        // The reader's way out names its own words: there are no others.
        let text = configuration.replace("WORD", "some-thing");
        let Problems(problems) = directory.load(&text).unwrap_err();
        let help = format!("write {}", words.join(" or "));
        assert_eq!(problems[0].help, help, "{text}");
    }
}

#[test]
fn words_beside_other_forms_are_known_to_the_reader() {
    let directory = Directory::new();
    for credentials in
        words("/properties/upstreams/additionalProperties/properties/credentials/anyOf/0/else")
    {
        let text = format!("upstreams: {{a.example: {{credentials: {credentials}}}}}");
        assert!(directory.load(&text).is_ok(), "{text}");
    }
    for predicate_type in words("/definitions/attestation/properties/predicate_type") {
        let attestations = format!("attestations: [{{predicate_type: {predicate_type}}}]");
        let policy = "policies: [{name: p, images: [ghcr.io/o/a], authorities: [{key: a.pub}]";
        let text = format!("{policy}, {attestations}}}]");
        assert!(directory.load(&text).is_ok(), "{text}");
    }
}

#[test]
fn defaults_are_those_of_the_program() {
    let schema = schema();
    // What the schema gives as defaults, written out, is what there is without.
    let mut written = String::new();
    for section in ["server", "freshness", "limits", "compat"] {
        written.push_str(&format!("{section}:\n"));
        let properties = &schema["properties"][section]["properties"];
        for (key, form) in properties.as_object().unwrap() {
            if let Some(default) = form.get("default") {
                written.push_str(&format!("  {key}: {default}\n"));
            }
        }
    }
    let directory = Directory::new();
    let (with, without) = (
        directory.load(&written).unwrap(),
        directory.load("").unwrap(),
    );
    assert_eq!(with.server, without.server);
    assert_eq!(with.freshness, without.freshness);
    assert_eq!(with.root_max_stale, without.root_max_stale);
    assert_eq!(with.limits, without.limits);
    assert_eq!(with.compat, without.compat);
    for key in limits::KEYS {
        let default = &schema["properties"]["limits"]["properties"][key]["default"];
        assert!(!default.is_null(), "{key}");
    }
}
