//! Text that somebody else wrote: it reaches clients, operators and the log in short, and without what a terminal obeys.

use std::process::Stdio;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::support::*;

/// The title of the terminal, colours, C1, and marks for the order of text; `mark` tells one text from another.
fn hostile(mark: &str, bytes: usize) -> String {
    format!(
        "{mark}\u{1b}]0;owned\u{7}\u{1b}[31m\u{9b}31m\u{202e}\u{2066}\u{200b}\u{2028}{}",
        "x".repeat(bytes)
    )
}

fn assert_clean(text: &str, place: &str) {
    let unseen = |it: char| {
        (it.is_control() && it != '\n')
            || matches!(it, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some(character) = text.chars().find(|it| unseen(*it)) {
        panic!("{place}: {character:?} in {text:?}");
    }
}

/// An image whose manifest is refused as malformed, with foreign text in the reason.
fn images() -> Vec<(&'static str, Bytes)> {
    let long = 3_900_000;
    let type_of =
        |text: &str| json!({"schemaVersion": 2, "mediaType": text, "layers": []}).to_string();
    let key = serde_json::to_string(&hostile("key", long / 2)).unwrap();
    let twice = format!("{{\"schemaVersion\": 2, {key}: 1, {key}: 2}}");
    vec![
        ("long-type", type_of(&hostile("type", long)).into()),
        ("short-type", type_of(&hostile("type", 10)).into()),
        ("key-twice", twice.into()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifest_with_hostile_text_is_refused_in_short_and_clean_words() {
    let scene = Scene::start().await;
    for (tag, bytes) in images() {
        push(&scene, tag, bytes);
        let answer = scene.manifest("apps/web", tag).await;
        assert_eq!(answer.status, 403, "{tag}");
        assert!(
            answer.body.len() < 4096,
            "{tag}: {} bytes",
            answer.body.len()
        );
        let error = answer.json()["errors"][0].clone();
        assert_clean(error["message"].as_str().unwrap(), tag);

        let id = error["detail"]["decision_id"].as_str().unwrap().to_owned();
        let record = scene.proxy.admin(&format!("/api/v1/decisions/{id}")).await;
        assert!(
            record.body.len() <= 16 * 1024,
            "{tag}: {}",
            record.body.len()
        );
        let record = record.json();
        for text in texts(&record) {
            assert_clean(text, tag);
        }
        let admin = format!("http://127.0.0.1:{}", scene.proxy.admin_port());
        for arguments in [
            vec!["log", &id, "--admin", &admin],
            vec!["log", &id, "--admin", &admin, "--output", "json"],
            vec!["log", "--admin", &admin],
        ] {
            assert_clean(&printed(&arguments).await, tag);
        }
    }
    let log = scene.proxy.log();
    assert_clean(&log, "standard error and output");
    assert!(log.len() < 200_000, "{} bytes", log.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_shows_hostile_text_in_short_and_clean_words() {
    let scene = Scene::start().await;
    let configuration = scene.proxy.config_path();
    for (tag, bytes) in images() {
        push(&scene, tag, bytes);
        let name = format!("{}:{tag}", scene.repository("apps/web"));
        for command in ["explain", "verify"] {
            for output in ["text", "json"] {
                let arguments = [
                    command,
                    &name,
                    "--config",
                    configuration.to_str().unwrap(),
                    "--output",
                    output,
                ];
                let text = printed(&arguments).await;
                assert!(
                    text.contains("refuse") || text.contains("malformed"),
                    "{text}"
                );
                assert_clean(&text, command);
                assert!(text.len() < 64 * 1024, "{command}: {}", text.len());
            }
        }
    }
}

fn push(scene: &Scene, tag: &str, manifest: Bytes) {
    let image = Image {
        digest: sha256(&manifest),
        bytes: manifest,
        ..Image::new(tag)
    };
    scene.push_signed("apps/web", tag, &image);
}

/// All texts of a document, its keys included.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(members) => {
            let members = members.iter();
            members
                .flat_map(|(key, value)| texts(value).into_iter().chain([key.as_str()]))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// Returns the text that the program prints on both of its outputs.
async fn printed(arguments: &[&str]) -> String {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}
